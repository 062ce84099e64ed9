package proxy

import (
	"testing"

	"pggateway/config"
)

// Each play ends with another client's query served by the same server, or with
// a look at who waits: a server that is released too early answers the wrong
// client, one that is never released leaves the other waiting.
func TestRelease(t *testing.T) {
	for _, p := range []play{
		{name: "after a transaction", text: `
			A> Q(select 1)
			1< Q(select 1)
			1> T D(one) C(SELECT 1) Z
			A< T D(one) C(SELECT 1) Z
			idle 1
			B> Q(select 2)
			1< Q(select 2)
			1> C(SELECT 1) Z
			B< C(SELECT 1) Z
			A quiet`},
		{name: "waiters are served in order", text: `
			A> Q(a)
			1< Q(a)
			B quiet
			C quiet
			D quiet
			C> Q(c)
			waiting 1
			B> Q(b)
			waiting 2
			D> Q(d)
			waiting 3
			1> C(A) Z
			A< C(A) Z
			A> Q(again)
			1< Q(c)
			waiting 3
			1> C(C) Z
			C< C(C) Z
			1< Q(b)
			1> C(B) Z
			B< C(B) Z
			1< Q(d)
			1> C(D) Z
			D< C(D) Z
			1< Q(again)
			1> C(A) Z
			A< C(A) Z`},
		{name: "not in a transaction", text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			B> Q(select 2)
			waiting 1
			A> Q(x)
			1< Q(x)
			1> E(22012) Z(E)
			A< E(22012) Z(E)
			B quiet
			waiting 1
			A> Q(rollback)
			1< Q(rollback)
			1> C(ROLLBACK) Z
			A< C(ROLLBACK) Z
			1< Q(select 2)`},
		{name: "not before ReadyForQuery is there whole", text: `
			A> Q(a)
			1< Q(a)
			B> Q(b)
			waiting 1
			1> C(A) Z@0:5
			A< C(A)
			waiting 1
			1> Z@5:
			A< Z
			1< Q(b)`},
		{name: "not with unsynced messages", text: `
			A> P(|a) B E
			1< P(|a) B E
			B> Q(b)
			waiting 1
			A> H
			1< H
			1> 1 2 C(A)
			A< 1 2 C(A)
			waiting 1
			A> S
			1< S
			1> Z
			A< Z
			1< Q(b)`},
		{name: "not with a message half sent", text: `
			A> Q(a)
			1< Q(a)
			B> Q(b)
			waiting 1
			A> Q(other)@0:7
			1< Q(other)@0:7
			1> C(A) Z
			A< C(A) Z
			waiting 1
			A> Q(other)@7:
			1< Q(other)@7:
			1> C(S) Z
			A< C(S) Z
			1< Q(b)`},
		{name: "a header in pieces holds no server", text: `
			A> Q(a)
			1< Q(a)
			B> Q(b)
			waiting 1
			A> Q(other)@0:4
			1> C(A) Z
			A< C(A) Z
			1< Q(b)
			1> C(B) Z
			B< C(B) Z
			A> Q(other)@4:
			1< Q(other)`},
		{name: "pipelined simple queries", text: `
			A> Q(a) Q(b) Q(c)
			1< Q(a) Q(b) Q(c)
			B> Q(other)
			waiting 1
			1> C(A) Z
			A< C(A) Z
			1> C(B) Z
			A< C(B) Z
			waiting 1
			1> C(C) Z
			A< C(C) Z
			1< Q(other)`},
		{name: "session mode keeps the server to the end", mode: config.PoolSession, text: `
			A> Q(a)
			1< Q(a)
			1> C(A) Z
			A< C(A) Z
			B> Q(b)
			waiting 1
			A> Q(discard all)
			1< Q(discard all)
			1> C(DISCARD ALL) Z
			A< C(DISCARD ALL) Z
			waiting 1
			A> X
			A closed
			1< Q(DISCARD ALL)
			1> C(DISCARD ALL) Z
			1< Q(b)`},
		{name: "a second connection where the pool has room", size: 2, text: `
			A> Q(a)
			1< Q(a)
			B> Q(b)
			2< Q(b)
			2> C(B) Z
			B< C(B) Z
			1> C(A) Z
			A< C(A) Z
			idle 2`},
		{name: "function calls", text: `
			A> F(x) F(y)
			1< F(x) F(y)
			1> V(1) Z
			A< V(1) Z
			B> Q(b)
			waiting 1
			1> E(42883) Z
			A< E(42883) Z
			1< Q(b)`},
		{name: "an empty query", text: `
			A> Q()
			1< Q()
			1> I Z
			A< I Z
			idle 1`},
		{name: "notices and parameters come through", text: `
			A> Q(a)
			1< Q(a)
			1> N(00000) S(TimeZone=GMT) C(A) Z
			A< N(00000) S(TimeZone=GMT) C(A) Z`},
		{name: "half a message takes no backend", text: `
			A> Q(half)@0:7
			B> Q(b)
			1< Q(b)
			1> C(B) Z
			B< C(B) Z
			A> Q(half)@7:
			1< Q(half)
			1> C(A) Z
			A< C(A) Z
			idle 1`},
	} {
		p.run(t)
	}
}

func TestExtended(t *testing.T) {
	for _, p := range []play{
		{name: "a pipeline", text: `
			A> P(|a) B D E S P(|b) B E S
			1< P(|a) B D E S P(|b) B E S
			B> Q(b)
			waiting 1
			1> 1 2 T D(x) C(A) Z
			A< 1 2 T D(x) C(A) Z
			waiting 1
			1> 1 2 C(B) Z
			A< 1 2 C(B) Z
			1< Q(b)`},
		{name: "an error after the Sync was sent", text: `
			A> P(|a) B D E C() S P(|b) B E S
			1< P(|a) B D E C() S P(|b) B E S
			1> 1 E(42P01) Z
			A< 1 E(42P01) Z
			B> Q(b)
			waiting 1
			1> 1 2 C(B) Z
			A< 1 2 C(B) Z
			1< Q(b)`},
		{name: "an error before the Sync was sent", text: `
			A> P(|a) H
			1< P(|a) H
			1> E(42601)
			A< E(42601)
			B> Q(b)
			waiting 1
			A> B E Q(ignored) F(ignored) H
			1< B E Q(ignored) F(ignored) H
			waiting 1
			A> S
			1< S
			1> Z
			A< Z
			1< Q(b)`},
		{name: "an error at Sync", text: `
			A> P(|a) B E S
			1< P(|a) B E S
			1> 1 2 C(A) E(23503) Z
			A< 1 2 C(A) E(23503) Z
			idle 1`},
		{name: "Flush", text: `
			A> P(|a) D H
			1< P(|a) D H
			1> 1 t T
			A< 1 t T
			A> B E H
			1< B E H
			1> 2 C(A)
			A< 2 C(A)
			A> C() S
			1< C() S
			1> 3 Z
			A< 3 Z
			idle 1`},
		{name: "suspended portals", text: `
			A> P(|a) B E H
			1< P(|a) B E H
			1> 1 2 D(1) s
			A< 1 2 D(1) s
			A> E E S
			1< E E S
			1> D(2) s D(3) C(SELECT 1) Z
			A< D(2) s D(3) C(SELECT 1) Z
			idle 1`},
		{name: "statements without rows", text: `
			A> P(|) B D E S
			1< P(|) B D E S
			1> 1 2 n I Z
			A< 1 2 n I Z
			idle 1`},
		{name: "inside a transaction", text: `
			A> Q(begin) P(|a) B E S
			1< Q(begin) P(|a) B E S
			1> C(BEGIN) Z(T) 1 2 E(22012) Z(E)
			A< C(BEGIN) Z(T) 1 2 E(22012) Z(E)
			busy 1
			A> Q(rollback)
			1< Q(rollback)
			1> C(ROLLBACK) Z
			A< C(ROLLBACK) Z
			idle 1`},
		{name: "Sync alone is answered without a server", text: `
			A> S S
			A< Z Z
			idle 1`},
		{name: "Flush and late COPY messages need no server", text: `
			A> H d(x) c f(y) S
			A< Z
			idle 1`},
		{name: "an unnamed statement keeps the server when another that was bound does not exist", text: `
			A> P(|a) B(|oops) E S
			1< P(|a) B(|oops) E S
			1> 1 E(26000) Z
			A< 1 E(26000) Z
			B> Q(b)
			waiting 1
			A> B E S
			1< B E S`},
		{name: "an unnamed statement that is used later keeps the server until then", text: `
			A> P(|a) D S
			1< P(|a) D S
			1> 1 t T Z
			A< 1 t T Z
			B> Q(b)
			waiting 1
			A> B E S
			1< B E S
			1> 2 C(A) Z
			A< 2 C(A) Z
			1< Q(b)`},
		{name: "whatever is skipped meanwhile", text: `
			A> P(|a) S
			1< P(|a) S
			1> 1 Z
			A< 1 Z
			A> P(n|selekt) P(|b) B E S
			1< C(pggw_1) P(pggw_1|selekt) D(pggw_1) P(|b) B E S
			1> 3 E(42601) Z
			A< E(42601) Z
			B> Q(b)
			waiting 1
			A> B E S
			1< B E S
			1> 2 C(A) Z
			A< 2 C(A) Z
			1< Q(b)`},
		{name: "or until it fails to be replaced", text: `
			A> P(|a) S
			1< P(|a) S
			1> 1 Z
			A< 1 Z
			B> Q(b)
			waiting 1
			A> P(|selekt) B E S
			1< P(|selekt) B E S
			1> E(42601) Z
			A< E(42601) Z
			1< Q(b)`},
		{name: "or until another takes its place", text: `
			A> P(|a) S
			1< P(|a) S
			1> 1 Z
			A< 1 Z
			B> Q(b)
			waiting 1
			A> P(|c) B E S
			1< P(|c) B E S
			1> 1 2 C(A) Z
			A< 1 2 C(A) Z
			1< Q(b)`},
	} {
		p.run(t)
	}
}
