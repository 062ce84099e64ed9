package proxy

import (
	"testing"
	"time"

	"pggateway/config"
	"pggateway/wire"
)

// later makes everything that limits go by as much older, and enforces them.
func (r *rig) later(d time.Duration) {
	r.t.Helper()
	r.onLoop(func(h *host) {
		for _, b := range h.backends {
			for _, at := range []*time.Duration{
				&b.requests.since, &b.uploading, &b.probed.since, &b.probed.at, &b.expiry.of, &b.expiry.first, &b.expiry.latest,
			} {
				*at -= d
			}
		}
		for s := h.sessions; s != nil; s = s.next {
			s.heard -= d
			if s.backlog != nil {
				s.backlog.since -= d
			}
		}
		h.enforce()
		h.loop.Cancel(h.sweeper)
		h.sweep()
	})
}

// all are limits that only later reaches.
func all() config.Limits {
	return config.Limits{ClientIdle: 3 * time.Hour, IdleInTransaction: 10 * time.Minute, Statement: time.Hour}
}

func TestIdleInTransaction(t *testing.T) {
	for _, p := range []play{
		{name: "in a transaction", text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			B> Q(b)
			waiting 1
			later 9m
			A quiet
			A> Q(a)
			1< Q(a)
			1> C(A) Z(T)
			A< C(A) Z(T)
			later 9m
			A quiet
			later 2m
			A< !FATAL:25P03
			A closed
			1< X
			1 closed
			2< Q(b)
			2> C(B) Z
			B< C(B) Z
			later 1h
			B quiet
			idle 1`},
		{name: "in a failed transaction", text: `
			A> Q(begin;x)
			1< Q(begin;x)
			1> C(BEGIN) E(42601) Z(E)
			A< C(BEGIN) E(42601) Z(E)
			later 11m
			A< !FATAL:25P03
			A closed
			1< X`},
		{name: "a statement that runs is not idle", text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			A> Q(a)
			1< Q(a)
			later 50m
			A quiet
			1> C(A) Z(T)
			A< C(A) Z(T)
			later 9m
			A quiet`},
		{name: "a pipeline without its Sync", text: `
			A> P(|x) B E
			1< P(|x) B E
			later 2s
			1< H
			1> 1 2 C(X)
			A< 1 2 C(X)
			later 9m
			A quiet
			later 2m
			A< !FATAL:25P03
			A closed
			1< X`},
		{name: "a pipeline that is at work", text: `
			A> P(|x) B E
			1< P(|x) B E
			later 2s
			1< H
			1> 1 2
			A< 1 2
			later 20m
			1 quiet
			A quiet
			A> S
			1< S
			1> C(X) Z
			A< C(X) Z
			idle 1`},
		{name: "a pipeline with an error and no Sync", text: `
			A> P(|x) H
			1< P(|x) H
			1> E(42601)
			A< E(42601)
			later 11m
			A< !FATAL:25P03
			A closed
			1< X`},
		{name: "a COPY without data", text: `
			A> Q(copy)
			1< Q(copy)
			later 20m
			A quiet
			1> G
			A< G
			later 9m
			A quiet
			A> d(1)
			1< d(1)
			later 9m
			A quiet
			later 2m
			A< !FATAL:25P03
			A closed
			1< X
			1 closed`},
		{name: "half a message", text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			A> Q(aaaaaaaaaa)@0:8
			1< Q(aaaaaaaaaa)@0:8
			later 9m
			A> Q(aaaaaaaaaa)@8:9
			1< Q(aaaaaaaaaa)@8:9
			later 2m
			A< !FATAL:25P03
			A closed
			1 closed`},
		{name: "outside a transaction", text: `
			A> Q(a)
			1< Q(a)
			1> C(A) Z
			A< C(A) Z
			later 2h
			A quiet
			later 61m
			A< !FATAL:57P05
			A closed
			idle 1`},
		{name: "half a message outside a transaction", text: `
			A> Q(a)@0:3
			A quiet
			later 2h
			A> Q(a)@3:6
			A quiet
			later 61m
			A< !FATAL:57P05
			A closed`},
		{name: "a Sync is a sign of life", text: `
			A> S
			A< Z
			later 2h
			A> S
			A< Z
			later 2h
			A quiet`},
		{name: "who was served is idle from then on", text: `
			A> Q(a)
			1< Q(a)
			later 4h
			A quiet
			1> C(A) Z
			A< C(A) Z
			later 2h
			A quiet
			later 2h
			A< !FATAL:57P05
			A closed`},
		{name: "a pinned client between transactions", text: `
			A> Q(x)
			1< Q(x)
			1> C(SET) Z
			A< C(SET) Z
			later 2h
			A quiet
			1> A(xxxxxxxx)
			A< A(xxxxxxxx)
			later 61m
			A< !FATAL:57P05
			A closed
			1< Q(DISCARD ALL)
			1> C(DISCARD ALL) Z
			idle 1`},
		{name: "a pinned client in a transaction", mode: config.PoolSession, text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			later 11m
			A< !FATAL:25P03
			A closed
			1< X`},
	} {
		p.hold = all()
		if p.name == "who was served is idle from then on" {
			p.hold.Statement = 0
		}
		p.run(t)
	}
}

// A pool that is no longer used leaves another in its place alone.
func TestForgottenHost(t *testing.T) {
	r := newRig(t, nil)
	r.admit(wire.Version30, nil).greeted()
	r.onLoop(func(h *host) {
		old := newHost(h.proxy, h.key, h.upstream, h.target, h.loop)
		if !h.proxy.forget(old) {
			t.Error("nobody uses it, and it is kept")
		}
	})
	found := false
	r.onLoop(func(h *host) { found = h != nil })
	if !found {
		t.Error("the one in use was forgotten")
	}
}
