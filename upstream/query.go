package upstream

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"pggateway/upstream/login"
	"pggateway/wire"
)

// Bounds on the answer to a question of the gateway's own.
const (
	maxAnswer     = 64 << 10 // bytes of a message
	maxAnswerRows = 1000
)

// Query runs one statement, the arguments going by Bind, and returns its rows as
// text, NULL as "". It is for questions of the gateway's own with short answers,
// before a connection is used for anything else, and leaves nothing on it. It ends
// within the login's timeout. A statement that the server refuses is a
// *login.ServerError, after which the connection may be asked again; after any
// other error it is good for nothing but Close.
func (c *Conn) Query(ctx context.Context, sql string, args ...string) ([][]string, error) {
	if len(c.Leftover) > 0 {
		return nil, errUnasked
	}
	msg := wire.AppendParse(nil, "", sql)
	msg = wire.AppendBind(msg, "", args...)
	msg = wire.AppendExecute(msg)
	msg = wire.AppendCloseStatement(msg, "")
	msg = wire.AppendSync(msg)
	var a answer
	var refused error
	err := within(ctx, c.target.timeouts.Login, c.Transport, func(context.Context) error {
		if _, err := c.stream().Write(msg); err != nil {
			return err
		}
		r := wire.NewReader(c.stream())
		for {
			typ, body, err := r.Message(maxAnswer)
			if err != nil {
				return err
			}
			done, err := a.message(typ, body)
			switch {
			case err != nil && refused == nil && errors.As(err, new(*login.ServerError)):
				refused = err
			case err != nil:
				return err
			case done && len(r.Buffered()) > 0:
				return errUnasked
			case done:
				return nil
			}
		}
	})
	switch {
	case err != nil:
		return nil, err
	case refused != nil:
		return nil, refused
	}
	return a.rows, nil
}

var errUnasked = errors.New("the server said something that it was not asked")

// answer is what has come of one.
type answer struct{ rows [][]string }

// message takes one message, and tells whether it was the last.
func (a *answer) message(typ byte, body []byte) (done bool, err error) {
	switch typ {
	case wire.ParseComplete, wire.BindComplete, wire.CommandComplete, wire.CloseComplete, wire.EmptyQueryResponse,
		wire.NoticeResponse, wire.ParameterStatus, wire.NotificationResponse:
		return false, nil
	case wire.DataRow:
		row, ok := takeRow(body)
		if !ok || len(a.rows) == maxAnswerRows {
			return false, &login.ProtocolError{Reason: "malformed row, or too many"}
		}
		a.rows = append(a.rows, row)
		return false, nil
	case wire.ErrorResponse:
		return false, login.ReadError(body)
	case wire.ReadyForQuery:
		if len(body) != 1 || body[0] != wire.TxIdle {
			return false, &login.ProtocolError{Reason: "the server is not idle after a statement of its own"}
		}
		return true, nil
	}
	return false, &login.ProtocolError{Reason: fmt.Sprintf("unexpected message of type %q in the answer to a query", typ)}
}

// takeRow reads a DataRow's body.
func takeRow(body []byte) (row []string, ok bool) {
	if len(body) < 2 {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	for range n {
		if len(body) < 4 {
			return nil, false
		}
		size := int(int32(binary.BigEndian.Uint32(body)))
		body = body[4:]
		if size < 0 {
			row = append(row, "")
			continue
		}
		if size > len(body) {
			return nil, false
		}
		row = append(row, string(body[:size]))
		body = body[size:]
	}
	return row, len(body) == 0
}

// End says goodbye and closes the connection, where Close hangs up.
func (c *Conn) End() {
	_ = c.Transport.SetWriteDeadline(time.Now().Add(time.Second))
	_, _ = c.stream().Write(wire.AppendTerminate(nil))
	_ = c.Close()
}
