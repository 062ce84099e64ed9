package drivers

import (
	"os"
	"os/exec"
	"testing"

	"pggateway/e2e/kit"
)

// TestJDBC runs pgJDBC, Debian's package. It prepares what it has executed five
// times, and reads such results in binary.
func TestJDBC(t *testing.T) {
	t.Parallel()
	const jar = "/usr/share/java/postgresql.jar"
	if _, err := os.Stat(jar); err != nil {
		kit.Missing(t, "no pgJDBC (scripts/install-deps test installs it): %v", err)
	}
	java, javac := tool(t, "java"), tool(t, "javac")
	classes := t.TempDir()
	if out, err := exec.Command(javac, "-encoding", "UTF-8", "-cp", jar, "-d", classes, testdata(t, "jdbc", "Sync.java")).CombinedOutput(); err != nil {
		t.Fatalf("javac: %v\n%s", err, out)
	}
	p := program{path: java, args: []string{
		"-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC", "-Dfile.encoding=UTF-8", "-cp", classes + ":" + jar, "Sync",
	}}
	eachWay(t, p.jobs, map[string]string{"prepared_evicted": "60 of 60 right"})
}
