package proxy

import (
	"context"
	"errors"
	"testing"
	"time"

	"pggateway/wire"
)

// cancels stands for the way to a server by which it is told to cancel.
type cancels struct {
	asked  chan struct{} // a cancel request is on its way
	arrive chan error    // lets it arrive, or fail
}

func (c *cancels) Cancel(ctx context.Context) error {
	c.asked <- struct{}{}
	select {
	case err := <-c.arrive:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// divert replaces the way to cancel of the backend that is in use.
func (r *rig) divert() *cancels {
	c := &cancels{asked: make(chan struct{}, 100), arrive: make(chan error)}
	found := false
	r.onLoop(func(h *host) {
		for s := h.sessions; s != nil; s = s.next {
			if s.backend != nil {
				s.backend.conn, found = c, true
			}
		}
	})
	if !found {
		r.t.Fatal("no backend is in use")
	}
	return c
}

func (c *cancels) wait(t testing.TB) {
	t.Helper()
	select {
	case <-c.asked:
	case <-time.After(patience):
		t.Fatal("no cancel request was sent")
	}
}

func (c *cancels) none(t testing.TB) {
	t.Helper()
	select {
	case <-c.asked:
		t.Fatal("a cancel request was sent")
	case <-time.After(moment):
	}
}

func TestCancelKeys(t *testing.T) {
	r := newRig(t, nil)
	for version, length := range map[uint32]int{wire.Version30: 4, wire.Version32: 32} {
		c := r.admit(version, nil)
		c.greeted()
		if len(c.key.Secret) != length || c.key.PID == 0 || c.key.PID >= 1<<31 {
			t.Errorf("protocol %s: key %v, want a positive PID and %d secret bytes", wire.VersionString(version), c.key, length)
		}
	}
	a, b := r.admit(wire.Version30, nil), r.admit(wire.Version30, nil)
	a.greeted()
	b.greeted()
	if a.key.PID == b.key.PID || string(a.key.Secret) == string(b.key.Secret) {
		t.Errorf("two clients have keys %v and %v", a.key, b.key)
	}
}

func TestCancel(t *testing.T) {
	r := newRig(t, nil)
	a, b := r.admit(wire.Version30, nil), r.admit(wire.Version32, nil)
	a.greeted()
	b.greeted()
	s := r.server()
	a.put(frames(t, "Q(a)", true))
	s.want(frames(t, "Q(a)", true))
	way := r.divert()

	// Who does not know the secret, or whose session is not concerned, changes nothing.
	wrong := append([]byte(nil), a.key.Secret...)
	wrong[3] ^= 1
	r.proxy.keys.serve(wire.CancelKey{PID: a.key.PID, Secret: wrong})
	r.proxy.keys.serve(wire.CancelKey{PID: a.key.PID, Secret: nil})
	r.proxy.keys.serve(wire.CancelKey{PID: a.key.PID, Secret: b.key.Secret})
	r.proxy.keys.serve(wire.CancelKey{PID: a.key.PID + 1, Secret: a.key.Secret})
	r.proxy.keys.serve(b.key) // idle
	way.none(t)

	// While it waits, the gateway cancels.
	b.put(frames(t, "Q(b) Q(c)", true))
	r.counts("one waiting", func(c poolCounts) bool { return c.Waiting == 1 })
	r.proxy.keys.serve(b.key)
	b.wantError("ERROR", "57014")
	b.want(frames(t, "Z", false))
	r.counts("the next one waiting", func(c poolCounts) bool { return c.Waiting == 1 })
	way.none(t)

	// The server is not handed out while the request may still hit it.
	served := r.proxy.keys.serve(a.key)
	way.wait(t)
	s.put(frames(t, "E(57014) Z", false))
	a.want(frames(t, "E(57014) Z", false))
	s.quiet()
	r.counts("still one waiting", func(c poolCounts) bool { return c.Waiting == 1 && c.Idle == 0 })
	select {
	case <-served:
		t.Error("the request was served before the server had it")
	default:
	}
	way.arrive <- nil
	<-served
	s.want(frames(t, "Q(c)", true))
	<-r.proxy.keys.serve(a.key) // late: its statement is done
	way.none(t)
	s.put(frames(t, "C(C) Z", false))
	b.want(frames(t, "C(C) Z", false))
}

// A cancel request that fails gives the server back as well.
func TestCancelFails(t *testing.T) {
	r := newRig(t, nil)
	a := r.admit(wire.Version30, nil)
	a.greeted()
	s := r.server()
	a.put(frames(t, "Q(a)", true))
	s.want(frames(t, "Q(a)", true))
	way := r.divert()
	for range 3 * maxCancels {
		r.proxy.keys.serve(a.key)
	}
	for range maxCancels {
		way.wait(t)
	}
	way.none(t) // no more than that at once
	s.put(frames(t, "C(A) Z", false))
	a.want(frames(t, "C(A) Z", false))
	for range maxCancels {
		r.counts("parked", func(c poolCounts) bool { return c.Busy == 1 })
		way.arrive <- errors.New("no way")
	}
	r.counts("idle", func(c poolCounts) bool { return c.Idle == 1 })
}

// What the gateway restores after RESET is not begun while a cancel request may
// still hit it: that would end the session of a client who asked for less.
func TestCancelAndReset(t *testing.T) {
	r := newRig(t, nil)
	a := r.admit(wire.Version30, nil, wire.Parameter{Name: "x", Value: "1"})
	s := r.server()
	s.want(frames(t, "apply(x=1) S", true))
	s.put(frames(t, "1 2 D(x) C(SELECT 1) Z", false))
	a.greeted()
	a.put(frames(t, "Q(discard all)", true))
	s.want(frames(t, "Q(discard all)", true))
	way := r.divert()
	r.proxy.keys.serve(a.key)
	way.wait(t)
	s.put(frames(t, "C(DISCARD ALL) Z N(00000)", false))
	a.want(frames(t, "C(DISCARD ALL) N(00000)", false))
	a.put(frames(t, "Q(a)", true))
	s.quiet()
	<-r.proxy.keys.serve(a.key) // nothing of the client's runs
	way.none(t)
	way.arrive <- nil
	s.want(frames(t, "restore(x=1) S", true))
	s.put(frames(t, "1 2 D(x) C(SELECT 1) Z", false))
	a.want(frames(t, "Z", false))
	s.want(frames(t, "Q(a)", true))
	s.put(frames(t, "C(A) Z", false))
	a.want(frames(t, "C(A) Z", false))
	r.counts("idle", func(c poolCounts) bool { return c.Idle == 1 })
}

// A server that is lost, or whose client leaves, with a cancel request on its way.
func TestCancelOutlivesItsServer(t *testing.T) {
	r := newRig(t, nil)
	a := r.admit(wire.Version30, nil)
	a.greeted()
	s := r.server()
	a.put(frames(t, "Q(a)", true))
	s.want(frames(t, "Q(a)", true))
	way := r.divert()
	r.proxy.keys.serve(a.key)
	way.wait(t)
	s.put(frames(t, "C(A) Z", false))
	a.want(frames(t, "C(A) Z", false))
	_ = s.Close() // parked
	r.counts("none", func(c poolCounts) bool { return c.Busy+c.Idle == 0 })
	way.arrive <- nil
	a.put(frames(t, "Q(b)", true))
	r.server().want(frames(t, "Q(b)", true))
	r.counts("one busy", func(c poolCounts) bool { return c.Busy == 1 && c.Idle == 0 })
}

// TestNoCancel: a server without a key is not connected to for a cancel request,
// which is told to the log once; the statement goes on, and a client that waits for
// a server is cancelled all the same.
func TestNoCancel(t *testing.T) {
	r := newRig(t, nil) // its servers give no key
	a, b := r.admit(wire.Version30, nil), r.admit(wire.Version30, nil)
	a.greeted()
	b.greeted()
	s := r.server()
	warnings := func() int { return r.logs.FilterMessageSnippet("takes no cancel requests").Len() }
	for range 3 {
		a.put(frames(t, "Q(a)", true))
		s.want(frames(t, "Q(a)", true))
		r.proxy.keys.serve(a.key)
		b.put(frames(t, "Q(b)", true))
		r.counts("one waiting", func(c poolCounts) bool { return c.Waiting == 1 })
		r.proxy.keys.serve(b.key)
		b.wantError("ERROR", "57014")
		b.want(frames(t, "Z", false))
		s.put(frames(t, "C Z", false))
		a.want(frames(t, "C Z", false))
	}
	r.counts("idle", func(c poolCounts) bool { return c.Idle == 1 && c.Busy == 0 })
	if n := warnings(); n != 1 {
		t.Errorf("%d warnings, want 1", n)
	}
	select {
	case <-r.servers:
		t.Error("a connection was opened")
	default:
	}
}
