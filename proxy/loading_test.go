package proxy

import (
	"strconv"
	"strings"
	"testing"
	"time"

	"pggateway/config"
)

// elsewhere is how a client comes to need its statement on a second server.
const elsewhere = prepareS + `
	B> Q(begin)
	1< Q(begin)
	1> C(BEGIN) Z(T)
	B< C(BEGIN) Z(T)
	A> B(|s) E S
	2< C(pggw_1) P(pggw_1|x) D(pggw_1) H
`

// What may happen while a statement is being prepared on another server.
func TestLoading(t *testing.T) {
	for _, p := range []play{
		{name: "the client leaves", text: elsewhere + `
			A vanish
			2> 3 1 t n
			2< B(|pggw_1) E S
			busy 2`},
		{name: "the client leaves, and the server", text: elsewhere + `
			A vanish
			2 close
			C> Q(c)
			3< Q(c)`},
		{name: "the server leaves", text: elsewhere + `
			2> 3 1
			2 close
			A< !FATAL:08006
			A closed`},
		{name: "the server ends the session", text: elsewhere + `
			2> E(FATAL:57P01)
			A< E(FATAL:57P01)
			2 close
			A closed`},
		{name: "it is cancelled", text: elsewhere + `
			2> 3 E(57014)
			A< E(57014)
			2< B(|s) E S
			2> Z
			A< Z
			A> B(|s) E S
			2< C(pggw_1) P(pggw_1|x) D(pggw_1) H
			2> 3 1 t n
			2< B(|pggw_1) E S`},
		{name: "more is asked for meanwhile", text: elsewhere + `
			A> P(t|y) S B(|s) E S
			2 quiet
			2> 3 1 t n
			2< B(|pggw_1) E S C(pggw_2) P(pggw_2|y) D(pggw_2) S B(|pggw_1) E S
			2> 2 C(X) Z 3 1 t n Z 2 C(X) Z
			A< 2 C(X) Z 1 Z 2 C(X) Z
			live 2`},
		{name: "the client logs out", text: elsewhere + `
			A> raw(X\x00\x00\x00\x04)
			2 quiet
			2> 3 1 t n
			2< B(|pggw_1) E S
			2> 2 C(X) Z
			A< 2 C(X) Z
			A closed
			idle 1`},
		{name: "a notice comes", text: elsewhere + `
			2> 3 N(NOTICE:00000) S(TimeZone=Mars) 1 t n
			2< B(|pggw_1) E S`},
		{name: "in a failed transaction", text: prepareS + `
			B> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			B< C(BEGIN) Z(T)
			A> Q(bad)
			2< Q(bad)
			2> E(42601) Z(E)
			A< E(42601) Z(E)
			A> B(|s) S
			2< C(pggw_1) P(pggw_1|x) D(pggw_1) H
			2> 3 E(25P02)
			A< E(25P02)
			2< B(|s) S
			2> Z(E)
			A< Z(E)`},
		{name: "under a limit for the client", hold: config.Limits{IdleInTransaction: time.Minute}, text: elsewhere + `
			later 2m
			2< H
			2> 3 1 t n
			2< B(|pggw_1) E S
			2> 2 C(X) Z
			A< 2 C(X) Z`},
		{name: "a reply is waited for, under a limit for the client", hold: config.Limits{IdleInTransaction: time.Minute}, text: `
			A> P(s|x) S B(|s) E S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			later 2m
			1> 3 1 t n Z
			A< 1 Z
			1< B(|pggw_1) E S
			1> 2 C(X) Z
			A< 2 C(X) Z`},
		{name: "a message of which half is there, under a limit for the client", hold: config.Limits{IdleInTransaction: time.Minute}, text: prepareS + `
			A> Q(begin) B(|s)@0:7
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			later 2m
			A< !FATAL:25P03
			A closed
			1< raw(X\x00\x00\x00\x04)
			1 closed`},
	} {
		p.size = 3
		p.run(t)
	}
}

// A text means on every server what it meant where it was prepared first.
func TestReadAgain(t *testing.T) {
	other := prepareS + `
		A> Q(set timezone to Mars)
		1< Q(set timezone to Mars)
		1> C(SET) S(TimeZone=Mars) Z
		A< C(SET) S(TimeZone=Mars) Z
		1< values(timezone) S
		1> 3 1 2 value(Mars|UTC) C(SELECT 1) 3 Z
		idle 1
	`
	for _, p := range []play{
		{name: "on another server", size: 2, text: other + `
			B> Q(begin)
			1< revert(timezone) S
			1> 1 2 D C(SELECT 1) S(TimeZone=UTC) Z
			1< Q(begin)
			1> C(BEGIN) Z(T)
			B< C(BEGIN) Z(T)
			A> B(|s) S
			2< apply(timezone=Mars) S
			2> 1 2 D C(SELECT 1) S(TimeZone=Mars) Z
			2< C() reread(TimeZone=UTC) C(pggw_1) P(pggw_1|x) D(pggw_1) reread(TimeZone=Mars) H
			2> 3 3 1 2 D C(SELECT 1) 3 3 1 t n 3 1 2 D C(SELECT 1) 3
			2< B(|pggw_1) S
			2> 2 Z
			A< 2 Z`},
		{name: "not by who reads it differently", text: other + `
			A> P(t|x) B(|s) S
			1< C(pggw_2) P(pggw_2|x) D(pggw_2) B(|pggw_1) S
			1> 3 1 t n 2 Z
			A< 1 2 Z
			idle 1`},
		{name: "where it is not known how, it stays", text: `
			A> P(|set timezone to Mars) B E P(s|x) S
			1< P(|set timezone to Mars) B E P(pggw_1|x) S
			1> 1 2 C(SET) 1 S(TimeZone=Mars) Z
			A< 1 2 C(SET) 1 S(TimeZone=Mars) Z
			pins prepared statement=1/1`},
	} {
		p.run(t)
	}
}

