package sqltext

import (
	"strings"
	"testing"
)

func TestConfigs(t *testing.T) {
	for text, want := range map[string]string{
		"":                                   "",
		"select 1":                           "",
		"select set_config('a', 'b', false)": "a",
		"select PG_CATALOG.Set_Config ( 'A' , $1, true)":                             "A local",
		`select "set_config"('a', 'b', TRUE) , "SET_CONFIG"('b', 'b', true)`:         "a local",
		"select set_config('a', f(1, true), false), set_config('b', (1), true)":      "a; b local",
		"select set_config('a', set_config('b', 'x', true), false)":                  "a; b local",
		"select set_config('a', 'x', true and false)":                                "a",
		"select set_config('a', 'x', is_local => true)":                              "a",
		"select set_config($1, $2, $3)":                                              "?",
		"select set_config(set_config('a', 'b', false), '', false)":                  "?; a",
		"select set_config('a' || 'b', '', false)":                                   "?",
		"select set_config('it''s', '', false)":                                      "?",
		"select set_config(setting_name => 'a', new_value => 'b', is_local => true)": "?",
		"select set_config":                        "?",
		"select set_config('a'":                    "?",
		"select set_config('a', ":                  "a",
		"select 'set_config(''a'')'":               "",
		"select set_config -- (\n('a', 'b', true)": "a local",
		"do $$ begin perform set_config('a', $a$ $a$, true); end $$; select set_config($1)": "a local; ?",
		"do $x$ $y$ set_config('a', 'b', false) $y$ $x$":                                    "",
		"do $x$ '": "unsure",
	} {
		var out []string
		r := Configs([]byte(text))
		for c, more := r.Next(); more; c, more = r.Next() {
			one := "?"
			if c.Name != nil {
				one = string(c.Name)
			}
			if c.Local {
				one += " local"
			}
			out = append(out, one)
		}
		if r.Unsure() {
			out = append(out, "unsure")
		}
		if got := strings.Join(out, "; "); got != want {
			t.Errorf("%q\nread as %s\nwant    %s", text, got, want)
		}
	}
}

// FuzzConfigs looks for texts on which the reading does not end.
func FuzzConfigs(f *testing.F) {
	for _, s := range []string{"set_config('a', (1), true)", "$a$ set_config( $a$", "$$", "set_config(set_config(", "$x$ ' $x$"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r := Configs([]byte(text))
		n := 0
		for c, more := r.Next(); more; c, more = r.Next() {
			if n++; n > len(text) {
				t.Fatalf("%q: no end", text)
			}
			if !strings.Contains(text, string(c.Name)) {
				t.Errorf("%q: %q is not in it", text, c.Name)
			}
		}
	})
}
