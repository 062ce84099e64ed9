package drivers

import (
	"os"
	"regexp"
	"strings"
	"testing"

	"pggateway/e2e/kit"
)

// normal replaces what differs from run to run and from way to way.
func normal(text string, w way) string {
	text = regexp.MustCompile(`with PID \d+`).ReplaceAllString(text, "with PID n")
	text = regexp.MustCompile(`(LOCATION: .*):\d+`).ReplaceAllString(text, "$1")
	text = regexp.MustCompile(`(?m)^\\(un)?restrict \w+$`).ReplaceAllString(text, `\${1}restrict`)
	return strings.ReplaceAll(text, `database "`+w.name+`"`, "the database")
}

// difference shows where two texts part.
func difference(want, got string) string {
	a, b := strings.Split(want, "\n"), strings.Split(got, "\n")
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	show := func(lines []string) string { return strings.Join(lines[max(0, n-3):min(n+4, len(lines))], "\n\t") }
	return "want\t" + show(a) + "\ngot\t" + show(b)
}

// psql runs a script, which may fail here and there, as -f does.
func psql(t *testing.T, w way, script string, args ...string) output {
	t.Helper()
	dir := t.TempDir()
	kit.WriteFile(t, dir, "script.sql", script)
	return program{
		path: kit.PostgresBinary(t, "psql"), args: append([]string{"-X", "-f", "script.sql"}, args...), dir: dir,
	}.run(t, w)
}

// TestPsql runs a script of all sorts of things; what psql prints, errors
// included, must not depend on the way.
func TestPsql(t *testing.T) {
	t.Parallel()
	script, err := os.ReadFile(testdata(t, "psql", "tour.sql"))
	if err != nil {
		t.Fatal(err)
	}
	p := newPlace(t)
	var want string
	for _, w := range p.ways {
		out := psql(t, w, string(script), "-a", "-e")
		got := normal(out.stdout+"\n-- stderr\n"+out.stderr, w)
		if out.code != 0 || !strings.Contains(out.stdout, "\nthe end\n") {
			t.Fatalf("%s: psql ended with %d\n%s", w.name, out.code, got)
		}
		if want == "" {
			want = got
			for _, text := range []string{"42601", "22012", "57014", `notification "news"`, "a warning", "re, turned", "in a transaction: false 00000"} {
				if !strings.Contains(want, text) {
					t.Errorf("%q is not in what psql prints", text)
				}
			}
			continue
		}
		if got != want {
			t.Errorf("%s: psql does not print what it prints directly:\n%s", w.name, difference(want, got))
		}
		p.unharmed(t, w)
	}
}

// TestPsqlWithoutAFile pipes a script into psql and runs one by -c, each in one
// transaction, and has psql stop at an error.
func TestPsqlWithoutAFile(t *testing.T) {
	t.Parallel()
	p := newPlace(t)
	for _, w := range p.ways {
		t.Run(w.name, func(t *testing.T) {
			run := func(in string, args ...string) output {
				return program{path: kit.PostgresBinary(t, "psql"), args: append([]string{"-XAtq"}, args...), in: in}.run(t, w)
			}
			if out := run("create table t (n int);\ninsert into t values (1), (2);\nselect sum(n) from t;\n"); out.code != 0 || out.stdout != "3\n" {
				t.Errorf("a piped script: %+v", out)
			}
			if out := run("", "-1", "-c", "insert into t values (3)", "-c", "select 1/0", "-v", "ON_ERROR_STOP=1"); out.code == 0 ||
				!strings.Contains(out.stderr, "division by zero") {
				t.Errorf("a transaction that fails: %+v", out)
			}
			if out := run("", "-c", "select sum(n) from t; select 'and'; select 'more'"); out.stdout != "3\nand\nmore\n" {
				t.Errorf("several in one: %+v", out)
			}
			if out := run("", "-v", "ON_ERROR_STOP=1", "-c", "\\copy t from 'nowhere'", "-c", "select 'not reached'"); out.code == 0 || out.stdout != "" {
				t.Errorf("a \\copy of nothing: %+v", out)
			}
			p.unharmed(t, w)
		})
	}
}
