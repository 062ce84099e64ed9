package proxy

import (
	"strings"
	"testing"
)

// long is a text of which the gateway keeps no copy.
var long = strings.Repeat("l", maxKeptText)

// prepareS is how a client comes to a prepared statement.
const prepareS = `
	A> P(s|x) S
	1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
	1> 3 1 t n Z
	A< 1 Z
`

// SQL knows the statements by the names that clients have given them.
func TestStatementsInSQL(t *testing.T) {
	for _, p := range []play{
		{name: "DEALLOCATE", text: prepareS + `
			B> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			B< 1 Z
			A> Q(deallocate s)
			1< C(pggw_taken) P(pggw_taken|) Q(DEALLOCATE pggw_taken)
			1> 3 1 C(DEALLOCATE) Z
			A< C(DEALLOCATE) Z
			idle 1
			A> B(|s) S
			1< B(|s) S
			1> E(26000) Z
			A< E(26000) Z
			A> Q(deallocate s)
			1< Q(deallocate s)
			1> E(26000) Z
			A< E(26000) Z
			B> B(|s) S
			1< B(|pggw_1) S`},
		{name: "DEALLOCATE that comes in pieces", text: prepareS + `
			A> P(|y) H Q(deallocate s)@0:9
			1< P(|y) H
			1> 1
			A< 1
			A> Q(deallocate s)@9:
			1< C(pggw_taken) P(pggw_taken|) Q(DEALLOCATE pggw_taken)
			1> 3 1 C(DEALLOCATE) Z
			A< C(DEALLOCATE) Z`},
		{name: "DEALLOCATE in a failed transaction", text: prepareS + `
			A> Q(bad)
			1< Q(bad)
			1> E(42601) Z(E)
			A< E(42601) Z(E)
			A> Q(deallocate s)
			1< C(pggw_taken) P(pggw_taken|) Q(DEALLOCATE pggw_taken)
			1> 3 1 E(25P02) Z(E)
			A< E(25P02) Z(E)
			A> Q(rollback) B(|s) S
			1< Q(rollback) B(|pggw_1) S
			1> C(ROLLBACK) Z 2 Z
			A< C(ROLLBACK) Z 2 Z`},
		{name: "DEALLOCATE behind a Close that is skipped", text: prepareS + `
			A> E C(s) S Q(deallocate s)
			1< E C(pggw_none) S
			1> E(34000) Z
			A< E(34000) Z
			1< C(pggw_taken) P(pggw_taken|) Q(DEALLOCATE pggw_taken)`},
		{name: "DEALLOCATE behind what is on its way", text: `
			A> P(s|x) Q(deallocate s)
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) H
			1> 3 1 t n
			A< 1
			1< C(pggw_taken) P(pggw_taken|) Q(DEALLOCATE pggw_taken)
			1> 3 1 C(DEALLOCATE) Z
			A< C(DEALLOCATE) Z`},
		{name: "EXECUTE", text: prepareS + `
			A> Q(execute s)
			1< C(pggw_1) C(s) P(s|x) S S
			1> 3 3 1 Z Z
			1< Q(execute s)
			1> C(X) Z
			A< C(X) Z
			pins prepared statement=1/1
			A> P(t|y) B(|s) C(s) S
			1< P(t|y) B(|s) C(s) S
			1> 1 2 3 Z
			A< 1 2 3 Z
			B> Q(b)
			waiting 1`},
		{name: "EXECUTE that comes in pieces", text: prepareS + `
			A> P(|y) H Q(execute s)@0:13
			1< P(|y) H
			1> 1
			A< 1
			A> Q(execute s)@13:
			1< C(pggw_1) C(s) P(s|x) S S`},
		{name: "EXECUTE behind what is on its way", text: `
			A> P(s|x) Q(execute s)
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) H
			1> 3 1 t n
			A< 1
			1< C(pggw_1) C(s) P(s|x) S S
			1> 3 3 1 Z Z
			1< Q(execute s)`},
		{name: "EXECUTE in a failed transaction", text: prepareS + `
			A> Q(bad)
			1< Q(bad)
			1> E(42601) Z(E)
			A< E(42601) Z(E)
			A> Q(execute s) Q(rollback) B(|s) S
			1< Q(execute s) Q(rollback)
			1> E(25P02) Z(E) C(ROLLBACK) Z
			A< E(25P02) Z(E) C(ROLLBACK) Z
			1< B(|pggw_1) S`},
		{name: "EXECUTE of what was not prepared", text: `
			A> P(s|x) Q(execute s) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) H
			1> 3 E(42601)
			A< E(42601)
			1< Q(execute s) S
			1> Z
			A< Z`},
		{name: "statements of its own after DISCARD ALL", text: prepareS + `
			A> Q(execute s)
			1< C(pggw_1) C(s) P(s|x) S S
			1> 3 3 1 Z Z
			1< Q(execute s)
			1> C(X) Z
			A< C(X) Z
			A> Q(discard all)
			1< Q(discard all)
			1> C(DISCARD ALL)
			A< C(DISCARD ALL)
			A> P(s|y) S
			1< C(pggw_2) P(pggw_2|y) D(pggw_2) S
			1> Z 3 1 t n Z
			A< Z 1 Z
			idle 1`},
		{name: "DEALLOCATE ALL in a pipeline", text: prepareS + `
			A> P(|deallocate all) B E P(s|y) B(|s) S
			1< P(|deallocate all) B E H
			1> 1 2 C(DEALLOCATE ALL)
			A< 1 2 C(DEALLOCATE ALL)
			1< C(pggw_2) P(pggw_2|y) D(pggw_2) B(|pggw_2) S
			1> 3 1 t n 2 Z
			A< 1 2 Z
			idle 1`},
		{name: "DEALLOCATE ALL in a pipeline that fails", text: prepareS + `
			A> P(|deallocate all) B E(p) B(|s) S
			1< P(|deallocate all) B E(p) H
			1> 1 2 E(34000)
			A< 1 2 E(34000)
			1< B(|s) S
			1> Z
			A< Z
			A> B(|s) S
			1< C() B(|pggw_1) S`},
		{name: "DEALLOCATE ALL as a prepared statement", text: prepareS + `
			A> P(d|deallocate all) S
			1< C(pggw_2) P(pggw_2|deallocate all) D(pggw_2) S
			1> 3 1 t n Z
			A< 1 Z
			A> B(|d) E P(s|y) S
			1< B(|pggw_2) E H
			1> 2 C(DEALLOCATE ALL)
			A< 2 C(DEALLOCATE ALL)
			1< C(pggw_3) P(pggw_3|y) D(pggw_3) S
			1> 3 1 t n Z
			A< 1 Z`},
		{name: "a name that PREPARE has given", text: `
			A> Q(prepare p as x)
			1< Q(prepare p as x)
			1> C(PREPARE) Z
			A< C(PREPARE) Z
			1< isthere(SQL PREPARE) S
			1> 3 1 2 D C(SELECT 1) 3 Z
			A> B(|p) D(p) C(p) S
			1< B(|p) D(p) C(p) S
			1> 2 t n 3 Z
			A< 2 t n 3 Z
			A> P(p|y) S
			1< P(p|y) S
			1> E(42P05) Z
			A< E(42P05) Z`},
		{name: "who has none finds none", text: `
			A> P(s|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			A< 1 Z
			B> Q(select from pg_Prepared_statements)
			1< C(pggw_1) Q(select from pg_Prepared_statements)
			1> 3 C(SELECT 0) Z
			B< C(SELECT 0) Z
			idle 1
			A> B(|s) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) H
			1> 3 1 t n
			1< B(|pggw_1) S
			1> 2 Z
			A< 2 Z`},
	} {
		p.run(t)
	}
}

