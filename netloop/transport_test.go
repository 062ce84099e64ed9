package netloop

import (
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

func TestTransportIsAConnBeforeTheMove(t *testing.T) {
	for kind, pair := range pairs {
		peer, ours := pair(t)
		tr := NewTransport(ours)
		if tr.LocalAddr() != ours.LocalAddr() || tr.RemoteAddr() != ours.RemoteAddr() {
			t.Errorf("%s: addresses %v and %v", kind, tr.LocalAddr(), tr.RemoteAddr())
		}
		p := make([]byte, 4)
		for name, set := range map[string]func(time.Time) error{"both": tr.SetDeadline, "read": tr.SetReadDeadline} {
			if err := set(time.Now().Add(-time.Second)); err != nil {
				t.Fatal(err)
			}
			if _, err := tr.Read(p); !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: read with the deadline for %s past: %v", kind, name, err)
			}
			_ = tr.SetDeadline(time.Time{})
		}
		_ = tr.SetWriteDeadline(time.Now().Add(-time.Second))
		if _, err := tr.Write(p); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%s: write with the deadline past: %v", kind, err)
		}
		_ = tr.SetWriteDeadline(time.Time{})
		send(t, peer, []byte("ping"))
		if _, err := io.ReadFull(tr, p); err != nil || string(p) != "ping" {
			t.Errorf("%s: read %q, %v", kind, p, err)
		}
		tr.Write([]byte("pong"))
		if err := tr.CloseWrite(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
		if got, err := io.ReadAll(peer); string(got) != "pong" || err != nil {
			t.Errorf("%s: the peer reads %q, %v", kind, got, err)
		}
		if err := tr.Close(); err != nil {
			t.Errorf("%s: %v", kind, err)
		}
	}
}

// A deadline that was set, or has passed, before the move means nothing after it.
func TestTransportAfterTheMove(t *testing.T) {
	l := runLoop(t)
	peer, ours := tcpPair(t)
	local, remote := ours.LocalAddr(), ours.RemoteAddr()
	tr := NewTransport(ours)
	_ = tr.SetDeadline(time.Now().Add(-time.Second))
	attachEcho(t, l, tr, nil)
	if err := errors.Join(tr.SetDeadline(time.Now()), tr.SetReadDeadline(time.Now()), tr.SetWriteDeadline(time.Now())); err != nil {
		t.Error(err)
	}
	if tr.LocalAddr() != local || tr.RemoteAddr() != remote {
		t.Errorf("addresses %v and %v, want %v and %v", tr.LocalAddr(), tr.RemoteAddr(), local, remote)
	}
	if err := tr.Close(); err != nil { // the stream's business now
		t.Error(err)
	}
	if err := tr.CloseWrite(); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("CloseWrite says %v", err)
	}
	exchange(t, peer, 1000)
	do(t, l, func() {
		if _, err := l.Attach(tr, nil, &spy{}); !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("a second Attach says %v", err)
		}
	})
	exchange(t, peer, 1000)
}

func TestAttachFails(t *testing.T) {
	l := runLoop(t)
	peer, ours := net.Pipe()
	do(t, l, func() {
		if s, err := l.Attach(NewTransport(ours), nil, &spy{}); s != nil || !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("a pipe: %v, %v", s, err)
		}
	})
	if _, err := peer.Read(make([]byte, 1)); err != io.EOF {
		t.Errorf("the pipe was left open: %v", err)
	}
	before := openFiles(t)
	_, closed := tcpPair(t)
	closed.Close()
	do(t, l, func() {
		if s, err := l.Attach(NewTransport(closed), nil, &spy{}); s != nil || !errors.Is(err, net.ErrClosed) {
			t.Errorf("a closed socket: %v, %v", s, err)
		}
	})
	if after := openFiles(t); len(after) > len(before)+1 { // the peer of the closed one
		t.Errorf("%d descriptors became %d", len(before), len(after))
	}
}
