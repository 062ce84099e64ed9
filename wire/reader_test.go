package wire

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"testing/iotest"
)

// chunks is a source that gives one chunk a read, then the error (io.EOF when nil).
type chunks struct {
	list  [][]byte
	err   error
	reads int
}

func (c *chunks) Read(p []byte) (int, error) {
	c.reads++
	if len(c.list) == 0 {
		if c.err != nil {
			return 0, c.err
		}
		return 0, io.EOF
	}
	n := copy(p, c.list[0])
	if c.list[0] = c.list[0][n:]; len(c.list[0]) == 0 {
		c.list = c.list[1:]
	}
	return n, nil
}

// transcript reads a startup packet and then messages until the first error,
// and writes down all that a caller is told.
func transcript(src io.Reader, limit int) string {
	r := NewReader(src)
	var said strings.Builder
	code, body, err := r.Startup()
	fmt.Fprintf(&said, "%d %q %v\n", code, body, err)
	for err == nil {
		var typ byte
		typ, body, err = r.Message(limit)
		fmt.Fprintf(&said, "%q %q %v\n", typ, body, err)
	}
	return said.String()
}

func conversation() []byte {
	b := AppendStartup(nil, &Startup{Version30, []Parameter{{"user", "u"}}})
	b = AppendPassword(b, "secret")
	b = AppendSync(b)
	b = AppendQuery(b, strings.Repeat("long ", 300)) // longer than the read-ahead
	return AppendTerminate(b)
}

func TestReaderSplitAtEveryByte(t *testing.T) {
	all := conversation()
	want := transcript(bytes.NewReader(all), MaxFrame)
	if n := strings.Count(want, "<nil>"); n != 5 || !strings.HasSuffix(want, " EOF\n") {
		t.Fatalf("read %d messages, want 5 and EOF:\n%s", n, want)
	}
	for at := range len(all) + 1 {
		if got := transcript(&chunks{list: [][]byte{all[:at], all[at:]}}, MaxFrame); got != want {
			t.Fatalf("split at %d:\n%s\nwant\n%s", at, got, want)
		}
	}
	sources := map[string]io.Reader{
		"one byte at a time":       iotest.OneByteReader(bytes.NewReader(all)),
		"half of what is asked":    iotest.HalfReader(bytes.NewReader(all)),
		"the end with the data":    iotest.DataErrReader(bytes.NewReader(all)),
		"a byte, end with the end": iotest.DataErrReader(iotest.OneByteReader(bytes.NewReader(all))),
	}
	for name, src := range sources {
		if got := transcript(src, MaxFrame); got != want {
			t.Errorf("%s:\n%s\nwant\n%s", name, got, want)
		}
	}
}

// A conversation that ends between messages is EOF, one that breaks off within
// a message is ErrUnexpectedEOF: the difference between leaving and failing.
func TestReaderEnds(t *testing.T) {
	all := conversation()
	ends := map[int]bool{0: true}
	at := int(binary.BigEndian.Uint32(all))
	for ends[at] = true; at < len(all); ends[at] = true {
		_, size := Peek(all[at:])
		at += size
	}
	for n := range len(all) + 1 {
		want := " unexpected EOF\n"
		if ends[n] {
			want = " EOF\n"
		}
		for name, src := range map[string]io.Reader{
			"at once":        bytes.NewReader(all[:n]),
			"byte by byte":   iotest.OneByteReader(bytes.NewReader(all[:n])),
			"with the bytes": iotest.DataErrReader(bytes.NewReader(all[:n])),
		} {
			if got := transcript(src, MaxFrame); !strings.HasSuffix(got, want) || ends[n] && strings.Contains(got, "unexpected") {
				t.Fatalf("%d bytes, %s: ends with\n%s\nwant %q", n, name, got, want)
			}
		}
	}
}

func TestReaderPassesErrorsOn(t *testing.T) {
	lost := errors.New("deadline")
	for _, have := range []string{"", "Q", "Q\x00\x00\x00\x06a"} {
		_, _, err := NewReader(&chunks{list: [][]byte{[]byte(have)}, err: lost}).Message(100)
		if !errors.Is(err, lost) {
			t.Errorf("after %q: %v, want the source's own error", have, err)
		}
	}
}

// A read that timed out loses nothing of what had come.
func TestReaderGoesOnAfterAnError(t *testing.T) {
	src := &chunks{list: [][]byte{[]byte("Q\x00\x00\x00\x07a")}, err: errors.New("deadline")}
	r := NewReader(src)
	if _, _, err := r.Message(100); err == nil {
		t.Fatal("no error, so nothing to go on from")
	}
	src.list = [][]byte{[]byte("b\x00")}
	typ, body, err := r.Message(100)
	if typ != Query || string(body) != "ab\x00" || err != nil {
		t.Errorf("%q, %q, %v", typ, body, err)
	}
}

