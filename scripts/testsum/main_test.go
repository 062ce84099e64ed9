package main

import (
	"strings"
	"testing"
)

func TestSummary(t *testing.T) {
	const passing = `{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"pass","Package":"p","Test":"TestA","Elapsed":0.1}
{"Action":"pass","Package":"p","Elapsed":0.2}
`
	const skipping = `{"Action":"output","Package":"p","Test":"TestB","Output":"=== RUN   TestB\n"}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:3: no sshd\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
`
	const failing = `{"Action":"output","Package":"p","Test":"TestC","Output":"    c_test.go:9: 1 is not 2\n"}
{"Action":"fail","Package":"p","Test":"TestC"}
{"Action":"fail","Package":"p","Elapsed":0.2}
`
	for _, tc := range []struct {
		name, in string
		strict   bool
		good     bool
		contains string
	}{
		{"passing", passing, true, true, "1 tests passed, 0 failed, 0 could not run, in 1 packages"},
		{"skipping", skipping + passing, false, true, "not run: p TestB: b_test.go:3: no sshd"},
		{"skipping in CI", skipping + passing, true, false, "CI is set"},
		{"failing", failing, false, false, "c_test.go:9: 1 is not 2"},
		{"failing counts", passing + failing, false, false, "1 tests passed, 1 failed"},
		{"not compiling", `{"Action":"build-output","ImportPath":"p","Output":"x.go:1: no\n"}
{"Action":"build-fail","ImportPath":"p"}
{"Action":"fail","Package":"p","FailedBuild":"p"}`, false, false, "x.go:1: no"},
		{"nothing", "", false, false, "no tests ran"},
		{"no events", "go: cannot find main module", false, false, "cannot find main module"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			var out strings.Builder
			s := &summary{out: &out, output: map[test]*strings.Builder{}}
			if err := s.read(strings.NewReader(tc.in)); err != nil {
				t.Fatal(err)
			}
			if good := s.conclude(tc.strict); good != tc.good {
				t.Errorf("good is %v", good)
			}
			if !strings.Contains(out.String(), tc.contains) {
				t.Errorf("%q is not in:\n%s", tc.contains, out.String())
			}
		})
	}
}
