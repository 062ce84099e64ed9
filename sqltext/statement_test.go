package sqltext

import (
	"fmt"
	"strings"
	"testing"
)

var commands = [...]string{
	Else: "else", Set: "set", Reset: "reset", ResetAll: "reset all", Transaction: "transaction",
	Characteristics: "characteristics", Prepare: "prepare", Execute: "execute", Deallocate: "deallocate",
	DeallocateAll: "deallocate all", Discard: "discard", Unclear: "unclear",
}

// read writes down what is read off a text.
func read(text string) string {
	var out []string
	r := Read([]byte(text))
	for {
		s, more := r.Next()
		if !more {
			break
		}
		one := commands[s.Command]
		if s.Local {
			one += " local"
		}
		if s.Name != nil {
			one += fmt.Sprintf(" <%s>", s.Name)
		}
		out = append(out, one)
	}
	if r.Unsure() {
		out = append(out, "unsure")
	}
	return strings.Join(out, "; ")
}

func TestStatements(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		" ; ;; -- nothing\n /* ; */ ":   "",
		"select 1; update t set x = 1;": "else; else",

		"set x = 1":                           "set <x>",
		"SET X TO 1":                          "set <x>",
		"/* a /* b */ c */ set\tx=1 -- set y": "set <x>",
		`set "X" = 1`:                         "set <x>",
		`set "a""b" = 1`:                      `set <a"b>`,
		"set session x = 1":                   "set <x>",
		"set local x = 1":                     "set local <x>",
		"set local.x = 1":                     "set <local.x>",
		"set session.y to 1":                  "set <session.y>",
		"set session session.y to 1":          "set <session.y>",
		"set local = 1":                       "set <local>",
		"set my.Own.\"Name\" = 1":             "set <my.own.name>",
		"set x to default":                    "reset <x>",
		"set x = default":                     "reset <x>",
		"set local x = default":               "set local <x>",
		"set x = 'default'":                   "set <x>",
		"set x from current":                  "set <x>",
		"set x":                               "set <x>",
		"set":                                 "unclear",
		"set 'x' = 1":                         "unclear",
		"set x. = 1":                          "unclear",
		`set u&"x" = 1`:                       "unclear",
		`set ü = 1`:                           "unclear",
		"set " + strings.Repeat("x", 63) + " = 1": "set <" + strings.Repeat("x", 63) + ">",
		"set " + strings.Repeat("x", 64) + " = 1": "unclear",
		"set a." + strings.Repeat("x", 63) + "." + strings.Repeat("x", 63) + "." + strings.Repeat("x", 63) + "." + strings.Repeat("x", 63) + " = 1": "unclear",

		"set time zone 'UTC'":                       "set <timezone>",
		"set time zone local":                       "reset <timezone>",
		"set time zone default; select 1":           "reset <timezone>; else",
		"set local time zone local":                 "set local <timezone>",
		"set time zone interval '1' hour to minute": "set <timezone>",
		"set names 'latin1'":                        "set <client_encoding>",
		"set names":                                 "reset <client_encoding>",
		"set names; set x = 1":                      "reset <client_encoding>; set <x>",
		"set names default":                         "reset <client_encoding>",
		"set names.x = 1":                           "set <names.x>",
		"set schema 'x'":                            "set <search_path>",
		"set xml option document":                   "set <xmloption>",
		"set role x":                                "set <role>",
		"set role none":                             "set <role>",
		"set local role x":                          "set local <role>",
		"set role = x":                              "set <role>",
		"set role.x = x":                            "set <role.x>",
		"set session authorization x":               "set <session_authorization>",
		"set session authorization default":         "reset <session_authorization>",
		"set session session authorization x":       "set <session_authorization>",
		"set local session authorization x":         "set local <session_authorization>",

		"set session characteristics as transaction read only":         "characteristics",
		"set session session characteristics as transaction read only": "characteristics",
		"set transaction read only":                                    "transaction",
		"set local transaction isolation level serializable":           "transaction local",
		"set transaction snapshot 'x'":                                 "transaction",
		"set transaction_isolation = serializable":                     "transaction",
		"set transaction.x = 1":                                        "set <transaction.x>",
		"set constraints all deferred":                                 "else",
		"set constraints.x = 1":                                        "set <constraints.x>",

		"reset x":                           "reset <x>",
		"reset a.B":                         "reset <a.b>",
		"reset all":                         "reset all",
		"reset time zone":                   "reset <timezone>",
		"reset time.x":                      "reset <time.x>",
		"reset session authorization":       "reset <session_authorization>",
		"reset transaction isolation level": "transaction",
		"reset role":                        "reset <role>",
		"reset":                             "unclear",
		"set; set x; reset; reset all; prepare; execute; deallocate; set y": "unclear; set <x>; unclear; reset all; unclear; unclear; unclear; set <y>",

		"prepare a as select 1":              "prepare <a>",
		`prepare "A b" (int) as select $1`:   "prepare <A b>",
		"prepare transaction 'x'":            "else",
		"execute A":                          "execute <a>",
		`EXECUTE "A"(1, 'x;')`:               "execute <A>",
		"execute u&\"a\"":                    "unclear",
		"deallocate a":                       "deallocate <a>",
		"deallocate prepare a; deallocate b": "deallocate <a>; deallocate <b>",
		"deallocate prepare":                 "deallocate <prepare>",
		"deallocate prepare; select 1":       "deallocate <prepare>; else",
		"deallocate all":                     "deallocate all",
		"deallocate prepare all":             "deallocate all",
		`deallocate "all"`:                   "deallocate <all>",
		"deallocate":                         "unclear",
		"discard all":                        "discard",
		"set x = 1; reset y":                 "set <x>; reset <y>",

		"create rule r as on insert to t do (select 1; set x = 1); set y = 2": "else; set <y>",
		"select '; set x = 1'; set y = 2":                                     "else; set <y>",
		`select "; set x = 1"; set y = 2`:                                     "else; set <y>",
		"select $$; set x = 1$$; set y = 2":                                   "else; set <y>",
		"select $a$; $$ set x = 1 $b$; $a$; set y = 2":                        "else; set <y>",
		"select a$a$; set y = 2":                                              "else; set <y>",
		"select 1$a$; set x = 1$a$; set y = 2":                                "else; set <y>",
		"select $1$a$; set x = 1$a$; set y = 2":                               "else; set <y>",
		`select e'\'; set x = 1'; set y = 2`:                                  "else; set <y>",
		"select e'\\'' -- c\n '\\'; set x = 1'; set y = 2":                    "else; set <y>",
		`select fe'x'; set y = 2`:                                             "else; set <y>",
		"select 'a''; set x = 1'; set y = 2":                                  "else; set <y>",
		"select 1 -- ; set x = 1\r; set y = 2":                                "else; set <y>",
		"select 1 +/* ; set x = 1 */ 2; set y = 2":                            "else; set <y>",
		"select 1 --; set x = 1\n; set y = 2":                                 "else; set <y>",
		"select 1 /* /* */ ; set x = 1 */; set y = 2":                         "else; set <y>",
		`select u&'\'; set y = 2`:                                             "else; set <y>",
		`select 'c:\\'; set y = 2`:                                            "else; set <y>",
		`select 'c:\x'; set y = 2`:                                            "else; set <y>",
		`select 'c:\'; set y = 2`:                                             "else; set <y>; unsure",
		`select 'c:\''; set y = 2`:                                            "else; unsure",
		"select '":                                                            "else; unsure",
		"select \"":                                                           "else; unsure",
		"select $$":                                                           "else; unsure",
		"select /*":                                                           "else; unsure",
		"select 1)); set y = 2":                                               "else; set <y>",
	} {
		if got := read(text); got != want {
			t.Errorf("%q\nread as %s\nwant    %s", text, got, want)
		}
	}
}

