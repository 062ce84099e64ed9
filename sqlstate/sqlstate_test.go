package sqlstate

import (
	"bufio"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// conditions reads PostgreSQL's own list: the names of each SQLSTATE.
func conditions(t *testing.T) map[string][]string {
	t.Helper()
	f, err := os.Open("testdata/conditions.txt")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	names := map[string][]string{}
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		if code, name, ok := strings.Cut(lines.Text(), " "); ok && code != "#" {
			names[code] = append(names[code], name)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	if len(names) < 200 {
		t.Fatalf("only %d codes in the list, so it proves nothing", len(names))
	}
	return names
}

// Each constant's comment is its condition name, and PostgreSQL gives that name
// to that code: a digit swapped in a code, or a code under a wrong name, fails.
func TestCodesAreWhatPostgreSQLCallsThem(t *testing.T) {
	known := conditions(t)
	file, err := parser.ParseFile(token.NewFileSet(), "sqlstate.go", nil, parser.ParseComments)
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]string{}
	ast.Inspect(file, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		name := spec.Names[0].Name
		code, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
		if err != nil {
			t.Fatal(err)
		}
		if other, twice := seen[code]; twice {
			t.Errorf("%s and %s are both %s", name, other, code)
		}
		seen[code] = name
		condition := strings.TrimSpace(spec.Comment.Text())
		for _, is := range known[code] {
			if is == condition {
				return true
			}
		}
		t.Errorf("%s = %s: the comment says %q, PostgreSQL says %q", name, code, condition, known[code])
		return true
	})
	if len(seen) == 0 {
		t.Fatal("no constants found, so nothing was checked")
	}
}
