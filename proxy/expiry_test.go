package proxy

import (
	"errors"
	"testing"
	"time"

	"pggateway/config"
	"pggateway/wire"
)

func limited(c *config.Config, _ *config.Upstream) { c.Limits = all() }

// during has a client in the middle of a statement, and diverts its cancels.
func during(t *testing.T, text string) (*rig, *end, *end, *cancels) {
	r := newRig(t, limited)
	a := r.admit(wire.Version30, nil)
	a.greeted()
	s := r.server()
	a.put(frames(t, text, true))
	s.want(frames(t, text, true))
	return r, a, s, r.divert()
}

func TestStatementLimit(t *testing.T) {
	r, a, s, way := during(t, "Q(begin) Q(a)")
	s.put(frames(t, "C(BEGIN) Z(T)", false))
	a.want(frames(t, "C(BEGIN) Z(T)", false))
	r.later(59 * time.Minute)
	way.none(t)
	r.later(2 * time.Minute)
	way.wait(t)
	r.later(time.Second)
	way.none(t) // one is enough for now
	s.put(frames(t, "E(57014) Z(E)", false))
	a.want(frames(t, "E(57014) Z(E)", false))
	a.put(frames(t, "Q(rollback)", true))
	s.quiet() // the request may still hit what comes now
	way.arrive <- nil
	s.want(frames(t, "Q(rollback)", true))
	s.put(frames(t, "C(ROLLBACK) Z", false))
	a.want(frames(t, "C(ROLLBACK) Z", false))
	r.counts("idle", func(c poolCounts) bool { return c.Idle == 1 })
	r.later(2 * time.Hour)
	way.none(t)
}

// The server connection goes to nobody else before the request has arrived.
func TestStatementLimitOutsideATransaction(t *testing.T) {
	r, a, s, way := during(t, "Q(a)")
	b := r.admit(wire.Version30, nil)
	b.greeted()
	b.put(frames(t, "Q(b)", true))
	r.later(61 * time.Minute)
	way.wait(t)
	s.put(frames(t, "E(57014) Z", false))
	a.want(frames(t, "E(57014) Z", false))
	s.quiet()
	way.arrive <- errors.New("failed")
	s.want(frames(t, "Q(b)", true))
	s.put(frames(t, "C(B) Z", false))
	b.want(frames(t, "C(B) Z", false))
	a.put(frames(t, "Q(a)", true))
	s.want(frames(t, "Q(a)", true))
}

// Each statement has the whole limit, wherever it stands.
func TestStatementLimitIsForEachStatement(t *testing.T) {
	const extended = "P(|x) B E S "
	for name, c := range map[string]struct{ request, first, second string }{
		"transactions":        {"Q(a) Q(b)", "C(A) Z", "C(B) Z"},
		"in one Query":        {"Q(a;b)", "C(A)", "C(B) Z"},
		"in one transaction":  {"P(|x) B E E S", "1 2 C(A)", "C(B) Z"},
		"in a pipeline":       {extended + extended, "1 2 C(A) Z", "1 2 C(B) Z"},
		"behind an error":     {extended + extended, "1 E(22012) Z", "1 2 C(B) Z"},
		"suspended":           {"P(|x) B E E S", "1 2 D(1) s", "C(B) Z"},
		"behind an empty one": {"Q() Q(b)", "I Z", "C(B) Z"},
	} {
		t.Run(name, func(t *testing.T) {
			r, a, s, way := during(t, c.request)
			r.later(50 * time.Minute)
			s.put(frames(t, c.first, false))
			a.want(frames(t, c.first, false))
			r.later(50 * time.Minute)
			way.none(t)
			s.put(frames(t, "N(NOTICE:00000)", false))
			a.want(frames(t, "N(NOTICE:00000)", false))
			r.later(11 * time.Minute)
			way.wait(t)
			s.put(frames(t, c.second, false))
			a.want(frames(t, c.second, false))
			way.arrive <- nil
			r.counts("idle", func(c poolCounts) bool { return c.Idle == 1 })
		})
	}
}

// A pipeline without a Sync: only a Flush tells whether the server works.
func TestStatementLimitWithoutSync(t *testing.T) {
	r, a, s, way := during(t, "P(|x) B E")
	r.later(61 * time.Minute)
	s.want(frames(t, "H", true))
	way.none(t)
	r.later(2 * time.Second)
	way.wait(t)
	s.put(frames(t, "1 2 E(57014)", false))
	a.want(frames(t, "1 2 E(57014)", false))
	way.arrive <- nil
	a.put(frames(t, "S", true))
	s.want(frames(t, "S", true))
	s.put(frames(t, "Z", false))
	a.want(frames(t, "Z", false))
	r.counts("idle", func(c poolCounts) bool { return c.Idle == 1 })
}

