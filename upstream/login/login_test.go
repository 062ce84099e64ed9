package login

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"pggateway/scram"
	"pggateway/wire"
)

func TestLogin(t *testing.T) {
	tests := []struct {
		name    string
		params  Params
		script  func(*server)
		fetched int32
	}{
		{"trust", Params{}, func(s *server) { s.welcome() }, 0},
		{"trust with a password at hand", Params{Credential: Password}, func(s *server) { s.welcome() }, 0},
		{"md5", Params{Credential: Password}, func(s *server) {
			s.send(wire.AppendAuthenticationMD5(nil, [4]byte{1, 2, 3, 4}))
			// md5(md5("correct horse" + "alice") + 01020304), computed with coreutils' md5sum
			if got := s.answer(); got != "md5769ce315d0856594c0c01eb54a006700\x00" {
				s.t.Errorf("answer %q", got)
			}
			s.welcome()
		}, 1},
		{"md5 over verified TLS", Params{Credential: Password, TLS: true, TLSVerified: true}, func(s *server) {
			s.send(wire.AppendAuthenticationMD5(nil, [4]byte{1, 2, 3, 4}))
			if got := s.answer(); got != "md5769ce315d0856594c0c01eb54a006700\x00" {
				s.t.Errorf("answer %q", got)
			}
			s.welcome()
		}, 1},
		{"cleartext over verified TLS", Params{Credential: Password, TLS: true, TLSVerified: true}, func(s *server) {
			s.send(wire.AppendAuthenticationCleartext(nil))
			if got := s.answer(); got != password+"\x00" {
				s.t.Errorf("answer %q", got)
			}
			s.welcome()
		}, 1},
		{"token over verified TLS", Params{Credential: Token, TLS: true, TLSVerified: true}, func(s *server) {
			s.send(wire.AppendAuthenticationCleartext(nil))
			if got := s.answer(); got != password+"\x00" {
				s.t.Errorf("answer %q", got)
			}
			s.welcome()
		}, 1},
		{"scram", Params{Credential: Password}, func(s *server) {
			s.send(s.sasl())
			s.welcome()
		}, 1},
		{"scram, required", Params{Credential: Password, Require: RequireSCRAM}, func(s *server) {
			s.send(s.sasl())
			s.welcome()
		}, 1},
		{"scram over unverified TLS, where it could be bound", Params{Credential: Password, TLS: true, Binding: someBinding(t)}, func(s *server) {
			s.send(s.sasl())
			s.welcome()
		}, 1},
		{"notices and an older minor version", Params{}, func(s *server) {
			s.send(wire.AppendNoticeResponse(nil, &wire.Fields{Severity: "NOTICE", Message: "hello"}),
				raw(wire.NegotiateProtocolVersion, []byte{0, 3, 0, 0, 0, 0, 0, 0}),
				wire.AppendAuthenticationOK(nil),
				wire.AppendNoticeResponse(nil, &wire.Fields{Severity: "WARNING", Message: "collation"}),
				wire.AppendParameterStatus(nil, wire.Parameter{Name: "server_version", Value: "17.2"}),
				wire.AppendParameterStatus(nil, wire.Parameter{Name: "TimeZone", Value: "UTC"}),
				wire.AppendBackendKeyData(nil, wire.CancelKey{PID: 42, Secret: []byte{1, 2, 3, 4}}),
				wire.AppendReadyForQuery(nil, wire.TxIdle))
		}, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var src source
			tt.params.User, tt.params.Secret = "alice", src.get
			result, err := play(t, tt.params, tt.script)
			if err != nil {
				t.Fatal(err)
			}
			if p := result.Parameters; len(p) != 2 || p[0].Name != "server_version" || p[1].Value != "UTC" {
				t.Errorf("parameters %v", p)
			}
			if result.Key.PID != 42 || !bytes.Equal(result.Key.Secret, []byte{1, 2, 3, 4}) {
				t.Errorf("key %v", result.Key)
			}
			if n := src.fetched.Load(); n != tt.fetched {
				t.Errorf("the credential was fetched %d times", n)
			}
		})
	}
}

