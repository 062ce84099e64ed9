package wire

import (
	"bytes"
	"reflect"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

// build is one builder call and the message that pgx calls the same thing.
type build struct {
	name  string
	build func(b []byte) []byte
	want  pgproto3.Message
}

var key32 = CancelKey{4711, []byte(strings.Repeat("k", MaxSecret))}

var backendBuilds = []build{
	{"AuthenticationOk", AppendAuthenticationOK, &pgproto3.AuthenticationOk{}},
	{"AuthenticationCleartextPassword", AppendAuthenticationCleartext, &pgproto3.AuthenticationCleartextPassword{}},
	{
		"AuthenticationMD5Password",
		func(b []byte) []byte { return AppendAuthenticationMD5(b, [4]byte{1, 0, 255, 4}) },
		&pgproto3.AuthenticationMD5Password{Salt: [4]byte{1, 0, 255, 4}},
	},
	{
		"AuthenticationSASL, one mechanism",
		func(b []byte) []byte { return AppendAuthenticationSASL(b, "SCRAM-SHA-256") },
		&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}},
	},
	{
		"AuthenticationSASL, two mechanisms",
		func(b []byte) []byte { return AppendAuthenticationSASL(b, "SCRAM-SHA-256-PLUS", "SCRAM-SHA-256") },
		&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}},
	},
	{
		"AuthenticationSASLContinue",
		func(b []byte) []byte { return AppendAuthenticationSASLContinue(b, "r=abc,s=def,i=4096") },
		&pgproto3.AuthenticationSASLContinue{Data: []byte("r=abc,s=def,i=4096")},
	},
	{
		"AuthenticationSASLFinal",
		func(b []byte) []byte { return AppendAuthenticationSASLFinal(b, "v=xyz") },
		&pgproto3.AuthenticationSASLFinal{Data: []byte("v=xyz")},
	},
	{
		"ParameterStatus",
		func(b []byte) []byte { return AppendParameterStatus(b, Parameter{"server_version", "16.4"}) },
		&pgproto3.ParameterStatus{Name: "server_version", Value: "16.4"},
	},
	{
		"ParameterStatus without a value",
		func(b []byte) []byte { return AppendParameterStatus(b, Parameter{"search_path", ""}) },
		&pgproto3.ParameterStatus{Name: "search_path"},
	},
	{
		"BackendKeyData 3.0",
		func(b []byte) []byte { return AppendBackendKeyData(b, CancelKey{1 << 31, []byte{1, 2, 3, 4}}) },
		&pgproto3.BackendKeyData{ProcessID: 1 << 31, SecretKey: []byte{1, 2, 3, 4}},
	},
	{
		"BackendKeyData 3.2",
		func(b []byte) []byte { return AppendBackendKeyData(b, key32) },
		&pgproto3.BackendKeyData{ProcessID: key32.PID, SecretKey: key32.Secret},
	},
	{
		"ReadyForQuery idle",
		func(b []byte) []byte { return AppendReadyForQuery(b, TxIdle) },
		&pgproto3.ReadyForQuery{TxStatus: 'I'},
	},
	{
		"ReadyForQuery failed",
		func(b []byte) []byte { return AppendReadyForQuery(b, TxFailed) },
		&pgproto3.ReadyForQuery{TxStatus: 'E'},
	},
	{
		"NegotiateProtocolVersion",
		func(b []byte) []byte {
			return AppendNegotiateProtocolVersion(b, Version32, []string{"_pq_.a", "_pq_.b"})
		},
		&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: Version32, UnrecognizedOptions: []string{"_pq_.a", "_pq_.b"}},
	},
	{
		"ErrorResponse",
		func(b []byte) []byte {
			return AppendErrorResponse(b, &Fields{
				Severity: "FATAL", Code: "28P01", Message: "no", Detail: "d", Hint: "h", Routine: "never sent",
			})
		},
		&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "28P01", Message: "no", Detail: "d", Hint: "h"},
	},
	{
		"NoticeResponse",
		func(b []byte) []byte {
			return AppendNoticeResponse(b, &Fields{Severity: "NOTICE", Code: "00000", Message: "waiting"})
		},
		&pgproto3.NoticeResponse{Severity: "NOTICE", SeverityUnlocalized: "NOTICE", Code: "00000", Message: "waiting"},
	},
}

