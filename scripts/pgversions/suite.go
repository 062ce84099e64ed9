package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

type options struct {
	race     bool
	run      string
	packages string
}

// suite is the tests, built once.
type suite struct {
	options
	dir     string
	gateway string
	tests   map[string]string // package → its test program
}

// result is how the tests of one version went.
type result struct {
	passed          int
	failed, skipped []outcome
	took            time.Duration
}

// outcome is a test, and what it printed.
type outcome struct{ name, output string }

func build(o options) (*suite, error) {
	dir, err := os.MkdirTemp("", "pgversions-")
	if err != nil {
		return nil, err
	}
	s := &suite{options: o, dir: dir, gateway: filepath.Join(dir, "gateway"), tests: map[string]string{}}
	compile := func(args ...string) error {
		if o.race {
			args = append(args[:len(args)-1:len(args)-1], "-race", args[len(args)-1])
		}
		if err := command("go", args...).Run(); err != nil {
			return fmt.Errorf("go %s: %w", strings.Join(args, " "), err)
		}
		return nil
	}
	err = compile("build", "-o", s.gateway, "./cmd/gateway")
	for _, p := range strings.Split(o.packages, ",") {
		if err != nil {
			break
		}
		s.tests[p] = filepath.Join(dir, strings.ReplaceAll(p, "/", "_")+".test")
		err = compile("test", "-c", "-o", s.tests[p], p)
	}
	if err != nil {
		s.close()
		return nil, err
	}
	return s, nil
}

func (s *suite) close() { _ = os.RemoveAll(s.dir) }

// test runs the tests with a version's server.
func (s *suite) test(v *version) error {
	began := time.Now()
	for _, p := range strings.Split(s.packages, ",") {
		args := []string{"tool", "test2json", "-p", p, s.tests[p], "-test.v=test2json", "-test.timeout=15m", "-test.shuffle=on"}
		if s.run != "" {
			args = append(args, "-test.run="+s.run)
		}
		cmd := exec.Command("go", args...)
		cmd.Dir = p
		cmd.Env = append(os.Environ(), "PG_BIN="+v.bin(), "GATEWAY_BIN="+s.gateway)
		cmd.Stderr = os.Stderr
		out, err := cmd.StdoutPipe()
		if err != nil {
			return err
		}
		if err := cmd.Start(); err != nil {
			return err
		}
		failed := len(v.result.failed)
		err = v.result.read(bufio.NewReader(out), p)
		ended := cmd.Wait()
		if err != nil {
			return err
		}
		var exit *exec.ExitError
		if errors.As(ended, &exit) && len(v.result.failed) == failed { // none of its tests did, the program itself
			v.result.failed = append(v.result.failed, outcome{p, ended.Error() + "\n"})
		}
		fmt.Printf("%s: %d failed\n", p, len(v.result.failed)-failed)
	}
	v.result.took = time.Since(began)
	return nil
}

// read takes a package's events (go doc test2json) in.
func (r *result) read(events *bufio.Reader, pkg string) error {
	output := map[string]*strings.Builder{}
	for d := json.NewDecoder(events); d.More(); {
		var e struct{ Action, Test, Output string }
		if err := d.Decode(&e); err != nil {
			return err
		}
		if output[e.Test] == nil {
			output[e.Test] = &strings.Builder{}
		}
		name := pkg + " " + e.Test
		switch e.Action {
		case "output":
			output[e.Test].WriteString(e.Output)
			continue
		case "pass":
			if e.Test != "" {
				r.passed++
			}
		case "fail":
			if e.Test != "" || r.none(pkg) {
				r.failed = append(r.failed, outcome{name, output[e.Test].String()})
			}
		case "skip":
			if e.Test != "" {
				r.skipped = append(r.skipped, outcome{name, reason(output[e.Test].String())})
			}
		default:
			continue
		}
		delete(output, e.Test)
	}
	return nil
}

// none reports whether no test of the package failed.
func (r *result) none(pkg string) bool {
	for _, f := range r.failed {
		if strings.HasPrefix(f.name, pkg+" ") {
			return false
		}
	}
	return true
}

// reason picks the line that t.Skip printed.
func reason(output string) string {
	for line := range strings.Lines(output) {
		line = strings.TrimSpace(line)
		if line != "" && !strings.HasPrefix(line, "===") && !strings.HasPrefix(line, "---") {
			return line
		}
	}
	return "no reason given"
}
