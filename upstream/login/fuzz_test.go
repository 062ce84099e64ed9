package login

import (
	"bytes"
	"errors"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"pggateway/scram"
	"pggateway/wire"
)

// tape is a connection whose server says what is on the tape, whatever it is told.
type tape struct {
	io.Reader
	told bytes.Buffer
}

func (c *tape) Write(b []byte) (int, error)      { return c.told.Write(b) }
func (c *tape) Close() error                     { return nil }
func (c *tape) LocalAddr() net.Addr              { return nil }
func (c *tape) RemoteAddr() net.Addr             { return nil }
func (c *tape) SetDeadline(time.Time) error      { return nil }
func (c *tape) SetReadDeadline(time.Time) error  { return nil }
func (c *tape) SetWriteDeadline(time.Time) error { return nil }

// FuzzServer plays every server there can be, on every kind of stream: a password
// must not be told in clear but where it may, a login without a signature must not
// come to an end once SCRAM began, and what is kept stays bounded.
func FuzzServer(f *testing.F) {
	ok := wire.AppendAuthenticationOK(nil)
	status := wire.AppendParameterStatus(nil, wire.Parameter{Name: "server_version", Value: "17.2"})
	key := wire.AppendBackendKeyData(nil, wire.CancelKey{PID: 1, Secret: []byte("1234")})
	ready := wire.AppendReadyForQuery(nil, wire.TxIdle)
	join := func(parts ...[]byte) []byte { return bytes.Join(parts, nil) }
	for _, seed := range [][]byte{
		join(ok, status, key, ready),
		join(wire.AppendAuthenticationCleartext(nil), ok, ready),
		join(wire.AppendAuthenticationMD5(nil, [4]byte{1, 2, 3, 4}), ok, key, ready),
		join(wire.AppendAuthenticationSASL(nil, scram.Mechanism+"-PLUS", scram.Mechanism), ok, ready),
		join(wire.AppendAuthenticationSASL(nil, scram.Mechanism), wire.AppendAuthenticationSASLContinue(nil, "r=x,s=AAAA,i=4096")),
		join(wire.AppendNegotiateProtocolVersion(nil, wire.Version30, nil), ok, ready),
		wire.AppendErrorResponse(nil, &wire.Fields{Severity: "FATAL", Code: "28000", Message: "PAM authentication failed"}),
		join(wire.AppendNoticeResponse(nil, &wire.Fields{Message: "x"}), auth(7, ""), auth(99, "")),
		[]byte("HTTP/1.1 400 Bad Request\r\n\r\n"),
	} {
		for _, stream := range []byte{0, 1, 3, 5, 7} {
			f.Add(seed, byte(Password), stream)
			f.Add(seed, byte(Token), stream)
		}
	}
	f.Fuzz(func(t *testing.T, said []byte, credential, stream byte) {
		var src source
		p := Params{
			User: "alice", Credential: Credential(credential % 3), Secret: src.get,
			TLS: stream&1 != 0, TLSVerified: stream&2 != 0, Require: Require(stream >> 4 % 3),
		}
		if p.TLS && stream&4 != 0 {
			p.Binding = someBinding(t)
		}
		c := &tape{Reader: bytes.NewReader(said)}
		result, err := Do(t.Context(), c, wire.NewReader(c), p)
		if (err == nil) != (result != nil) {
			t.Fatalf("result %v with error %v", result, err)
		}
		told := c.told.String()
		may := p.TLS && p.TLSVerified && (p.Credential == Password && p.Require == RequireNothing || p.Credential == Token)
		if strings.Contains(told, password) && !may {
			t.Fatalf("told %q with %+v", told, p)
		}
		if n := src.fetched.Load(); n > 1 || n > 0 && p.Credential == None || n > 0 && p.Credential == Token && !may {
			t.Fatalf("the credential was fetched %d times with %+v", n, p)
		}
		// The tape cannot know our nonce, hence not sign.
		if err == nil && strings.Contains(told, scram.Mechanism) {
			t.Fatalf("logged in without the server's signature: %q", told)
		}
		var refusal *ServerError
		if errors.As(err, &refusal) && len(refusal.Error()) > 4*maxText {
			t.Fatalf("an error of %d bytes", len(refusal.Error()))
		}
		if err == nil && len(result.Parameters) > maxParameters {
			t.Fatalf("%d parameters", len(result.Parameters))
		}
	})
}
