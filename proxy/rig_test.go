package proxy

import (
	"bytes"
	"context"
	"errors"
	"io"
	"maps"
	"net"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"pggateway/config"
	"pggateway/netloop"
	"pggateway/pool"
	"pggateway/upstream"
	"pggateway/wire"
)

type poolCounts = pool.Counts

// moment is how long a test watches for what must not happen.
const moment = 40 * time.Millisecond

// rig is a proxy without a door: clients are admitted as if they had proved who
// they are, and its servers are ends of sockets in the test's hands.
type rig struct {
	t        testing.TB
	proxy    *Proxy
	upstream *config.Upstream
	access   *config.WriterUpstream
	writer   *config.Writer
	logs     *observer.ObservedLogs
	servers  chan *end // opened connections, in order

	mu     sync.Mutex
	fail   error            // of Open
	block  chan struct{}    // Open waits for it
	asked  []wire.Parameter // of OpenReplication, the last time
	closed bool
}

// down is an error as package upstream makes them.
type down struct{}

func (down) Error() string  { return "dial 10.0.0.7:5432: refused" }
func (down) Public() string { return "The server refused the connection." }

func newRig(t testing.TB, tune func(*config.Config, *config.Upstream)) *rig {
	t.Helper()
	u := &config.Upstream{
		Name: "orders", Host: "db", Port: 5432,
		Pool: config.Pool{Mode: config.PoolTransaction, Size: 1, WaitTimeout: patience},
	}
	conf := &config.Config{Upstreams: []*config.Upstream{u}, Limits: config.Limits{LoginTimeout: patience}}
	if tune != nil {
		tune(conf, u)
	}
	core, logs := observer.New(zapcore.DebugLevel)
	r := &rig{
		t: t, upstream: u, access: &config.WriterUpstream{Name: u.Name}, writer: &config.Writer{Name: "sync"},
		logs: logs, servers: make(chan *end, 1024),
	}
	p, err := New(t.Context(), Options{
		Config: conf, Secrets: fakeSecrets{}, Log: zap.New(core), Now: time.Now, Loops: 2,
		Target: func(*config.Upstream, *config.Login, string) (Opener, error) { return r, nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	r.proxy = p
	p.Serve()
	t.Cleanup(func() {
		r.proxy.mu.Lock()
		hosts := slices.Collect(maps.Values(r.proxy.hosts))
		r.proxy.mu.Unlock()
		if !r.closed {
			for _, h := range hosts {
				done := make(chan struct{})
				h.loop.Post(func() { defer close(done); h.balanced(t) })
				<-done
			}
		}
		r.close()
		for _, h := range hosts {
			for _, st := range h.statements {
				t.Errorf("statement %s has %d users after everybody left", st.name, st.users)
			}
		}
		if n := p.door.admission.taken.Load(); n != 0 {
			t.Errorf("%d seats are still taken after everybody left", n)
		}
		if n := len(p.keys.holders); n != 0 {
			t.Errorf("%d cancel keys are left", n)
		}
		if t.Failed() {
			for _, e := range logs.All() {
				t.Log(e.Level, e.Message, e.ContextMap())
			}
		}
	})
	return r
}

// Open is the proxy's way to a server.
func (r *rig) Open(ctx context.Context) (*upstream.Conn, error) {
	r.mu.Lock()
	fail, block := r.fail, r.block
	r.mu.Unlock()
	if block != nil {
		select {
		case <-block:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if fail != nil {
		return nil, fail
	}
	near, far := pair(r.t)
	r.servers <- far
	return &upstream.Conn{
		Transport:  netloop.NewTransport(near),
		Parameters: []wire.Parameter{{Name: "server_version", Value: "15.0"}, {Name: "TimeZone", Value: "UTC"}},
	}, nil
}

// OpenReplication is the proxy's way to a server of a client that replicates.
func (r *rig) OpenReplication(ctx context.Context, mode string, settings []wire.Parameter) (*upstream.Conn, error) {
	r.mu.Lock()
	r.asked = append([]wire.Parameter{{Name: "replication", Value: mode}}, settings...)
	r.mu.Unlock()
	return r.Open(ctx)
}

func (r *rig) close() {
	if !r.closed {
		r.closed = true
		r.proxy.Close()
	}
}

func (r *rig) failing(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.fail = err
}

// pair is a connected pair of sockets.
func pair(t testing.TB) (near net.Conn, far *end) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Error(err)
		return nil, nil
	}
	if near, err = l.Accept(); err != nil {
		t.Error(err)
		return nil, nil
	}
	far = &end{t: t, TCPConn: c.(*net.TCPConn)}
	t.Cleanup(func() { _ = far.Close() })
	return near, far
}

// admit sends a client in and returns its end.
func (r *rig) admit(version uint32, leftover []byte, params ...wire.Parameter) *end {
	near, far := pair(r.t)
	r.proxy.admit(&client{
		transport: netloop.NewTransport(near), writer: r.writer, access: r.access, upstream: r.upstream,
		database: "orders", accepted: time.Now(), seat: r.proxy.door.admission.seat(), leftover: leftover,
		startup: &wire.Startup{Version: version, Parameters: append([]wire.Parameter{{Name: "user", Value: "sync"}}, params...)},
	})
	return far
}

// admitTo sends a client in that asks for another database.
func (r *rig) admitTo(database string) *end {
	near, far := pair(r.t)
	r.proxy.admit(&client{
		transport: netloop.NewTransport(near), writer: r.writer, access: r.access, upstream: r.upstream,
		database: database, accepted: time.Now(), seat: r.proxy.door.admission.seat(),
		startup: &wire.Startup{Version: wire.Version30},
	})
	return far
}

// server returns the next connection that the proxy opens.
func (r *rig) server() *end {
	r.t.Helper()
	select {
	case s := <-r.servers:
		return s
	case <-time.After(patience):
		r.t.Fatal("no server connection was opened")
		return nil
	}
}

// onLoop runs fn on the loop of the only host.
func (r *rig) onLoop(fn func(h *host)) {
	r.t.Helper()
	r.proxy.mu.Lock()
	var h *host
	for _, h = range r.proxy.hosts {
	}
	r.proxy.mu.Unlock()
	if h == nil {
		fn(nil)
		return
	}
	done := make(chan struct{})
	h.loop.Post(func() { defer close(done); fn(h) })
	<-done
}

// sessions is the number of clients that are in.
func (r *rig) sessions() int {
	r.proxy.keys.mu.Lock()
	defer r.proxy.keys.mu.Unlock()
	return len(r.proxy.keys.holders)
}

// counts waits until the pool's numbers are right.
func (r *rig) counts(want string, ok func(c pool.Counts) bool) {
	r.t.Helper()
	var c pool.Counts
	for end := time.Now().Add(5 * time.Second); ; time.Sleep(time.Millisecond) {
		r.onLoop(func(h *host) {
			if h != nil {
				c = h.pool.Counts()
			}
		})
		if ok(c) {
			return
		}
		if time.Now().After(end) {
			r.t.Fatalf("pool is %+v, want %s", c, want)
		}
	}
}

// end is the test's end of a socket.
type end struct {
	*net.TCPConn
	t   testing.TB
	key wire.CancelKey // a client's, from its greeting
}

func (e *end) put(b []byte) {
	e.t.Helper()
	_ = e.SetWriteDeadline(time.Now().Add(patience))
	if _, err := e.Write(b); err != nil {
		e.t.Fatalf("write: %v", err)
	}
}

// read returns the next n bytes.
func (e *end) read(n int) []byte {
	e.t.Helper()
	_ = e.SetReadDeadline(time.Now().Add(5 * time.Second))
	b := make([]byte, n)
	if got, err := io.ReadFull(e, b); err != nil {
		e.t.Fatalf("read %d of %d bytes (%q): %v", got, n, b[:got], err)
	}
	return b
}

// message returns the next frame.
func (e *end) message() (typ byte, body []byte) {
	e.t.Helper()
	h := e.read(wire.HeaderLen)
	typ, size := wire.Peek(h)
	if size <= 0 {
		e.t.Fatalf("bad header % x", h)
	}
	return typ, e.read(size - wire.HeaderLen)
}

// want reads exactly these bytes.
func (e *end) want(b []byte) {
	e.t.Helper()
	if got := e.read(len(b)); !bytes.Equal(got, b) {
		e.t.Fatalf("got  %q\nwant %q", got, b)
	}
}

// wantError reads an ErrorResponse.
func (e *end) wantError(severity, code string) wire.Fields {
	e.t.Helper()
	typ, body := e.message()
	f, ok := wire.ParseFields(body)
	if typ != wire.ErrorResponse || !ok || f.Severity != severity || f.Code != code {
		e.t.Fatalf("got message %q %+v, want %s %s", typ, f, severity, code)
	}
	return f
}

// quiet checks that nothing comes and that the socket stays open.
func (e *end) quiet() {
	e.t.Helper()
	_ = e.SetReadDeadline(time.Now().Add(moment))
	var b [100]byte
	if n, err := e.Read(b[:]); !errors.Is(err, os.ErrDeadlineExceeded) {
		e.t.Fatalf("got %q, %v where nothing must come", b[:n], err)
	}
}

// closed checks that nothing comes any more but the end.
func (e *end) closed() {
	e.t.Helper()
	_ = e.SetReadDeadline(time.Now().Add(5 * time.Second))
	var b [100]byte
	if n, err := e.Read(b[:]); n > 0 || err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		e.t.Fatalf("got %q, %v, want the end of the connection", b[:n], err)
	}
}

// reset closes so that the other side sees a broken connection.
func (e *end) reset() {
	_ = e.SetLinger(0)
	_ = e.Close()
}

// greeted reads a whole greeting and returns the parameters in it.
func (e *end) greeted() map[string]string {
	e.t.Helper()
	params := make(map[string]string)
	e.want(wire.AppendAuthenticationOK(nil))
	for {
		typ, body := e.message()
		switch typ {
		case wire.ParameterStatus:
			p, ok := wire.ParseParameterStatus(body)
			if !ok {
				e.t.Fatalf("bad ParameterStatus %q", body)
			}
			params[p.Name] = p.Value
		case wire.BackendKeyData:
			if len(body) < 8 {
				e.t.Fatalf("bad BackendKeyData %q", body)
			}
			e.key = wire.CancelKey{PID: uint32(body[0])<<24 | uint32(body[1])<<16 | uint32(body[2])<<8 | uint32(body[3]), Secret: body[4:]}
		case wire.ReadyForQuery:
			if string(body) != "I" || e.key.Secret == nil {
				e.t.Fatalf("ReadyForQuery %q with key %v", body, e.key)
			}
			return params
		default:
			f, _ := wire.ParseFields(body)
			e.t.Fatalf("unexpected message %q %+v in a greeting", typ, f)
		}
	}
}