// Requests that are not answered: the server gets nothing, and the credential is
// not even fetched.
func TestNotAnswered(t *testing.T) {
	tests := []struct {
		name    string
		params  Params
		request []byte
		want    string
		says    string
	}{
		{"cleartext in plaintext", Params{Credential: Password}, wire.AppendAuthenticationCleartext(nil), "refused", "unencrypted"},
		{"verified cannot be without TLS", Params{Credential: Token, TLSVerified: true}, wire.AppendAuthenticationCleartext(nil), "refused", "unencrypted"},
		{"token in plaintext", Params{Credential: Token}, wire.AppendAuthenticationCleartext(nil), "refused", "unencrypted"},
		{"token to an unverified server", Params{Credential: Token, TLS: true}, wire.AppendAuthenticationCleartext(nil), "refused", "verified"},
		{"md5 for a token", Params{Credential: Token, TLS: true, TLSVerified: true}, wire.AppendAuthenticationMD5(nil, [4]byte{}), "refused", "rds_iam"},
		{"scram for a token", Params{Credential: Token, TLS: true, TLSVerified: true}, wire.AppendAuthenticationSASL(nil, scram.Mechanism), "refused", "rds_iam"},
		{"md5 without a password", Params{}, wire.AppendAuthenticationMD5(nil, [4]byte{}), "refused", "has none"},
		{"cleartext without a password", Params{TLS: true, TLSVerified: true}, wire.AppendAuthenticationCleartext(nil), "refused", "has none"},
		{"scram without a password", Params{}, wire.AppendAuthenticationSASL(nil, scram.Mechanism), "refused", "has none"},
		{"other mechanism", Params{Credential: Password}, wire.AppendAuthenticationSASL(nil, "OAUTHBEARER"), "refused", "no SASL mechanism"},
		{"no mechanism", Params{Credential: Password}, wire.AppendAuthenticationSASL(nil), "refused", "no SASL mechanism"},
		{"GSSAPI", Params{Credential: Password}, auth(7, ""), "refused", "GSSAPI"},
		{"SSPI", Params{Credential: Password}, auth(9, ""), "refused", "SSPI"},
		{"Kerberos", Params{Credential: Password}, auth(2, ""), "refused", "Kerberos"},
		{"unknown", Params{Credential: Password}, auth(99, ""), "refused", "99"},
		{"crypt", Params{Credential: Password}, auth(4, "ab"), "refused", "4"},
		{"SASLContinue first", Params{Credential: Password}, auth(wire.AuthSASLContinue, "r=x"), "protocol", "outside"},
		{"SASLFinal first", Params{Credential: Password}, auth(wire.AuthSASLFinal, "v=x"), "protocol", "outside"},
		{"md5 without a salt", Params{Credential: Password}, auth(wire.AuthMD5, "abc"), "protocol", "malformed"},
		{"cleartext with data", Params{Credential: Password, TLS: true}, auth(wire.AuthCleartext, "x"), "protocol", "malformed"},
		{"SASL without terminator", Params{Credential: Password}, auth(wire.AuthSASL, scram.Mechanism), "protocol", "malformed"},
		{"SASL with one terminator", Params{Credential: Password}, auth(wire.AuthSASL, scram.Mechanism+"\x00"), "protocol", "malformed"},
		{"SASL with data behind", Params{Credential: Password}, auth(wire.AuthSASL, scram.Mechanism+"\x00\x00x"), "protocol", "malformed"},
		{"no code", Params{Credential: Password}, raw(wire.Authentication, []byte{0, 0, 0}), "protocol", "malformed"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var src source
			tt.params.User, tt.params.Secret = "alice", src.get
			_, err := play(t, tt.params, func(s *server) {
				s.send(tt.request)
				if got, err := io.ReadAll(s.conn); err != nil || len(got) != 0 {
					t.Errorf("the server got %q, %v", got, err)
				}
			})
			if kind(err) != tt.want || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s error %v, want %s with %q", kind(err), err, tt.want, tt.says)
			}
			if n := src.fetched.Load(); n != 0 {
				t.Errorf("the credential was fetched %d times", n)
			}
		})
	}
}

