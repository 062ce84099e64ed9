package proxy

import (
	"strings"
	"testing"
)

// A pinned session keeps its server between transactions: the other client waits.
func TestPins(t *testing.T) {
	pinned := func(tag string) string {
		return `
			A> Q(x)
			1< Q(x)
			1> C(` + tag + `) Z
			A< C(` + tag + `) Z
			B> Q(b)
			waiting 1
			1 quiet`
	}
	asked := func(tag, reason string) string {
		return `
			A> Q(x)
			1< Q(x)
			1> C(` + tag + `) Z
			A< C(` + tag + `) Z
			1< isthere(` + reason + `) S
			1> 3 1 2 D() C(SELECT 1) 3 Z
			B> Q(b)
			waiting 1
			1 quiet`
	}
	free := func(text, tag string) string {
		return `
			A> Q(` + text + `)
			1< Q(` + text + `)
			1> C(` + tag + `) Z
			A< C(` + tag + `) Z
			idle 1`
	}
	for _, p := range []play{
		{name: "SET of what no text told", text: pinned("SET")},
		{name: "RESET of what no text told", text: pinned("RESET")},
		{name: "LISTEN", text: asked("LISTEN", "LISTEN")},
		{name: "LOAD", text: pinned("LOAD")},
		{name: "PREPARE", text: asked("PREPARE", "SQL PREPARE")},
		{name: "not SELECT", text: free("select 1", "SELECT 1")},
		{name: "not SET CONSTRAINTS", text: free("set constraints all deferred", "SET CONSTRAINTS")},
		{name: "not PREPARE TRANSACTION", text: free("prepare transaction 'x'", "PREPARE TRANSACTION")},
		{name: "not UNLISTEN", text: free("unlisten x", "UNLISTEN")},
		{name: "not DISCARD PLANS", text: free("discard plans", "DISCARD PLANS")},
		{name: "a word in a literal", text: `
			A> Q(select 'temp hold')
			1< Q(select 'temp hold')
			1> C(SELECT 1) Z
			A< C(SELECT 1) Z
			1< isthere(temporary object) isthere(WITH HOLD cursor) S
			1> 3 1 2 C(SELECT 0) 3 3 1 2 C(SELECT 0) 3 Z
			idle 1`},
		{name: "a temporary table", text: `
			A> Q(create temp table x)
			1< Q(create temp table x)
			1> C(CREATE TABLE) Z
			A< C(CREATE TABLE) Z
			1< isthere(temporary object) S
			A> Q(insert into pg_temp.x)
			1 quiet
			1> 3 1 2 D() C(SELECT 1) 3 Z
			1< Q(insert into pg_temp.x)
			1> C(INSERT 0 1) Z
			A< C(INSERT 0 1) Z
			B> Q(b)
			waiting 1
			1 quiet
			A> Q(drop table x)
			1< Q(drop table x)
			1> C(DROP TABLE) Z
			A< C(DROP TABLE) Z
			1< isthere(temporary object) S
			1> 3 1 2 C(SELECT 0) 3 Z
			1< Q(b)`},
		{name: "LISTEN and UNLISTEN", text: `
			A> Q(listen x) Q(unlisten *)
			1< Q(listen x) Q(unlisten *)
			1> C(LISTEN) Z C(UNLISTEN) Z
			A< C(LISTEN) Z C(UNLISTEN) Z
			1< isthere(LISTEN) S
			1> 3 1 2 C(SELECT 0) 3 Z
			idle 1`},
		{name: "DEALLOCATE asks for all that EXECUTE may have done", text: `
			A> Q(prepare x) 
			1< Q(prepare x)
			1> C(PREPARE) Z
			A< C(PREPARE) Z
			1< isthere(SQL PREPARE) S
			1> 3 1 2 D() C(SELECT 1) 3 Z
			A> Q(deallocate x)
			1< Q(deallocate x)
			1> C(DEALLOCATE) Z
			A< C(DEALLOCATE) Z
			1< isthere(session role) isthere(LISTEN) isthere(SQL PREPARE) isthere(temporary object) isthere(WITH HOLD cursor) isthere(advisory lock) S
			1> 3 1 2 C(SELECT 0) 3 3 1 2 C(SELECT 0) 3 3 1 2 C(SELECT 0) 3 3 1 2 C(SELECT 0) 3 3 1 2 C(SELECT 0) 3 3 1 2 D() C(SELECT 0) 3 Z
			busy 1
			A> Q(select pg_advisory_unlock())
			1< Q(select pg_advisory_unlock())
			1> C(SELECT 1) Z
			A< C(SELECT 1) Z
			1< isthere(advisory lock) S
			1> 3 1 2 C(SELECT 0) 3 Z
			idle 1`},
		{name: "a server that cannot tell", text: `
			A> Q(listen x)
			1< Q(listen x)
			1> C(LISTEN) Z
			A< C(LISTEN) Z
			1< isthere(LISTEN) S
			1> 3 E(0A000) Z
			busy 1
			A> Q(a)
			1< Q(a)
			1> C(A) Z
			A< C(A) Z
			1 quiet
			busy 1`},
		{name: "a cancel request hit the question", text: `
			A> Q(listen x)
			1< Q(listen x)
			1> C(LISTEN) Z
			A< C(LISTEN) Z
			1< isthere(LISTEN) S
			1> 3 E(57014) Z
			1< isthere(LISTEN) S
			1> 3 E(57014) Z
			busy 1
			1 quiet`},
		{name: "the client leaves before the answer", text: `
			A> Q(listen x)
			1< Q(listen x)
			1> C(LISTEN) Z
			A< C(LISTEN) Z
			1< isthere(LISTEN) S
			A> X
			1> A(1234xy)
			A< A(1234xy)
			1 quiet
			1> 3 1 2 D() C(SELECT 0) 3 Z
			A closed
			1< Q(DISCARD ALL)
			1> C(DISCARD ALL) Z
			idle 1`},
		{name: "the client leaves before the answer, with nothing left", text: `
			A> Q(listen x)
			1< Q(listen x)
			1> C(LISTEN) Z
			A< C(LISTEN) Z
			1< isthere(LISTEN) S
			A> X
			1> 3 1 2 C(SELECT 0) 3 Z
			A closed
			idle 1
			1 quiet`},
		{name: "the server is lost before the answer", text: `
			A> Q(listen x)
			1< Q(listen x)
			1> C(LISTEN) Z
			A< C(LISTEN) Z
			1< isthere(LISTEN) S
			1 close
			A< !FATAL:08006
			A closed`},
		{name: "an unnamed statement that runs once more", text: `
			A> Q(listen x)
			1< Q(listen x)
			1> C(LISTEN) Z
			A< C(LISTEN) Z
			1< isthere(LISTEN) S
			1> 3 1 2 D() C(SELECT 1) 3 Z
			A> P(|select pg_advisory_lock()) B E S
			1< P(|select pg_advisory_lock()) B E S
			1> 1 2 C(SELECT 1) Z
			A< 1 2 C(SELECT 1) Z
			A> Q(unlisten x)
			1< Q(unlisten x)
			1> C(UNLISTEN) Z
			A< C(UNLISTEN) Z
			1< isthere(LISTEN) isthere(advisory lock) S
			1> 3 1 2 D() C(SELECT 0) 3 3 1 2 C(SELECT 0) 3 Z
			A> P(|select pg_advisory_lock()) B E S
			1< P(|select pg_advisory_lock()) B E S
			1> 1 2 C(SELECT 1) Z
			A< 1 2 C(SELECT 1) Z
			A> B E S
			1< B E S
			1> 2 C(SELECT 1) Z
			A< 2 C(SELECT 1) Z
			busy 1
			1 quiet`},
		{name: "a word in pieces, in the extended protocol", text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			A> P(|select set_config)@0:16
			1< P(|select set_config)@0:16
			A> P(|select set_config)@16: B E Q(commit)
			1< P(|select set_config)@16: B E Q(commit)
			1> 1 2 D(x) C(SELECT 1) C(COMMIT) Z
			A< 1 2 D(x) C(SELECT 1) C(COMMIT) Z
			B> Q(b)
			waiting 1`},
		{name: "an unnamed statement does not", text: `
			A> P(|select) B E S
			1< P(|select) B E S
			1> 1 2 C(SELECT 1) Z
			A< 1 2 C(SELECT 1) Z
			idle 1`},
		{name: "DISCARD ALL lifts them", text: `
			A> Q(create temp table x)
			1< Q(create temp table x)
			1> C(CREATE TABLE) Z
			A< C(CREATE TABLE) Z
			1< isthere(temporary object) S
			1> 3 1 2 D() C(SELECT 1) 3 Z
			busy 1
			A> Q(discard all)
			1< Q(discard all)
			1> C(DISCARD ALL) Z
			A< C(DISCARD ALL) Z
			idle 1`},
		{name: "DISCARD ALL lifts them, extended", text: `
			A> Q(set x = 1) P(|discard all) B E S
			1< Q(set x = 1) P(|discard all) B E S
			1> C(SET) Z 1 2 C(DISCARD ALL) Z
			A< C(SET) Z 1 2 C(DISCARD ALL) Z
			idle 1`},
		{name: "DISCARD ALL does not, when more was sent behind it", text: `
			A> Q(discard all) Q(create temp table x)
			1< Q(discard all) Q(create temp table x)
			1> C(DISCARD ALL) Z C(CREATE TABLE) Z
			A< C(DISCARD ALL) Z C(CREATE TABLE) Z
			B> Q(b)
			waiting 1`},
		{name: "a library stays loaded", text: `
			A> Q(load)
			1< Q(load)
			1> C(LOAD) Z
			A< C(LOAD) Z
			A close
			1< Q(DISCARD ALL)
			1> C(DISCARD ALL) Z
			1< X
			1 closed
			B> Q(b)
			2< Q(b)`},
		{name: "another client's unnamed statement is not there", text: `
			A> P(|secret) B E S
			1< P(|secret) B E S
			1> 1 2 C(SELECT 1) Z
			A< 1 2 C(SELECT 1) Z
			idle 1
			B> B E S
			1< C() B E S
			1> 3 E(26000) Z
			B< E(26000) Z
			idle 1`},
		{name: "nor behind a Close", text: `
			Z> P(|secret) B E S
			1< P(|secret) B E S
			1> 1 2 C(SELECT 1) Z
			Z< 1 2 C(SELECT 1) Z
			idle 1
			A> C(x) D() S
			1< C() C(x) D() S
			1> 3 3 t n Z
			A< 3 t n Z
			idle 1`},
		{name: "nor behind a named Parse", text: `
			Z> P(|secret) B E S
			1< P(|secret) B E S
			1> 1 2 C(SELECT 1) Z
			Z< 1 2 C(SELECT 1) Z
			idle 1
			A> P(s1|select) B E S
			1< C() C(pggw_1) P(pggw_1|select) D(pggw_1) B E S
			1> 3 3 1 t n E(26000) Z
			A< 1 E(26000) Z`},
		{name: "nor behind what fails", text: `
			Z> P(|secret) B E S
			1< P(|secret) B E S
			1> 1 2 C(SELECT 1) Z
			Z< 1 2 C(SELECT 1) Z
			idle 1
			A> E P(|select) S B E S
			1< C() E P(|select) S B E S
			1> 3 E(34000) Z E(26000) Z
			A< E(34000) Z E(26000) Z`},
	} {
		p.run(t)
	}
}

func TestWords(t *testing.T) {
	for text, want := range map[string]hints{
		"create temp table x":                       hintTemp,
		"CREATE TEMPORARY VIEW x":                   hintTemp,
		"create table pg_temp.x":                    hintTemp,
		"select 1 into temp x":                      hintTemp,
		"declare c cursor with hold for":            hintHold,
		"select pg_catalog.set_config($1)":          hintConfig,
		`select "set_config"($1)`:                   hintConfig,
		"select pg_advisory_lock(1)":                hintAdvisory,
		"select pg_advisory_lock_shared(1)":         hintAdvisory,
		"select pg_try_advisory_lock(1)":            hintAdvisory,
		"select pg_try_advisory_lock_shared(1)":     hintAdvisory,
		"select pg_advisory_unlock(1)":              hintUnlock,
		"select pg_advisory_unlock_shared(1)":       hintUnlock,
		"select pg_advisory_unlock_all()":           hintUnlock,
		"select pg_advisory_xact_lock(1)":           0,
		"select pg_try_advisory_xact_lock_shared()": 0,
		"select temperature, template from holds":   0,
		"select temp1, _temp":                       0,
		"select x_set_config":                       0,
		strings.Repeat("x", 1000) + "temp":          0,
		"":                                          0,
		"set x = 1":                                 hintSet,
		" RESET all":                                hintSet,
		"select 1;set x = 1":                        hintSet,
		"/* c */ set x = 1":                         hintSet,
		"-- c\nset x = 1":                           hintSet,
		"begin; -- c\r\n  set x = 1":                hintSet,
		"/*+ c */set x = 1":                         hintSet,
		"update t set x = 1":                        0,
		"update t\nset x = 1 - 1":                   0,
		"alter table t set x":                       0,
		"settle; resets":                            0,
		"create temp table x; set x = 1":            hintTemp | hintSet,
		"do $$ begin set x = 1; end $$":             hintDo,
		"create rule r as on insert to t do set":    0,
	} {
		var w words
		w.reset()
		if got := w.scan([]byte(text + "\x00")); got != want {
			t.Errorf("%q: %b, want %b", text, got, want)
		}
	}
}

// However a text is cut, the same pin is found.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"create temp table", "select set_config('a','b',false)", "pg_try_advisory_lock_shared(1)", "x temporary hold", "-- c\n/* c */ set x; reset", ""} {
		f.Add([]byte(s), uint(5), uint(9))
	}
	f.Fuzz(func(t *testing.T, text []byte, a, b uint) {
		text = append(text, 0)
		var whole, pieces words
		whole.reset()
		pieces.reset()
		want := whole.scan(text)
		i := int(a % uint(len(text)+1))
		j := i + int(b%uint(len(text)-i+1))
		var got hints
		for _, piece := range [][]byte{text[:i], text[i:j], text[j:]} {
			got |= pieces.scan(piece)
		}
		if got != want {
			t.Errorf("%q cut at %d and %d: %b, in one piece %b", text, i, j, got, want)
		}
	})
}

func TestReadTag(t *testing.T) {
	for body, want := range map[string]tagged{
		"":                        {},
		"\x00":                    {},
		"SET":                     {}, // without its terminator
		"SET\x00":                 {set: true},
		"RESET\x00":               {set: true},
		"SETX\x00":                {},
		"SET CONSTRAINTS\x00":     {},
		"SELECT 1\x00":            {},
		"LISTEN\x00":              {pins: pinListen.bit()},
		"LOAD\x00":                {pins: pinLoad.bit()},
		"PREPARE\x00":             {pins: pinPrepare.bit()},
		"PREPARE TRANSACTION\x00": {},
		"UNLISTEN\x00":            {hints: pinListen.bit()},
		"CLOSE CURSOR ALL\x00":    {hints: pinHold.bit()},
		"DROP TABLE\x00":          {hints: pinTemp.bit()},
		"CREATE FUNCTION\x00":     {code: true},
		"ROLLBACK\x00":            {undo: true},
		"CREATE TABLE\x00":        {},
		"DISCARD TEMP\x00":        {hints: pinTemp.bit()},
		"DISCARD ALL\x00":         {clear: true},
		"DEALLOCATE ALL\x00":      {hints: askable},
		"DELETE 1\x00":            {},
	} {
		if got := readTag([]byte(body)); got != want {
			t.Errorf("%q: %+v, want %+v", body, got, want)
		}
	}
}
