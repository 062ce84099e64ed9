package login

import (
	"cmp"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"os"
	"time"

	"pggateway/scram"
	"pggateway/wire"
)

const (
	// maxMessage is the longest message body read, in bytes.
	maxMessage = 64 << 10
	// maxMessages is how many messages a login may take. PostgreSQL sends some 20.
	maxMessages = 1000
	// maxParameters is how many ParameterStatus messages are taken. PostgreSQL 18 sends 15.
	maxParameters = 256
)

// Do logs in: it sends the StartupMessage and answers the server until the server
// is ready for a query. r reads from conn and has nothing read ahead; what the
// server sends beyond ReadyForQuery stays in it.
//
// The caller sets conn's deadline. Do ends early, with the context's cause, when
// ctx ends. After an error conn is good for nothing but Close. Errors are
// *ServerError, *RefusedError, *ProtocolError, those of Params.Secret, and those
// of conn; none of them has a credential in it. A *StartupError around them says
// that the server answered the StartupMessage itself with that.
func Do(ctx context.Context, conn net.Conn, r *wire.Reader, p Params) (*Result, error) {
	if err := ctx.Err(); err != nil {
		return nil, context.Cause(ctx)
	}
	stop := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	x := exchange{ctx: ctx, conn: conn, reader: r, params: &p}
	err := x.run()
	if !stop() { // the deadline is spoilt, or about to be
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, err
	}
	return &x.result, nil
}

// exchange is one login.
type exchange struct {
	ctx    context.Context
	conn   net.Conn
	reader *wire.Reader
	params *Params

	heard      bool          // the server said something
	asked      bool          // the server asked for proof
	client     *scram.Client // of SASL, once it began
	continued  bool          // SASLContinue came
	in         bool          // AuthenticationOk came
	keyed      bool          // BackendKeyData came
	negotiated bool          // NegotiateProtocolVersion came
	result     Result
}

func (x *exchange) run() error {
	packet, err := x.params.startup()
	if err != nil {
		return err
	}
	if err := x.write(packet); err != nil {
		return err
	}
	for range maxMessages {
		typ, body, err := x.reader.Message(maxMessage)
		switch {
		case errors.Is(err, wire.ErrTooLong), errors.Is(err, wire.ErrTooShort):
			return &ProtocolError{fmt.Sprintf("message of type %q", typ), err}
		case err != nil && !x.heard && !errors.Is(err, os.ErrDeadlineExceeded):
			return &StartupError{fmt.Errorf("read: %w", err)}
		case err != nil:
			return fmt.Errorf("read: %w", err)
		}
		done, err := x.message(typ, body)
		if err != nil && !x.heard && typ == wire.ErrorResponse {
			return &StartupError{err}
		}
		if done || err != nil {
			return err
		}
		x.heard = true
	}
	return broken("no end after %d messages", maxMessages)
}

// message handles one message, and tells whether it was the last.
func (x *exchange) message(typ byte, body []byte) (done bool, err error) {
	switch {
	case typ == wire.ErrorResponse:
		return false, ReadError(body)
	case typ == wire.NoticeResponse:
		return false, nil
	case !x.in && typ == wire.Authentication:
		return false, x.authentication(body)
	case !x.in && typ == wire.NegotiateProtocolVersion:
		return false, x.negotiate(body)
	case x.in && typ == wire.ParameterStatus:
		return false, x.parameter(body)
	case x.in && typ == wire.BackendKeyData:
		return false, x.key(body)
	case x.in && typ == wire.ReadyForQuery:
		return true, ready(body)
	case x.in:
		return false, broken("unexpected message of type %q after authentication", typ)
	default:
		return false, broken("unexpected message of type %q during authentication", typ)
	}
}

// authentication answers an Authentication message.
func (x *exchange) authentication(body []byte) error {
	if len(body) < 4 {
		return broken("malformed Authentication message")
	}
	code, data := binary.BigEndian.Uint32(body), body[4:]
	if code == wire.AuthOK {
		if len(data) != 0 {
			return broken("malformed AuthenticationOk")
		}
		if x.client != nil && !x.client.Done() {
			return broken("the server let us in without proving that it knows the password's verifier")
		}
		if !x.asked {
			if reason := x.params.refusal(nothing); reason != "" {
				return refused("%s", reason)
			}
		}
		x.in = true
		return nil
	}
	var answer []byte
	var err error
	switch {
	case x.client != nil:
		answer, err = x.saslStep(code, data)
	case x.asked:
		err = broken("a second request for proof")
	default:
		x.asked = true
		answer, err = x.request(code, data)
	}
	if err != nil || answer == nil {
		return err
	}
	return x.write(answer)
}

// negotiate checks a NegotiateProtocolVersion: the server may speak an older minor
// version, but not a newer one or another protocol, and there is no extension of
// ours that it could not know.
func (x *exchange) negotiate(body []byte) error {
	if x.negotiated || len(body) < 8 {
		return broken("malformed or second NegotiateProtocolVersion")
	}
	x.negotiated = true
	offered, unknown := binary.BigEndian.Uint32(body), binary.BigEndian.Uint32(body[4:])
	version := cmp.Or(x.params.Version, newest)
	switch major, minor := offered>>16, offered&0xffff; { // PostgreSQL sends the whole version, its older documentation says the minor one
	case major != 0 && major != version>>16, minor > version&0xffff:
		return broken("the server offers protocol %s when asked for %s", wire.VersionString(offered), wire.VersionString(version))
	case unknown != 0 || len(body) != 8:
		return broken("the server does not know protocol extensions that nobody asked for")
	}
	return nil
}

func (x *exchange) parameter(body []byte) error {
	p, ok := wire.ParseParameterStatus(body)
	switch {
	case !ok:
		return broken("malformed ParameterStatus")
	case len(x.result.Parameters) == maxParameters:
		return broken("more than %d ParameterStatus messages", maxParameters)
	}
	x.result.Parameters = append(x.result.Parameters, p)
	return nil
}

func (x *exchange) key(body []byte) error {
	secret := len(body) - 4
	switch {
	case x.keyed:
		return broken("a second BackendKeyData")
	case secret < 4 || secret > wire.MaxSecret:
		return broken("malformed BackendKeyData")
	}
	x.keyed = true
	x.result.Key = wire.CancelKey{
		PID:    binary.BigEndian.Uint32(body),
		Secret: append([]byte(nil), body[4:]...),
	}
	return nil
}

func ready(body []byte) error {
	if len(body) != 1 || body[0] != wire.TxIdle {
		return broken("the first ReadyForQuery is not idle")
	}
	return nil
}

func (x *exchange) write(packet []byte) error {
	if _, err := x.conn.Write(packet); err != nil {
		return fmt.Errorf("write: %w", err)
	}
	return nil
}