func TestMessageLimits(t *testing.T) {
	tests := []struct {
		name  string
		n     uint32 // the announced length
		limit int
		err   error
	}{
		{"an empty body", 4, 0, nil},
		{"at the limit", 4 + 100, 100, nil},
		{"one over", 4 + 101, 100, ErrTooLong},
		{"one over nothing", 5, 0, ErrTooLong},
		{"3", 3, 100, ErrTooShort},
		{"0", 0, 100, ErrTooShort},
		{"as long as can be", 1<<32 - 1, 100, ErrTooLong},
		{"negative as an int32", 1 << 31, 100, ErrTooLong},
		{"a negative limit", 4, -1, ErrTooLong},
	}
	for _, tt := range tests {
		b := header(Query, tt.n)
		if tt.err == nil {
			b = append(b, make([]byte, tt.n-4)...)
		}
		typ, body, err := NewReader(bytes.NewReader(b)).Message(tt.limit)
		if typ != Query || !errors.Is(err, tt.err) {
			t.Errorf("%s: %q, %v; want Q, %v", tt.name, typ, err, tt.err)
		}
		if err == nil && len(body) != int(tt.n)-4 {
			t.Errorf("%s: a body of %d bytes", tt.name, len(body))
		}
	}
}

func TestStartupLimits(t *testing.T) {
	tests := []struct {
		name string
		n    uint32
		err  error
	}{
		{"0", 0, ErrTooShort},
		{"a length without a code", 4, ErrTooShort},
		{"half a code", 7, ErrTooShort},
		{"a code alone", 8, nil},
		{"longest", MaxStartup, nil},
		{"one over", MaxStartup + 1, ErrTooLong},
		{"a TLS handshake's first bytes", 0x16030100, ErrTooLong},
		{"HTTP", 0x47455420, ErrTooLong},
		{"as long as can be", 1<<32 - 1, ErrTooLong},
	}
	for _, tt := range tests {
		b := binary.BigEndian.AppendUint32(nil, tt.n)
		if tt.err == nil {
			b = append(b, make([]byte, tt.n-4)...)
			binary.BigEndian.PutUint32(b[4:], SSLRequestCode)
		}
		code, body, err := NewReader(bytes.NewReader(b)).Startup()
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
		}
		if err == nil && (code != SSLRequestCode || len(body) != int(tt.n)-4) {
			t.Errorf("%s: code %d, a body of %d bytes", tt.name, code, len(body))
		}
	}
}

// A length is refused before anything is allocated for it or another byte is
// waited for: four bytes from anybody must not cost a gigabyte or a deadline.
func TestLimitsHoldFromTheHeader(t *testing.T) {
	tests := []struct {
		name string
		b    []byte
		read func(*Reader) error
	}{
		{"message", header(Query, MaxFrame-1), func(r *Reader) error { _, _, err := r.Message(1 << 20); return err }},
		{"startup", header(0, 0)[:0:0], func(r *Reader) error { _, _, err := r.Startup(); return err }},
	}
	tests[1].b = binary.BigEndian.AppendUint32(nil, MaxStartup+1)
	for _, tt := range tests {
		src := &chunks{list: [][]byte{tt.b}, err: errors.New("waited for more")}
		r := NewReader(src)
		if err := tt.read(r); !errors.Is(err, ErrTooLong) {
			t.Errorf("%s: %v, want ErrTooLong", tt.name, err)
		}
		if src.reads != 1 || cap(r.buf) > readAhead {
			t.Errorf("%s: %d reads into %d bytes; want one into no more than %d", tt.name, src.reads, cap(r.buf), readAhead)
		}
	}
}

func TestReaderKeepsOneBuffer(t *testing.T) {
	b := bytes.Repeat(AppendQuery(nil, strings.Repeat("x", 3000)), 3)
	src := bytes.NewReader(b)
	r := NewReader(src)
	allocs := testing.AllocsPerRun(100, func() {
		src.Reset(b)
		for range 3 {
			if _, body, err := r.Message(4000); err != nil || len(body) != 3001 {
				t.Fatalf("%d bytes, %v", len(body), err)
			}
		}
	})
	if allocs != 0 {
		t.Errorf("%.1f allocations for three messages after the first, want none", allocs)
	}
	if cap(r.buf) > 3006 {
		t.Errorf("the buffer has %d bytes, the largest message 3006", cap(r.buf))
	}
}

// Plaintext sent along with SSLRequest must be visible: it is an attack or a
// client that did not wait (CVE-2021-23222), and TLS must not start behind it.
func TestBufferedAndReset(t *testing.T) {
	r := NewReader(bytes.NewReader(append(AppendSSLRequest(nil), "injected"...)))
	code, _, err := r.Startup()
	if code != SSLRequestCode || err != nil {
		t.Fatalf("%d, %v", code, err)
	}
	if got := string(r.Buffered()); got != "injected" {
		t.Errorf("buffered %q", got)
	}
	r.Reset(bytes.NewReader(AppendSync(nil)))
	if got := r.Buffered(); len(got) != 0 {
		t.Errorf("buffered %q after Reset", got)
	}
	if typ, body, err := r.Message(0); typ != Sync || len(body) != 0 || err != nil {
		t.Errorf("%q, %q, %v after Reset", typ, body, err)
	}
	if got := r.Buffered(); len(got) != 0 {
		t.Errorf("buffered %q at the end", got)
	}
}
