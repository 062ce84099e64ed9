package proxy

import (
	"strings"
	"testing"

	"pggateway/wire"
)

// A text that is too long to be kept until it is there is not read: what it sets
// is not known, and that it sets something shows in the tag.
func TestLongTexts(t *testing.T) {
	long := strings.Repeat("x", keptWhole)
	for _, c := range []struct{ text, tag, want string }{
		{"select '" + long + "'; set x = 1", "SET", "SET"},
		{"/* " + long + " */ set x = 1", "SET", "SET"},
		{"insert into t values ('; set x " + long + "')", "INSERT 0 1", ""},
		{"select set_config('x', '" + long + "', false)", "SELECT 1", "set_config"},
		{"do $$ " + long + " $$", "DO", "SET"},
	} {
		r := newRig(t, nil)
		p := &player{rig: r, ends: make(map[string]*end)}
		a := r.admit(wire.Version30, nil)
		a.greeted()
		begin := frames(t, "Q(begin)", true)
		a.put(begin)
		s := r.server()
		s.want(begin)
		s.put(frames(t, "C(BEGIN) Z(T)", false))
		a.want(frames(t, "C(BEGIN) Z(T)", false))
		q := wire.AppendQuery(nil, c.text)
		for _, piece := range [][]byte{q[:5], q[5 : len(q)/2], q[len(q)/2:]} {
			a.put(piece)
			s.want(piece)
		}
		s.put(frames(t, "C("+c.tag+") Z", false))
		a.want(frames(t, "C("+c.tag+") Z", false))
		want := ""
		if c.want != "" {
			want = c.want + "=1/1"
		}
		p.pinned(want)
		s.quiet()
	}
}
