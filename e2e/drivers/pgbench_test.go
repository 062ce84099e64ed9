package drivers

import (
	"fmt"
	"strings"
	"testing"

	"pggateway/e2e/kit"
)

// TestPgbench runs pgbench with eight clients in each protocol, and with a new
// connection for each transaction. That no transaction was lost, or done twice,
// is asked of the database.
func TestPgbench(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	pgbench := kit.PostgresBinary(t, "pgbench")
	for _, w := range p.ways {
		t.Run(w.name, func(t *testing.T) {
			run := func(args ...string) output {
				t.Helper()
				out := program{path: pgbench, args: args}.run(t, w)
				if out.code != 0 {
					t.Fatalf("pgbench %v ended with %d\n%s%s", args, out.code, out.stdout, out.stderr)
				}
				return out
			}
			run("-i", "-I", "dtgvpf", "-s", "1", "-q")
			total := 0
			for _, kind := range [][]string{
				{"-M", "simple", "-t", "25"},
				{"-M", "extended", "-t", "25"},
				{"-M", "prepared", "-t", "25"},
				{"-M", "simple", "-t", "4", "-C"},
				{"-M", "prepared", "-t", "4", "-C"},
				{"-M", "prepared", "-t", "25", "-b", "select-only"},
			} {
				// One thread for each client: pgbench waits for a Parse with the whole thread, while another of
				// its clients may hold, in an open transaction, the connection that the Parse needs.
				out := run(append([]string{"-n", "-c", "8", "-j", "8"}, kind...)...)
				n := 8 * 25
				if kind[3] == "4" {
					n = 8 * 4
				}
				if want := fmt.Sprintf("actually processed: %d/%d\n", n, n); !strings.Contains(out.stdout, want) {
					t.Errorf("pgbench %v did not process %d transactions:\n%s", kind, n, out.stdout)
				}
				if kind[len(kind)-1] != "select-only" {
					total += n
				}
			}
			got := p.pg.Value(w.name, `select count(*) || ' ' || (sum(delta) = (select sum(abalance) from pgbench_accounts)
				and sum(delta) = (select sum(bbalance) from pgbench_branches) and sum(delta) = (select sum(tbalance) from pgbench_tellers))
				from pgbench_history`)
			if want := fmt.Sprintf("%d true", total); got != want {
				t.Errorf("the database holds %s, want %s", got, want)
			}
			p.unharmed(t, w)
		})
	}
}
