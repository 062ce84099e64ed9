// Command testsum reads `go test -json` from stdin and prints what a person
// wants of it: a line per package, the whole output of what failed, how many
// tests ran, and what could not run and why. It exits 1 when anything failed or
// nothing ran, and with -strict, where CI is set, when anything was skipped.
package main

import (
	"bufio"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
)

// event is a line of `go test -json` (see `go doc test2json`), or of `go build -json`.
type event struct {
	Action  string
	Package string
	Test    string
	Output  string
	Elapsed float64
}

// test names a test, or with Test empty a package as a whole.
type test struct{ Package, Test string }

type summary struct {
	out      io.Writer
	output   map[test]*strings.Builder
	broken   strings.Builder // what the compiler said
	packages int
	passed   int
	failed   []test
	skipped  []test
}

func main() {
	strict := flag.Bool("strict", false, "where CI is set, a skipped test is a failure")
	flag.Parse()
	s := &summary{out: os.Stdout, output: map[test]*strings.Builder{}}
	if err := s.read(os.Stdin); err != nil {
		fmt.Fprintln(os.Stderr, "testsum:", err)
		os.Exit(1)
	}
	if !s.conclude(*strict && os.Getenv("CI") != "") {
		os.Exit(1)
	}
}

func (s *summary) read(r io.Reader) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 16<<20)
	for lines.Scan() {
		var e event
		if err := json.Unmarshal(lines.Bytes(), &e); err != nil {
			fmt.Fprintf(&s.broken, "%s\n", lines.Bytes()) // what a tool wrote beside the events
			continue
		}
		s.take(e)
	}
	return lines.Err()
}

func (s *summary) take(e event) {
	key := test{e.Package, e.Test}
	switch e.Action {
	case "build-output":
		s.broken.WriteString(e.Output)
	case "output":
		if s.output[key] == nil {
			s.output[key] = &strings.Builder{}
		}
		s.output[key].WriteString(e.Output)
	case "pass", "fail", "skip":
		s.end(key, e)
	}
}

func (s *summary) end(key test, e event) {
	whole := key.Test == ""
	switch {
	case e.Action == "fail":
		s.failed = append(s.failed, key)
	case e.Action == "skip" && !whole:
		s.skipped = append(s.skipped, key)
		return // its reason is told at the end
	case !whole:
		s.passed++
	}
	if whole {
		if e.Action != "skip" { // no test files
			s.packages++
			fmt.Fprintf(s.out, "%-5s %6.1fs  %s\n", e.Action, e.Elapsed, key.Package)
		}
	}
	if e.Action != "fail" {
		delete(s.output, key)
	}
}

// conclude prints the end of the story and reports whether it is a good one.
func (s *summary) conclude(strict bool) bool {
	for _, key := range s.failed {
		fmt.Fprintf(s.out, "\n--- %s %s\n%s", key.Package, key.Test, s.text(key))
	}
	if s.broken.Len() > 0 {
		fmt.Fprintf(s.out, "\n%s", s.broken.String())
	}
	fmt.Fprintf(s.out, "\n%d tests passed, %d failed, %d could not run, in %d packages\n",
		s.passed, len(s.tests()), len(s.skipped), s.packages)
	for _, key := range s.skipped {
		fmt.Fprintf(s.out, "  not run: %s %s: %s\n", key.Package, key.Test, reason(s.text(key)))
	}
	switch {
	case s.packages == 0:
		fmt.Fprintln(s.out, "no tests ran at all")
		return false
	case strict && len(s.skipped) > 0:
		fmt.Fprintln(s.out, "CI is set, and there a test that cannot run is a failure")
		return false
	}
	return len(s.failed) == 0
}

// tests lists what failed, packages as a whole left out.
func (s *summary) tests() []test {
	return slices.DeleteFunc(slices.Clone(s.failed), func(t test) bool { return t.Test == "" })
}

func (s *summary) text(key test) string {
	if b := s.output[key]; b != nil {
		return b.String()
	}
	return ""
}

// reason picks the line that t.Skip printed out of a skipped test's output.
func reason(output string) string {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			return line
		}
	}
	return "no reason given"
}
