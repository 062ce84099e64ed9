package proxy

import (
	"reflect"
	"strings"
	"testing"

	"pggateway/wire"
)

func TestSetup(t *testing.T) {
	for _, p := range []play{
		{name: "startup parameters are applied and taken back", text: `
			A open application_name=a TimeZone=Europe/Berlin
			1< apply(application_name=a) apply(timezone=Europe/Berlin) S
			1> 1 2 D(x) S(application_name=a) C(SELECT 1) 1 2 D(y) S(TimeZone=Europe/Berlin) C(SELECT 1) Z
			A greeted application_name=a TimeZone=Europe/Berlin server_version=15.0
			A> Q(a)
			1< Q(a)
			1> C(A) Z
			A< C(A) Z
			B open application_name=b
			1< revert(timezone) apply(application_name=b) S
			1> 1 2 D(x) S(TimeZone=UTC) C(SELECT 1) 1 2 D(y) S(application_name=b) C(SELECT 1) Z
			B greeted application_name=b TimeZone=UTC
			A quiet
			A> Q(a)
			1< apply(application_name=a) apply(timezone=Europe/Berlin) S
			1 quiet
			1> 1 2 D(x) C(SELECT 1) 1 2 D(y) C(SELECT 1) Z
			1< Q(a)
			1> C(A) Z
			A< C(A) Z
			C open
			1< revert(application_name) revert(timezone) S
			1> 1 2 D(x) C(SELECT 1) 1 2 D(y) C(SELECT 1) Z
			C greeted
			C> Q(c)
			1< Q(c)`},
		{name: "who wants the same is greeted at once", text: `
			A open x=1
			1< apply(x=1) S
			1> 1 2 D(x) S(x=1) C(SELECT 1) Z
			A greeted x=1
			A> Q(a)
			1< Q(a)
			B open x=1
			B greeted x=1
			1> C(A) Z
			A< C(A) Z
			B> Q(b)
			1< Q(b)`},
		{name: "refused at login", text: `
			A open x=1
			1< apply(x=1) S
			1> 1 2 E(42704) Z
			A< !FATAL:42704
			A closed
			1< X
			1 closed`},
		{name: "refused later", text: `
			A open x=1
			1< apply(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z
			A greeted
			B open
			1< revert(x) S
			1> 1 2 D(x) C(SELECT 1) Z
			B greeted
			B> Q(b)
			1< Q(b)
			1> C(B) Z
			B< C(B) Z
			A> Q(a)
			1< apply(x=1) S
			1> 1 E(42501) Z
			A< !FATAL:42501
			A closed
			1< X
			1 closed`},
		{name: "the server ends the connection instead, at login", text: `
			A open x=1
			1< apply(x=1) S
			1 close
			A< !FATAL:08001
			A closed`},
		{name: "the server ends the connection instead, later", text: `
			A open x=1
			1< apply(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z
			A greeted
			B open
			1< revert(x) S
			1> 1 2 D(x) C(SELECT 1) Z
			B greeted
			B> Q(b)
			1< Q(b)
			1> C(B) Z
			B< C(B) Z
			A> Q(a)
			1< apply(x=1) S
			1 close
			A< !ERROR:57P03 Z
			A> P(|a) B E S
			2< apply(x=1) S
			2> 1 2 D(x) C(SELECT 1) Z
			2< P(|a) B E S`},
		{name: "DISCARD ALL takes them with it", text: `
			A open x=1
			1< apply(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z
			A greeted
			A> Q(discard all)
			1< Q(discard all)
			1> S(x=0) C(DISCARD ALL) Z
			1< restore(x=1) S
			A< S(x=0) C(DISCARD ALL)
			A quiet
			1> 1 2 D(x) S(x=1) C(SELECT 1) Z
			A< S(x=1) Z
			A> Q(a)
			1< Q(a)
			1> C(A) Z
			A< C(A) Z
			idle 1`},
		{name: "RESET brings them back, in a transaction too", text: `
			A open x=1 y=2
			1< apply(x=1) apply(y=2) S
			1> 1 2 D(x) C(SELECT 1) 1 2 D(x) C(SELECT 1) Z
			A greeted
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			A> Q(reset all) Q(select)
			1< Q(reset all) Q(select)
			1> C(RESET) Z(T)
			A< C(RESET) Z(T)
			1 quiet
			1> C(SELECT 1) Z(T)
			1< restore(x=1) restore(y=2) S
			A< C(SELECT 1)
			A> Q(commit)
			1 quiet
			1> 1 2 D(x) S(x=1) C(SELECT 1) 1 2 C(SELECT 0) Z(T)
			A< S(x=1) Z(T)
			1< Q(commit)
			1> C(COMMIT) Z
			A< C(COMMIT) Z
			1< values(x y) S
			1> 3 1 2 value(1|0) C(SELECT 1) 2 value(2|0) C(SELECT 1) 3 Z
			idle 1`},
		{name: "not after a RESET that was undone", text: `
			A open x=1
			1< apply(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z
			A greeted
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
			A> Q(reset all; oops)
			1< Q(reset all; oops)
			1> C(RESET) E(42601) Z(E)
			A< C(RESET) E(42601) Z(E)
			A> Q(rollback)
			1< Q(rollback)
			1> C(ROLLBACK) Z
			A< C(ROLLBACK) Z
			1< values(x) S
			1> 3 1 2 value(1|0) C(SELECT 1) 3 Z
			idle 1`},
		{name: "the client leaves behind a RESET", text: `
			A open x=1
			1< apply(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z
			A greeted
			A> Q(reset all) X
			1< Q(reset all)
			1> C(RESET) Z
			1< restore(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z
			A< C(RESET) Z
			A closed
			1< Q(DISCARD ALL)
			1> C(DISCARD ALL) Z
			idle 1`},
		{name: "the server is lost while they are brought back", text: `
			A open x=1
			1< apply(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z
			A greeted
			A> Q(reset all)
			1< Q(reset all)
			1> C(RESET) Z
			1< restore(x=1) S
			1 close
			A< C(RESET) !FATAL:08006
			A closed`},
		{name: "the server ends once they are back", text: `
			A open x=1
			1< apply(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z
			A greeted
			A> Q(reset all)
			1< Q(reset all)
			1> C(RESET) Z
			1< restore(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z E(FATAL:57P01)
			1 close
			A< C(RESET) E(FATAL:57P01)
			A closed`},
		{name: "the server ends in words before anything was sent to it", text: `
			A> Q(a)
			1< Q(a)
			1> C(A) Z
			A< C(A) Z
			B open x=1
			1< apply(x=1) S
			1> 1 2 D(x) C(SELECT 1) Z
			B greeted
			A> Q(a)
			1< revert(x) S
			1> E(FATAL:57P01)
			1 close
			A< !ERROR:57P03 Z
			A> Q(b)
			2< Q(b)`},
		{name: "a client that leaves during the setup", text: `
			A open x=1
			1< apply(x=1) S
			A close
			1> 1 2 D(x) C(SELECT 1) Z
			1< Q(DISCARD ALL)
			1> C(DISCARD ALL) Z
			idle 1`},
		{name: "a role is refused", text: `
			A open role=postgres
			A< !FATAL:42501
			A closed`},
		{name: "so it is in options", text: `
			A open options=-cRole=postgres
			A< !FATAL:42501
			A closed`},
	} {
		p.run(t)
	}
}

