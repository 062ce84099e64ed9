package drivers

import (
	"os/exec"
	"testing"

	"pggateway/e2e/kit"
)

// TestPsycopg runs psycopg 3, Debian's package. It prepares what it has executed
// five times, and gives statements up with DEALLOCATE.
func TestPsycopg(t *testing.T) {
	t.Parallel()
	const python = "/usr/bin/python3" // Debian's own: only that one sees Debian's packages
	if err := exec.Command(python, "-c", "import psycopg").Run(); err != nil {
		kit.Missing(t, "no psycopg 3 for %s (scripts/install-deps test installs it): %v", python, err)
	}
	p := program{path: python, args: []string{testdata(t, "psycopg", "sync.py")}}
	eachWay(t, p.jobs, map[string]string{"prepared_evicted": "70 of 70 right"})
}
