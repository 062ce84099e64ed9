package proxy

import (
	"errors"
	"testing"
	"time"

	"pggateway/config"
	"pggateway/wire"
)

// someVerifier is of a password that no test needs.
const someVerifier = "SCRAM-SHA-256$4096:NdeCtNQ+5MAN0c5vtqdnkg==$q0UuMHsJxhsbrIZ9gpDHjabC1mXYZvd1zMzpdTZbU2U=:+TbLqebu4QwfG8Pk+xiOeOzKWZ9VM19OFzeX71CEFc8="

// min_idle connections are there before the first client is.
func TestPoolIsWarmedAtTheStart(t *testing.T) {
	r := newRig(t, func(c *config.Config, u *config.Upstream) {
		u.Pool.Size, u.Pool.MinIdle = 3, 2
		c.Writers = []*config.Writer{{Name: "sync", Password: config.Secret{Scheme: config.SchemeVerifier, Ref: someVerifier}, Upstreams: []*config.WriterUpstream{{Name: u.Name}, {Name: "nosuch"}}}}
	})
	r.server()
	r.server()
	r.counts("2 idle", func(c poolCounts) bool { return c.Idle == 2 && c.Busy == 0 && c.Opening == 0 })
}

func TestPatternsAreNotWarmed(t *testing.T) {
	r := newRig(t, func(c *config.Config, u *config.Upstream) {
		u.Name, u.Pool.MinIdle = "tenant_*", 1
		c.Writers = []*config.Writer{{Name: "sync", Password: config.Secret{Scheme: config.SchemeVerifier, Ref: someVerifier}, Upstreams: []*config.WriterUpstream{{Name: u.Name}}}}
	})
	select {
	case <-r.servers:
		t.Error("a connection was opened to no database in particular")
	case <-time.After(moment):
	}
}

// An upstream that cannot be used at all is told like one that cannot be reached.
func TestUnusableUpstream(t *testing.T) {
	r := newRig(t, nil)
	r.proxy.target = func(*config.Upstream, *config.Login, string) (Opener, error) {
		return nil, errors.New("its CA file is gone")
	}
	a := r.admit(wire.Version30, nil)
	a.wantError("FATAL", "08001")
	a.closed()
}

// One answer of the server greets everybody who waits for the same: none of them
// needs a backend of its own for that.
func TestLoginsThatWaitAreGreetedTogether(t *testing.T) {
	r := newRig(t, nil)
	opened := make(chan struct{})
	r.mu.Lock()
	r.block = opened
	r.mu.Unlock()
	var clients []*end
	for range 50 {
		clients = append(clients, r.admit(wire.Version30, nil))
	}
	r.counts("all wait", func(c poolCounts) bool { return c.Waiting == len(clients) })
	close(opened)
	for _, c := range clients {
		c.greeted()
	}
	r.server().quiet()
	r.counts("nobody waits", func(c poolCounts) bool { return c.Idle == 1 && c.Waiting == 0 })
}

// A server that does not answer the gateway's own requests is given up; the
// client whose turn it was may try again.
func TestServerSilentDuringSetup(t *testing.T) {
	r := newRig(t, nil)
	a := r.admit(wire.Version30, nil)
	s := r.server()
	a.greeted()
	r.onLoop(func(h *host) { h.ownTimeout = moment })
	b := r.admit(wire.Version30, nil, wire.Parameter{Name: "application_name", Value: "b"})
	b.wantError("FATAL", "08001")
	b.closed()
	for typ := byte(0); typ != wire.Sync; {
		typ, _ = s.message()
	}
	s.closed()
	a.put(wire.AppendQuery(nil, "select 1"))
	again := r.server()
	if typ, _ := again.message(); typ != wire.Query {
		t.Errorf("got %q, want the query on a new connection", typ)
	}
}

func TestServerSilentDuringReset(t *testing.T) {
	r := newRig(t, nil)
	a := r.admit(wire.Version30, nil)
	s := r.server()
	a.greeted()
	r.onLoop(func(h *host) { h.ownTimeout = moment })
	set := wire.AppendQuery(nil, "x")
	a.put(set)
	s.want(set)
	s.put([]byte("C\x00\x00\x00\x08SET\x00Z\x00\x00\x00\x05I"))
	a.want([]byte("C\x00\x00\x00\x08SET\x00Z\x00\x00\x00\x05I"))
	a.put(wire.AppendTerminate(nil))
	s.want(wire.AppendQuery(nil, "DISCARD ALL"))
	s.closed()
	r.counts("empty", func(c poolCounts) bool { return c.Idle+c.Busy == 0 })
}

// A client may leave while the server is prepared for it; what is asked next takes
// the place of that, and the answer to it ends the wait for both.
func TestWaitsReplaceEachOther(t *testing.T) {
	r := newRig(t, nil)
	a := r.admit(wire.Version30, nil)
	s := r.server()
	a.greeted()
	r.onLoop(func(h *host) {
		h.ownTimeout = moment
		b := h.backends[0]
		b.expectSoon()
		b.expectSoon()
		b.answered()
	})
	s.quiet()
	s.quiet()
}
