package proxy

import (
	"testing"
	"time"

	"pggateway/config"
	"pggateway/wire"
)

// A client that does not read keeps its server connection for as long as one
// that does not write.
func TestUntakenResult(t *testing.T) {
	r := newRig(t, limited)
	a := r.admit(wire.Version30, nil)
	a.greeted()
	a.put(frames(t, "Q(a)", true))
	s := r.server()
	s.want(frames(t, "Q(a)", true))
	sent := s.fill(frames(t, "D(0123456789)", false), socketBytes, r.holdsForClient)
	r.later(0)
	r.later(9 * time.Minute)
	if r.sessions() != 1 {
		t.Fatal("the client was ended early")
	}
	before := r.taken()
	a.read(sent / 2)
	eventually(t, "more is taken", func() bool { return r.taken() > before })
	r.later(2 * time.Minute)
	if r.sessions() != 1 {
		t.Fatal("a client that reads was ended")
	}
}

// taken is what the clients' sockets have taken.
func (r *rig) taken() (n int64) {
	r.onLoop(func(h *host) {
		for s := h.sessions; s != nil; s = s.next {
			n += s.sent - int64(s.stream.Held())
		}
	})
	return n
}

func TestUntakenResultIsGivenUp(t *testing.T) {
	r := newRig(t, limited)
	a := r.admit(wire.Version30, nil)
	a.greeted()
	a.put(frames(t, "Q(a)", true))
	s := r.server()
	s.want(frames(t, "Q(a)", true))
	s.fill(frames(t, "D(0123456789)", false), socketBytes, r.holdsForClient)
	b := r.admit(wire.Version30, nil)
	b.greeted()
	b.put(frames(t, "Q(b)", true))
	r.counts("one waits", func(c poolCounts) bool { return c.Waiting == 1 })
	r.later(0)
	eventually(t, "the client is ended", func() bool {
		r.later(11 * time.Minute) // again, where the kernel has just found room for more
		return r.sessions() == 1
	})
	next := r.server() // at once: nobody waits for the old one
	next.want(frames(t, "Q(b)", true))
	next.put(frames(t, "C(B) Z", false))
	b.want(frames(t, "C(B) Z", false))
	if n := r.sessions(); n != 1 {
		t.Errorf("%d sessions, want that of the other client", n)
	}
	_ = s.Close()
}

// One without a server connection keeps a buffer only, and may for longer.
func TestUntakenAnswers(t *testing.T) {
	r := newRig(t, func(c *config.Config, _ *config.Upstream) { c.Limits.IdleInTransaction = time.Minute })
	a := r.admit(wire.Version30, nil)
	a.greeted()
	a.fill(frames(t, "S", true), socketBytes, r.holdsForClient)
	r.later(0)
	r.later(untakenTimeout - time.Minute)
	if r.sessions() != 1 {
		t.Fatal("the client was ended early")
	}
	eventually(t, "the client is ended", func() bool {
		r.later(untakenTimeout) // again, where the kernel has just found room for more
		return r.sessions() == 0
	})
}
