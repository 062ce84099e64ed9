package sqltext

import (
	"strings"
	"testing"
)

func TestMentions(t *testing.T) {
	for text, want := range map[string]string{
		"":                           "",
		"do $$ begin end $$":         "",
		"do $$ begin set x = 1; end": "set <x>",
		"do $$ begin update t set a = 1, b = 2; set local y to 2; reset z; RESET ALL; end $$": "set <a>; set local <y>; reset <z>; reset all",
		"do $$ begin execute 'set time zone ''UTC'''; end $$":                                 "set <timezone>",
		"do $$ begin execute 'set ' || x; offset = 1; end $$":                                 "",
		"update t set (a, b) = (1, 2)":                                                        "",
		"set":                                                                                 "",
		"set set = 1":                                                                         "set <set>",
		"set 'set x":                                                                          "set <x>",
	} {
		var out []string
		r := Mentions([]byte(text))
		for s, more := r.Next(); more; s, more = r.Next() {
			one := commands[s.Command]
			if s.Local {
				one += " local"
			}
			if s.Name != nil {
				one += " <" + string(s.Name) + ">"
			}
			out = append(out, one)
		}
		if got := strings.Join(out, "; "); got != want {
			t.Errorf("%q\nread as %s\nwant    %s", text, got, want)
		}
	}
	r := Mentions([]byte(strings.Repeat("set x ", 1000)))
	n := 0
	for _, more := r.Next(); more; _, more = r.Next() {
		n++
	}
	if n != maxMentions || !r.TooMany() {
		t.Errorf("%d of 1000 were read, too many: %v", n, r.TooMany())
	}
}
