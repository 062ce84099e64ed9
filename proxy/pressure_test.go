package proxy

import (
	"bytes"
	"errors"
	"io"
	"os"
	"testing"
	"time"

	"pggateway/config"
	"pggateway/netloop"
	"pggateway/wire"
)

// fill writes frames until nobody takes them any more and full says that this
// is why (a pause alone may be a busy machine), and returns how many bytes went
// out. It fails when more than limit do.
func (e *end) fill(frame []byte, limit int, full func() bool) int {
	e.t.Helper()
	many := bytes.Repeat(frame, 1+(64<<10)/len(frame))
	for sent, waited := 0, time.Now(); ; {
		_ = e.SetWriteDeadline(time.Now().Add(300 * time.Millisecond))
		n, err := e.Write(many[sent%len(frame):])
		if sent += n; errors.Is(err, os.ErrDeadlineExceeded) {
			if full() {
				return sent
			}
			if time.Since(waited) > patience {
				e.t.Fatalf("%d bytes were taken, no more are, and nothing is held", sent)
			}
			continue
		}
		if err != nil {
			e.t.Fatal(err)
		}
		if sent > limit {
			e.t.Fatalf("%d bytes were taken, and there is no end", sent)
		}
	}
}

const (
	// socketBytes is more than the kernel keeps for a connection on loopback.
	socketBytes = 64 << 20
	// heldBytes is what the gateway may keep for one: what came in one buffer,
	// or the answers to that.
	heldBytes = 2 * netloop.BufferSize
)

func (r *rig) held() (clients, servers int) {
	r.onLoop(func(h *host) {
		for s := h.sessions; s != nil; s = s.next {
			clients = max(clients, s.stream.Held()+len(s.in))
			if s.backend != nil {
				servers = max(servers, s.backend.stream.Held()+len(s.backend.held))
			}
		}
	})
	return clients, servers
}

func (r *rig) holdsForClient() bool { c, _ := r.held(); return c > 0 }

func (r *rig) holdsForServer() bool { _, s := r.held(); return s > 0 }

// other has another client served, on the same loop.
func (r *rig) other(query string) {
	r.t.Helper()
	c := r.admit(wire.Version30, nil)
	c.greeted()
	c.put(frames(r.t, query, true))
	s := r.server()
	s.want(frames(r.t, query, true))
	s.put(frames(r.t, "C(B) Z", false))
	c.want(frames(r.t, "C(B) Z", false))
}

func twoServers(_ *config.Config, u *config.Upstream) { u.Pool.Size = 2 }

func TestClientThatDoesNotRead(t *testing.T) {
	r := newRig(t, twoServers)
	a := r.admit(wire.Version30, nil)
	a.greeted()
	a.put(frames(t, "Q(a)", true))
	s := r.server()
	s.want(frames(t, "Q(a)", true))
	row := frames(t, "D(0123456789)", false)
	sent := s.fill(row, socketBytes, r.holdsForClient)
	if c, _ := r.held(); c == 0 || c > heldBytes {
		t.Errorf("%d bytes are held for the client, want some and at most %d", c, heldBytes)
	}
	r.other("Q(b)")
	// When it reads again, everything is there. What went out last ends in the
	// middle of a row.
	if rest := sent % len(row); rest > 0 {
		_ = s.SetWriteDeadline(time.Time{})
		go func() { _, _ = s.Write(row[rest:]) }()
		sent += len(row) - rest
	}
	if got := a.read(sent); !bytes.Equal(got, bytes.Repeat(row, sent/len(row))) {
		t.Error("the rows differ")
	}
	s.put(frames(t, "C(A) Z", false))
	a.want(frames(t, "C(A) Z", false))
	r.counts("both idle", func(c poolCounts) bool { return c.Idle == 2 })
}

func TestServerThatDoesNotRead(t *testing.T) {
	r := newRig(t, twoServers)
	a := r.admit(wire.Version30, nil)
	a.greeted()
	a.put(frames(t, "Q(a)", true))
	s := r.server()
	s.want(frames(t, "Q(a)", true))
	s.put(frames(t, "G", false))
	a.want(frames(t, "G", false))
	row := frames(t, "d(0123456789)", true)
	sent := a.fill(row, socketBytes, r.holdsForServer)
	if _, b := r.held(); b == 0 || b > heldBytes {
		t.Errorf("%d bytes are held for the server, want some and at most %d", b, heldBytes)
	}
	r.other("Q(b)")
	// The COPY fails: the session is told, although its server takes nothing.
	s.put(frames(t, "E(22P02) Z", false))
	a.want(frames(t, "E(22P02) Z", false))
	_ = a.SetWriteDeadline(time.Time{})
	go func() { _, _ = a.Write(append(row[sent%len(row):], frames(t, "c Q(c)", true)...)) }()
	for n := 0; ; n++ { // the rows that were under way, whole, and what comes behind
		typ, body := s.message()
		if typ == wire.Query {
			break
		}
		if typ != wire.CopyDone && string(body) != "0123456789" {
			t.Fatalf("message %d is %q %q", n, typ, body)
		}
	}
	s.put(frames(t, "C(C) Z", false))
	a.want(frames(t, "C(C) Z", false))
	r.counts("both idle", func(c poolCounts) bool { return c.Idle == 2 })
}

