package login

import (
	"context"
	"crypto/x509"
	"encoding/binary"
	"errors"
	"net"
	"sync/atomic"
	"testing"
	"time"

	"pggateway/scram"
	"pggateway/wire"
)

const password = "correct horse"

// source counts how often the credential is fetched.
type source struct{ fetched atomic.Int32 }

func (s *source) get(context.Context) (string, error) {
	s.fetched.Add(1)
	return password, nil
}

// server is the scripted other end of a login.
type server struct {
	t    *testing.T
	conn net.Conn
	r    *wire.Reader
}

// play runs Do against a script and returns what Do returned. The script's end is
// waited for; it may return early, and the connection is closed then.
func play(t *testing.T, p Params, script func(*server)) (*Result, error) {
	t.Helper()
	return playContext(t.Context(), t, p, script)
}

func playContext(ctx context.Context, t *testing.T, p Params, script func(*server)) (*Result, error) {
	t.Helper()
	ours, theirs := net.Pipe()
	deadline := time.Now().Add(10 * time.Second)
	_ = ours.SetDeadline(deadline)
	_ = theirs.SetDeadline(deadline)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		s := &server{t: t, conn: theirs, r: wire.NewReader(theirs)}
		if _, _, err := s.r.Startup(); err != nil {
			t.Errorf("startup: %v", err)
			return
		}
		script(s)
	}()
	result, err := Do(ctx, ours, wire.NewReader(ours), p)
	ours.Close()
	<-done
	if time.Now().After(deadline) {
		t.Error("ended by the deadline")
	}
	return result, err
}

// someBinding is a binding to a certificate of nobody's.
func someBinding(t testing.TB) scram.Binding {
	t.Helper()
	b, err := scram.ServerEndPoint(&x509.Certificate{SignatureAlgorithm: x509.SHA256WithRSA, Raw: []byte("a certificate")})
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// send writes messages. The client may have hung up already.
func (s *server) send(messages ...[]byte) {
	for _, m := range messages {
		if _, err := s.conn.Write(m); err != nil {
			return
		}
	}
}

// answer reads a password or SASL message; "" when the client hung up.
func (s *server) answer() string {
	typ, body, err := s.r.Message(maxMessage)
	if err != nil {
		return ""
	}
	if typ != wire.Password {
		s.t.Errorf("message of type %q", typ)
	}
	return string(body)
}

// welcome ends a login well.
func (s *server) welcome() {
	s.send(wire.AppendAuthenticationOK(nil),
		wire.AppendParameterStatus(nil, wire.Parameter{Name: "server_version", Value: "17.2"}),
		wire.AppendParameterStatus(nil, wire.Parameter{Name: "TimeZone", Value: "UTC"}),
		wire.AppendBackendKeyData(nil, wire.CancelKey{PID: 42, Secret: []byte{1, 2, 3, 4}}),
		wire.AppendReadyForQuery(nil, wire.TxIdle))
}

// sasl is a whole SCRAM exchange up to the final message, which it returns.
func (s *server) sasl() (final []byte) {
	text, err := scram.NewVerifier(password, scram.DefaultIterations)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	v, err := scram.ParseVerifier(text)
	if err != nil {
		s.t.Error(err)
		return nil
	}
	exchange := scram.NewServer(v)
	s.send(wire.AppendAuthenticationSASL(nil, "SCRAM-SHA-512", scram.Mechanism))
	name, first, ok := wire.ParseSASLInitial([]byte(s.answer()))
	if !ok || name != scram.Mechanism {
		s.t.Errorf("SASLInitialResponse for %q", name)
		return nil
	}
	reply, _, err := exchange.Step(string(first))
	if err != nil {
		s.t.Errorf("client-first: %v", err)
		return nil
	}
	s.send(wire.AppendAuthenticationSASLContinue(nil, reply))
	reply, done, err := exchange.Step(s.answer())
	if err != nil || !done {
		s.t.Errorf("client-final: %v", err)
		return nil
	}
	return wire.AppendAuthenticationSASLFinal(nil, reply)
}

// auth is an Authentication message with any code and data.
func auth(code uint32, data string) []byte {
	return raw(wire.Authentication, binary.BigEndian.AppendUint32(nil, code), []byte(data))
}

// raw is a message of any type.
func raw(typ byte, parts ...[]byte) []byte {
	b := []byte{typ, 0, 0, 0, 0}
	for _, p := range parts {
		b = append(b, p...)
	}
	binary.BigEndian.PutUint32(b[1:], uint32(len(b)-1))
	return b
}

// kind names an error's type, for tables.
func kind(err error) string {
	var (
		server   *ServerError
		refused  *RefusedError
		protocol *ProtocolError
	)
	switch {
	case err == nil:
		return "none"
	case errors.As(err, &server):
		return "server"
	case errors.As(err, &refused):
		return "refused"
	case errors.As(err, &protocol):
		return "protocol"
	default:
		return "other"
	}
}
