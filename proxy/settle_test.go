package proxy

import (
	"strconv"
	"strings"
	"testing"
)

// Whatever else happens meanwhile, who waits for an answer gets one, and what is
// noted of the statements holds.
func TestStatementsInTrouble(t *testing.T) {
	for _, p := range []play{
		{name: "in a COPY nothing is waited for", text: prepareS + `
			A> Q(copy t from stdin)
			1< Q(copy t from stdin)
			1> G
			A< G
			A> Q(deallocate s)
			1< Q(deallocate s)
			1> E(57014) Z
			A< E(57014) Z
			A close
			live 0`},
		{name: "nor asked for", text: prepareS + `
			A> Q(copy t from stdin)
			1< Q(copy t from stdin)
			1> G
			A< G
			A> B(|s)
			1< B(|s)
			1> E(57014) Z
			A< E(57014) Z
			A close
			live 0`},
		{name: "DEALLOCATE whose preparations fail", text: prepareS + `
			A> Q(deallocate s)
			1< C(pggw_taken) P(pggw_taken|) Q(DEALLOCATE pggw_taken)
			1> 3 E(57014)
			A< E(57014)
			1< S
			1> Z
			A< Z
			A> B(|s) S
			1< B(|pggw_1) S
			1> 2 Z
			A< 2 Z
			idle 1`},
		{name: "a server lost while it is told the names", text: prepareS + `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			A> Q(execute s)
			1< C(pggw_1) C(s) P(s|x) S
			1 close
			A< !FATAL:08006
			A closed`},
		{name: "a private statement outlasts what came before it", text: `
			A> Q(deallocate all) P(s|` + long + `) S
			1< Q(deallocate all) P(pggw_1|` + long + `) S
			1> C(DEALLOCATE ALL) Z 1 Z
			A< C(DEALLOCATE ALL) Z 1 Z
			A> B(|s) S
			1< B(|pggw_1) S
			1> 2 Z
			A< 2 Z`},
		{name: "a statement that the server does not have", text: prepareS + `
			A> B(|s) S
			1< B(|pggw_1) S
			1> E(26000|prepared statement "pggw_1" does not exist) Z
			A< E(26000|prepared statement "s" does not exist) Z
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

// What has to be looked at for each message stays little, however many come at once.
func TestManyChanges(t *testing.T) {
	r := newRig(t, nil)
	a := r.admit(0x30000, nil)
	a.greeted()
	s := r.server()
	var asked, sent []byte
	for i := range maxChanges {
		name, ours := strconv.Itoa(i), ownPrefix+strconv.Itoa(i+1)
		asked = append(asked, frames(t, "P("+name+"|"+name+")", true)...)
		sent = append(sent, frames(t, strings.ReplaceAll("C(x) P(x|"+name+") D(x)", "x", ours), true)...)
	}
	go a.put(append(asked, frames(t, "C(1) S", true)...))
	s.want(append(sent, flush...))
	s.quiet()
	s.put(frames(t, "3 1 t n", false))
	a.want(frames(t, "1", false))
	s.want(frames(t, "C(pggw_none) S", true))
}
