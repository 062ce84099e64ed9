package proxy

import (
	"context"
	"net"
	"os"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"

	"pggateway/config"
	"pggateway/netloop"
	"pggateway/upstream"
	"pggateway/wire"
)

// stage is a session and a backend on a loop that does not run: the test calls
// them itself, and reads what comes out at the other ends.
type stage struct {
	host           *host
	session        *session
	backend        *backend
	client, server net.Conn
}

// shut opens nothing.
type shut struct{}

func (shut) Open(ctx context.Context) (*upstream.Conn, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (s shut) OpenReplication(ctx context.Context, _ string, _ []wire.Parameter) (*upstream.Conn, error) {
	return s.Open(ctx)
}

func socketpair(t testing.TB) (a, b net.Conn) {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var conns [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		if conns[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		_ = f.Close()
	}
	return conns[0], conns[1]
}

// newStage sets up a stage; with linked, the session is in a transaction on the
// backend.
func newStage(t testing.TB, linked bool) *stage {
	t.Helper()
	u := &config.Upstream{Name: "orders", Pool: config.Pool{Mode: config.PoolTransaction, Size: 1}}
	p, err := New(t.Context(), Options{Config: &config.Config{}, Secrets: fakeSecrets{}, Log: zap.NewNop(), Now: time.Now, Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	st := &stage{host: newHost(p, hostKey{}, u, shut{}, p.loops[0])}
	h := st.host
	st.backend = &backend{host: h, tx: wire.TxIdle, ready: true}
	var near net.Conn
	near, st.server = socketpair(t)
	if st.backend.stream, err = h.loop.Attach(netloop.NewTransport(near), nil, st.backend); err != nil {
		t.Fatal(err)
	}
	none := h.profile(nil)
	s := &session{host: h, writer: &config.Writer{Name: "sync"}, seat: p.door.admission.seat(), startup: none, profile: none}
	near, st.client = socketpair(t)
	if s.stream, err = h.loop.Attach(netloop.NewTransport(near), nil, s); err != nil {
		t.Fatal(err)
	}
	st.session, h.sessions, h.users = s, s, 1
	p.keys.issue(s, wire.Version30)
	p.clients.Add(1)
	h.enroll(st.backend)
	st.backend.slot = h.pool.Opened(st.backend)
	if linked {
		if slot, _ := h.pool.Acquire(&s.Waiter, s); slot != nil {
			s.link(slot)
			st.backend.tx, s.fresh = wire.TxActive, false
		}
	}
	t.Cleanup(func() {
		p.Close()
		_ = st.client.Close()
		_ = st.server.Close()
	})
	return st
}

// seen is what came out at an end.
func seen(t testing.TB, c net.Conn) []byte {
	t.Helper()
	raw, err := c.(syscall.Conn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var b []byte
	piece := make([]byte, 64<<10)
	for n := 1; n > 0; b = append(b, piece[:max(n, 0)]...) {
		// The end, a reset or nothing more for now: what came before it counts.
		_ = raw.Read(func(fd uintptr) bool { n, _ = syscall.Read(int(fd), piece); return true })
	}
	return b
}

// fuzzBytes bounds inputs to what a socket takes without being read.
const fuzzBytes = 8 << 10

// walked is what came of replies.
type walked struct {
	sent   string
	failed bool
	n      int
	tx     byte
	ready  bool
}

// replies runs a server's bytes through walk, cut at the given place.
func replies(t *testing.T, owed, data []byte, cut int) walked {
	st := newStage(t, true)
	b := st.backend
	for _, k := range owed {
		b.ready = false
		b.requests.push(k)
	}
	failed := false
	for _, piece := range [][]byte{data[:cut], data[cut:]} {
		all := append(b.held, piece...)
		b.held = nil
		before := st.session.sent
		used, err := b.walk(all)
		if used > len(all) || used < 0 {
			t.Fatalf("walk used %d of %d bytes", used, len(all))
		}
		if n := st.session.sent - before; n > int64(used) {
			t.Fatalf("%d bytes forwarded of %d that were looked at", n, used)
		}
		if failed = err != nil; failed {
			break
		}
		b.held = append([]byte(nil), all[used:]...)
	}
	b.held = nil
	return walked{failed: failed, n: b.requests.n, tx: b.tx, ready: b.ready, sent: string(seen(t, st.client))}
}

// Whatever a server says, nothing panics, nothing of the gateway's own requests
// is forwarded, and it does not matter how the bytes were cut.
func FuzzReplies(f *testing.F) {
	for _, s := range []string{"T D(1) C(SELECT 1) Z", "1 2 n C(X) Z", "E(42601) Z", "G C(COPY 1) Z", "H d(x) c C(COPY 1) Z", "S(a=b) N(00000) A(x) Z(T) Z"} {
		f.Add([]byte("QPBDES"), frames(f, s, false), uint16(7))
	}
	f.Add([]byte("QcSQ"), frames(f, "G C(X) G E(1) Z Z", false), uint16(3))
	f.Add([]byte{'P' | ours, 'B' | ours, 'E' | ours, 'S' | ours, 'Q'}, frames(f, "1 2 D(x) C(SELECT 1) Z I Z", false), uint16(20))
	f.Add([]byte("Q"), []byte("C\x00\x00\x00\x04"), uint16(1))
	f.Add([]byte("F"), []byte("V\x00\x00\x00\x08\xff\xff\xff\xffZ\x00\x00\x00\x05Q"), uint16(1))
	f.Fuzz(func(t *testing.T, owed, data []byte, at uint16) {
		if len(owed) > 64 || len(data) > fuzzBytes {
			return
		}
		var kinds []byte
		for _, k := range owed {
			switch k &^ ours {
			case wire.Query, wire.Parse, wire.Bind, wire.Describe, wire.Execute, wire.Close, wire.Sync, wire.FunctionCall:
				kinds = append(kinds, k)
			case wire.CopyDone:
				if len(kinds) > 0 {
					kinds = append(kinds, wire.CopyDone)
				}
			}
		}
		whole := replies(t, kinds, data, 0)
		cut := replies(t, kinds, data, int(at)%(len(data)+1))
		if whole != cut {
			t.Errorf("in one piece %+v\ncut %+v", whole, cut)
		}
		plain := true
		for _, k := range kinds {
			plain = plain && k&ours == 0
		}
		if n := len(whole.sent); plain && whole.sent != string(data[:min(n, len(data))]) {
			t.Errorf("forwarded %q of %q", whole.sent, data)
		}
	})
}

// asked is what came of requests.
type asked struct {
	server, client string
	ended          bool
	n              int
	pins           pins
}

func ask(t *testing.T, linked bool, data []byte, cut int) asked {
	st := newStage(t, linked)
	s := st.session
	for _, piece := range [][]byte{data[:cut], data[cut:]} {
		if s.ended || s.leaving {
			break
		}
		all := append(append([]byte(nil), s.in...), piece...)
		s.unhold()
		if len(all) > 0 {
			s.advance(all)
		}
	}
	n := st.backend.requests.n
	return asked{server: string(seen(t, st.server)), client: string(seen(t, st.client)), ended: s.ended, n: n, pins: s.pins}
}

// Whatever a client says, nothing panics, and it does not matter how the bytes
// were cut.
func FuzzRequests(f *testing.F) {
	for _, s := range []string{"Q(a) Q(b)", "P(|a) B D E S", "P(n|a) H S", "d(x) c f(y) S S", "Q(copy) d(x) c X", "F(x) C(y) B D E S", "P(|create temp table x) S X"} {
		f.Add(false, frames(f, s, true), uint16(9))
		f.Add(true, frames(f, s, true), uint16(3))
	}
	f.Add(false, []byte("P\x00\x00\x00\x04S\x00\x00\x00\x04"), uint16(5))
	f.Add(false, []byte("Q\xff\x00\x00\x04"), uint16(2))
	f.Add(true, []byte("p\x00\x00\x00\x04"), uint16(2))
	f.Fuzz(func(t *testing.T, linked bool, data []byte, at uint16) {
		if len(data) > fuzzBytes {
			return
		}
		whole := ask(t, linked, data, 0)
		cut := ask(t, linked, data, int(at)%(len(data)+1))
		if whole != cut {
			t.Errorf("in one piece %+v\ncut %+v", whole, cut)
		}
	})
}
