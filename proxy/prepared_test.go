package proxy

import "testing"

// What a client prepares is its own, on whichever server it is served, and costs
// it no server between its transactions. In these plays the gateway's name for
// the first statement is pggw_1; what prepares it is C(pggw_1) P(pggw_1|…)
// D(pggw_1), of whose answers 3 1 t n the client gets those to its own requests.
func TestPreparedStatements(t *testing.T) {
	for _, p := range []play{
		{name: "prepared once, used in later transactions", text: `
			A> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			A< 1 Z
			idle 1
			A> B(|s) E S
			1< B(|pggw_1) E S
			1> 2 C(X) Z
			A< 2 C(X) Z
			A> D(s) S
			1< D(pggw_1) S
			1> t n Z
			A< t n Z
			idle 1`},
		{name: "on another server", size: 2, text: `
			A> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			A< 1 Z
			B> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			B< C(BEGIN) Z(T)
			A> B(|s) E S
			2< C(pggw_1) P(pggw_1|x) D(pggw_1) H
			2> 3 1 t n
			2< B(|pggw_1) E S
			2> 2 C(X) Z
			A< 2 C(X) Z
			A> B(p|s) S
			2< B(p|pggw_1) S
			2> 2 Z
			A< 2 Z`},
		{name: "in pipelines, cut anywhere", size: 2, text: `
			A> P(s|x)@0:3
			A> P(s|x)@3:6
			A> P(s|x)@6: B(por|s)@0:8
			A> B(por|s)@8: D(s)@0:5
			A> D(s)@5:6
			A> D(s)@6: E S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) B(por|pggw_1) D(pggw_1) E S
			1> 3 1 t n 2 t n C(X) Z
			A< 1 2 t n C(X) Z
			idle 1`},
		{name: "shared by those who prepare the same", text: `
			A> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			A< 1 Z
			B> P(other|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			B< 1 Z
			B> P(s|y) S
			1< C(pggw_2) P(pggw_2|y) D(pggw_2) S
			1> 3 1 t n Z
			B< 1 Z
			A> B(|s) S
			1< B(|pggw_1) S
			1> 2 Z
			A< 2 Z
			B> B(|s) B(|other) S
			1< B(|pggw_2) B(|pggw_1) S
			1> 2 2 Z
			B< 2 2 Z`},
		{name: "not found under another's name, or the gateway's", text: `
			A> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			A< 1 Z
			B> B(|s) S
			1< B(|s) S
			1> E(26000) Z
			B< E(26000) Z
			B> B(|pggw_1) S
			1< B(|pggw_none) S
			1> E(26000) Z
			B< E(26000) Z
			B> C(pggw_1) S
			1< C(pggw_none) S
			1> 3 Z
			B< 3 Z
			A> B(|s) S
			1< B(|pggw_1) S
			1> 2 Z
			A< 2 Z`},
		{name: "closed", text: `
			A> P(s|x) S C(s) B(|s) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			A< 1 Z
			1< C(pggw_none) B(|s) S
			1> 3 E(26000) Z
			A< 3 E(26000) Z
			A> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			idle 0`},
		{name: "undone where it fails", text: `
			A> P(s|x) B(|s) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) B(|pggw_1) S
			1> 3 E(42601) Z
			A< E(42601) Z
			A> B(|s) S
			1< B(|s) S
			1> E(26000) Z
			A< E(26000) Z
			A> P(s|y) S
			1< C(pggw_2) P(pggw_2|y) D(pggw_2) S
			1> 3 1 t n Z
			A< 1 Z
			A> B(|s) S
			1< B(|pggw_2) S`},
		{name: "a Close that is skipped closes nothing", text: `
			A> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			A< 1 Z
			A> E C(s) P(s|y) S
			1< E C(pggw_none) C(pggw_2) P(pggw_2|y) D(pggw_2) S
			1> E(34000) Z
			A< E(34000) Z
			A> B(|s) S
			1< B(|pggw_1) S
			1> 2 Z
			A< 2 Z`},
		{name: "what is not confirmed is not built upon behind a Sync", text: `
			A> P(s|x) S B(|s) E S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 E(42601) Z
			A< E(42601) Z
			1< B(|s) E S
			1> E(26000) Z
			A< E(26000) Z`},
		{name: "a name that is taken", text: `
			A> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			A< 1 Z
			A> P(s|y) B(|s) S
			1< C(pggw_taken) P(pggw_taken|) P(pggw_taken|y) B(|pggw_1) S
			1> 3 1 E(42P05) Z
			A< !ERROR:42P05
			A< Z
			A> P(s|y) S
			1< C(pggw_taken) P(pggw_taken|) P(pggw_taken|y) S
			1> 3 1 E(42601) Z
			A< E(42601) Z
			A> B(|s) S
			1< B(|pggw_1) S`},
		{name: "an error in preparing it again is the answer to who needs it", size: 2, text: `
			A> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			A< 1 Z
			B> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			B< C(BEGIN) Z(T)
			A> B(|s) E S
			2< C(pggw_1) P(pggw_1|x) D(pggw_1) H
			2> 3 E(42P01)
			A< E(42P01)
			2< B(|s) E S
			2> Z
			A< Z
			idle 1`},
		{name: "another shape on another server", size: 2, text: `
			A> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			A< 1 Z
			B> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			B< C(BEGIN) Z(T)
			A> B(|s) E S
			2< C(pggw_1) P(pggw_1|x) D(pggw_1) H
			2> 3 1 t T
			2< B(|pggw_none) E S
			2> E(26000) Z
			A< !ERROR:0A000
			A< Z
			A> C(s) P(s|x) S
			2< C(pggw_none) C(pggw_1) P(pggw_1|x) D(pggw_1) S
			2> 3 3 1 t T Z
			A< 3 1 Z
			A> B(|s) S
			2< B(|pggw_1) S`},
		{name: "gone with DISCARD ALL", text: `
			A> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			A< 1 Z
			B> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			B< 1 Z
			A> Q(discard all)
			1< Q(discard all)
			1> C(DISCARD ALL) Z
			A< C(DISCARD ALL) Z
			A> B(|s) S
			1< B(|s) S
			1> E(26000) Z
			A< E(26000) Z
			B> B(|s) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) H
			1> 3 1 t n
			1< B(|pggw_1) S
			1> 2 Z
			B< 2 Z`},
		{name: "as they are in session mode", mode: "session", text: `
			A> P(s|x) B(|s) D(s) C(s) S
			1< P(s|x) B(|s) D(s) C(s) S
			1> 1 2 t n 3 Z
			A< 1 2 t n 3 Z`},
		{name: "left behind by a client that goes", text: `
			A> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			A< 1 Z
			A close
			B> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S`},
	} {
		p.run(t)
	}
}
