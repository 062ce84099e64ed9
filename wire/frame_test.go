package wire

import (
	"encoding/binary"
	"testing"
)

func header(typ byte, n uint32) []byte {
	return binary.BigEndian.AppendUint32([]byte{typ}, n)
}

func TestPeek(t *testing.T) {
	tests := []struct {
		name string
		b    []byte
		typ  byte
		size int
	}{
		{"nothing", nil, 0, 0},
		{"a type alone", []byte{Query}, 0, 0},
		{"a header less one byte", header(Query, 100)[:4], 0, 0},
		{"length 0", header(Query, 0), Query, -1},
		{"length 3", header(Query, 3), Query, -1},
		{"length 4, the shortest", header(Sync, 4), Sync, 5},
		{"length 5", header(Query, 5), Query, 6},
		{"more than a header", append(header(DataRow, 8), 1, 2, 3, 4, 'Z'), DataRow, 9},
		{"longest less one", header(CopyData, MaxFrame-2), CopyData, MaxFrame - 1},
		{"longest", header(CopyData, MaxFrame-1), CopyData, MaxFrame},
		{"over the longest", header(CopyData, MaxFrame), CopyData, -1},
		{"negative as an int32", header(CopyData, 1<<31), CopyData, -1},
		{"all bits", header(CopyData, 1<<32-1), CopyData, -1},
		{"type 0", header(0, 4), 0, 5},
	}
	for _, tt := range tests {
		if typ, size := Peek(tt.b); typ != tt.typ || size != tt.size {
			t.Errorf("%s: %q, %d; want %q, %d", tt.name, typ, size, tt.typ, tt.size)
		}
	}
}

func TestTakeCString(t *testing.T) {
	tests := []struct {
		in, s, rest string
		ok          bool
	}{
		{"", "", "", false},
		{"abc", "", "abc", false},
		{"\x00", "", "", true},
		{"\x00\x00", "", "\x00", true},
		{"abc\x00", "abc", "", true},
		{"abc\x00de", "abc", "de", true},
	}
	for _, tt := range tests {
		s, rest, ok := TakeCString([]byte(tt.in))
		if string(s) != tt.s || string(rest) != tt.rest || ok != tt.ok {
			t.Errorf("%q: %q, %q, %v; want %q, %q, %v", tt.in, s, rest, ok, tt.s, tt.rest, tt.ok)
		}
	}
}
