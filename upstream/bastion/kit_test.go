package bastion

import (
	"context"
	"errors"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pggateway/config"
	"pggateway/e2e/kit"
)

// files reads keys from files, whatever their permissions.
type files struct{}

func (files) PrivateKey(_ context.Context, s config.Secret) ([]byte, error) {
	return os.ReadFile(s.Ref)
}

func file(path string) config.Secret { return config.Secret{Scheme: config.SchemeFile, Ref: path} }

// newSet returns a Set that is as patient as tests are, and closes it, which must
// leave no goroutine behind.
func newSet(t *testing.T, change func(*Options)) *Set {
	t.Helper()
	before := runtime.NumGoroutine()
	o := Options{
		Secrets: files{}, BackoffMin: 20 * time.Millisecond, BackoffMax: 200 * time.Millisecond,
		DialTimeout: 5 * time.Second, HandshakeTimeout: 5 * time.Second,
	}
	if change != nil {
		change(&o)
	}
	s := NewSet(t.Context(), o)
	t.Cleanup(func() {
		s.Close()
		// x/crypto/ssh's own goroutines end a moment after their connection.
		for range 200 {
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines before, %d after Close:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
	})
	return s
}

// world is an sshd, a key that it accepts, and an echo server behind it.
type world struct {
	sshd *kit.SSHD
	key  *kit.SSHKey
	echo string
}

func newWorld(t *testing.T, config ...string) *world {
	t.Helper()
	w := &world{key: kit.NewSSHKey(t), echo: echoServer(t)}
	w.sshd = kit.StartSSHD(t, kit.SSHDOptions{AuthorizedKeys: []string{w.key.Public}, Config: config})
	return w
}

func (w *world) bastion() *config.Bastion {
	return &config.Bastion{
		Host: w.sshd.Host, Port: uint16(w.sshd.Port), User: w.sshd.User,
		Identity: file(w.key.File), HostKeys: []string{w.sshd.HostKey.Public},
	}
}

// echoServer sends back what it gets; at end of file it says "bye" and closes.
func echoServer(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	ctx, stop := context.WithCancel(context.Background())
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				defer context.AfterFunc(ctx, func() { c.Close() })()
				if _, err := io.Copy(c, c); err == nil {
					_, _ = io.WriteString(c, "bye")
				}
			})
		}
	})
	t.Cleanup(func() { l.Close(); stop(); all.Wait() })
	return l.Addr().String()
}

func mustDial(t *testing.T, s *Set, b *config.Bastion, addr string) net.Conn {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), 10*time.Second)
	defer stop()
	c, err := s.Dial(ctx, b, addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func wantEcho(t *testing.T, c net.Conn, text string) {
	t.Helper()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, text); err != nil {
		t.Fatal(err)
	}
	got := make([]byte, len(text))
	if _, err := io.ReadFull(c, got); err != nil || string(got) != text {
		t.Fatalf("got %q, %v", got, err)
	}
}

func wantKind(t *testing.T, err error, kind Kind, texts ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no *Error", err)
	}
	if e.Kind != kind {
		t.Errorf("kind %d, want %d: %v", e.Kind, kind, err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
	for _, secret := range []string{e.Bastion, "127.0.0.1", "SHA256"} {
		if strings.Contains(e.Public(), secret) {
			t.Errorf("public text %q names %q", e.Public(), secret)
		}
	}
}

func dialWithin(t *testing.T, s *Set, b *config.Bastion, addr string, d time.Duration) error {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), d)
	defer stop()
	c, err := s.Dial(ctx, b, addr)
	if err == nil {
		c.Close()
	}
	return err
}

// clock is a time that passes when told to.
type clock struct {
	mu sync.Mutex
	at time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.at
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.at = c.at.Add(d)
}

// peer listens on a port, calls f for each connection and closes it.
func peer(t *testing.T, f func(net.Conn)) uint16 {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() {
				defer c.Close()
				f(c)
			})
		}
	})
	t.Cleanup(func() { l.Close(); all.Wait() })
	return uint16(l.Addr().(*net.TCPAddr).Port)
}

func writeFile(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func keygen(t *testing.T, args ...string) {
	t.Helper()
	bin, err := exec.LookPath("ssh-keygen")
	if err != nil {
		kit.Missing(t, "%v", err)
	}
	if out, err := exec.Command(bin, args...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen %v: %v\n%s", args, err, out)
	}
}
