package proxy

import "testing"

func TestCopy(t *testing.T) {
	for _, p := range []play{
		{name: "in", text: `
			A> Q(copy)
			1< Q(copy)
			1> G
			A< G
			A> d(one) d(two)
			1< d(one) d(two)
			B> Q(b)
			waiting 1
			A> c
			1< c
			1> C(COPY 2) Z
			A< C(COPY 2) Z
			1< Q(b)`},
		{name: "in, everything sent at once", text: `
			A> Q(copy) d(one) c Q(next)
			1< Q(copy) d(one) c Q(next)
			1> G C(COPY 1) Z
			A< G C(COPY 1) Z
			busy 1
			1> C(N) Z
			A< C(N) Z
			idle 1`},
		{name: "out", text: `
			A> Q(copy)
			1< Q(copy)
			1> H d(one) d(two)
			A< H d(one) d(two)
			busy 1
			1> c C(COPY 2) Z
			A< c C(COPY 2) Z
			idle 1`},
		{name: "out, extended", text: `
			A> P(|copy) B D E S
			1< P(|copy) B D E S
			1> 1 2 n H d(one) c C(COPY 1) Z
			A< 1 2 n H d(one) c C(COPY 1) Z
			idle 1`},
		{name: "two in one text", text: `
			A> Q(copy;copy)
			1< Q(copy;copy)
			1> G
			A< G
			A> d(one) c d(two) c
			1< d(one) c d(two) c
			1> C(COPY 1) G C(COPY 1) Z
			A< C(COPY 1) G C(COPY 1) Z
			idle 1
			B> Q(b)
			1< Q(b)
			1> C(B) Z
			B< C(B) Z`},
		{name: "in, as libpq does it", text: `
			A> P(|copy) B D E S
			1< P(|copy) B D E S
			1> 1 2 n G
			A< 1 2 n G
			A> d(one)
			1< d(one)
			A> c S
			1< c S
			1> C(COPY 1) Z
			A< C(COPY 1) Z
			idle 1`},
		{name: "in, as libpq does it, the last Sync late", text: `
			A> P(|copy) B D E S
			1< P(|copy) B D E S
			1> 1 2 n G
			A< 1 2 n G
			A> d(one) c
			1< d(one) c
			B> Q(b)
			waiting 1
			1> C(COPY 1)
			A< C(COPY 1)
			B quiet
			waiting 1
			A> S
			1< S
			1> Z
			A< Z
			1< Q(b)`},
		{name: "in, extended, all at once, twice", text: `
			A> P(|copy) B E d(x) c S P(|copy) B E d(y) c S
			1< P(|copy) B E d(x) c S P(|copy) B E d(y) c S
			1> 1 2 G C(COPY 1) Z 1 2 G C(COPY 1) Z
			A< 1 2 G C(COPY 1) Z 1 2 G C(COPY 1) Z
			idle 1`},
		{name: "in, the next one sent before the first is done", text: `
			A> P(|copy) B E
			1< P(|copy) B E
			1> 1 2 G
			A< 1 2 G
			A> d(x) c S P(|copy) B E d(y) c S
			1< d(x) c S P(|copy) B E d(y) c S
			1> C(COPY 1) Z 1 2 G C(COPY 1) Z
			A< C(COPY 1) Z 1 2 G C(COPY 1) Z
			idle 1`},
		{name: "in, simple, with a Sync that the server ignores", text: `
			A> Q(copy) S
			1< Q(copy) S
			1> G
			A< G
			A> d(x) c
			1< d(x) c
			1> C(COPY 1) Z
			A< C(COPY 1) Z
			idle 1`},
		{name: "the client gives up", text: `
			A> Q(copy)
			1< Q(copy)
			1> G
			A< G
			A> d(x) f(enough)
			1< d(x) f(enough)
			1> E(57014) Z
			A< E(57014) Z
			idle 1`},
		{name: "fails before it begins", text: `
			A> Q(copy) d(x) c
			1< Q(copy) d(x) c
			1> E(42P01) Z
			A< E(42P01) Z
			A> d(y) c
			idle 1
			1 quiet
			B> Q(b)
			1< Q(b)
			1> C(B) Z
			B< C(B) Z`},
		{name: "fails before it begins, as libpq does it", text: `
			A> P(|copy) B D E S
			1< P(|copy) B D E S
			1> E(42P01) Z
			A< E(42P01) Z
			idle 1`},
		{name: "fails in the middle", text: `
			A> Q(copy)
			1< Q(copy)
			1> G
			A< G
			A> d(x)
			1< d(x)
			1> E(22P02) Z
			A< E(22P02) Z
			idle 1
			B> Q(b)
			1< Q(b)
			A> d(y) d(z) c
			A> f(oh) S
			A< Z
			1 quiet
			1> C(B) Z
			B< C(B) Z`},
		{name: "fails with a message half sent", text: `
			A> Q(copy)
			1< Q(copy)
			1> G
			A< G
			A> d(0123456789)@0:8
			1< d(0123456789)@0:8
			1> E(22P02) Z
			A< E(22P02) Z
			B> Q(b)
			waiting 1
			A> d(0123456789)@8:
			1< d(0123456789)@8: Q(b)
			A> d(more) c
			1> C(B) Z
			B< C(B) Z
			1 quiet
			A> Q(a)
			1< Q(a)`},
		{name: "fails after its end was sent", text: `
			A> Q(copy)
			1< Q(copy)
			1> G
			A< G
			A> d(x) c
			1< d(x) c
			1> E(23505) Z
			A< E(23505) Z
			idle 1`},
		{name: "fails in the middle, as libpq does it", text: `
			A> P(|copy) B D E S
			1< P(|copy) B D E S
			1> 1 2 n G
			A< 1 2 n G
			A> d(x)
			1< d(x)
			1> E(22P02)
			A< E(22P02)
			B> Q(b)
			waiting 1
			A> d(y) c
			1< d(y) c
			waiting 1
			A> S
			1< S
			1> Z
			A< Z
			1< Q(b)`},
		{name: "fails after its end and Sync were sent, as libpq does it", text: `
			A> P(|copy) B D E S
			1< P(|copy) B D E S
			1> 1 2 n G
			A< 1 2 n G
			A> d(x) c S
			1< d(x) c S
			1> E(23505) Z
			A< E(23505) Z
			idle 1`},
	} {
		p.run(t)
	}
}

