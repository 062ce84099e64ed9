package protocol

import (
	"slices"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	cases, err := Parse("f", `
# a comment
== first
> Query "sel" + "e"*2 + ct
2x> never
`)
	if err == nil {
		t.Errorf("a bad step was taken: %+v", cases)
	}
	cases, err = Parse("f", `
== first
> 2x Query "{i}" + "b"*3
B> Query "abc" @1:3
B< D "1" Z
A open timezone=UTC
`)
	if err != nil {
		t.Fatal(err)
	}
	c := cases[0]
	if c.Title() != "f: first" || len(c.steps) != 4 {
		t.Fatalf("got %q with %d steps", c.Title(), len(c.steps))
	}
	if want := "Q\x00\x00\x00\x091bbb\x00Q\x00\x00\x00\x092bbb\x00"; string(c.steps[0].bytes) != want {
		t.Errorf("got %q, want %q", c.steps[0].bytes, want)
	}
	if c.steps[1].client != "B" || string(c.steps[1].bytes) != "\x00\x00" {
		t.Errorf("got %s %q", c.steps[1].client, c.steps[1].bytes)
	}
	if want := []want{{"D", "1"}, {"Z", ""}}; !slices.Equal(c.steps[2].wants, want) {
		t.Errorf("got %v, want %v", c.steps[2].wants, want)
	}
}

func TestParseRefuses(t *testing.T) {
	t.Parallel()
	for name, text := range map[string]string{
		"nothing asserted":          "== x\n> Query \"\"\n< Z",
		"no heading":                "> Sync",
		"a heading twice":           "== x\n< D \"1\"\n== x\n< D \"1\"",
		"an unknown message":        "== x\n> Greet\n< D \"1\"",
		"an unknown step":           "== x\nA dance\n< D \"1\"",
		"what is left of a message": "== x\n> Sync now\n< D \"1\"",
		"a part that is not there":  "== x\n> Sync @3:9\n< D \"1\"",
		"a string without end":      "== x\n> Query \"a\n< D \"1\"",
		"a bad list of values":      "== x\n> Bind a b (1 2\n< D \"1\"",
		"a message type of two":     "== x\n< DD \"1\"",
	} {
		if _, err := Parse("f", text); err == nil {
			t.Errorf("%s: taken", name)
		}
	}
}

func TestDiff(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ want, got, diff string }{
		{"abc", "abc", ""},
		{"abc", "axc", "-b+x"},
		{"abc", "ac", "-b"},
		{"", "ab", "+a+b"},
		{"abcd", "bcde", "-a+e"},
		{"xaxbx", "xbx", "-a-x"},
	} {
		split := func(s string) []string { return strings.Split(s, "") }
		if got := strings.Join(Diff(split(tc.want), split(tc.got)), ""); got != tc.diff {
			t.Errorf("%q and %q: %q, want %q", tc.want, tc.got, got, tc.diff)
		}
	}
}
