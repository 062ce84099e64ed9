package login

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"pggateway/scram"
	"pggateway/wire"
)

// TestMechanism: which mechanism is chosen of those offered, and what the first
// message says about channel binding.
func TestMechanism(t *testing.T) {
	const plain, plus = scram.Mechanism, scram.MechanismPlus
	end := someBinding(t)
	for _, tt := range []struct {
		name    string
		params  Params
		offered []string
		want    string // the SASLInitialResponse begins with that; "" refuses
		says    string
	}{
		{"plaintext", Params{}, []string{plain}, plain + "\x00\x00\x00\x00\x22n,,", ""},
		{"TLS, offered", Params{TLS: true, Binding: end}, []string{plus, plain}, plus + "\x00\x00\x00\x00\x37p=tls-server-end-point,,", ""},
		{"TLS, offered in another order", Params{TLS: true, Binding: end}, []string{plain, plus}, plus + "\x00\x00\x00\x00\x37p=tls-server-end-point,,", ""},
		{"TLS, nothing else offered", Params{TLS: true, Binding: end}, []string{plus}, plus + "\x00\x00\x00\x00\x37p=tls-server-end-point,,", ""},
		{"TLS, offered and required", Params{TLS: true, Binding: end, Require: RequireBinding}, []string{plus, plain}, plus, ""},
		{"TLS, not offered", Params{TLS: true, Binding: end}, []string{plain}, plain + "\x00\x00\x00\x00\x22y,,", ""},
		{"TLS, not offered but required", Params{TLS: true, TLSVerified: true, Binding: end, Require: RequireBinding}, []string{plain}, "", "require_auth"},
		{"certificate without binding", Params{TLS: true}, []string{plus, plain}, "", "channel binding"},
		{"certificate without binding, not offered", Params{TLS: true}, []string{plain}, plain + "\x00\x00\x00\x00\x22y,,", ""},
		{"verified certificate without binding", Params{TLS: true, TLSVerified: true}, []string{plus, plain}, plain + "\x00\x00\x00\x00\x22n,,", ""},
		{"verified certificate without binding, required", Params{TLS: true, TLSVerified: true, Require: RequireBinding}, []string{plus, plain}, "", "require_auth"},
		{"certificate without binding, nothing else offered", Params{TLS: true}, []string{plus}, "", "channel binding"},
		{"offered in plaintext", Params{}, []string{plus, plain}, "", "took TLS away"},
		{"nothing else offered, in plaintext", Params{}, []string{plus}, "", "took TLS away"},
		{"required in plaintext", Params{Require: RequireBinding}, []string{plain}, "", "require_auth"},
		{"nothing we know", Params{TLS: true, Binding: end}, []string{"SCRAM-SHA-512-PLUS", "OAUTHBEARER"}, "", "no SASL mechanism"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var src source
			tt.params.User, tt.params.Credential, tt.params.Secret = "alice", Password, src.get
			got := ""
			_, err := play(t, tt.params, func(s *server) {
				s.send(wire.AppendAuthenticationSASL(nil, tt.offered...))
				got = s.answer()
			})
			if tt.want == "" {
				if kind(err) != "refused" || !strings.Contains(err.Error(), tt.says) || got != "" || src.fetched.Load() != 0 {
					t.Errorf("answered %q after %d fetches, %s error %v, want refused with %q", got, src.fetched.Load(), kind(err), err, tt.says)
				}
				return
			}
			if !strings.HasPrefix(got, tt.want) {
				t.Errorf("answered %q, want %q…", got, tt.want)
			}
		})
	}
}