var frontendBuilds = []build{
	{
		"Query",
		func(b []byte) []byte { return AppendQuery(b, "SELECT 'ü'") },
		&pgproto3.Query{String: "SELECT 'ü'"},
	},
	{"empty Query", func(b []byte) []byte { return AppendQuery(b, "") }, &pgproto3.Query{}},
	{"Terminate", AppendTerminate, &pgproto3.Terminate{}},
	{"Sync", AppendSync, &pgproto3.Sync{}},
	{
		"Parse",
		func(b []byte) []byte { return AppendParse(b, "s1", "SELECT $1") },
		&pgproto3.Parse{Name: "s1", Query: "SELECT $1"},
	},
	{
		"Parse raw",
		func(b []byte) []byte { return AppendParseRaw(b, "s1", "SELECT $1\x00\x00\x01\x00\x00\x00\x17") },
		&pgproto3.Parse{Name: "s1", Query: "SELECT $1", ParameterOIDs: []uint32{23}},
	},
	{
		"Describe",
		func(b []byte) []byte { return AppendDescribeStatement(b, "s1") },
		&pgproto3.Describe{ObjectType: 'S', Name: "s1"},
	},
	{
		"Close",
		func(b []byte) []byte { return AppendCloseStatement(b, "s1") },
		&pgproto3.Close{ObjectType: 'S', Name: "s1"},
	},
	{
		"Bind",
		func(b []byte) []byte { return AppendBind(b, "s1", "one", "", "three") },
		&pgproto3.Bind{PreparedStatement: "s1", Parameters: [][]byte{[]byte("one"), {}, []byte("three")}},
	},
	{
		"Bind without parameters",
		func(b []byte) []byte { return AppendBind(b, "") },
		&pgproto3.Bind{},
	},
	{"Execute", AppendExecute, &pgproto3.Execute{}},
}

// Messages of type p: only the state of the login tells what they are.
var passwordBuilds = []build{
	{
		"PasswordMessage",
		func(b []byte) []byte { return AppendPassword(b, "sécret") },
		&pgproto3.PasswordMessage{Password: "sécret"},
	},
	{
		"SASLInitialResponse",
		func(b []byte) []byte { return AppendSASLInitial(b, "SCRAM-SHA-256", "n,,n=,r=abc") },
		&pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte("n,,n=,r=abc")},
	},
	{
		"SASLResponse",
		func(b []byte) []byte { return AppendSASLResponse(b, "c=biws,r=abc,p=def") },
		&pgproto3.SASLResponse{Data: []byte("c=biws,r=abc,p=def")},
	},
}

var startupBuilds = []build{
	{
		"StartupMessage",
		func(b []byte) []byte {
			return AppendStartup(b, &Startup{Version30, []Parameter{{"user", "sync"}}})
		},
		&pgproto3.StartupMessage{ProtocolVersion: Version30, Parameters: map[string]string{"user": "sync"}},
	},
	{"SSLRequest", AppendSSLRequest, &pgproto3.SSLRequest{}},
	{
		"CancelRequest 3.0",
		func(b []byte) []byte { return AppendCancelRequest(b, CancelKey{7, []byte{1, 2, 3, 4}}) },
		&pgproto3.CancelRequest{ProcessID: 7, SecretKey: []byte{1, 2, 3, 4}},
	},
	{
		"CancelRequest 3.2",
		func(b []byte) []byte { return AppendCancelRequest(b, key32) },
		&pgproto3.CancelRequest{ProcessID: key32.PID, SecretKey: key32.Secret},
	},
}

func allBuilds() []build {
	var all []build
	for _, list := range [][]build{backendBuilds, frontendBuilds, passwordBuilds, startupBuilds} {
		all = append(all, list...)
	}
	return all
}

// canonical makes messages comparable: nil and empty slices mean the same on the wire.
func canonical(t *testing.T, m pgproto3.Message) string {
	t.Helper()
	b, err := m.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	return reflect.TypeOf(m).String() + string(b)
}

func TestBuildersWriteWhatPgxWrites(t *testing.T) {
	for _, tt := range allBuilds() {
		want, err := tt.want.Encode(nil)
		if err != nil {
			t.Fatal(err)
		}
		if got := tt.build(nil); !bytes.Equal(got, want) {
			t.Errorf("%s: % x, want % x", tt.name, got, want)
		}
		// What stood in the slice before must stay: the length is patched in later.
		before := []byte("before")
		if got := tt.build(before); !bytes.Equal(got, append([]byte("before"), tt.build(nil)...)) {
			t.Errorf("%s: appended to something it becomes % x", tt.name, got)
		}
	}
}

