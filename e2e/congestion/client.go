package congestion

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

// client is one of the crowd. It belongs to one goroutine. Its fields below conn
// are of its present connection: what it has done there and therefore expects.
type client struct {
	crowd *Crowd
	id    int
	turn  int // actions so far
	rng   *rand.Rand
	lives int // connections so far

	conn  net.Conn
	tcp   *net.TCPConn // below conn
	front *pgproto3.Frontend
	key   pgproto3.CancelRequest
	tag   string                   // of the latest request
	asked int                      // requests so far on it
	dead  []pgproto3.CancelRequest // keys of connections that have ended

	tx        byte
	trail     []exchanged                // the latest on this connection
	asking    []pgproto3.FrontendMessage // whose answer is being read
	mayCancel bool                       // it sent a CancelRequest
	state     state
	notices   int      // with its tag, in the latest answer
	heard     []string // notifications, in the latest answer
}

// How an action ends early.
var (
	errRefused  = errors.New("no server connection")
	errCanceled = errors.New("canceled")
	errLost     = errors.New("server connection lost")
	errGone     = errors.New("the client has gone") // it has closed its connection
)

// patience is how long an answer may take before the test calls it a hang. Much
// longer than the pool's wait_timeout, on any machine.
const patience = 2 * time.Minute

// name is the client's on this connection.
func (c *client) name() string { return fmt.Sprintf("c%d.%d", c.id, c.lives) }

// next makes a tag for the next request.
func (c *client) next() string {
	c.asked++
	c.tag = fmt.Sprintf("<%s#%d>", c.name(), c.asked)
	return c.tag
}

var tagPattern = regexp.MustCompile(`<c[0-9]+\.[0-9]+[#>]`)

// foreign returns a tag in text that belongs to another client or connection.
func (c *client) foreign(text []byte) string {
	for _, found := range tagPattern.FindAll(text, -1) {
		if string(found[1:len(found)-1]) != c.name() {
			return string(found)
		}
	}
	return ""
}

// violation notes what should not have been, and returns it as an error.
func (c *client) violation(kind, format string, args ...any) error {
	v := Violation{kind, c.name(), fmt.Sprintf(format, args...)}
	for _, e := range c.trail {
		v.Text += "\n\t" + strings.ReplaceAll(e.String(), show, "select all parameters")
	}
	if c.crowd.options.Until == nil || !c.crowd.over() { // else it was cut short
		c.crowd.verdict.violate(v)
	}
	return v
}

// login opens a connection with this life's own parameters.
func (c *client) login() error {
	c.lives++
	c.state = newState(c)
	c.mayCancel, c.asked, c.tx, c.trail = false, 0, 'I', nil
	cfg, err := pgconn.ParseConfig(c.crowd.options.Connect(c.id))
	if err != nil {
		return err
	}
	for name, value := range c.state.startup() {
		cfg.RuntimeParams[name] = value
	}
	var dialled net.Conn
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		conn, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			dialled = conn
			c.crowd.opened(c.id, conn)
		}
		return conn, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	pg, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return c.turnedAway(ctx, err)
	}
	h, err := pg.Hijack()
	if err != nil {
		return err
	}
	tcp, ok := dialled.(*net.TCPConn)
	if !ok {
		return fmt.Errorf("dialled a %T", dialled)
	}
	c.conn, c.tcp, c.front = h.Conn, tcp, h.Frontend
	c.key = pgproto3.CancelRequest{ProcessID: h.PID, SecretKey: h.SecretKey}
	for name, value := range h.ParameterStatuses {
		if err := c.reported(name, value); err != nil {
			return err
		}
	}
	return c.settled()
}

// turnedAway judges a login that failed.
func (c *client) turnedAway(ctx context.Context, err error) error {
	var pg *pgconn.PgError
	switch {
	case ctx.Err() != nil:
		return c.violation("hang", "login took more than %v: %v", patience, err)
	case !errors.As(err, &pg):
		return c.violation("login", "%v", err)
	case pg.Code == "53300":
		return errRefused
	case pg.Code == "57P01", pg.Code == "08001":
		return errLost
	}
	return c.violation("login", "%v", err)
}

// drop closes the connection as it stands.
func (c *client) drop() {
	if c.conn != nil {
		c.conn.Close()
		c.conn = nil
	}
}

// logout says goodbye, or does not.
func (c *client) logout() {
	if c.conn == nil {
		return
	}
	if c.id%3 != 0 {
		c.front.Send(&pgproto3.Terminate{})
		_ = c.front.Flush() // it may be gone already
	}
	c.drop()
}

// kill ends the connection the hard way: a reset, or without a goodbye.
func (c *client) kill() error {
	if c.rng.IntN(2) == 0 {
		_ = c.tcp.SetLinger(0)
		c.tcp.Close()
	} else if _, ok := c.conn.(*tls.Conn); !ok && c.rng.IntN(2) == 0 {
		_ = c.tcp.CloseWrite() // the other half stays open for a moment, unread
	}
	c.drop()
	return errGone
}
