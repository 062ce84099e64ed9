package bastion

import (
	"context"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"pggateway/config"
	"pggateway/e2e/kit"
)

func TestRefusedKeyIsNotHammered(t *testing.T) {
	w := newWorld(t)
	w.sshd.SetAuthorizedKeys(kit.NewSSHKey(t).Public)
	now := &clock{at: time.Now()}
	s := newSet(t, func(o *Options) { o.Now = now.Now })
	var all sync.WaitGroup
	for range 20 {
		all.Go(func() {
			for range 10 {
				began := time.Now()
				wantKind(t, dialWithin(t, s, w.bastion(), w.echo, 10*time.Second), Unauthorized, "authorized_keys", w.sshd.User)
				if d := time.Since(began); d > 5*time.Second {
					t.Errorf("the remembered error took %s", d)
				}
			}
		})
	}
	all.Wait()
	attempts := func() int { return strings.Count(w.sshd.Logs(), "Connection from ") }
	if n := attempts(); n != 1 {
		t.Errorf("%d connections for 200 calls, want 1", n)
	}
	// Not before a minute less a quarter, surely after a minute and a quarter.
	now.add(44 * time.Second)
	_ = dialWithin(t, s, w.bastion(), w.echo, 10*time.Second)
	if n := attempts(); n != 1 {
		t.Errorf("%d connections within the minute, want 1", n)
	}
	now.add(32 * time.Second)
	_ = dialWithin(t, s, w.bastion(), w.echo, 10*time.Second)
	if n := attempts(); n != 2 {
		t.Errorf("%d connections after the minute, want 2", n)
	}
	// The second time it is two minutes; then the owner has added the key.
	now.add(80 * time.Second)
	w.sshd.SetAuthorizedKeys(w.key.Public)
	_ = dialWithin(t, s, w.bastion(), w.echo, 10*time.Second)
	if n := attempts(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	now.add(71 * time.Second)
	if err := dialWithin(t, s, w.bastion(), w.echo, 10*time.Second); err != nil {
		t.Error(err)
	}
}

func TestReconnect(t *testing.T) {
	w := newWorld(t)
	s := newSet(t, nil)
	c := mustDial(t, s, w.bastion(), w.echo)
	wantEcho(t, c, "one")
	w.sshd.Kill()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("channel of a killed bastion: %v", err)
	}
	wantKind(t, dialWithin(t, s, w.bastion(), w.echo, 500*time.Millisecond), Unreachable, "connection refused")
	w.sshd.Start()
	wantEcho(t, mustDial(t, s, w.bastion(), w.echo), "two")
	// Only the connections are cut, the server goes on.
	w.sshd.DropConnections()
	wantEcho(t, mustDial(t, s, w.bastion(), w.echo), "three")
}

// TestBackoff counts the connections to a bastion that closes every one at once.
func TestBackoff(t *testing.T) {
	var accepted atomic.Int64
	port := peer(t, func(c net.Conn) { accepted.Add(1) })
	s := newSet(t, func(o *Options) { o.BackoffMin, o.BackoffMax = 100*time.Millisecond, time.Second })
	w := &world{key: kit.NewSSHKey(t)}
	b := &config.Bastion{Host: "127.0.0.1", Port: port, User: "u", Identity: file(w.key.File), HostKeys: []string{w.key.Public}}
	var all sync.WaitGroup
	for range 10 {
		all.Go(func() {
			ctx, stop := context.WithTimeout(t.Context(), 1500*time.Millisecond)
			defer stop()
			for ctx.Err() == nil {
				if _, err := s.Dial(ctx, b, "127.0.0.1:1"); err == nil {
					t.Error("connected to nothing")
				}
				time.Sleep(time.Millisecond)
			}
		})
	}
	all.Wait()
	// 0, 0.1, 0.3, 0.7, 1.5 s, give or take a quarter.
	if n := accepted.Load(); n < 3 || n > 6 {
		t.Errorf("%d connections in 1.5 s", n)
	}
}

func TestBackoffRange(t *testing.T) {
	for i, want := range map[int]time.Duration{1: 1, 2: 2, 3: 4, 5: 16, 6: 30, 7: 30, 60: 30, 1000: 30} {
		want *= time.Second
		low, high := want, want
		for range 1000 {
			d := backoff(time.Second, 30*time.Second, i)
			low, high = min(low, d), max(high, d)
		}
		if low < want*3/4 || high > want*5/4+1 || low > want*4/5 || high < want*6/5 {
			t.Errorf("failure %d: %s to %s around %s", i, low, high, want)
		}
	}
}