// A statement of which the shape is too long to be kept is not looked for elsewhere.
func TestShapeTooLong(t *testing.T) {
	row := "raw(" + strings.NewReplacer("\x00", `\x00`).Replace(string(message('T', "\x00\x01"+strings.Repeat("n", maxWhole)+strings.Repeat("\x00", 19)))) + ")"
	row = strings.Replace(row, "\x80", `\x80`, 1)
	play{name: "of one column", text: `
		A> P(s|x) S
		1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
		1> 3 1 t ` + row + ` Z
		A< 1 Z
		pins prepared statement=1/1
		A> B(|s) D(s) S
		1< B(|pggw_1) D(pggw_1) S
		1> 2 t ` + row + ` Z
		A< 2 t ` + row + ` Z`}.run(t)
}

// What was not used for the longest time makes room.
func TestLoadedBound(t *testing.T) {
	var text strings.Builder
	const bound = 3
	for i := 1; i <= bound; i++ {
		n := strconv.Itoa(i)
		text.WriteString(`
			A> P(s` + n + `|` + n + `) S
			1< C(pggw_` + n + `) P(pggw_` + n + `|` + n + `) D(pggw_` + n + `) S
			1> 3 1 t n Z
			A< 1 Z`)
	}
	play{name: "the oldest", loaded: bound, text: text.String() + `
		A> B(|s1) S
		1< B(|pggw_1) S
		1> 2 Z
		A< 2 Z
		A> P(s4|4) B(|s1) B(|s4) S
		1< C(pggw_2) C(pggw_4) P(pggw_4|4) D(pggw_4) B(|pggw_1) B(|pggw_4) S
		1> 3 3 1 t n 2 2 Z
		A< 1 2 2 Z
		A> B(|s2) S
		1< C(pggw_3) C(pggw_2) P(pggw_2|2) D(pggw_2) H
		1> 3 3 1 t n
		1< B(|pggw_2) S
		1> 2 Z
		A< 2 Z
		idle 1`}.run(t)
	play{name: "those of one pipeline", loaded: 1, text: `
		A> P(s1|1) P(s2|2) P(s3|3) S
		1< C(pggw_1) P(pggw_1|1) D(pggw_1) C(pggw_2) P(pggw_2|2) D(pggw_2) C(pggw_3) P(pggw_3|3) D(pggw_3) S
		1> 3 1 t n 3 1 t n 3 1 t n Z
		A< 1 1 1 Z
		A> P(s4|4) S
		1< C(pggw_1) C(pggw_2) C(pggw_3) C(pggw_4) P(pggw_4|4) D(pggw_4) S
		1> 3 3 3 3 1 t n Z
		A< 1 Z`}.run(t)
}

// What is forgotten to make room and was not, because of an error before, is
// closed when it is prepared again, and counted.
func TestLoadedBoundAndErrors(t *testing.T) {
	play{name: "skipped", loaded: 1, text: prepareS + `
		A> E P(t|y) S
		1< E C(pggw_1) C(pggw_2) P(pggw_2|y) D(pggw_2) S
		1> E(34000) Z
		A< E(34000) Z
		A> B(|s) S
		1< C(pggw_1) P(pggw_1|x) D(pggw_1) H
		1> 3 1 t n
		1< B(|pggw_1) S`}.run(t)
}

// A drain waits for the statement that a transaction needs.
func TestLoadingDrained(t *testing.T) {
	r := newRig(t, func(_ *config.Config, u *config.Upstream) { u.Pool.Size = 2 })
	p := &player{rig: r, ends: make(map[string]*end)}
	steps := func(text string) {
		for line := range strings.SplitSeq(text, "\n") {
			if line = strings.TrimSpace(line); line != "" {
				p.step(t, line)
			}
		}
	}
	steps(elsewhere)
	r.onLoop(func(h *host) { h.drain() })
	steps(`
		2> 3 1 t n
		2< B(|pggw_1) E S
		2> 2 C(X) Z
		A< 2 C(X) Z
		A< !FATAL:57P01
		A closed
	`)
}
