package proxy

import "testing"

// A text is prepared again as it was read the first time, for as long as that
// takes, where reading it matters at that time.
func TestReading(t *testing.T) {
	const forgotten = `
		1> E(26000|prepared statement "pggw_1" does not exist) Z(T)
		A< E(26000|prepared statement "s" does not exist) Z(T)
	`
	for _, p := range []play{
		{name: "read again as before", text: prepareS + `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) S(TimeZone=there) Z(T)
			A< C(BEGIN) S(TimeZone=there) Z(T)
			A> B(|s) S
			1< B(|pggw_1) S` + forgotten + `
			A> B(|s) S
			1< reread(TimeZone=UTC) C(pggw_1) P(pggw_1|x) D(pggw_1) reread(TimeZone=there) H
			1> 3 1 2 C(SELECT 1) 3 3 1 t n 3 1 2 C(SELECT 1) 3
			1< B(|pggw_1) S
			1> 2 Z(T)
			A< 2 Z(T)`},
		{name: "not for what executes nothing before it", text: `
			A> P(s| ROLLBACK) S
			1< C(pggw_1) P(pggw_1| ROLLBACK) D(pggw_1) S
			1> 3 1 t n Z
			A< 1 Z
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) S(TimeZone=there) Z(T)
			A< C(BEGIN) S(TimeZone=there) Z(T)
			A> B(|s) S
			1< B(|pggw_1) S` + forgotten + `
			A> B(|s) S
			1< C(pggw_1) P(pggw_1| ROLLBACK) D(pggw_1) H
			1> 3 1 t n
			1< B(|pggw_1) S
			1> 2 Z(T)
			A< 2 Z(T)`},
		{name: "not known in the pipeline of a SET", size: 2, text: `
			A> P(|set local datestyle = German) B E P(s|x) B(|s) S
			1< P(|set local datestyle = German) B E P(pggw_1|x) B(|pggw_1) S
			1> 1 2 C(SET) 1 2 Z
			A< 1 2 C(SET) 1 2 Z
			pins prepared statement=1/1`},
		{name: "known when a SET is answered", text: `
			A> Q(set local datestyle = German) P(s|x) S
			1< Q(set local datestyle = German)
			1> C(SET) Z
			A< C(SET) Z
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			A< 1 Z
			idle 1
			pins`},
		{name: "read nobody knows how, and not used by others", text: prepareS + `
			B> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			B< 1 Z
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			A> B(|s) S
			1< B(|pggw_1) S` + forgotten + `
			A> P(|set local TimeZone = 'x') B E B(|s) E S
			1< P(|set local TimeZone = 'x') B E C(pggw_1) P(pggw_1|x) D(pggw_1) H
			1> 1 2 C(SET) 3 1 t n
			A< 1 2 C(SET)
			1< B(|pggw_1) E S
			1> 2 C(X) Z(T)
			A< 2 C(X) Z(T)
			A> B(|s) E Q(commit)
			1< B(|pggw_1) E Q(commit)
			1> 2 C(X) C(COMMIT) Z
			A< 2 C(X) C(COMMIT) Z
			idle 1
			B> B(|s) S
			1< C() C(pggw_1) P(pggw_1|x) D(pggw_1) H
			1> 3 3 1 t n
			1< B(|pggw_1) S
			1> 2 Z
			B< 2 Z`},
	} {
		p.run(t)
	}
}
