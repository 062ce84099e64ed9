package config

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzParse: nothing panics, an error is always Errors with at least one
// problem, each with a place that is in the file, in order; and what has no
// error has what the gateway cannot do without.
func FuzzParse(f *testing.F) {
	for _, glob := range []string{"testdata/good/*.yaml", "testdata/bad/*.yaml", "testdata/interface.yaml"} {
		files, err := filepath.Glob(glob)
		if err != nil || len(files) == 0 {
			f.Fatal(glob, err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		c, err := Parse("f.yaml", text)
		if err == nil {
			if len(c.Listen) == 0 || c.Limits.LoginTimeout <= 0 {
				t.Errorf("a config without listeners or deadline: %+v", c)
			}
			return
		}
		problems := AsErrors(err)
		if len(problems) == 0 {
			t.Fatalf("an error without problems: %v", err)
		}
		lines := strings.Split(strings.TrimPrefix(string(text), "\ufeff"), "\n")
		for i, p := range problems {
			if p.Line < 1 || p.Line > len(lines) {
				t.Fatalf("%v: the file has %d lines", p, len(lines))
			}
			if p.Col < 1 || p.Col > utf8.RuneCountInString(lines[p.Line-1])+1 {
				t.Fatalf("%v: the line is %q", p, lines[p.Line-1])
			}
			if i > 0 && (problems[i-1].Line > p.Line || problems[i-1].Line == p.Line && problems[i-1].Col > p.Col) {
				t.Fatalf("%v comes after %v", p, problems[i-1])
			}
			if strings.ContainsAny(p.Error(), "\n\x00") || p.Message == "" {
				t.Fatalf("%q is not one line", p.Error())
			}
			if p.Caret < 0 || p.Caret > utf8.RuneCountInString(p.Source) {
				t.Fatalf("the caret of %v is at %d of %q", p, p.Caret, p.Source)
			}
		}
	})
}
