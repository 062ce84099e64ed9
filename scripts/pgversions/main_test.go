package main

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestVersions(t *testing.T) {
	all, err := readVersions("versions.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, major := range []string{"12", "13", "14", "15", "16", "17", "18"} {
		chosen, err := choose(all, []string{major})
		if err != nil {
			t.Error(err)
			continue
		}
		if v := chosen[0]; !strings.HasPrefix(v.npm, major+".") || !strings.HasPrefix(v.integrity, "sha512-") || len(v.integrity) != 95 {
			t.Errorf("%+v", v)
		}
	}
	if _, err := choose(all, []string{"11"}); err == nil {
		t.Error("there is a PostgreSQL 11")
	}
}

// archive makes a .tgz of names and texts.
func archive(t *testing.T, files map[string]string) []byte {
	t.Helper()
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	w := tar.NewWriter(z)
	for name, text := range files {
		if err := w.WriteHeader(&tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func TestUnpack(t *testing.T) {
	root := filepath.Join(t.TempDir(), "postgres")
	packed := archive(t, map[string]string{
		"package/native/bin/postgres":      "program",
		"package/native/lib/libx.so.1.2":   "library",
		"package/native/pg-symlinks.json":  `[{"source": "native/lib/libx.so.1.2", "target": "native/lib/libx.so"}]`,
		"elsewhere/what does not belong":   "x",
		"package/native/share/some/a.conf": "text",
	})
	if err := unpack(packed, root); err != nil {
		t.Fatal(err)
	}
	if err := link(root); err != nil {
		t.Fatal(err)
	}
	if info, err := os.Stat(filepath.Join(root, "native/bin/postgres")); err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("postgres is no program: %v", err)
	}
	if text, err := os.ReadFile(filepath.Join(root, "native/lib/libx.so")); err != nil || string(text) != "library" {
		t.Errorf("the link leads to %q, %v", text, err)
	}
	if err := unpack(archive(t, map[string]string{"package/../../out": "x"}), filepath.Join(t.TempDir(), "other")); err == nil {
		t.Error("a file was written outside")
	}
}

func TestReadEvents(t *testing.T) {
	var r result
	err := r.read(bufio.NewReader(strings.NewReader(`{"Action":"run","Test":"TestA"}
{"Action":"output","Test":"TestA","Output":"what went wrong\n"}
{"Action":"fail","Test":"TestA"}
{"Action":"pass","Test":"TestB"}
{"Action":"output","Test":"TestC","Output":"=== RUN   TestC\n"}
{"Action":"output","Test":"TestC","Output":"    c_test.go:1: not here\n"}
{"Action":"skip","Test":"TestC"}
{"Action":"fail"}
`)), "./p")
	if err != nil {
		t.Fatal(err)
	}
	if r.passed != 1 || len(r.failed) != 1 || r.failed[0].output != "what went wrong\n" ||
		len(r.skipped) != 1 || r.skipped[0].output != "c_test.go:1: not here" {
		t.Errorf("%+v", r)
	}
	if report([]version{{major: "18", npm: "18.4.0-x", result: r}}, nil) || !report([]version{{major: "18", npm: "18.4.0-x", result: r}}, []string{"18"}) {
		t.Error("a failure counts where it should not, or not where it should")
	}
	if report([]version{{major: "18", npm: "18.4.0-x"}}, nil) {
		t.Error("that nothing ran is no failure")
	}
}
