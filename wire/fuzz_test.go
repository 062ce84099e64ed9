package wire

import (
	"bytes"
	"encoding/binary"
	"io"
	"testing"
	"testing/iotest"

	"github.com/jackc/pgx/v5/pgproto3"
)

// A startup message that is accepted is understood to the last byte: building
// it again gives the same bytes.
func FuzzParseStartup(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		s, err := ParseStartup(body)
		if err != nil {
			return
		}
		if got := AppendStartup(nil, s); !bytes.Equal(got[4:], body) || int(binary.BigEndian.Uint32(got)) != len(got) {
			t.Errorf("% x was built again as % x", body, got)
		}
		var m pgproto3.StartupMessage
		if m.Decode(body) != nil {
			return // another version, or no parameters
		}
		for name, value := range m.Parameters {
			if s.Get(name) != value {
				t.Errorf("%q is %q, pgx says %q", name, s.Get(name), value)
			}
		}
	})
}

// Fields are read as pgx reads them, and survive being sent on.
func FuzzParseFields(f *testing.F) {
	f.Fuzz(func(t *testing.T, body []byte) {
		got, ok := ParseFields(body)
		var m pgproto3.ErrorResponse
		if err := m.Decode(body); (err == nil) != ok {
			t.Fatalf("accepted: %v, by pgx: %v", ok, err)
		}
		if !ok {
			return
		}
		if got.Code != m.Code || got.Message != m.Message || got.Detail != m.Detail || got.Hint != m.Hint || got.Routine != m.Routine {
			t.Errorf("%+v, pgx says %+v", got, m)
		}
		got.Routine = "" // never sent
		again, ok := ParseFields(AppendErrorResponse(nil, &got)[HeaderLen:])
		if !ok || again != got {
			t.Errorf("%+v became %+v", got, again)
		}
	})
}

// However the bytes come, a Reader says the same, keeps to its limit and loses
// and invents nothing.
func FuzzReader(f *testing.F) {
	f.Fuzz(func(t *testing.T, stream []byte, limit uint16) {
		whole := transcript(bytes.NewReader(stream), int(limit))
		if split := transcript(iotest.OneByteReader(bytes.NewReader(stream)), int(limit)); split != whole {
			t.Errorf("byte by byte:\n%s\nat once:\n%s", split, whole)
		}
		r := NewReader(bytes.NewReader(stream))
		at := 0
		for {
			typ, body, err := r.Message(int(limit))
			if err != nil {
				if err == io.EOF && at != len(stream) {
					t.Errorf("EOF at %d of %d bytes", at, len(stream))
				}
				break
			}
			frame := append(header(typ, uint32(len(body)+4)), body...)
			if len(body) > int(limit) || !bytes.HasPrefix(stream[at:], frame) {
				t.Fatalf("at %d: a message that was not sent, or of more than %d bytes: % x", at, limit, frame)
			}
			at += len(frame)
		}
		if cap(r.buf) > max(readAhead, int(limit)+HeaderLen) {
			t.Errorf("a buffer of %d bytes for a limit of %d", cap(r.buf), limit)
		}
	})
}

// Peek says exactly one of: too short to tell, impossible, a size beyond the header.
func FuzzPeek(f *testing.F) {
	f.Fuzz(func(t *testing.T, b []byte) {
		typ, size := Peek(b)
		if len(b) < HeaderLen {
			if typ != 0 || size != 0 {
				t.Errorf("% x: %q, %d; want nothing known", b, typ, size)
			}
			return
		}
		n := int64(binary.BigEndian.Uint32(b[1:]))
		want := int(n) + 1
		if n < 4 || n >= MaxFrame {
			want = -1
		}
		if typ != b[0] || size != want {
			t.Errorf("% x: %q, %d; want %q, %d", b, typ, size, b[0], want)
		}
	})
}
