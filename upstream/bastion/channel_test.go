package bastion

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"pggateway/e2e/kit"
)

func TestManyChannelsShareOneConnection(t *testing.T) {
	w := newWorld(t)
	s := newSet(t, nil)
	var all sync.WaitGroup
	for i := range 40 {
		all.Go(func() {
			ctx, stop := context.WithTimeout(t.Context(), 20*time.Second)
			defer stop()
			c, err := s.Dial(ctx, w.bastion(), w.echo)
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			_ = c.SetDeadline(time.Now().Add(20 * time.Second))
			want := strings.Repeat(fmt.Sprintf("channel %d|", i), 40_000) // over the pump's buffer and the socket's
			go func() { _, _ = io.WriteString(c, want); _ = c.(*net.UnixConn).CloseWrite() }()
			got, err := io.ReadAll(c)
			if err != nil || string(got) != want+"bye" {
				t.Errorf("channel %d: %d bytes of %d, %v", i, len(got), len(want)+3, err)
			}
		})
	}
	all.Wait()
	if n := strings.Count(w.sshd.Logs(), "Accepted publickey"); n != 1 {
		t.Errorf("%d SSH logins, want 1", n)
	}
}

func TestDeadlines(t *testing.T) {
	w := newWorld(t)
	c := mustDial(t, newSet(t, nil), w.bastion(), w.echo)
	wantEcho(t, c, "hello")
	_ = c.SetReadDeadline(time.Now().Add(30 * time.Millisecond))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("read without an answer: %v", err)
	}
	wantEcho(t, c, "still there")
}

func TestWriteDeadlineWhenServerDoesNotRead(t *testing.T) {
	w := newWorld(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c := mustDial(t, newSet(t, nil), w.bastion(), l.Addr().String())
	_ = c.SetWriteDeadline(time.Now().Add(time.Second))
	n := 0
	for chunk := make([]byte, 1<<20); ; {
		m, err := c.Write(chunk)
		n += m
		if err != nil {
			if !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("write: %v", err)
			}
			break
		}
	}
	if n > 64<<20 {
		t.Errorf("%d bytes were taken for a server that does not read", n)
	}
}

func TestServerCloseIsSeen(t *testing.T) {
	w := newWorld(t)
	c := mustDial(t, newSet(t, nil), w.bastion(), w.echo)
	wantEcho(t, c, "x")
	_ = c.(*net.UnixConn).CloseWrite()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if got, err := io.ReadAll(c); err != nil || string(got) != "bye" {
		t.Fatalf("after half-close: %q, %v", got, err)
	}
}

// TestCloseEndsChannel closes the near end while the server is silent and keeps
// its own side open: nothing but the near end's close can end the bridge.
func TestCloseEndsChannel(t *testing.T) {
	w := newWorld(t)
	s := newSet(t, nil)
	mustDial(t, s, w.bastion(), w.echo) // so that the SSH connection is there already
	for name, tt := range map[string]struct {
		half   bool // the sending half first
		within time.Duration
	}{
		"at once":       {false, hangupCheck / 2},
		"in two halves": {true, hangupCheck + 3*time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			defer l.Close()
			time.Sleep(100 * time.Millisecond) // for what went before to settle
			before := runtime.NumGoroutine()
			c := mustDial(t, s, w.bastion(), l.Addr().String())
			server, err := l.Accept()
			if err != nil {
				t.Fatal(err)
			}
			defer server.Close()
			time.Sleep(100 * time.Millisecond)
			if n := runtime.NumGoroutine() - before; n < 3 {
				t.Fatalf("a bridge with %d goroutines: this test looks for the wrong thing", n)
			}
			eof := func() {
				_ = server.SetDeadline(time.Now().Add(10 * time.Second))
				if _, err := server.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
					t.Fatalf("server read: %v", err)
				}
			}
			if tt.half {
				_ = c.(*net.UnixConn).CloseWrite()
				eof()
			}
			c.Close()
			eof()
			for began := time.Now(); runtime.NumGoroutine() > before; time.Sleep(10 * time.Millisecond) {
				if time.Since(began) > tt.within {
					t.Fatalf("the bridge still runs after %s", tt.within)
				}
			}
		})
	}
}

func TestProhibited(t *testing.T) {
	w := newWorld(t)
	for name, options := range map[string]string{
		"permitopen":  `restrict,port-forwarding,permitopen="127.0.0.1:1" `,
		"no forwards": "restrict ",
	} {
		t.Run(name, func(t *testing.T) {
			w.sshd.SetAuthorizedKeys(options + w.key.Public)
			err := dialWithin(t, newSet(t, nil), w.bastion(), w.echo, 10*time.Second)
			wantKind(t, err, Prohibited, w.echo, "PermitOpen", "AllowTcpForwarding")
		})
	}
	t.Run("the suggested options", func(t *testing.T) {
		w.sshd.SetAuthorizedKeys(fmt.Sprintf(`restrict,port-forwarding,permitopen="%s" %s`, w.echo, w.key.Public))
		wantEcho(t, mustDial(t, newSet(t, nil), w.bastion(), w.echo), "x")
	})
}

func TestDestinationRefuses(t *testing.T) {
	w := newWorld(t)
	s := newSet(t, nil)
	nobody := fmt.Sprintf("127.0.0.1:%d", kit.FreePort(t))
	wantKind(t, dialWithin(t, s, w.bastion(), nobody, 10*time.Second), Destination, nobody, "refused")
	wantKind(t, dialWithin(t, s, w.bastion(), "no-such-host.invalid:5432", 10*time.Second), Destination, "no-such-host.invalid")
	wantEcho(t, mustDial(t, s, w.bastion(), w.echo), "the connection to the bastion lives")
	if n := strings.Count(w.sshd.Logs(), "Accepted publickey"); n != 1 {
		t.Errorf("%d SSH logins, want 1", n)
	}
}
