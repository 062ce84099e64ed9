package config

import (
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write golden files and the reference page instead of comparing with them")

// golden compares text with a file, byte by byte.
func golden(t *testing.T, file, got string) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs; run go test ./config -update and read the difference\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

// Every bad file gives exactly the messages beside it; a file without any
// message fails, so that none can pass by being good.
func TestBadFiles(t *testing.T) {
	files, err := filepath.Glob("testdata/bad/*.yaml")
	if err != nil || len(files) < 15 {
		t.Fatalf("found %d bad files, %v", len(files), err)
	}
	for _, file := range append(files, "testdata/interface.yaml") {
		t.Run(filepath.Base(file), func(t *testing.T) {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			name := filepath.Base(file)
			_, err = Parse(name, text)
			problems := AsErrors(err)
			if len(problems) == 0 {
				t.Fatalf("no problems: %v", err)
			}
			if strings.Contains(problems.Explain(), "hunter2") {
				t.Errorf("a secret is shown:\n%s", problems.Explain())
			}
			golden(t, strings.TrimSuffix(file, ".yaml")+".txt", problems.Explain())
			if got := strings.Count(problems.Error(), "\n") + 1; got != len(problems) {
				t.Errorf("%d problems print as %d lines", len(problems), got)
			}
			for _, p := range problems {
				if !strings.HasPrefix(p.Error(), name+":") {
					t.Errorf("%q does not begin with its place", p.Error())
				}
			}
		})
	}
}

// The interface's example is right in all but what comes later: no message
// may be about anything else.
func TestInterfaceExampleIsOnlyAheadOfTime(t *testing.T) {
	_, err := Load("testdata/interface.yaml")
	for _, p := range AsErrors(err) {
		if !strings.Contains(p.Message, "not supported yet") {
			t.Errorf("%v", p)
		}
	}
}

func TestLoadWithoutFile(t *testing.T) {
	_, err := Load(filepath.Join(t.TempDir(), "none.yaml"))
	if !errors.Is(err, os.ErrNotExist) || AsErrors(err) != nil {
		t.Errorf("got %v", err)
	}
}
