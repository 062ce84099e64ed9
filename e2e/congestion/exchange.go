package congestion

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// exchanged is a request with its answer.
type exchanged struct {
	messages []pgproto3.FrontendMessage
	answer   answer
}

// trailLength is how many of those a client remembers, for the record.
const trailLength = 12

func (e exchanged) String() string {
	return fmt.Sprintf("%s -> %v [%s]", describe(e.messages), e.answer.said, status(e.answer.tx))
}

// request is one or more messages that end in a single ReadyForQuery.
type request struct {
	kind string // of the violation, when the answer is another
	want string // see tokens
	tx   byte   // the transaction status afterwards
	// row checks the i'th row (or piece of COPY data, as a single column) of the
	// answer and returns what is wrong with it. nil: any row is right that has no
	// foreign tag in it.
	row      func(i int, row [][]byte) string
	messages []pgproto3.FrontendMessage
}

// query is a request by the simple protocol.
func query(kind, sql, want string, tx byte, row func(int, [][]byte) string) request {
	return request{kind, want, tx, row, []pgproto3.FrontendMessage{&pgproto3.Query{String: sql}}}
}

// do sends requests together, and reads and judges their answers.
func (c *client) do(requests ...request) error {
	for _, r := range requests {
		for _, m := range r.messages {
			c.front.Send(m)
		}
	}
	if err := c.flush(); err != nil {
		return err
	}
	var first error
	for _, r := range requests {
		// The answers to the later ones come nonetheless.
		if err := c.read(r); err != nil {
			if !errors.Is(err, errRefused) && !errors.Is(err, errCanceled) {
				return err
			}
			if first == nil {
				first = err
			}
		}
	}
	return first
}

// flush sends what was buffered. A connection that takes no more is read, to
// see what its end was.
func (c *client) flush() error {
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	err := c.front.Flush()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return c.violation("hang", "nothing was read from the client for %v", patience)
	}
	return nil
}

// read reads the answer to a request.
func (c *client) read(r request) error {
	idle, start := c.tx == 'I', time.Now()
	c.asking = r.messages
	a, err := c.listen(r)
	if err != nil {
		return err
	}
	c.crowd.verdict.waited(time.Since(start))
	want := tokens(r.want)
	c.trail = append(c.trail[max(0, len(c.trail)-trailLength+1):], exchanged{r.messages, a})
	switch a.judge(want, r.tx, idle, c.mayCancel) {
	case exact:
		return c.settled()
	case refused:
		_, code := a.said.failed()
		c.crowd.verdict.count(c.crowd.verdict.seen, "refused with "+code)
		return errRefused
	case canceled:
		c.crowd.verdict.count(c.crowd.verdict.seen, "canceled")
		return errCanceled
	case lost:
		return errLost
	}
	kind := r.kind
	if _, code := a.said.failed(); code == "57014" {
		kind = "cancel"
	}
	return c.violation(kind, "want %v [%c]", want, r.tx)
}

func status(tx byte) string {
	if tx == 0 {
		return "end"
	}
	return string(tx)
}

// listen reads up to ReadyForQuery, the request for COPY data or the end of the
// connection, and checks each message that stands for itself.
func (c *client) listen(r request) (answer, error) {
	var a answer
	c.notices, c.heard = 0, nil
	rows := 0
	for {
		m, err := c.receive()
		if err != nil {
			var v Violation
			if errors.As(err, &v) {
				return a, err
			}
			return a, nil
		}
		text, row := tokenOf(m)
		a.said.add(text)
		switch m := m.(type) {
		case *pgproto3.ErrorResponse:
			a.fatal = m.Severity == "FATAL"
		case *pgproto3.ReadyForQuery:
			a.tx, c.tx = m.TxStatus, m.TxStatus
			return a, nil
		case *pgproto3.CopyInResponse:
			if strings.HasSuffix(r.want, "|G") || r.want == "G" {
				a.tx = r.tx
				return a, nil
			}
		}
		if row == nil {
			continue
		}
		if r.row != nil {
			if wrong := r.row(rows, row); wrong != "" {
				c.trail = append(c.trail, exchanged{r.messages, a})
				return a, c.violation(r.kind, "row %d: %s", rows, wrong)
			}
		}
		rows++
	}
}