func TestPgxReadsTheBackendBuilders(t *testing.T) {
	var stream []byte
	for _, tt := range backendBuilds {
		stream = tt.build(stream)
	}
	f := pgproto3.NewFrontend(bytes.NewReader(stream), nil)
	for _, tt := range backendBuilds {
		got, err := f.Receive()
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if canonical(t, got) != canonical(t, tt.want) {
			t.Errorf("%s: pgx reads %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestPgxReadsTheFrontendBuilders(t *testing.T) {
	var stream []byte
	for _, tt := range frontendBuilds {
		stream = tt.build(stream)
	}
	b := pgproto3.NewBackend(bytes.NewReader(stream), nil)
	for _, tt := range frontendBuilds {
		got, err := b.Receive()
		if err != nil {
			t.Fatalf("%s: %v", tt.name, err)
		}
		if canonical(t, got) != canonical(t, tt.want) {
			t.Errorf("%s: pgx reads %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestPgxReadsTheLoginBuilders(t *testing.T) {
	for _, tt := range passwordBuilds {
		got := reflect.New(reflect.TypeOf(tt.want).Elem()).Interface().(pgproto3.Message)
		if err := got.Decode(tt.build(nil)[HeaderLen:]); err != nil || canonical(t, got) != canonical(t, tt.want) {
			t.Errorf("%s: pgx reads %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
	for _, tt := range startupBuilds {
		got, err := pgproto3.NewBackend(bytes.NewReader(tt.build(nil)), nil).ReceiveStartupMessage()
		if err != nil || canonical(t, got) != canonical(t, tt.want) {
			t.Errorf("%s: pgx reads %+v, %v; want %+v", tt.name, got, err, tt.want)
		}
	}
}

// Every builder's frame must be one that Peek takes whole.
func TestBuildersWriteWholeFrames(t *testing.T) {
	for _, list := range [][]build{backendBuilds, frontendBuilds, passwordBuilds} {
		for _, tt := range list {
			b := tt.build(nil)
			if typ, size := Peek(b); size != len(b) || typ != b[0] {
				t.Errorf("%s: Peek says %q, %d of %d bytes", tt.name, typ, size, len(b))
			}
		}
	}
}

func TestBuildersDoNotAllocate(t *testing.T) {
	room := make([]byte, 0, 4096)
	for _, tt := range allBuilds() {
		written := 0
		allocs := testing.AllocsPerRun(100, func() { written = len(tt.build(room)) })
		if written == 0 || allocs != 0 {
			t.Errorf("%s: %.0f allocations for %d bytes, want none", tt.name, allocs, written)
		}
	}
}

func TestParseParameterStatus(t *testing.T) {
	tests := []struct {
		body string
		want Parameter
		ok   bool
	}{
		{"TimeZone\x00UTC\x00", Parameter{"TimeZone", "UTC"}, true},
		{"TimeZone\x00\x00", Parameter{"TimeZone", ""}, true},
		{"", Parameter{}, false},
		{"TimeZone", Parameter{}, false},
		{"TimeZone\x00", Parameter{}, false},
		{"TimeZone\x00UTC", Parameter{}, false},
		{"TimeZone\x00UTC\x00x", Parameter{}, false},
		{"TimeZone\x00UTC\x00\x00", Parameter{}, false},
	}
	for _, tt := range tests {
		if got, ok := ParseParameterStatus([]byte(tt.body)); got != tt.want || ok != tt.ok {
			t.Errorf("%q: %v, %v; want %v, %v", tt.body, got, ok, tt.want, tt.ok)
		}
	}
}

func TestParseSASLInitial(t *testing.T) {
	tests := []struct {
		name, body, mechanism string
		data                  []byte
		ok                    bool
	}{
		{"with data", "S\x00\x00\x00\x00\x03abc", "S", []byte("abc"), true},
		{"empty data", "S\x00\x00\x00\x00\x00", "S", []byte{}, true},
		{"no data", "S\x00\xff\xff\xff\xff", "S", nil, true},
		{"no mechanism", "\x00\x00\x00\x00\x01a", "", []byte("a"), true},
		{"nothing", "", "", nil, false},
		{"no terminator", "SCRAM", "", nil, false},
		{"no length", "S\x00", "", nil, false},
		{"half a length", "S\x00\x00\x00\x00", "", nil, false},
		{"shorter than said", "S\x00\x00\x00\x00\x04abc", "", nil, false},
		{"longer than said", "S\x00\x00\x00\x00\x02abc", "", nil, false},
		{"no data, and yet some", "S\x00\xff\xff\xff\xffabc", "", nil, false},
		{"another negative length", "S\x00\xff\xff\xff\xfe", "", nil, false},
		{"most negative length", "S\x00\x80\x00\x00\x00", "", nil, false},
		{"most positive length", "S\x00\x7f\xff\xff\xff", "", nil, false},
	}
	for _, tt := range tests {
		mechanism, data, ok := ParseSASLInitial([]byte(tt.body))
		if mechanism != tt.mechanism || !bytes.Equal(data, tt.data) || (data == nil) != (tt.data == nil) || ok != tt.ok {
			t.Errorf("%s: %q, %#v, %v; want %q, %#v, %v", tt.name, mechanism, data, ok, tt.mechanism, tt.data, tt.ok)
		}
	}
	m := &pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte("n,,")}
	b, err := m.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	if mechanism, data, ok := ParseSASLInitial(b[HeaderLen:]); !ok || mechanism != m.AuthMechanism || string(data) != "n,," {
		t.Errorf("pgx's own: %q, %q, %v", mechanism, data, ok)
	}
}
