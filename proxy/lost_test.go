package proxy

import (
	"strings"
	"testing"
	"time"

	"pggateway/config"
	"pggateway/wire"
)

func TestServerLost(t *testing.T) {
	// What the server says in the place of an answer ends its connection: the
	// client that asked is told, another one is served by a new connection.
	bad := func(say, before string) string {
		return `
			B quiet
			A> Q(a)
			1< Q(a)
			1> ` + say + `
			A< ` + before + ` !FATAL:08006
			A closed
			1 closed
			B> Q(b)
			2< Q(b)
			2> C(B) Z
			B< C(B) Z`
	}
	idle := func(say string) string {
		return `
			A quiet
			1> ` + say + `
			live 0
			1 closed
			A> Q(a)
			2< Q(a)
			2> C(A) Z
			A< C(A) Z`
	}
	for _, p := range []play{
		{name: "idle", text: `
			A quiet
			1 close
			live 0
			A> Q(a)
			2< Q(a)`},
		{name: "in a statement", text: `
			A> Q(a)
			1< Q(a)
			B> Q(b)
			waiting 1
			1 close
			A< !FATAL:08006
			A closed
			2< Q(b)`},
		{name: "in a transaction", text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			1 reset
			A< !FATAL:08006
			A closed`},
		{name: "pinned", text: `
			A> Q(x)
			1< Q(x)
			1> C(SET) Z
			A< C(SET) Z
			1 close
			A< !FATAL:08006
			A closed`},
		{name: "with its own FATAL", text: `
			A> Q(a)
			1< Q(a)
			1> E(FATAL:57P01)
			1 close
			A< E(FATAL:57P01)
			A closed
			live 0`},
		{name: "with its own FATAL, pinned and idle", text: `
			A> Q(x)
			1< Q(x)
			1> C(SET) Z
			A< C(SET) Z
			1> E(FATAL:57P05)
			1 close
			A< E(FATAL:57P05)
			A closed`},
		{name: "in the middle of a message", text: `
			A> Q(a)
			1< Q(a)
			1> T D(0123456789)@0:8
			A< T D(0123456789)@0:8
			1 close
			A closed`},
		{name: "garbage after half a row", text: `
			A> Q(a)
			1< Q(a)
			1> D(0123456789)@0:8
			A< D(0123456789)@0:8
			1> D(0123456789)@8: raw(!\x00\x00\x00\x04)
			A< D(0123456789)@8: !FATAL:08006
			A closed`},
		{name: "length too short", text: bad(`T raw(D\x00\x00\x00\x03)`, "T")},
		{name: "length too long", text: bad(`raw(D\x7f\x00\x00\x00)`, "")},
		{name: "unknown message", text: bad(`raw(!\x00\x00\x00\x04)`, "")},
		{name: "authentication anew", text: bad(`raw(R\x00\x00\x00\x08\x00\x00\x00\x03)`, "")},
		{name: "another key", text: bad(`raw(K\x00\x00\x00\x0c\x00\x00\x00\x03\x00\x00\x00\x03)`, "")},
		{name: "parameter without end", text: bad(`raw(S\x00\x00\x00\x08x\x00yz)`, "")},
		{name: "ReadyForQuery twice", text: bad(`C(A) Z Z`, "C(A) Z")},
		{name: "ReadyForQuery in an unknown status", text: bad(`C(A) Z(Q)`, "C(A)")},
		{name: "ReadyForQuery without status", text: bad(`raw(Z\x00\x00\x00\x04)`, "")},
		{name: "ReadyForQuery of great length", text: bad(`raw(Z\x00\x01\x00\x04)`, "")},
		{name: "extended replies to a simple query", text: bad(`1`, "")},
		{name: "BindComplete to a simple query", text: bad(`2`, "")},
		{name: "CopyBoth", text: bad(`raw(W\x00\x00\x00\x07\x00\x00\x00)`, "")},
		{name: "CommandComplete without a tag is nobody's end", text: `
			A> Q(a)
			1< Q(a)
			1> raw(C\x00\x00\x00\x04) Z
			A< raw(C\x00\x00\x00\x04) Z
			idle 1`},
		{name: "rows in answer to Parse", text: `
			A> P(|a) B E S
			1< P(|a) B E S
			1> D(x)
			A< !FATAL:08006
			A closed`},
		{name: "an error nobody asked for, pinned", text: `
			A> Q(x)
			1< Q(x)
			1> C(SET) Z
			A< C(SET) Z
			1> E(XX000)
			A< !FATAL:08006
			A closed`},
		{name: "idle: its own FATAL", text: idle("E(FATAL:57P01)")},
		{name: "idle: an error", text: idle("E(XX000)")},
		{name: "idle: a notice", text: idle("N(00000)")},
		{name: "idle: a notification", text: idle(`A(x)`)},
		{name: "idle: rows", text: idle("D(x)")},
		{name: "idle: ReadyForQuery", text: idle("Z")},
	} {
		p.run(t)
	}
}

// Endless parameters must not fill the memory.
func TestEndlessParameters(t *testing.T) {
	r := newRig(t, nil)
	c := r.admit(wire.Version30, nil)
	c.greeted()
	c.put(frames(t, "Q(a)", true))
	s := r.server()
	s.want(frames(t, "Q(a)", true))
	var b []byte
	for i := range maxStatus + 10 {
		b = wire.AppendParameterStatus(b, wire.Parameter{Name: strings.Repeat("x", i+1), Value: "y"})
	}
	s.put(b)
	for {
		if typ, body := c.message(); typ == wire.ErrorResponse {
			if f, _ := wire.ParseFields(body); f.Code != "08006" {
				t.Errorf("got %+v, want 08006", f)
			}
			break
		}
	}
}

func TestRefusals(t *testing.T) {
	const soon = 150 * time.Millisecond
	for _, p := range []play{
		{name: "nothing free in time", wait: soon, text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			B> Q(b)
			B< !ERROR:53300 Z
			B> P(|b) B D E S
			B< !ERROR:53300 Z
			B> P(|b) B E H
			B< !ERROR:53300
			B> Q(ignored) F(ignored) X@0:3
			B quiet
			A> Q(commit)
			1< Q(commit)
			1> C(COMMIT) Z
			A< C(COMMIT) Z
			1 quiet`},
		{name: "skipped up to the Sync, then served", wait: soon, text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			B> P(|b) H
			B< !ERROR:53300
			A> Q(commit)
			1< Q(commit)
			1> C(COMMIT) Z
			A< C(COMMIT) Z
			B> B E S
			B< Z
			B> Q(b)
			1< Q(b)
			1> C(B) Z
			B< C(B) Z`},
		{name: "a message in two parts", wait: soon, text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			B> Q(insert)@0:9
			B quiet
			B> Q(insert)@9:
			B< !ERROR:53300 Z
			A> Q(commit)
			1< Q(commit)
			1> C(COMMIT) Z
			A< C(COMMIT) Z
			B> Q(b)
			1< Q(b)`},
		{name: "two queries, two answers", wait: soon, text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			B> Q(b) Q(c)
			B< !ERROR:53300 Z !ERROR:53300 Z
			B> S
			B< Z`},
		{name: "not a message", text: `
			A> raw(!\x00\x00\x00\x04)
			A< !FATAL:08P01
			A closed`},
		{name: "a password after the login", text: `
			A> raw(p\x00\x00\x00\x05\x00)
			A< !FATAL:08P01
			A closed`},
		{name: "too short", text: `
			A> raw(Q\x00\x00\x00\x03)
			A< !FATAL:08P01
			A closed`},
		{name: "too long", text: `
			A> raw(Q\x7f\xff\xff\xff)
			A< !FATAL:54000
			A closed`},
		{name: "garbage in a pipeline", text: `
			A> Q(a) raw(!!!!!)
			1< Q(a)
			A< !FATAL:08P01
			A closed
			1> C(A) Z
			1< Q(DISCARD ALL)`},
		{name: "garbage while a reply is half through", text: `
			A> Q(a)
			1< Q(a)
			1> D(0123456789)@0:8
			A< D(0123456789)@0:8
			A> raw(!!!!!)
			A closed`},
	} {
		p.run(t)
	}
}

func TestUpstreamDown(t *testing.T) {
	r := newRig(t, nil)
	r.failing(down{})
	a := r.admit(wire.Version30, nil)
	if f := a.wantError("FATAL", "08001"); f.Detail != (down{}).Public() || strings.Contains(f.Message, "10.0") {
		t.Errorf("told %+v", f)
	}
	a.closed()
	r.failing(nil)
	var b *end
	for { // the pool does not try again at once
		b = r.admit(wire.Version30, nil)
		if typ := b.read(1)[0]; typ == wire.Authentication {
			break
		}
		_ = b.Close()
		time.Sleep(20 * time.Millisecond)
	}
	b.read(8)
	for typ := byte(0); typ != wire.ReadyForQuery; {
		typ, _ = b.message()
	}
	r.failing(down{})
	_ = r.server().Close()
	r.counts("none", func(c poolCounts) bool { return c.Idle == 0 })
	b.put(frames(t, "Q(a)", true))
	b.wantError("ERROR", "57P03")
	b.want(frames(t, "Z", false))
	b.put(frames(t, "P(|a) B E S", true))
	b.wantError("ERROR", "57P03")
	b.want(frames(t, "Z", false))
}

// A waiter whose connection never gets ready must not wait for ever: nothing
// else ticks while the pool has no connection.
func TestWaitEndsWhileOpening(t *testing.T) {
	r := newRig(t, func(_ *config.Config, u *config.Upstream) { u.Pool.WaitTimeout = 100 * time.Millisecond })
	c := r.admit(wire.Version30, nil)
	c.greeted()
	r.mu.Lock()
	r.block = make(chan struct{})
	r.mu.Unlock()
	_ = r.server().Close()
	r.counts("none", func(c poolCounts) bool { return c.Idle+c.Busy == 0 })
	time.Sleep(idleTick + 200*time.Millisecond) // the ticker has stopped
	c.put(frames(t, "Q(a)", true))
	c.wantError("ERROR", "53300")
	c.want(frames(t, "Z", false))
}

func TestLoginTimeout(t *testing.T) {
	for _, limit := range []time.Duration{0, 100 * time.Millisecond} {
		r := newRig(t, func(c *config.Config, _ *config.Upstream) { c.Limits.LoginTimeout = limit })
		r.mu.Lock()
		r.block = make(chan struct{})
		r.mu.Unlock()
		c := r.admit(wire.Version30, nil)
		if limit > 0 {
			c.wantError("FATAL", "08001")
			c.closed()
			continue
		}
		c.quiet()
		close(r.block)
		c.greeted()
	}
}
