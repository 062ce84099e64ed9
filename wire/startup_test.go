package wire

import (
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

const v30 = "\x00\x03\x00\x00"

func TestParseStartup(t *testing.T) {
	tests := []struct {
		name, body string
		want       []Parameter
		err        error
	}{
		{"two parameters", v30 + "user\x00a\x00database\x00b\x00\x00", []Parameter{{"user", "a"}, {"database", "b"}}, nil},
		{"an empty value", v30 + "user\x00\x00\x00", []Parameter{{"user", ""}}, nil},
		{"none", v30 + "\x00", nil, nil},
		{"the same twice", v30 + "user\x00a\x00user\x00b\x00\x00", []Parameter{{"user", "a"}, {"user", "b"}}, nil},
		{"nothing", "", nil, ErrStartupLayout},
		{"half a version", v30[:3], nil, ErrStartupLayout},
		{"no terminator", v30, nil, ErrStartupLayout},
		{"a name without a value", v30 + "user\x00", nil, ErrStartupLayout},
		{"a name that breaks off", v30 + "use", nil, ErrStartupLayout},
		{"a value that breaks off", v30 + "user\x00a", nil, ErrStartupLayout},
		{"no last terminator", v30 + "user\x00a\x00", nil, ErrStartupLayout},
		{"something behind the end", v30 + "user\x00a\x00\x00x", nil, ErrStartupLayout},
		{"a second terminator", v30 + "user\x00a\x00\x00\x00", nil, ErrStartupLayout},
		{"parameters behind the end", v30 + "\x00user\x00a\x00\x00", nil, ErrStartupLayout},
	}
	for _, tt := range tests {
		got, err := ParseStartup([]byte(tt.body))
		if !errors.Is(err, tt.err) {
			t.Errorf("%s: %v, want %v", tt.name, err, tt.err)
			continue
		}
		if err == nil && (got.Version != Version30 || !reflect.DeepEqual(got.Parameters, tt.want)) {
			t.Errorf("%s: %+v, want %v", tt.name, got, tt.want)
		}
		if err != nil && got != nil {
			t.Errorf("%s: %+v beside an error", tt.name, got)
		}
	}
}

// What a client controls must not outlive or change with the reader's buffer.
func TestParseStartupCopies(t *testing.T) {
	body := []byte(v30 + "user\x00alice\x00\x00")
	s, err := ParseStartup(body)
	if err != nil {
		t.Fatal(err)
	}
	clear(body)
	if s.Get("user") != "alice" {
		t.Errorf("the user became %q when the buffer was used again", s.Get("user"))
	}
}

func TestParseStartupReadsWhatPgxWrites(t *testing.T) {
	m := &pgproto3.StartupMessage{
		ProtocolVersion: pgproto3.ProtocolVersion32,
		Parameters:      map[string]string{"user": "u", "database": "d", "options": "-c a=b\\ c", "_pq_.x": "1"},
	}
	b, err := m.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ParseStartup(b[4:])
	if err != nil || s.Version != Version32 || len(s.Parameters) != len(m.Parameters) {
		t.Fatalf("%+v, %v", s, err)
	}
	for name, value := range m.Parameters {
		if s.Get(name) != value {
			t.Errorf("%s is %q, want %q", name, s.Get(name), value)
		}
	}
}

func TestStartupGetAndExtensions(t *testing.T) {
	s := &Startup{Version32, []Parameter{
		{"user", "first"}, {"_pq_.b", "1"}, {"user", "last"}, {"_pq_.a", ""}, {"x_pq_.c", "1"}, {"_pq_", "1"},
	}}
	for name, want := range map[string]string{"user": "last", "USER": "", "_pq_.b": "1", "absent": "", "": ""} {
		if got := s.Get(name); got != want {
			t.Errorf("Get(%q) is %q, want %q", name, got, want)
		}
	}
	if got := s.Extensions(); !reflect.DeepEqual(got, []string{"_pq_.b", "_pq_.a"}) {
		t.Errorf("extensions %q", got)
	}
	if got := (&Startup{}).Extensions(); got != nil {
		t.Errorf("extensions of nothing: %q", got)
	}
}

func TestParseCancelRequest(t *testing.T) {
	code := "\x04\xd2\x16\x2e"
	tests := []struct {
		name, body string
		pid        uint32
		secret     int // its length
		ok         bool
	}{
		{"3.0", code + "\x80\x00\x00\x07abcd", 1<<31 | 7, 4, true},
		{"longest", code + "\x00\x00\x00\x07" + strings.Repeat("s", MaxSecret), 7, MaxSecret, true},
		{"nothing", "", 0, 0, false},
		{"the code alone", code, 0, 0, false},
		{"no secret", code + "\x00\x00\x00\x07", 0, 0, false},
		{"a secret of 3 bytes", code + "\x00\x00\x00\x07abc", 0, 0, false},
		{"too long a secret", code + "\x00\x00\x00\x07" + strings.Repeat("s", MaxSecret+1), 0, 0, false},
	}
	for _, tt := range tests {
		k, err := ParseCancelRequest([]byte(tt.body))
		if (err == nil) != tt.ok || k.PID != tt.pid || len(k.Secret) != tt.secret {
			t.Errorf("%s: %+v, %v", tt.name, k, err)
		}
		if err != nil && !errors.Is(err, ErrCancelLayout) {
			t.Errorf("%s: %v, want ErrCancelLayout", tt.name, err)
		}
		if tt.ok && string(k.Secret) != tt.body[8:] {
			t.Errorf("%s: the secret is %q", tt.name, k.Secret)
		}
	}
}

func TestVersionString(t *testing.T) {
	for v, want := range map[uint32]string{Version30: "3.0", Version32: "3.2", 2 << 16: "2.0", 1<<32 - 1: "65535.65535"} {
		if got := VersionString(v); got != want {
			t.Errorf("%d is %q, want %q", v, got, want)
		}
	}
}