// TestKeepalive freezes the server: connections stay open, nothing answers.
func TestKeepalive(t *testing.T) {
	w := newWorld(t)
	s := newSet(t, func(o *Options) {
		o.KeepaliveInterval, o.KeepaliveTimeout, o.HandshakeTimeout = 100*time.Millisecond, 300*time.Millisecond, time.Second
	})
	c := mustDial(t, s, w.bastion(), w.echo)
	wantEcho(t, c, "x")
	time.Sleep(500 * time.Millisecond)
	wantEcho(t, c, "keepalives are answered")
	w.sshd.Freeze()
	defer w.sshd.Thaw()
	began := time.Now()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("channel of a frozen bastion: %v", err)
	}
	if d := time.Since(began); d > 3*time.Second {
		t.Errorf("noticed after %s", d)
	}
	wantKind(t, dialWithin(t, s, w.bastion(), w.echo, 5*time.Second), Unanswered)
	w.sshd.Thaw()
	wantEcho(t, mustDial(t, s, w.bastion(), w.echo), "thawed")
}

// TestSilentBastion accepts and says nothing: the handshake ends in time, and a
// working bastion is not delayed meanwhile.
func TestSilentBastion(t *testing.T) {
	w := newWorld(t)
	hold := make(chan struct{})
	port := peer(t, func(c net.Conn) { <-hold })
	defer close(hold)
	s := newSet(t, func(o *Options) { o.HandshakeTimeout = 3 * time.Second })
	silent := w.bastion()
	silent.Port = port
	result := make(chan error, 1)
	go func() { result <- dialWithin(t, s, silent, w.echo, 20*time.Second) }()
	time.Sleep(50 * time.Millisecond)
	began := time.Now()
	wantEcho(t, mustDial(t, s, w.bastion(), w.echo), "x")
	if d := time.Since(began); d > 2500*time.Millisecond {
		t.Errorf("a dead bastion delayed another by %s", d)
	}
	wantKind(t, <-result, Unanswered, "handshake")
	if d := time.Since(began); d > 10*time.Second {
		t.Errorf("the handshake ended after %s", d)
	}
}

func TestCallerGoesAndAttemptStays(t *testing.T) {
	w := newWorld(t)
	s := newSet(t, nil)
	ctx, stop := context.WithCancel(t.Context())
	stop()
	if _, err := s.Dial(ctx, w.bastion(), w.echo); !errors.Is(err, context.Canceled) {
		t.Errorf("dial of a caller that left: %v", err)
	}
	wantEcho(t, mustDial(t, s, w.bastion(), w.echo), "x")
	if n := strings.Count(w.sshd.Logs(), "Connection from "); n != 1 {
		t.Errorf("%d connections, want the one that the first caller began", n)
	}
}

func TestJumpHosts(t *testing.T) {
	w := newWorld(t)
	first := kit.StartSSHD(t, kit.SSHDOptions{AuthorizedKeys: []string{w.key.Public}})
	jump := &config.Bastion{
		Host: first.Host, Port: uint16(first.Port), User: first.User,
		Identity: file(w.key.File), HostKeys: []string{first.HostKey.Public},
	}
	b := w.bastion()
	b.Jump = []*config.Bastion{jump}
	s := newSet(t, nil)
	c := mustDial(t, s, b, w.echo)
	wantEcho(t, c, "through two")
	wantEcho(t, mustDial(t, s, jump, w.echo), "the jump host's connection is shared")
	if n := strings.Count(first.Logs(), "Accepted publickey"); n != 1 {
		t.Errorf("%d SSH logins at the jump host, want 1", n)
	}
	first.Kill()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("channel behind a killed jump host: %v", err)
	}
	err := dialWithin(t, s, b, w.echo, 500*time.Millisecond)
	wantKind(t, err, Unreachable, first.User+"@"+first.Addr())
	first.Start()
	wantEcho(t, mustDial(t, s, b, w.echo), "again")
}

func TestSourceAddress(t *testing.T) {
	w := newWorld(t)
	s := newSet(t, func(o *Options) { o.Source = netip.MustParseAddr("127.0.0.2") })
	wantEcho(t, mustDial(t, s, w.bastion(), w.echo), "x")
	if !strings.Contains(w.sshd.Logs(), "Connection from 127.0.0.2 ") {
		t.Errorf("sshd saw another address:\n%s", w.sshd.Logs())
	}
}

func TestClosedSet(t *testing.T) {
	w := newWorld(t)
	s := newSet(t, nil)
	c := mustDial(t, s, w.bastion(), w.echo)
	s.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("connection of a closed set: %v", err)
	}
	wantKind(t, dialWithin(t, s, w.bastion(), w.echo, time.Second), Closed)
}