// Who leaves must not cost the pool a server for longer than it takes to make
// another, nor leave anything of itself behind.
func TestClientGone(t *testing.T) {
	for _, p := range []play{
		{name: "idle", text: `
			A close
			B> Q(b)
			1< Q(b)
			1> C(B) Z
			B< C(B) Z`},
		{name: "while waiting", text: `
			A> Q(a)
			1< Q(a)
			B> Q(b)
			waiting 1
			B close
			waiting 0
			1> C(A) Z
			A< C(A) Z
			1 quiet`},
		{name: "in a transaction", text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			A close
			1< X
			1 closed
			B> Q(b)
			2< Q(b)`},
		{name: "in a statement", text: `
			A> Q(a)
			1< Q(a)
			A reset
			B> Q(b)
			waiting 1
			1> T D(x) C(A) Z
			1< Q(DISCARD ALL)
			1> C(DISCARD ALL) Z
			1< Q(b)
			1> C(B) Z
			B< C(B) Z`},
		{name: "in a statement that leaves a transaction open", text: `
			A> Q(begin)
			1< Q(begin)
			A reset
			1> C(BEGIN) Z(T)
			1< X
			1 closed
			B> Q(b)
			2< Q(b)`},
		{name: "in a statement that turns out to be a COPY", text: `
			A> Q(copy)
			1< Q(copy)
			A reset
			1> G
			1< X
			1 closed
			B> Q(b)
			2< Q(b)`},
		{name: "in the middle of a COPY", text: `
			A> Q(copy)
			1< Q(copy)
			1> G
			A< G
			A> d(x)
			1< d(x)
			A close
			1< X
			1 closed
			B> Q(b)
			2< Q(b)`},
		{name: "after the end of a COPY was sent", text: `
			A> Q(copy)
			1< Q(copy)
			1> G
			A< G
			A> d(x) c
			1< d(x) c
			A close
			1> C(COPY 1) Z
			1< Q(DISCARD ALL)
			1> C(DISCARD ALL) Z
			idle 1`},
		{name: "with a message half sent", text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			A> Q(abcdef)@0:8
			1< Q(abcdef)@0:8
			A close
			1 closed`},
		{name: "unsynced", text: `
			A> P(|a) B E
			1< P(|a) B E
			A close
			1< X
			1 closed`},
		{name: "after an error before the Sync", text: `
			A> P(|a) H
			1< P(|a) H
			1> E(42601)
			A< E(42601)
			A close
			1< X
			1 closed`},
		{name: "pinned", text: `
			A> Q(x)
			1< Q(x)
			1> C(SET) Z
			A< C(SET) Z
			busy 1
			A close
			1< Q(DISCARD ALL)
			B> Q(b)
			waiting 1
			1> C(DISCARD ALL) Z
			1< Q(b)`},
		{name: "pinned, and the reset is refused", text: `
			A> Q(x)
			1< Q(x)
			1> C(SET) Z
			A< C(SET) Z
			A close
			1< Q(DISCARD ALL)
			1> E(25006) Z
			1< X
			1 closed
			B> Q(b)
			2< Q(b)`},
		{name: "Terminate behind a query", text: `
			A> Q(a) X
			1< Q(a)
			1> T D(x) C(A) Z
			A< T D(x) C(A) Z
			A closed
			idle 1
			1 quiet`},
		{name: "Terminate behind the end of a COPY", text: `
			A> Q(copy)
			1< Q(copy)
			1> G
			A< G
			A> d(x) c X
			1< d(x) c
			1 quiet
			1> C(COPY 1) Z
			A< C(COPY 1) Z
			A closed
			idle 1`},
		{name: "Terminate behind a statement that turns out to be a COPY", text: `
			A> Q(copy) X
			1< Q(copy)
			1> G
			A< G
			A closed
			1< X
			1 closed`},
		{name: "Terminate behind unsynced messages", text: `
			A> P(|a) B E X
			1< P(|a) B E H
			1> 1 2 C(A)
			A< 1 2 C(A)
			A closed
			1< X
			1 closed`},
		{name: "Terminate in a transaction", text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			A> X
			A closed
			1< X
			1 closed`},
		{name: "Terminate, idle", text: `
			A> X
			A closed
			idle 1`},
	} {
		p.run(t)
	}
}
