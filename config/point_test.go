package config

import (
	"os"
	"path/filepath"
	"testing"
)

func TestPoint(t *testing.T) {
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	text := "listen:\n  - address: \":5432\"\nupstreams:\n  \"a.b\":\n    host: db\n    tls: {cert: file:c, key: literal:hunter2}\n    login: {user: u, cert: true}\n" +
		"writers: {w: {password: env:W, upstreams: {a.b: {grants: ALL}}}}\n"
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := Load(file); err != nil {
		t.Fatal(err)
	}
	got, err := Point(file, []Fault{
		{Path("upstreams", "a.b", "tls", "key"), "no match"},
		{Path("listen", 0, "tls", "key"), "nowhere"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(got) != 2 {
		t.Fatalf("%d problems", len(got))
	}
	for i, want := range []Problem{
		{File: file, Line: 2, Col: 5, Path: "listen[0].tls.key", Message: "nowhere"},
		{File: file, Line: 6, Col: 30, Path: `upstreams."a.b".tls.key`, Message: "no match"},
	} {
		p := got[i]
		p.Source, p.Caret = "", 0
		if p != want {
			t.Errorf("%+v, want %+v", p, want)
		}
	}
	if _, err := Point(file+"x", nil); err == nil {
		t.Error("a file that is not there is no error")
	}
}