func TestStartupSettings(t *testing.T) {
	for _, c := range []struct {
		params []string
		want   string // name=value, sorted; "!" a refusal
	}{
		{nil, ""},
		{[]string{"user", "u", "database", "d", "replication", "0", "_pq_.x", "1"}, ""},
		{[]string{"TimeZone", "UTC", "application_name", "x y"}, "application_name=x y;timezone=UTC"},
		{[]string{"options", "-c a=1 -cb=2 --c-d=3"}, "a=1;b=2;c_d=3"},
		{[]string{"a", "2", "options", "-c A=1"}, "a=2"},
		{[]string{"options", "-c a=1 -c a=2"}, "a=2"},
		{[]string{"options", `-c a=x\ y\\z`}, `a=x y\z`},
		{[]string{"options", " \t\n -c\ta=1\v"}, "a=1"},
		{[]string{"options", "-c a="}, "a="},
		{[]string{"options", "-c a=b=c"}, "a=b=c"},
		{[]string{"options", `\`}, "!"},
		{[]string{"options", "-c"}, "!"},
		{[]string{"options", "-c a"}, "!"},
		{[]string{"options", "-c =1"}, "!"},
		{[]string{"options", "--"}, "!"},
		{[]string{"options", "-B 100"}, "!"},
		{[]string{"options", "a=1"}, "!"},
		{[]string{"Session_Authorization", "x"}, "!"},
		{[]string{"options", "-c session-authorization=x"}, "!"},
		{[]string{"is_superuser", "on"}, "!"},
	} {
		s := &wire.Startup{}
		for i := 0; i < len(c.params); i += 2 {
			s.Parameters = append(s.Parameters, wire.Parameter{Name: c.params[i], Value: c.params[i+1]})
		}
		settings, f := startupSettings(s)
		var got []string
		for _, p := range settings {
			got = append(got, p.Name+"="+p.Value)
		}
		if f != nil {
			got = []string{"!"}
		}
		if g := strings.Join(got, ";"); g != c.want {
			t.Errorf("%q: %q, want %q", c.params, g, c.want)
		}
	}
}

// What is set must never depend on how it was written, and never be refused as a
// parameter and let through as an option.
func FuzzOptions(f *testing.F) {
	for _, s := range []string{"-c a=1", `-c a=\ b --x-y=z`, "-crole=x", "-c", `\\\`, "--=", " "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		settings, fault := startupSettings(&wire.Startup{Parameters: []wire.Parameter{{Name: "options", Value: text}}})
		if fault != nil {
			return
		}
		seen := make(map[string]bool)
		for _, s := range settings {
			if s.Name == "" || s.Name != strings.ToLower(s.Name) || seen[s.Name] || s.Name == "role" || s.Name == "session_authorization" {
				t.Errorf("%q sets %q", text, s)
			}
			seen[s.Name] = true
		}
		again := &wire.Startup{Parameters: settings}
		if got, fault := startupSettings(again); fault != nil || !reflect.DeepEqual(got, settings) {
			t.Errorf("%q: %v as options, %v (%v) as parameters", text, settings, got, fault)
		}
	})
}

// What takes a server from one profile to the next must leave it with exactly
// the next one's.
func TestAppendSetup(t *testing.T) {
	p := func(kv ...string) *profile {
		q := &profile{}
		for i := 0; i < len(kv); i += 2 {
			q.settings = append(q.settings, wire.Parameter{Name: kv[i], Value: kv[i+1]})
		}
		return q
	}
	for _, c := range []struct {
		from, to *profile
		want     string
	}{
		{nil, nil, ""},
		{nil, p(), ""},
		{p("a", "1"), p("a", "1"), ""},
		{nil, p("a", "1"), "apply(a=1) S"},
		{p("a", "1"), p("a", "2"), "apply(a=2) S"},
		{p("a", "1"), nil, "revert(a) S"},
		{p("a", "1", "b", "1"), p("b", "2", "c", "3"), "revert(a) apply(b=2) apply(c=3) S"},
	} {
		var q requests
		got := appendSetup(nil, &q, c.from, c.to)
		if want := frames(t, c.want, true); string(got) != string(want) {
			t.Errorf("%v to %v: %q, want %q", c.from, c.to, got, want)
		}
		n := 0
		for rest := got; len(rest) > 0; n++ {
			typ, size := wire.Peek(rest)
			if q.at(n) != typ|ours {
				t.Errorf("request %d is %q, want %q", n, q.at(n), typ)
			}
			rest = rest[size:]
		}
		if n != q.n {
			t.Errorf("%d requests are queued, %d were sent", q.n, n)
		}
	}
}
