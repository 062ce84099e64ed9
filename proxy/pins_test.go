package proxy

import (
	"strings"
	"testing"

	"pggateway/wire"
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
	free := func(text, tag string) string {
		return `
			A> Q(` + text + `)
			1< Q(` + text + `)
			1> C(` + tag + `) Z
			A< C(` + tag + `) Z
			idle 1`
	}
	for _, p := range []play{
		{name: "SET", text: pinned("SET")},
		{name: "not RESET", text: free("reset all", "RESET")},
		{name: "a parameter that changes in another way", text: `
			A> Q(select f())
			1< Q(select f())
			1> S(TimeZone=GMT) C(SELECT 1) Z
			A< S(TimeZone=GMT) C(SELECT 1) Z
			B> Q(b)
			waiting 1`},
		{name: "LISTEN", text: pinned("LISTEN")},
		{name: "LOAD", text: pinned("LOAD")},
		{name: "PREPARE", text: pinned("PREPARE")},
		{name: "not SELECT", text: free("select 1", "SELECT 1")},
		{name: "not SET CONSTRAINTS", text: free("set constraints all deferred", "SET CONSTRAINTS")},
		{name: "not PREPARE TRANSACTION", text: free("prepare transaction 'x'", "PREPARE TRANSACTION")},
		{name: "not UNLISTEN", text: free("unlisten x", "UNLISTEN")},
		{name: "not DISCARD PLANS", text: free("discard plans", "DISCARD PLANS")},
		{name: "a word", text: `
			A> Q(create temp table x)
			1< Q(create temp table x)
			1> C(CREATE TABLE) Z
			A< C(CREATE TABLE) Z
			B> Q(b)
			waiting 1`},
		{name: "a word in pieces, in the extended protocol", text: `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			A> P(|select set_config)@0:16
			1< P(|select set_config)@0:16
			A> P(|select set_config)@16: B E S
			1< P(|select set_config)@16: B E S
			1> 1 2 D(x) C(SELECT 1) Z
			A< 1 2 D(x) C(SELECT 1) Z
			B> Q(b)
			waiting 1`},
		{name: "a named statement, of which the header came first", text: `
			A> P(name|select)@0:5
			A> P(name|select)@5: S
			1< C() P(name|select) S
			1> 3 1 Z
			A< 1 Z
			B> Q(b)
			waiting 1`},
		{name: "an unnamed statement does not", text: `
			A> P(|select) B E S
			1< P(|select) B E S
			1> 1 2 C(SELECT 1) Z
			A< 1 2 C(SELECT 1) Z
			idle 1`},
		{name: "DISCARD ALL lifts them", text: `
			A> Q(set x = 1)
			1< Q(set x = 1)
			1> C(SET) Z
			A< C(SET) Z
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
			A> C(x) D() S
			1< C() C(x) D() S
			1> 3 3 t n Z
			A< 3 t n Z
			idle 1`},
		{name: "nor behind a named Parse", text: `
			A> P(s1|select) B E S
			1< C() P(s1|select) B E S
			1> 3 1 E(26000) Z
			A< 1 E(26000) Z`},
		{name: "nor behind what fails", text: `
			A> E P(|select) S B E S
			1< C() E P(|select) S B E S
			1> 3 E(34000) Z E(26000) Z
			A< E(34000) Z E(26000) Z`},
	} {
		p.run(t)
	}
}

func TestWords(t *testing.T) {
	for text, want := range map[string]pin{
		"create temp table x":                       pinTemp,
		"CREATE TEMPORARY VIEW x":                   pinTemp,
		"create table pg_temp.x":                    pinTemp,
		"select 1 into temp x":                      pinTemp,
		"declare c cursor with hold for":            pinHold,
		"select pg_catalog.set_config($1)":          pinConfig,
		`select "set_config"($1)`:                   pinConfig,
		"select pg_advisory_lock(1)":                pinAdvisory,
		"select pg_advisory_lock_shared(1)":         pinAdvisory,
		"select pg_try_advisory_lock(1)":            pinAdvisory,
		"select pg_try_advisory_lock_shared(1)":     pinAdvisory,
		"select pg_advisory_xact_lock(1)":           pinNone,
		"select pg_try_advisory_xact_lock_shared()": pinNone,
		"select temperature, template from holds":   pinNone,
		"select temp1, _temp":                       pinNone,
		"select x_set_config":                       pinNone,
		strings.Repeat("x", 1000) + "temp":          pinNone,
		"":                                          pinNone,
	} {
		var w words
		if got := w.scan([]byte(text + "\x00")); got != want {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// However a text is cut, the same pin is found.
func FuzzWords(f *testing.F) {
	for _, s := range []string{"create temp table", "select set_config('a','b',false)", "pg_try_advisory_lock_shared(1)", "x temporary hold", ""} {
		f.Add([]byte(s), uint(5), uint(9))
	}
	f.Fuzz(func(t *testing.T, text []byte, a, b uint) {
		text = append(text, 0)
		var whole, pieces words
		want := whole.scan(text)
		i := int(a % uint(len(text)+1))
		j := i + int(b%uint(len(text)-i+1))
		got := pinNone
		for _, piece := range [][]byte{text[:i], text[i:j], text[j:]} {
			if p := pieces.scan(piece); got == pinNone {
				got = p
			}
		}
		if got != want {
			t.Errorf("%q cut at %d and %d: %v, in one piece %v", text, i, j, got, want)
		}
	})
}

func TestPinOfTag(t *testing.T) {
	for _, tag := range []string{"", "\x00", "SET", "S\x00", "SETX\x00", "SELECT 1\x00"} { // SET without its terminator
		if p := pinOfTag([]byte(tag)); p != pinNone {
			t.Errorf("%q pins: %v", tag, p)
		}
	}
	if pinOfMessage(wire.Parse, 0) != pinNone || pinOfMessage(wire.Parse, 'x') != pinPrepare {
		t.Error("a Parse pins by its name")
	}
}
