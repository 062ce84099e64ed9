package upstream

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"pggateway/e2e/kit"
	"pggateway/upstream/login"
)

// isServer reports whether an error is a server's, with that SQLSTATE.
func isServer(err error, code string) bool {
	var s *login.ServerError
	return errors.As(err, &s) && s.Fields.Code == code
}

// TestBadAnswers has servers answer a question as none should. Each ends in an
// error, and none in a wait without end.
func TestBadAnswers(t *testing.T) {
	noLeaks(t)
	row := func(values ...string) *pgproto3.DataRow {
		m := &pgproto3.DataRow{}
		for _, v := range values {
			m.Values = append(m.Values, []byte(v))
		}
		return m
	}
	ready := &pgproto3.ReadyForQuery{TxStatus: 'I'}
	many := make([]pgproto3.BackendMessage, maxAnswerRows+1)
	for i := range many {
		many[i] = row("x")
	}
	for name, tt := range map[string]struct {
		say  []pgproto3.BackendMessage
		raw  string
		hang bool
		want string
	}{
		"good":               {say: []pgproto3.BackendMessage{row("x"), ready}},
		"hung up":            {want: "EOF"},
		"in a transaction":   {say: []pgproto3.BackendMessage{&pgproto3.ReadyForQuery{TxStatus: 'T'}}, want: "not idle"},
		"more than asked":    {say: []pgproto3.BackendMessage{ready, row("x")}, want: "not asked"},
		"too many rows":      {say: many, want: "too many"},
		"malformed row":      {raw: "D\x00\x00\x00\x06\x00\x01", want: "malformed row"},
		"negative length":    {raw: "D\x00\x00\x00\x0a\x00\x01\x7f\xff\xff\xff", want: "malformed row"},
		"too long":           {raw: "D\x7f\xff\xff\xff", want: "longer"},
		"COPY":               {raw: "G\x00\x00\x00\x07\x00\x00\x00", want: `unexpected message of type 'G'`},
		"a refusal, no more": {say: []pgproto3.BackendMessage{&pgproto3.ErrorResponse{Severity: "ERROR", Code: "42501", Message: "no"}}, want: "EOF"},
		"silence":            {hang: true, want: "no answer within 500ms"},
	} {
		t.Run(name, func(t *testing.T) {
			s := kit.StartScripted(t, func(c *kit.ScriptConn) {
				if _, ok := c.Startup(nil); !ok {
					return
				}
				c.Welcome()
				if _, err := c.Read(make([]byte, 1024)); err != nil {
					return
				}
				switch {
				case tt.hang:
					c.Silence()
				case tt.raw != "":
					c.Send([]byte(tt.raw))
				default:
					c.Say(tt.say...)
				}
			})
			d := dependencies()
			d.Timeouts.Login = 500 * time.Millisecond
			c, err := mustTarget(t, d, upstreamAt(s.Port, nil)).Open(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			rows, err := c.Query(t.Context(), "select")
			if tt.want == "" {
				if err != nil || len(rows) != 1 {
					t.Errorf("%v, %v", rows, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("%v, %v", rows, err)
			}
		})
	}
	c := &Conn{Leftover: []byte("x")}
	if _, err := c.Query(t.Context(), "select"); !errors.Is(err, errUnasked) {
		t.Errorf("with something left over: %v", err)
	}
}
