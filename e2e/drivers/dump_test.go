package drivers

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"pggateway/e2e/kit"
)

// TestDump has pg_dump and pg_restore carry a database away and back, and pg_dump
// and psql likewise. What pg_dump says of the database when asked directly must
// be the same before and after, and by each way.
func TestDump(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(testdata(t, "dump", "shop.sql"))
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t)
	dumper := kit.PostgresBinary(t, "pg_dump")
	version := program{path: dumper, args: []string{"--version"}}.run(t, p.ways[0]).stdout
	major, err := strconv.Atoi(regexp.MustCompile(`\d+`).FindString(version))
	if err != nil {
		t.Fatalf("pg_dump --version says %q", version)
	}
	server, err := strconv.Atoi(p.pg.Value("postgres", "select current_setting('server_version_num')::int / 10000"))
	if err != nil {
		t.Fatal(err)
	}
	for _, w := range p.ways {
		t.Run(w.name, func(t *testing.T) {
			straight := way{w.name, p.pg.Host, p.pg.Port, role, rolePassword}
			ok := func(what string, out output) string {
				t.Helper()
				if out.code != 0 || out.stderr != "" {
					t.Fatalf("%s ended with %d\n%s", what, out.code, out.stderr)
				}
				return out.stdout
			}
			dump := func(by way, args ...string) output {
				// The schema public has privileges that its users cannot give back.
				return program{path: dumper, args: append([]string{"--blobs", "--no-privileges"}, args...)}.run(t, by)
			}
			if server > major {
				// It refuses newer servers; the gateway has to tell it the version for that.
				if got, want := dump(w).stderr, dump(straight).stderr; got != want || !strings.Contains(got, "server version mismatch") {
					t.Errorf("pg_dump %d and a server %d: %q, and directly %q", major, server, got, want)
				}
				return
			}
			ok("psql", psql(t, w, string(script), "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1"))
			before := normal(ok("pg_dump", dump(straight)), w)
			if rows := strings.Count(before, "\n"); rows < 6000 {
				t.Fatalf("the dump has %d lines only", rows)
			}
			if got := normal(ok("pg_dump", dump(w)), w); got != before {
				t.Error("pg_dump's text differs")
			}
			file := filepath.Join(t.TempDir(), "shop.dump")
			ok("pg_dump", dump(w, "-Fc", "-f", file))
			plain := ok("pg_dump", dump(w))
			restore := map[string]func(){
				"pg_restore": func() {
					ok("pg_restore", program{
						path: kit.PostgresBinary(t, "pg_restore"), args: []string{"-d", w.name, "--exit-on-error", file},
					}.run(t, w))
				},
				"pg_restore in one transaction": func() {
					ok("pg_restore", program{
						path: kit.PostgresBinary(t, "pg_restore"), args: []string{"-d", w.name, "--single-transaction", file},
					}.run(t, w))
				},
				"psql": func() { ok("psql", psql(t, w, plain, "-q", "-o", "/dev/null", "-v", "ON_ERROR_STOP=1")) },
			}
			for name, back := range restore {
				p.pg.Exec(w.name, "drop schema shop cascade; select lo_unlink(7777)")
				back()
				if after := normal(ok("pg_dump", dump(straight)), w); after != before {
					t.Errorf("after %s the database is another", name)
				}
			}
			// They set the search_path to nothing, and more. Nobody else may find that.
			for range 5 {
				got := ok("psql", psql(t, w, "select current_setting('search_path'), current_setting('extra_float_digits'), "+
					"current_setting('statement_timeout'), current_setting('default_transaction_isolation')", "-At"))
				if want := fmt.Sprintf("%s|1|0|read committed\n", `"$user", public`); got != want {
					t.Errorf("after them a client finds %q, want %q", got, want)
				}
			}
			p.unharmed(t, w)
		})
	}
}