func TestStatementPlaces(t *testing.T) {
	text := " ; set x = 1 ; /* c */ select (1;2) -- end\n;"
	var got []string
	r := Read([]byte(text))
	for s, more := r.Next(); more; s, more = r.Next() {
		got = append(got, text[s.From:s.To])
	}
	if want := []string{"set x = 1", "select (1;2)"}; strings.Join(got, "|") != strings.Join(want, "|") {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestTransparent(t *testing.T) {
	for encoding, want := range map[string]bool{"UTF8": true, "LATIN1": true, "EUC_JP": true, "SJIS": false, "Shift_JIS_2004": false, "GB18030": false, "BIG5": false, "uhc": false, "johab": false} {
		if Transparent(encoding) != want {
			t.Errorf("%s: %v", encoding, !want)
		}
	}
}

func TestReadingDoesNotAllocate(t *testing.T) {
	text := []byte(`select 'x', "y", $$z$$, e'\'' from t; set search_path = a, b; reset all; deallocate "x y"`)
	n := 0
	if got := testing.AllocsPerRun(100, func() {
		r := Read(text)
		for _, more := r.Next(); more; _, more = r.Next() {
			n++
		}
	}); got > 1 {
		t.Errorf("%v allocations", got)
	}
	if n == 0 {
		t.Error("nothing was read")
	}
}

// FuzzRead looks for texts on which the reading does not end, leaves the text, or
// depends on what follows it.
func FuzzRead(f *testing.F) {
	for _, s := range []string{
		"set x = 1; reset all", `select e'\'`, "select $a$ $b$", "/* /* */", `u&"x"`, "deallocate prepare", "set session session.x", "'a'\n'b", "1..2", "$", "\"\"", "--",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		l := NewLexer([]byte(text))
		at := 0
		for {
			tok := l.Next()
			if tok.From < at || tok.To > len(text) || tok.Kind != End && tok.To <= tok.From {
				t.Fatalf("%q: token %+v after %d", text, tok, at)
			}
			if at = tok.To; tok.Kind == End {
				break
			}
		}
		r := Read([]byte(text))
		at = 0
		for s, more := r.Next(); more; s, more = r.Next() {
			if s.From < at || s.To <= s.From || s.To > len(text) {
				t.Fatalf("%q: statement %d to %d after %d", text, s.From, s.To, at)
			}
			at = s.To
		}
		if r.Unsure() {
			return
		}
		before := read(text)
		if before != "" {
			before += "; "
		}
		if got := read(text + "\n;set x = 1"); !strings.ContainsAny(text, "()\"'$") && got != before+"set <x>" {
			t.Errorf("%q: %s, and with a SET behind it: %s", text, before, got)
		}
	})
}