// A server that does not heed the request is asked again, and then given up.
func TestStatementThatCannotBeCancelled(t *testing.T) {
	r, a, s, way := during(t, "Q(a)")
	r.later(61 * time.Minute)
	way.wait(t)
	way.arrive <- nil
	// Everything that is asked of the loop now comes after the request's arrival.
	eventually(t, "it arrives", func() (arrived bool) {
		r.onLoop(func(h *host) { arrived = h.backends[0].cancels == 0 })
		return arrived
	})
	r.later(4 * time.Second)
	way.none(t)
	r.later(2 * time.Second)
	way.wait(t)
	way.arrive <- errors.New("failed")
	r.later(25 * time.Second)
	if f := a.wantError("FATAL", "08006"); f.Detail == "" {
		t.Errorf("%+v does not say that the outcome is unknown", f)
	}
	a.closed()
	s.closed()
	b := r.admit(wire.Version30, nil)
	b.greeted()
	b.put(frames(t, "Q(b)", true))
	r.server().want(frames(t, "Q(b)", true))
}

// Servers behind some proxies give no key to cancel with.
func TestStatementThatNobodyCanCancel(t *testing.T) {
	play{name: "no key", hold: all(), text: `
		A> Q(a)
		1< Q(a)
		later 61m
		A quiet
		later 31s
		A< !FATAL:08006
		A closed
		1 closed`}.run(t)
	play{name: "in the middle of a row", hold: all(), text: `
		A> Q(a)
		1< Q(a)
		1> D(0123456789)@0:9
		A< D(0123456789)@0:9
		later 61m
		A quiet
		later 31s
		A closed
		1 closed`}.run(t)
	play{name: "after its client has left", hold: all(), text: `
		A> Q(a)
		1< Q(a)
		A close
		B> Q(b)
		later 61m
		1 quiet
		later 31s
		1 closed
		2< Q(b)
		2> C(B) Z
		B< C(B) Z`}.run(t)
	play{name: "a COPY without data", hold: config.Limits{Statement: time.Hour}, text: `
		A> Q(copy)
		1< Q(copy)
		1> G
		A< G
		later 61m
		A quiet
		later 31s
		A< !FATAL:08006
		A closed
		1 closed`}.run(t)
	play{name: "a message that is sent slowly does not run", hold: config.Limits{Statement: time.Hour}, text: `
		A> Q(begin)
		1< Q(begin)
		1> C(BEGIN) Z(T)
		A< C(BEGIN) Z(T)
		A> Q(aaaaaaaaaa)@0:8
		1< Q(aaaaaaaaaa)@0:8
		later 61m
		later 31s
		A> Q(aaaaaaaaaa)@8:
		1< Q(aaaaaaaaaa)@8:
		later 59m
		later 31s
		A quiet
		1> D(x)
		A< D(x)
		later 1m
		later 31s
		A< !FATAL:08006
		A closed
		1 closed`}.run(t)
	play{name: "nor does what comes before it", hold: config.Limits{Statement: time.Hour}, text: `
		A> P(|x) B()@0:8
		1< P(|x) B()@0:8
		later 61m
		later 31s
		A> B()@8: E S
		1< B()@8: E S
		later 59m
		later 31s
		A quiet
		1> 1 2 C(X) Z
		A< 1 2 C(X) Z
		idle 1`}.run(t)
	play{name: "a statement runs while the next is sent", hold: config.Limits{Statement: time.Hour}, text: `
		A> Q(a) Q(aaaaaaaaaa)@0:8
		1< Q(a) Q(aaaaaaaaaa)@0:8
		later 61m
		A quiet
		later 31s
		A< !FATAL:08006
		A closed
		1 closed`}.run(t)
	play{name: "a silent pipeline is nothing that runs", hold: config.Limits{Statement: time.Hour}, text: `
		A> P(|x) B E
		1< P(|x) B E
		later 61m
		1< H
		1> 1 2 C(X)
		A< 1 2 C(X)
		later 61m
		later 61m
		1 quiet
		A> S
		1< S
		1> Z
		A< Z
		idle 1`}.run(t)
}