// receive returns the next message that belongs to an answer. The others are
// checked here; and none may carry the tag of another client.
func (c *client) receive() (pgproto3.BackendMessage, error) {
	for {
		_ = c.conn.SetDeadline(time.Now().Add(patience))
		m, err := c.front.Receive()
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				return nil, c.violation("hang", "no answer for %v to %s", patience, describe(c.asking))
			}
			return nil, err
		}
		switch m := m.(type) {
		case *pgproto3.ParameterStatus:
			err = c.reported(m.Name, m.Value)
		case *pgproto3.NoticeResponse:
			err = c.noticed(m)
		case *pgproto3.NotificationResponse:
			err = c.notified(m)
		case *pgproto3.DataRow:
			for _, column := range m.Values {
				if tag := c.foreign(column); tag != "" {
					err = c.violation("rows", "a row with the tag %s", tag)
				}
			}
			return m, err
		case *pgproto3.CopyData:
			if tag := c.foreign(m.Data); tag != "" {
				err = c.violation("rows", "COPY data with the tag %s", tag)
			}
			return m, err
		case *pgproto3.ErrorResponse:
			if tag := c.foreign([]byte(m.Message + m.Detail + m.Where)); tag != "" {
				err = c.violation("error", "an error with the tag %s: %s", tag, m.Message)
			}
			if m.Code == "57014" && !c.mayCancel && !strings.HasPrefix(m.Message, "COPY from stdin failed") {
				err = c.violation("cancel", "%s", m.Message)
			}
			return m, err
		default:
			return m, nil
		}
		if err != nil {
			return nil, err
		}
	}
}

// noticed counts notices with the client's own tag. Warnings tell of a session
// that is not in the state that the client left it in.
func (c *client) noticed(m *pgproto3.NoticeResponse) error {
	if tag := c.foreign([]byte(m.Message)); tag != "" {
		return c.violation("notice", "a notice with the tag %s", tag)
	}
	if m.Severity == "WARNING" {
		return c.violation("notice", "%s: %s", m.Code, m.Message)
	}
	if strings.Contains(m.Message, c.tag) {
		c.notices++
	}
	return nil
}

// notified takes a notification: only a listener gets one, and of its channel.
func (c *client) notified(m *pgproto3.NotificationResponse) error {
	if c.state.channel == "" || m.Channel != c.state.channel {
		return c.violation("notification", "one on channel %q for a client that listens to %q", m.Channel, c.state.channel)
	}
	c.heard = append(c.heard, m.Payload)
	return nil
}

// tokenOf is how a message is written in a transcript, and the row in it.
func tokenOf(m pgproto3.BackendMessage) (text string, row [][]byte) {
	switch m := m.(type) {
	case *pgproto3.ParseComplete:
		return "1", nil
	case *pgproto3.BindComplete:
		return "2", nil
	case *pgproto3.CloseComplete:
		return "3", nil
	case *pgproto3.NoData:
		return "n", nil
	case *pgproto3.PortalSuspended:
		return "s", nil
	case *pgproto3.EmptyQueryResponse:
		return "I", nil
	case *pgproto3.ParameterDescription:
		return "t" + strings.Trim(strings.ReplaceAll(fmt.Sprint(m.ParameterOIDs), " ", ","), "[]"), nil
	case *pgproto3.RowDescription:
		var names []string
		for _, f := range m.Fields {
			names = append(names, string(f.Name))
		}
		return "T " + strings.Join(names, ","), nil
	case *pgproto3.DataRow:
		return "D", m.Values
	case *pgproto3.CommandComplete:
		return "C " + string(m.CommandTag), nil
	case *pgproto3.CopyInResponse:
		return "G", nil
	case *pgproto3.CopyOutResponse:
		return "H", nil
	case *pgproto3.CopyData:
		return "d", [][]byte{m.Data}
	case *pgproto3.CopyDone:
		return "c", nil
	case *pgproto3.ErrorResponse:
		return "E " + m.Code, nil
	case *pgproto3.ReadyForQuery:
		return "", nil
	}
	return fmt.Sprintf("%T", m), nil
}

// describe writes messages down in short.
func describe(messages []pgproto3.FrontendMessage) string {
	var parts []string
	for _, m := range messages {
		text := strings.TrimPrefix(fmt.Sprintf("%T", m), "*pgproto3.")
		switch m := m.(type) {
		case *pgproto3.Query:
			text += " " + m.String
		case *pgproto3.Parse:
			text += fmt.Sprintf(" %q %s", m.Name, m.Query)
		case *pgproto3.Bind:
			text += fmt.Sprintf(" %q %s", m.PreparedStatement, clip(string(bytes.Join(m.Parameters, []byte(",")))))
		case *pgproto3.Describe:
			text += fmt.Sprintf(" %c%q", m.ObjectType, m.Name)
		case *pgproto3.Close:
			text += fmt.Sprintf(" %c%q", m.ObjectType, m.Name)
		}
		if len(parts) < 20 {
			parts = append(parts, text)
		}
	}
	return strings.Join(parts, "; ")
}

func clip(s string) string {
	if len(s) > 200 {
		return s[:200] + "…"
	}
	return s
}