// What a server may not do once it asked for proof, or let the user in.
func TestBrokenServer(t *testing.T) {
	ok := wire.AppendAuthenticationOK(nil)
	status := func(n int) (b []byte) {
		for range n {
			b = wire.AppendParameterStatus(b, wire.Parameter{Name: "a", Value: "b"})
		}
		return b
	}
	notice := wire.AppendNoticeResponse(nil, &wire.Fields{Message: "x"})
	tests := []struct {
		name   string
		script func(*server)
		want   string
		says   string
	}{
		{"closes", func(*server) {}, "other", "EOF"},
		{"closes in a message", func(s *server) { s.send([]byte{'R', 0, 0}) }, "other", "unexpected EOF"},
		{"speaks HTTP", func(s *server) { s.send([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")) }, "protocol", "longer than its limit"},
		{"too short a length", func(s *server) { s.send([]byte{'R', 0, 0, 0, 3}) }, "protocol", "too short"},
		{"oversized", func(s *server) { s.send([]byte{'N', 0, 1, 0, 5}) }, "protocol", "longer than its limit"},
		{"absurd length", func(s *server) { s.send([]byte{'R', 0xff, 0xff, 0xff, 0xff}) }, "protocol", "longer than its limit"},
		{"unknown type", func(s *server) { s.send(raw('?')) }, "protocol", "unexpected"},
		{"rows before authentication", func(s *server) { s.send(raw(wire.DataRow, []byte{0, 0})) }, "protocol", "during authentication"},
		{"ready before authentication", func(s *server) { s.send(wire.AppendReadyForQuery(nil, 'I')) }, "protocol", "during authentication"},
		{"parameter before authentication", func(s *server) { s.send(status(1)) }, "protocol", "during authentication"},
		{"key before authentication", func(s *server) {
			s.send(wire.AppendBackendKeyData(nil, wire.CancelKey{Secret: make([]byte, 4)}))
		}, "protocol", "during authentication"},
		{"OK with data", func(s *server) { s.send(auth(wire.AuthOK, "x")) }, "protocol", "malformed"},
		{"OK without a signature", func(s *server) {
			s.sasl()
			s.welcome()
		}, "protocol", "without proving"},
		{"OK after the SASL request", func(s *server) {
			s.send(wire.AppendAuthenticationSASL(nil, scram.Mechanism))
			s.answer()
			s.welcome()
		}, "protocol", "without proving"},
		{"wrong signature", func(s *server) {
			s.sasl()
			s.send(wire.AppendAuthenticationSASLFinal(nil, "v="+strings.Repeat("A", 43)+"="))
			s.welcome()
		}, "protocol", "signature"},
		{"final instead of continue", func(s *server) {
			s.send(wire.AppendAuthenticationSASL(nil, scram.Mechanism))
			s.answer()
			s.send(wire.AppendAuthenticationSASLFinal(nil, "v=AAAA"))
		}, "protocol", "out of order"},
		{"continue twice", func(s *server) {
			s.sasl()
			s.send(wire.AppendAuthenticationSASLContinue(nil, "v=AAAA"))
		}, "protocol", "out of order"},
		{"cleartext after SASL", func(s *server) {
			s.send(wire.AppendAuthenticationSASL(nil, scram.Mechanism))
			s.answer()
			s.send(wire.AppendAuthenticationCleartext(nil))
		}, "protocol", "out of order"},
		{"too many iterations", func(s *server) {
			s.send(wire.AppendAuthenticationSASL(nil, scram.Mechanism))
			_, first, _ := wire.ParseSASLInitial([]byte(s.answer()))
			_, nonce, _ := strings.Cut(string(first), "r=")
			s.send(wire.AppendAuthenticationSASLContinue(nil, "r="+nonce+"x,s=AAAA,i=2000000000"))
		}, "protocol", "iterations"},
		{"cleartext after md5", func(s *server) {
			s.send(wire.AppendAuthenticationMD5(nil, [4]byte{}))
			s.answer()
			s.send(wire.AppendAuthenticationCleartext(nil))
		}, "protocol", "second request"},
		{"asks again after OK", func(s *server) { s.send(ok, wire.AppendAuthenticationCleartext(nil)) }, "protocol", "after authentication"},
		{"rows after OK", func(s *server) { s.send(ok, raw(wire.DataRow, []byte{0, 0})) }, "protocol", "after authentication"},
		{"version after OK", func(s *server) { s.send(ok, raw('v', make([]byte, 8))) }, "protocol", "after authentication"},
		{"parameter without value", func(s *server) { s.send(ok, raw(wire.ParameterStatus, []byte("a\x00"))) }, "protocol", "ParameterStatus"},
		{"endless parameters", func(s *server) { s.send(ok, status(maxParameters+1)) }, "protocol", "more than 256"},
		{"endless notices", func(s *server) { s.send(bytes.Repeat(notice, maxMessages+1)) }, "protocol", "1000 messages"},
		{"short key", func(s *server) { s.send(ok, raw(wire.BackendKeyData, make([]byte, 7))) }, "protocol", "BackendKeyData"},
		{"empty key", func(s *server) { s.send(ok, raw(wire.BackendKeyData)) }, "protocol", "BackendKeyData"},
		{"long key", func(s *server) { s.send(ok, raw(wire.BackendKeyData, make([]byte, 4+257))) }, "protocol", "BackendKeyData"},
		{"two keys", func(s *server) {
			s.send(ok, raw(wire.BackendKeyData, make([]byte, 8)), raw(wire.BackendKeyData, make([]byte, 8)))
		}, "protocol", "second"},
		{"ready in a transaction", func(s *server) { s.send(ok, wire.AppendReadyForQuery(nil, wire.TxActive)) }, "protocol", "not idle"},
		{"ready without status", func(s *server) { s.send(ok, raw(wire.ReadyForQuery)) }, "protocol", "not idle"},
		{"newer minor version", func(s *server) { s.send(raw('v', []byte{0, 3, 0, 3, 0, 0, 0, 0})) }, "protocol", "3.3"},
		{"other major version", func(s *server) { s.send(raw('v', []byte{0, 4, 0, 0, 0, 0, 0, 0})) }, "protocol", "4.0"},
		{"unknown extensions", func(s *server) {
			s.send(wire.AppendNegotiateProtocolVersion(nil, wire.Version30, []string{"_pq_.x"}))
		}, "protocol", "extensions"},
		{"short version", func(s *server) { s.send(raw('v', make([]byte, 7))) }, "protocol", "NegotiateProtocolVersion"},
		{"two versions", func(s *server) {
			v := wire.AppendNegotiateProtocolVersion(nil, wire.Version30, nil)
			s.send(v, v)
		}, "protocol", "second"},
		{"malformed error", func(s *server) { s.send(raw(wire.ErrorResponse, []byte("Mno end"))) }, "protocol", "ErrorResponse"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var src source
			_, err := play(t, Params{User: "alice", Credential: Password, Secret: src.get}, tt.script)
			if kind(err) != tt.want || !strings.Contains(err.Error(), tt.says) {
				t.Errorf("%s error %v, want %s with %q", kind(err), err, tt.want, tt.says)
			}
			if err != nil && strings.Contains(err.Error(), password) {
				t.Error("the error has the password in it")
			}
		})
	}
}

// Keys of any allowed length, and none, as RDS Proxy.
func TestCancelKeys(t *testing.T) {
	for _, n := range []int{0, 4, 32, wire.MaxSecret} {
		result, err := play(t, Params{User: "alice"}, func(s *server) {
			s.send(wire.AppendAuthenticationOK(nil))
			if n > 0 {
				s.send(wire.AppendBackendKeyData(nil, wire.CancelKey{PID: 7, Secret: bytes.Repeat([]byte{'k'}, n)}))
			}
			s.send(wire.AppendReadyForQuery(nil, wire.TxIdle))
		})
		if err != nil {
			t.Fatalf("%d bytes: %v", n, err)
		}
		if got := len(result.Key.Secret); got != n || n == 0 && result.Key.PID != 0 {
			t.Errorf("%d bytes sent, key %v", n, result.Key)
		}
	}
}

func TestServerError(t *testing.T) {
	sent := wire.Fields{
		Severity: "FATAL", Code: "28P01", Message: "password authentication failed for user \"alice\"", Detail: "d", Hint: "h",
	}
	_, err := play(t, Params{User: "alice"}, func(s *server) { s.send(wire.AppendErrorResponse(nil, &sent)) })
	var refusal *ServerError
	if !errors.As(err, &refusal) || refusal.Fields != sent {
		t.Fatalf("got %#v", err)
	}
	if want := `server: FATAL 28P01: password authentication failed for user "alice" (d)`; err.Error() != want {
		t.Errorf("says %s", err)
	}

	// After AuthenticationOk, too: a role that must not log in, or no more connections.
	_, err = play(t, Params{User: "alice"}, func(s *server) {
		s.send(wire.AppendAuthenticationOK(nil), wire.AppendErrorResponse(nil, &sent))
	})
	if kind(err) != "server" {
		t.Errorf("after AuthenticationOk: %v", err)
	}

	// Texts of any size and content end up short and printable; a bad SQLSTATE is none.
	_, err = play(t, Params{User: "alice"}, func(s *server) {
		s.send(wire.AppendErrorResponse(nil, &wire.Fields{
			Severity: "FA\x1b[31mTAL", Code: "2800\n", Message: strings.Repeat("é", 20_000) + "\xff", Detail: "a\nb\xffc",
		}))
	})
	if !errors.As(err, &refusal) {
		t.Fatalf("got %v", err)
	}
	f := refusal.Fields
	if f.Code != "" || len(f.Message) > maxText || f.Detail != "a bc" || f.Severity != "FA [31mTAL" || strings.Contains(f.Message, "\ufffd") {
		t.Errorf("fields %+q", f)
	}
}

func TestBeyondReady(t *testing.T) {
	ours, theirs := net.Pipe()
	defer ours.Close()
	deadline := time.Now().Add(10 * time.Second)
	_ = ours.SetDeadline(deadline)
	_ = theirs.SetDeadline(deadline)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		if _, _, err := wire.NewReader(theirs).Startup(); err != nil {
			t.Error(err)
		}
		b := wire.AppendReadyForQuery(wire.AppendAuthenticationOK(nil), wire.TxIdle)
		_, _ = theirs.Write(append(b, "more"...))
	}()
	r := wire.NewReader(ours)
	if _, err := Do(t.Context(), ours, r, Params{User: "alice"}); err != nil {
		t.Fatal(err)
	}
	<-done
	if got := string(r.Buffered()); got != "more" {
		t.Errorf("left over %q", got)
	}
}

func TestStartup(t *testing.T) {
	big := strings.Repeat("x", wire.MaxStartup)
	tests := []struct {
		params Params
		says   string
	}{
		{Params{}, "no user"},
		{Params{User: "a\x00b"}, "zero byte"},
		{Params{User: "a", Database: "b\x00"}, "zero byte"},
		{Params{User: "a", Options: []wire.Parameter{{Name: "", Value: "x"}}}, "empty"},
		{Params{User: "a", Options: []wire.Parameter{{Name: "user", Value: "root"}}}, "twice"},
		{Params{User: "a", Database: "b", Options: []wire.Parameter{{Name: "database", Value: "c"}}}, "twice"},
		{Params{User: "a", Options: []wire.Parameter{{Name: "application_name", Value: big}}}, "packet"},
	}
	for _, tt := range tests {
		if packet, err := tt.params.startup(); err == nil || !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%.40v: packet %.20q, error %v, not %q", tt.params, packet, err, tt.says)
		}
	}
	p := Params{User: "alice", Database: "orders", Options: []wire.Parameter{{Name: "application_name", Value: "sync"}}}
	packet, err := p.startup()
	want := "\x00\x00\x00\x3a\x00\x03\x00\x02user\x00alice\x00database\x00orders\x00application_name\x00sync\x00\x00"
	want = string([]byte{0, 0, 0, byte(len(want))}) + want[4:]
	if err != nil || string(packet) != want {
		t.Errorf("packet %q, %v", packet, err)
	}
	p.Version = wire.Version30
	if packet, err = p.startup(); err != nil || string(packet[4:8]) != "\x00\x03\x00\x00" {
		t.Errorf("packet %q, %v", packet, err)
	}
}

func TestSecrets(t *testing.T) {
	broken := errors.New("no such file")
	tests := []struct {
		secret string
		err    error
		says   string
	}{
		{"", broken, "no such file"},
		{"", nil, "empty"},
		{"hunter2\x00", nil, "zero byte"},
		{strings.Repeat("hunter2", maxSecret/7+1), nil, "longer"},
	}
	for _, tt := range tests {
		get := func(context.Context) (string, error) { return tt.secret, tt.err }
		_, err := play(t, Params{User: "alice", Credential: Password, TLS: true, TLSVerified: true, Secret: get}, func(s *server) {
			s.send(wire.AppendAuthenticationCleartext(nil))
			if got := s.answer(); got != "" {
				t.Errorf("the server got %q", got)
			}
		})
		if err == nil || !strings.Contains(err.Error(), tt.says) || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("error %v, want %q", err, tt.says)
		}
		if tt.err != nil && !errors.Is(err, tt.err) {
			t.Errorf("%v does not wrap the source's error", err)
		}
	}
	_, err := play(t, Params{User: "alice", Credential: Password}, func(s *server) {
		s.send(wire.AppendAuthenticationMD5(nil, [4]byte{}))
	})
	if err == nil || !strings.Contains(err.Error(), "no source") {
		t.Errorf("without a source: %v", err)
	}
}

