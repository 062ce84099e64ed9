package main

import (
	"bytes"
	"flag"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"golang.org/x/sys/unix"

	"pggateway/e2e/kit"
)

var update = flag.Bool("update", false, "write golden files instead of comparing with them")

// asMain makes the test binary the gateway: tests that need a process start themselves.
const asMain = "GATEWAY_TEST_AS_MAIN"

func TestMain(m *testing.M) {
	if os.Getenv(asMain) != "" {
		main()
		return
	}
	self, err := os.Executable()
	if err != nil {
		panic(err)
	}
	for name, value := range map[string]string{asMain: "1", kit.EnvGateway: self} { // for child processes
		if err := os.Setenv(name, value); err != nil {
			panic(err)
		}
	}
	os.Exit(m.Run())
}

// patience bounds every wait of these tests; it only runs out when a test fails.
const patience = 20 * time.Second

// result is how a command ended.
type result struct {
	code           int
	stdout, stderr string
}

// gateway runs a command in this process.
func gateway(t *testing.T, stdin string, args ...string) result {
	t.Helper()
	var out, errs bytes.Buffer
	root := newRoot()
	root.SetIn(strings.NewReader(stdin))
	root.SetOut(&out)
	root.SetErr(&errs)
	code := execute(root, args)
	return result{code, out.String(), errs.String()}
}

// want checks the exit code and that both outputs are exactly these.
func (r result) want(t *testing.T, code int, stdout, stderr string) {
	t.Helper()
	if r.code != code || r.stdout != stdout || r.stderr != stderr {
		t.Errorf("exit code %d, want %d\nstdout %q\n  want %q\nstderr %q\n  want %q", r.code, code, r.stdout, stdout, r.stderr, stderr)
	}
}

// golden compares text with a file of testdata, byte by byte.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
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
		t.Errorf("%s differs; run go test ./cmd/gateway -update and read the difference\ngot:\n%s\nwant:\n%s", file, got, want)
	}
}

// write makes a file of mode 0600 in a directory of its own.
func write(t *testing.T, name, text string) string {
	t.Helper()
	return kit.WriteFile(t, t.TempDir(), name, text)
}

// oneRoute is a gateway.yaml with one writer and one upstream.
func oneRoute(port int, verifier string) string {
	return fmt.Sprintf(`
listen: [{address: "127.0.0.1:0"}]
egress: {source_ip: 127.0.0.2}
upstreams:
  orders:
    host: 127.0.0.1
    port: %d
    tls: {mode: disable}
    login: {user: sync_writer, password: "literal:x"}
writers:
  orders-sync:
    password: %s
    upstreams:
      orders: {grants: ALL}
`, port, verifier)
}

// startPostgres starts a server that trusts everybody and answers every
// statement with success, and returns its port. It keeps the state of
// transactions, which is all that draining needs.
func startPostgres(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var conns sync.WaitGroup
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				_ = c.SetDeadline(time.Now().Add(3 * patience))
				servePostgres(pgproto3.NewBackend(c, c))
			})
		}
	})
	t.Cleanup(func() { l.Close(); conns.Wait() })
	return l.Addr().(*net.TCPAddr).Port
}

func servePostgres(b *pgproto3.Backend) {
	if m, err := b.ReceiveStartupMessage(); err != nil || m == nil {
		return
	}
	state := byte('I')
	b.Send(&pgproto3.AuthenticationOk{})
	b.Send(&pgproto3.ParameterStatus{Name: "server_version", Value: "15.0"})
	b.Send(&pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}})
	b.Send(&pgproto3.ReadyForQuery{TxStatus: state})
	for b.Flush() == nil {
		m, err := b.Receive()
		if err != nil {
			return
		}
		q, ok := m.(*pgproto3.Query)
		if !ok {
			return
		}
		switch q.String {
		case "begin":
			state = 'T'
		case "commit":
			state = 'I'
		}
		b.Send(&pgproto3.CommandComplete{CommandTag: []byte(strings.ToUpper(q.String))})
		b.Send(&pgproto3.ReadyForQuery{TxStatus: state})
	}
}

// terminal is a gateway whose terminal is a pty.
type terminal struct {
	t    *testing.T
	cmd  *exec.Cmd
	pty  *os.File // our side
	tty  *os.File // its side, kept open so that it can be looked at afterwards
	mu   sync.Mutex
	text bytes.Buffer // what is on the screen; guarded by mu
}

func onTerminal(t *testing.T, args ...string) *terminal {
	t.Helper()
	pty, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("no pseudo-terminals here: %v", err)
	}
	if err := unix.IoctlSetPointerInt(int(pty.Fd()), unix.TIOCSPTLCK, 0); err != nil {
		t.Fatal(err)
	}
	n, err := unix.IoctlGetInt(int(pty.Fd()), unix.TIOCGPTN)
	if err != nil {
		t.Fatal(err)
	}
	tty, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", n), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		t.Fatal(err)
	}
	x := &terminal{t: t, pty: pty, tty: tty, cmd: exec.Command(os.Getenv(kit.EnvGateway), args...)}
	x.cmd.Stdin, x.cmd.Stdout, x.cmd.Stderr = tty, tty, tty
	x.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true, Setctty: true, Pdeathsig: syscall.SIGKILL}
	if err := x.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go x.read()
	t.Cleanup(func() {
		_ = x.cmd.Process.Kill()
		tty.Close()
		pty.Close()
	})
	return x
}

func (x *terminal) read() {
	b := make([]byte, 4096)
	for {
		n, err := x.pty.Read(b)
		x.mu.Lock()
		x.text.Write(b[:n])
		x.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (x *terminal) screen() string {
	x.mu.Lock()
	defer x.mu.Unlock()
	return strings.ReplaceAll(x.text.String(), "\r\n", "\n")
}

// expect waits until the screen has the text on it.
func (x *terminal) expect(text string) {
	x.t.Helper()
	for end := time.Now().Add(patience); !strings.Contains(x.screen(), text); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatalf("the terminal never showed %q, but %q", text, x.screen())
		}
	}
}

// prompt waits for a prompt of a password and until the echo is off, which
// comes after it.
func (x *terminal) prompt(text string) {
	x.t.Helper()
	x.expect(text)
	for end := time.Now().Add(patience); x.echo(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			x.t.Fatal("the password would be shown")
		}
	}
}

func (x *terminal) send(keys string) {
	x.t.Helper()
	if _, err := x.pty.WriteString(keys); err != nil {
		x.t.Fatal(err)
	}
}

// echo reports whether the terminal shows what is typed.
func (x *terminal) echo() bool {
	x.t.Helper()
	state, err := unix.IoctlGetTermios(int(x.tty.Fd()), unix.TCGETS)
	if err != nil {
		x.t.Fatal(err)
	}
	return state.Lflag&unix.ECHO != 0
}

// wait returns how the process ended.
func (x *terminal) wait() *os.ProcessState {
	x.t.Helper()
	late := time.AfterFunc(patience, func() { _ = x.cmd.Process.Kill() })
	defer late.Stop()
	_ = x.cmd.Wait() // ProcessState says it all
	return x.cmd.ProcessState
}
