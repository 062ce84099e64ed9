package kit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// build is the gateway's binary, made once for as long as somebody holds it.
type build struct {
	mu   sync.Mutex
	refs int
	dir  string
}

var gatewayBuild build

func (b *build) hold() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.refs++
}

func (b *build) release() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.refs--; b.refs == 0 && b.dir != "" {
		os.RemoveAll(b.dir)
		b.dir = ""
	}
}

// path builds the binary if that has not been done. The caller holds it. A kit
// built with the race detector builds the gateway with it.
func (b *build) path() (string, error) {
	if path := os.Getenv(EnvGateway); path != "" {
		return filepath.Abs(path)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.dir == "" {
		dir, err := makeDir()
		if err != nil {
			return "", err
		}
		args := []string{"build", "-o", filepath.Join(dir, "gateway")}
		if raceEnabled {
			args = append(args, "-race")
		}
		cmd := exec.Command("go", append(args, "./cmd/gateway")...)
		cmd.Dir = ModuleRoot()
		if out, err := cmd.CombinedOutput(); err != nil {
			os.RemoveAll(dir)
			return "", fmt.Errorf("build the gateway: %w\n%s", err, out)
		}
		b.dir = dir
	}
	return filepath.Join(b.dir, "gateway"), nil
}

// ModuleRoot returns the directory of go.mod.
func ModuleRoot() string {
	_, file, _, _ := runtime.Caller(0)
	return filepath.Dir(filepath.Dir(filepath.Dir(file)))
}

// GatewayBinary returns the path of the gateway's binary: $GATEWAY_BIN, or one
// that is built for the purpose and lives as long as the test.
func GatewayBinary(t T) string {
	t.Helper()
	gatewayBuild.hold()
	t.Cleanup(gatewayBuild.release)
	path, err := gatewayBuild.path()
	if err != nil {
		t.Fatalf("%v", err)
	}
	return path
}

// Result is how a command ended.
type Result struct {
	Code           int
	Stdout, Stderr string
}

// RunGateway runs one of the gateway's commands to its end, for a minute at most.
func RunGateway(t T, stdin string, args ...string) Result {
	t.Helper()
	return RunGatewayIn(t, nil, stdin, args...)
}

// RunGatewayIn is RunGateway with further variables ("NAME=value") in its environment.
func RunGatewayIn(t T, env []string, stdin string, args ...string) Result {
	t.Helper()
	cmd := exec.Command(GatewayBinary(t), args...)
	cmd.Env = append(os.Environ(), env...)
	var out, errs bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &errs
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	stop := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
	defer stop.Stop()
	err := cmd.Run()
	if cmd.ProcessState == nil {
		t.Fatalf("run gateway %v: %v", args, err)
	}
	return Result{cmd.ProcessState.ExitCode(), out.String(), errs.String()}
}

// GatewayOptions is how a gateway is run.
type GatewayOptions struct {
	Config    string   // the text of gateway.yaml; listeners on port 0 get a free one
	Listeners int      // how many listeners to wait for; 0: one
	Env       []string // "NAME=value"
	Args      []string // further arguments of `gateway run`
	Dir       string   // where gateway.yaml is written; "": a directory of its own
}

// Gateway is a running gateway.
type Gateway struct {
	Addrs  []string // of its listeners, in the order in which they became ready
	Config string   // path of its gateway.yaml
	Dir    string

	t    T
	proc *process
}

// StartGateway starts `gateway run`, waits until it listens, and ends the test
// when it does not come to that.
func StartGateway(t T, o GatewayOptions) *Gateway {
	t.Helper()
	bin := GatewayBinary(t)
	g := &Gateway{t: t, Dir: o.Dir}
	if g.Dir == "" {
		g.Dir = Dir(t)
	}
	g.WriteConfig(o.Config)
	var err error
	g.proc, err = start(command{
		name: "gateway", path: bin, args: append([]string{"run", "-c", g.Config}, o.Args...),
		dir: g.Dir, env: o.Env, death: syscall.SIGKILL,
	})
	if err != nil {
		t.Fatalf("start the gateway: %v", err)
	}
	t.Cleanup(g.cleanup)
	err = g.proc.ready(func() error {
		g.Addrs = g.Addrs[:0]
		for _, line := range g.Lines("listening") {
			for _, key := range []string{"address", "addr"} {
				if addr, ok := line[key].(string); ok {
					g.Addrs = append(g.Addrs, addr)
				}
			}
		}
		if len(g.Addrs) < max(o.Listeners, 1) {
			return fmt.Errorf("%d listeners are ready", len(g.Addrs))
		}
		return nil
	})
	if err != nil {
		t.Fatalf("start the gateway: %v\n%s", err, g.proc.log.tail(40))
	}
	return g
}

// WriteConfig replaces gateway.yaml; the gateway is not told.
func (g *Gateway) WriteConfig(text string) {
	g.t.Helper()
	g.Config = WriteFile(g.t, g.Dir, "gateway.yaml", text)
}

// Host returns the first listener's address without its port.
func (g *Gateway) Host() string {
	host, _, _ := net.SplitHostPort(g.Addrs[0])
	return host
}

// Port returns the first listener's port.
func (g *Gateway) Port() int {
	_, port, _ := net.SplitHostPort(g.Addrs[0])
	n, _ := strconv.Atoi(port)
	return n
}

// ConnString returns a connection string for a writer. Without further
// settings TLS is not used.
func (g *Gateway) ConnString(writer, password, database string, more ...string) string {
	if len(more) == 0 {
		more = []string{"sslmode=disable"}
	}
	return ConnString(g.Host(), g.Port(), database, writer, password, more...)
}

// Pid returns the process's id.
func (g *Gateway) Pid() int { return g.proc.cmd.Process.Pid }

// Signal sends a signal.
func (g *Gateway) Signal(sig syscall.Signal) { g.proc.signal(sig) }

// Stop sends SIGTERM, waits up to 30 s and returns the exit code (-1: it had to be killed).
func (g *Gateway) Stop() int { return g.proc.stop(syscall.SIGTERM, 30*time.Second) }

// Kill ends it at once.
func (g *Gateway) Kill() { g.proc.kill() }

// Running reports whether it has not ended.
func (g *Gateway) Running() bool { return g.proc.running() }

// Wait waits for its end, for the time given at most, and returns the exit code.
func (g *Gateway) Wait(patience time.Duration) (code int, ended bool) {
	select {
	case <-g.proc.done:
		return g.proc.cmd.ProcessState.ExitCode(), true
	case <-time.After(patience):
		return 0, false
	}
}

// Logs returns all that it wrote to stdout and stderr.
func (g *Gateway) Logs() string { return g.proc.log.String() }

// Lines returns its log lines with the given msg, decoded.
func (g *Gateway) Lines(msg string) []map[string]any {
	var all []map[string]any
	for line := range strings.Lines(g.Logs()) {
		var fields map[string]any
		if strings.HasSuffix(line, "\n") && json.Unmarshal([]byte(line), &fields) == nil && fields["msg"] == msg {
			all = append(all, fields)
		}
	}
	return all
}

// WaitLine waits up to 10 s for n log lines with the given msg and returns the last of them.
func (g *Gateway) WaitLine(msg string, n int) map[string]any {
	g.t.Helper()
	for range 1000 {
		if lines := g.Lines(msg); len(lines) >= n {
			return lines[len(lines)-1]
		}
		time.Sleep(10 * time.Millisecond)
	}
	g.t.Fatalf("the gateway did not log %q %d times in 10 s", msg, n)
	return nil
}

func (g *Gateway) cleanup() {
	if g.t.Failed() {
		g.t.Logf("the gateway's last lines:\n%s", g.proc.log.tail(60))
	}
	g.proc.stop(syscall.SIGTERM, 3*time.Second)
	if strings.Contains(g.Logs(), "WARNING: DATA RACE") && !g.t.Failed() {
		g.t.Fatalf("the race detector found a race in the gateway:\n%s", g.Logs())
	}
}