// A server that stops answering must not hold the login beyond its context.
func TestContextEnds(t *testing.T) {
	stages := map[string]func(*server){
		"at once":           func(*server) {},
		"after a request":   func(s *server) { s.send(wire.AppendAuthenticationMD5(nil, [4]byte{})); s.answer() },
		"after OK":          func(s *server) { s.send(wire.AppendAuthenticationOK(nil)) },
		"in half a message": func(s *server) { s.send([]byte{'R', 0, 0, 0, 8, 0}) },
	}
	cause := errors.New("enough")
	for name, stage := range stages {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := context.WithCancelCause(t.Context())
			defer cancel(nil)
			var src source
			p := Params{User: "alice", Credential: Password, Secret: src.get}
			_, err := playContext(ctx, t, p, func(s *server) {
				stage(s)
				cancel(cause)
				_, _ = io.ReadAll(s.conn) // until the login has given up
			})
			if !errors.Is(err, cause) {
				t.Errorf("got %v", err)
			}
		})
	}
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(cause)
	ours, theirs := net.Pipe()
	defer theirs.Close()
	defer ours.Close()
	if _, err := Do(ctx, ours, wire.NewReader(ours), Params{User: "alice"}); !errors.Is(err, cause) {
		t.Errorf("with a context that has ended: %v", err)
	}
}

// The caller's deadline ends a login, too, and a secret's source sees the context.
func TestDeadline(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	defer ours.Close()
	_ = ours.SetDeadline(time.Now().Add(20 * time.Millisecond))
	_, err := Do(t.Context(), ours, wire.NewReader(ours), Params{User: "alice"})
	var timeout net.Error
	if !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got %v", err)
	}

	ctx, cancel := context.WithCancel(t.Context())
	wait := func(ctx context.Context) (string, error) {
		cancel()
		<-ctx.Done()
		return "", ctx.Err()
	}
	_, err = playContext(ctx, t, Params{User: "alice", Credential: Password, Secret: wait}, func(s *server) {
		s.send(wire.AppendAuthenticationMD5(nil, [4]byte{}))
	})
	if !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
}