// What cannot be carried is the server's, and the server its client's.
func TestStatementsThatStay(t *testing.T) {
	prepareLong := `
			A> P(s|` + long + `) S
			1< P(pggw_1|` + long + `) S
			1> 1 Z
			A< 1 Z
			pins prepared statement=1/1
	`
	name := strings.Repeat("n", 60<<10)
	for _, p := range []play{
		{name: "a text too long", text: prepareLong + `
			B> Q(b)
			waiting 1
			A> B(|s) D(s) C(s) B(|s) S
			1< B(|pggw_1) D(pggw_1) C(pggw_1) B(|s) S
			1> 2 t n 3 E(26000) Z
			A< 2 t n 3 E(26000) Z`},
		{name: "beside a name that is not there", text: prepareLong + `
			A> B(|none) S
			1< B(|none) S
			1> E(26000) Z
			A< E(26000) Z
			A> B(|s) S
			1< B(|pggw_1) S`},
		{name: "where a Close is skipped", text: prepareLong + `
			A> E C(s) S
			1< E C(pggw_1) S
			1> E(34000) Z
			A< E(34000) Z
			A> B(|s) S
			1< B(|pggw_1) S`},
		{name: "where it is not prepared", text: `
			A> P(s|` + long + `) S
			1< P(pggw_1|` + long + `) S
			1> E(42601) Z
			A< E(42601) Z
			A> P(s|x) S
			1< C(pggw_2) P(pggw_2|x) D(pggw_2) S`},
		{name: "gone with DEALLOCATE ALL", text: prepareLong + `
			A> Q(deallocate all)
			1< Q(deallocate all)
			1> C(DEALLOCATE ALL) Z
			A< C(DEALLOCATE ALL) Z
			A> B(|s) S
			1< B(|s) S`},
		{name: "a name that the server has to convert", text: `
			A> P(ä|x) S
			1< P(ä|x) S
			1> 1 Z
			A< 1 Z
			pins prepared statement=1/1
			A> B(|ä) D(ä) C(ä) S
			1< B(|ä) D(ä) C(ä) S`},
		{name: "a name too long to be looked at", text: `
			A> P(` + name + `|x) S
			1< P(` + name + `|x) S
			1> 1 Z
			A< 1 Z
			pins prepared statement=1/1
			A> B(|` + name + `) S
			1< B(|` + name + `) S`},
		{name: "names count as far as the server reads them", text: `
			A> P(` + name[:63] + `a|x) S
			1< C(pggw_1) P(pggw_1|x) D(pggw_1) S
			1> 3 1 t n Z
			A< 1 Z
			A> B(|` + name[:63] + `b) S
			1< B(|pggw_1) S`},
		{name: "a message without a text", text: `
			A> raw(P\x00\x00\x00\x06s\x00) S
			1< raw(P\x00\x00\x00\x06s\x00) S
			1> E(08P01) Z
			A< E(08P01) Z`},
	} {
		p.run(t)
	}
}
