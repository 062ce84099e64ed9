package drivers

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pggateway/e2e/kit"
)

// program is a command that takes its database from the environment.
type program struct {
	path string
	args []string
	dir  string // where it runs; "": a directory of its own
	env  []string
	in   string
}

// output is what a program printed and how it ended.
type output struct {
	stdout, stderr string
	code           int
}

// run runs the program to its end, for 40 s at most.
func (p program) run(t *testing.T, w way) output {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, p.path, p.args...)
	cmd.Dir = p.dir
	if cmd.Dir == "" {
		cmd.Dir = t.TempDir()
	}
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + t.TempDir(), "LC_ALL=C.UTF-8", "TZ=UTC", "PYTHONDONTWRITEBYTECODE=1",
	}, w.env()...)
	cmd.Env = append(cmd.Env, p.env...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(p.in), &stdout, &stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = 2 * time.Second
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("run %s: %v", p.path, err)
	}
	if ctx.Err() != nil {
		t.Errorf("%s took more than 40 s", filepath.Base(p.path))
	}
	return output{stdout.String(), stderr.String(), cmd.ProcessState.ExitCode()}
}

// jobs runs a program that prints a line for each job.
func (p program) jobs(t *testing.T, w way) answers {
	t.Helper()
	out := p.run(t, w)
	if out.code != 0 || out.stderr != "" {
		t.Errorf("%s ended with %d\n%s", filepath.Base(p.path), out.code, out.stderr)
	}
	return parseAnswers(out.stdout)
}

// testdata returns the absolute path of a file below testdata.
func testdata(t *testing.T, name ...string) string {
	t.Helper()
	path, err := filepath.Abs(filepath.Join(append([]string{"testdata"}, name...)...))
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// tool finds a program, or ends the test as a missing part does.
func tool(t *testing.T, candidates ...string) string {
	t.Helper()
	for _, name := range candidates {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	kit.Missing(t, "no %s (scripts/install-deps test installs it)", candidates[0])
	return ""
}
