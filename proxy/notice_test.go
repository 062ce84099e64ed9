package proxy

import (
	"strings"
	"testing"
	"time"

	"pggateway/config"
	"pggateway/wire"
)

func noticing(c *config.Config, _ *config.Upstream) { c.Limits.WaitNotice = moment }

// wantNotice reads a NoticeResponse.
func (e *end) wantNotice(detail ...string) {
	e.t.Helper()
	typ, body := e.message()
	f, ok := wire.ParseFields(body)
	if typ != wire.NoticeResponse || !ok || f.Severity != "NOTICE" || f.Code != "00000" || !strings.Contains(f.Message, `"orders"`) {
		e.t.Fatalf("got message %q %+v, want a notice about orders", typ, f)
	}
	for _, d := range detail {
		if !strings.Contains(f.Detail, d) {
			e.t.Errorf("the detail is %q, want %q in it", f.Detail, d)
		}
	}
}

func TestWaitNotice(t *testing.T) {
	r := newRig(t, noticing)
	a, b := r.admit(wire.Version30, nil), r.admit(wire.Version30, nil)
	a.greeted()
	b.greeted()
	s := r.server()
	a.put(frames(t, "Q(a)", true))
	s.want(frames(t, "Q(a)", true))
	for range 2 { // in each wait
		b.put(frames(t, "Q(b)", true))
		b.wantNotice("at most 1 connections", "1 in use", "0 of these pinned", "waiting clients: 1")
		r.onLoop(func(h *host) { h.enforce(); h.enforce() })
		b.quiet() // once
		s.put(frames(t, "C(A) Z", false))
		a.want(frames(t, "C(A) Z", false))
		s.want(frames(t, "Q(b)", true))
		a.put(frames(t, "Q(a)", true)) // waits, too
		a.wantNotice()
		s.put(frames(t, "C(B) Z", false))
		b.want(frames(t, "C(B) Z", false))
		s.want(frames(t, "Q(a)", true))
	}
}

// At login AuthenticationOk has to come before it, and comes once.
func TestWaitNoticeAtLogin(t *testing.T) {
	r := newRig(t, noticing)
	opened := make(chan struct{})
	r.mu.Lock()
	r.block = opened
	r.mu.Unlock()
	a := r.admit(wire.Version30, nil)
	a.want(wire.AppendAuthenticationOK(nil))
	a.wantNotice("1 being opened")
	close(opened)
	for typ := byte(0); typ != wire.ReadyForQuery; {
		var body []byte
		if typ, body = a.message(); typ == wire.Authentication || typ == wire.NoticeResponse {
			t.Fatalf("got a second message %q %q", typ, body)
		}
	}
	a.put(frames(t, "Q(a)", true))
	r.server().want(frames(t, "Q(a)", true))
}

func TestWaitNoticeBeforeAFailedLogin(t *testing.T) {
	r := newRig(t, noticing)
	r.failing(down{})
	opened := make(chan struct{})
	r.mu.Lock()
	r.block = opened
	r.mu.Unlock()
	a := r.admit(wire.Version30, nil)
	a.want(wire.AppendAuthenticationOK(nil))
	a.wantNotice()
	close(opened)
	a.wantError("FATAL", "08001")
	a.closed()
}

// The ticker looks often enough by itself, for each of the limits.
func TestLimitsAreWatched(t *testing.T) {
	begin := func(t *testing.T, l config.Limits) (*rig, *end, *end) {
		r := newRig(t, func(c *config.Config, _ *config.Upstream) { c.Limits = l })
		a := r.admit(wire.Version30, nil)
		a.greeted()
		s := r.server()
		a.put(frames(t, "Q(begin)", true))
		s.want(frames(t, "Q(begin)", true))
		return r, a, s
	}
	t.Run("idle_in_transaction", func(t *testing.T) {
		_, a, s := begin(t, config.Limits{IdleInTransaction: moment})
		s.put(frames(t, "C(BEGIN) Z(T)", false))
		a.want(frames(t, "C(BEGIN) Z(T)", false))
		a.wantError("FATAL", "25P03")
		a.closed()
	})
	t.Run("statement", func(t *testing.T) {
		r, _, _ := begin(t, config.Limits{Statement: 3 * time.Hour})
		way := r.divert()
		r.onLoop(func(h *host) {
			h.limits.statement, h.limits.tick = moment, leastTick
			h.watch()
		})
		way.wait(t)
		way.arrive <- nil
	})
	t.Run("client_idle", func(t *testing.T) {
		_, a, s := begin(t, config.Limits{ClientIdle: moment})
		s.put(frames(t, "C(BEGIN) Z", false))
		a.want(frames(t, "C(BEGIN) Z", false))
		a.wantError("FATAL", "57P05")
		a.closed()
	})
}