// Answers to what a client sends without reading must not pile up, whether they
// come from a server or from the gateway.
func TestClientThatOnlyWrites(t *testing.T) {
	t.Run("Syncs", func(t *testing.T) {
		r := newRig(t, nil)
		a := r.admit(wire.Version30, nil)
		a.greeted()
		a.fill(frames(t, "S", true), socketBytes, r.holdsForClient)
		if c, _ := r.held(); c == 0 || c > heldBytes {
			t.Errorf("%d bytes are held for the client, want some and at most %d", c, heldBytes)
		}
		r.other("Q(b)")
	})
	t.Run("queries", func(t *testing.T) {
		r := newRig(t, nil)
		a := r.admit(wire.Version30, nil)
		a.greeted()
		s := r.server()
		go func() { // a server that answers at length
			reply := append(message(wire.DataRow, string(make([]byte, 50<<10))), frames(t, "C(A) Z", false)...)
			query := make([]byte, len(frames(t, "Q(a)", true)))
			for {
				if _, err := s.Read(query[:1]); err != nil {
					return
				}
				for n := 1; n < len(query); {
					m, err := s.Read(query[n:])
					if err != nil {
						return
					}
					n += m
				}
				if _, err := s.Write(reply); err != nil {
					return
				}
			}
		}()
		for range 1000 { // one at a time: each could get a server of its own
			_ = a.SetWriteDeadline(time.Now().Add(patience))
			if _, err := a.Write(frames(t, "Q(a)", true)); err != nil {
				break
			}
			time.Sleep(500 * time.Microsecond)
		}
		if c, _ := r.held(); c == 0 || c > 2*heldBytes {
			t.Errorf("%d bytes are held for the client, want some and at most %d", c, 2*heldBytes)
		}
	})
}

// Both sides are full, so that neither is read, and the client breaks. Its server,
// which does not read before it has written, must be read to the end.
func TestClientBreaksUnderPressure(t *testing.T) {
	r := newRig(t, nil)
	a := r.admit(wire.Version30, nil)
	a.greeted()
	a.put(frames(t, "Q(a)", true))
	s := r.server()
	s.want(frames(t, "Q(a)", true))
	row := frames(t, "D(0123456789)", false)
	sent := s.fill(row, socketBytes, r.holdsForClient)
	a.fill(frames(t, "Q(0123456789)", true), socketBytes, r.holdsForClient)
	a.reset()
	_ = s.SetWriteDeadline(time.Time{})
	go func() {
		_, _ = s.Write(append(row[sent%len(row):], bytes.Repeat(row, 1<<20)...))
		_, _ = io.Copy(io.Discard, s.TCPConn)
	}()
	eventually(t, "the session ends", func() bool { return r.sessions() == 0 })
}

// A storm of small messages takes no more memory than others: the client waits
// until the server has answered, and is then served to the end.
func TestManyRequests(t *testing.T) {
	r := newRig(t, nil)
	a := r.admit(wire.Version30, nil)
	a.greeted()
	a.put(frames(t, "Q(begin)", true))
	s := r.server()
	s.want(frames(t, "Q(begin)", true))
	s.put(frames(t, "C(BEGIN) Z(T)", false))
	a.want(frames(t, "C(BEGIN) Z(T)", false))
	const storm = 10 * maxRequests
	sync, ready := frames(t, "S", true), frames(t, "Z(T)", false)
	_ = a.SetWriteDeadline(time.Now().Add(patience))
	go func() { _, _ = a.Write(bytes.Repeat(sync, storm)) }()
	crowded := func() (n, room int) {
		r.onLoop(func(h *host) {
			if q := &h.backends[0].requests; h.sessions.crowded {
				n, room = q.n, len(q.ring)
			}
		})
		return n, room
	}
	eventually(t, "the client has to wait", func() bool { n, _ := crowded(); return n > maxRequests })
	go func() {
		for range storm {
			s.want(sync)
			s.put(ready)
		}
	}()
	for range storm {
		a.want(ready)
	}
	most := maxRequests + netloop.BufferSize/len(sync)
	r.onLoop(func(h *host) {
		if room := len(h.backends[0].requests.ring); room > 2*most {
			t.Errorf("room for %d requests was made, want %d at most", room, 2*most)
		}
	})
	a.put(frames(t, "Q(commit)", true))
	s.want(frames(t, "Q(commit)", true))
	s.put(frames(t, "C(COMMIT) Z", false))
	a.want(frames(t, "C(COMMIT) Z", false))
	r.counts("idle", func(c poolCounts) bool { return c.Idle == 1 })
}
