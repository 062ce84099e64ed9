package proxy

import (
	"testing"

	"pggateway/wire"
)

func TestCarriedValues(t *testing.T) {
	before := []wire.Parameter{{Name: "a", Value: "1"}, {Name: "b", Value: "2"}}
	i := inquiry{names: []string{"a", "c.c", "b"}, answers: make([]answer, 3)}
	if _, ok := i.values(before, nil); ok {
		t.Error("answers are taken that have not come")
	}
	i.at = 3
	i.answers = []answer{{found: true, value: "0", initial: "0"}, {found: true}, {found: true, value: "3", initial: "0"}}
	after, ok := i.values(before, nil)
	if want := "b=3;c.c=;"; !ok || list(after) != want {
		t.Errorf("%s, want %s", list(after), want)
	}
	if after, _ = i.values(before, before[:1]); list(after) != "a=0;b=3;c.c=;" {
		t.Errorf("%s, of which a came with the startup message", list(after))
	}
	if list(before) != "a=1;b=2;" {
		t.Errorf("another profile's settings were changed to %s", list(before))
	}
	i.row(nil)
	if _, ok := i.values(before, nil); ok {
		t.Error("a row that nobody could read was not missed")
	}
}

func list(settings []wire.Parameter) (text string) {
	for _, s := range settings {
		text += s.Name + "=" + s.Value + ";"
	}
	return text
}

// Whatever a server sends for a row, reading it ends, and within the row.
func FuzzTakeColumns(f *testing.F) {
	f.Add([]byte("\x00\x01\x00\x00\x00\x01a"))
	f.Add([]byte("\x00\x02\xff\xff\xff\xff\x00\x00\x00\x00"))
	f.Add([]byte("\xff\xff\x7f\xff\xff\xff"))
	f.Add([]byte("\x00"))
	f.Fuzz(func(t *testing.T, body []byte) {
		columns, ok := takeColumns(body)
		size := 2 + 4*len(columns)
		for _, c := range columns {
			size += len(c)
		}
		if ok && size != len(body) || !ok && columns != nil && size > len(body) {
			t.Errorf("%q: %d columns of %d bytes, %v", body, len(columns), size, ok)
		}
	})
}