// TestDowngrade goes through every stream and credential with every request for
// less than could be asked for. Whatever is not listed here gets nothing: no byte,
// the credential is not even fetched, and the login ends.
func TestDowngrade(t *testing.T) {
	requests := map[string][]byte{
		"nothing":   wire.AppendAuthenticationOK(nil),
		"cleartext": wire.AppendAuthenticationCleartext(nil),
		"md5":       wire.AppendAuthenticationMD5(nil, [4]byte{1, 2, 3, 4}),
		"scram":     wire.AppendAuthenticationSASL(nil, scram.Mechanism),
	}
	streams := map[string]Params{
		"plaintext":  {},
		"unverified": {TLS: true, Binding: someBinding(t)},
		"verified":   {TLS: true, TLSVerified: true, Binding: someBinding(t)},
	}
	credentials := map[string]Params{
		"none":           {Credential: None},
		"password":       {Credential: Password},
		"password scram": {Credential: Password, Require: RequireSCRAM},
		"password bound": {Credential: Password, Require: RequireBinding},
		"token":          {Credential: Token},
	}
	answered := map[string]bool{
		"none plaintext nothing": true, "none unverified nothing": true, "none verified nothing": true,

		"password plaintext nothing": true, "password plaintext md5": true, "password plaintext scram": true,
		"password unverified scram": true,
		"password verified nothing": true, "password verified cleartext": true, "password verified md5": true, "password verified scram": true,

		"password scram plaintext scram": true, "password scram unverified scram": true, "password scram verified scram": true,

		"token verified cleartext": true,
	}
	for credential, c := range credentials {
		for stream, s := range streams {
			for request, r := range requests {
				name := fmt.Sprintf("%s %s %s", credential, stream, request)
				want := answered[name]
				delete(answered, name)
				t.Run(name, func(t *testing.T) {
					var src source
					p := s
					p.User, p.Credential, p.Require, p.Secret = "alice", c.Credential, c.Require, src.get
					var got string
					result, err := play(t, p, func(s *server) {
						s.send(r)
						if request == "nothing" {
							s.send(wire.AppendReadyForQuery(nil, wire.TxIdle))
						} else if want {
							got = s.answer()
							return
						}
						b, _ := io.ReadAll(s.conn)
						got = string(b)
					})
					in := result != nil || got != ""
					if in != want {
						t.Errorf("got in: %v, told %q, error %v", result != nil, got, err)
					}
					if !want && (kind(err) != "refused" || src.fetched.Load() != 0) {
						t.Errorf("%s error %v, after %d fetches", kind(err), err, src.fetched.Load())
					}
				})
			}
		}
	}
	if len(answered) > 0 {
		t.Errorf("never tried: %v", answered)
	}
}

// TestStartupError: only what answers the StartupMessage itself may be about the
// protocol version.
func TestStartupError(t *testing.T) {
	refusal := wire.AppendErrorResponse(nil, &wire.Fields{Severity: "FATAL", Code: "0A000", Message: "unsupported frontend protocol 3.2"})
	for name, tt := range map[string]struct {
		script func(*server)
		want   bool
	}{
		"error":             {func(s *server) { s.send(refusal) }, true},
		"hang-up":           {func(*server) {}, true},
		"error later":       {func(s *server) { s.send(wire.AppendNoticeResponse(nil, &wire.Fields{Message: "x"}), refusal) }, false},
		"hang-up later":     {func(s *server) { s.send(wire.AppendNoticeResponse(nil, &wire.Fields{Message: "x"})) }, false},
		"something else":    {func(s *server) { s.send(wire.AppendReadyForQuery(nil, wire.TxIdle)) }, false},
		"an unknown method": {func(s *server) { s.send(auth(99, "")) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := play(t, Params{User: "alice"}, tt.script)
			if err == nil || strings.HasPrefix(fmt.Sprintf("%T", err), "*login.StartupError") != tt.want {
				t.Errorf("error %T %v", err, err)
			}
		})
	}
}

// testBinding: the server checks which certificate we saw, and requires nothing of
// its own to do so.
func testBinding(t *testing.T, p *postgres) {
	params := parameters("scrammer", password)
	params.TLS, params.Require = true, RequireBinding
	if _, err := p.login(t, params); err != nil {
		t.Errorf("bound: %v", err)
	}
	params.Binding = someBinding(t)
	if _, err := p.login(t, params); kind(err) != "server" || !strings.Contains(err.Error(), "channel binding") {
		t.Errorf("bound to another certificate: %v", err)
	}
	params.TLS, params.Binding = false, scram.Binding{}
	if _, err := p.login(t, params); kind(err) != "refused" {
		t.Errorf("required in plaintext: %v", err)
	}
}
