package protocol

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/xdg-go/scram"
)

const (
	// patience is how long a client waits for anything,
	patience = 15 * time.Second
	// prompt how long for PostgreSQL's own answers: when one does not come, it is
	// most often the script that is wrong.
	prompt = 5 * time.Second
)

// received is what a client read: a message's type and its line, or "closed".
type received struct{ typ, line string }

var closed = received{"closed", "closed"}

// client is one connection of a script. A goroutine of its own reads, so that a
// server is never kept from writing.
type client struct {
	conn     net.Conn
	frontend *pgproto3.Frontend
	pid      uint32
	secret   []byte

	idle bool // nothing was sent since ReadyForQuery with status I
	left bool // the script has closed it

	mu    sync.Mutex
	queue []received
	more  chan struct{} // has a token when the queue has grown
}

// params are a startup message: "version", "password" and the parameters.
type params map[string]string

// dial logs in as params say and returns what came after the authentication, in
// the order in which it came but for ParameterStatus, which is sorted by name.
// What a client hears that is not let in is left for it to read.
func dial(ctx context.Context, addr string, p params) (*client, []received, error) {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return nil, nil, err
	}
	c := &client{conn: conn, frontend: pgproto3.NewFrontend(conn, conn), more: make(chan struct{}, 1)}
	_ = conn.SetDeadline(time.Now().Add(patience))
	if _, err := conn.Write(startup(p)); err != nil {
		return nil, nil, err
	}
	greeting, err := c.login(p["password"])
	if err != nil {
		return nil, nil, err
	}
	_ = conn.SetDeadline(time.Time{})
	slices.SortStableFunc(greeting, func(a, b received) int {
		if a.typ == "S" && b.typ == "S" {
			return strings.Compare(a.line, b.line)
		}
		return 0
	})
	if greeting[len(greeting)-1] == closed {
		c.queue = greeting
		return c, nil, nil
	}
	go c.read()
	return c, greeting, nil
}

func startup(p params) []byte {
	major, minor := uint32(3), uint32(0)
	if v := p["version"]; v != "" {
		_, _ = fmt.Sscanf(v, "%d.%d", &major, &minor)
	}
	b := binary.BigEndian.AppendUint32(make([]byte, 4), major<<16|minor)
	var names []string
	for name := range p {
		if name != "version" && name != "password" {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		b = append(append(append(append(b, name...), 0), p[name]...), 0)
	}
	b = append(b, 0)
	binary.BigEndian.PutUint32(b, uint32(len(b)))
	return b
}

// login proves the password and reads up to the first ReadyForQuery, or to the
// end of the connection.
func (c *client) login(password string) ([]received, error) {
	var greeting []received
	var exchange *scram.ClientConversation
	for {
		m, err := c.frontend.Receive()
		if err != nil {
			var timeout net.Error
			if errors.As(err, &timeout) && timeout.Timeout() {
				return nil, err
			}
			return append(greeting, closed), nil
		}
		var answer pgproto3.FrontendMessage
		switch m := m.(type) {
		case *pgproto3.AuthenticationSASL:
			user, err := scram.SHA256.NewClient("", password, "")
			if err != nil {
				return nil, err
			}
			exchange = user.NewConversation()
			first, _ := exchange.Step("")
			answer = &pgproto3.SASLInitialResponse{AuthMechanism: "SCRAM-SHA-256", Data: []byte(first)}
		case *pgproto3.AuthenticationSASLContinue:
			next, err := exchange.Step(string(m.Data))
			if err != nil {
				return nil, err
			}
			answer = &pgproto3.SASLResponse{Data: []byte(next)}
		case *pgproto3.AuthenticationSASLFinal:
			if _, err := exchange.Step(string(m.Data)); err != nil {
				return nil, err
			}
			continue
		case *pgproto3.AuthenticationOk:
			continue
		case *pgproto3.BackendKeyData:
			c.pid, c.secret = m.ProcessID, slices.Clone(m.SecretKey)
		}
		if answer != nil {
			c.frontend.Send(answer)
			if err := c.frontend.Flush(); err != nil {
				return nil, err
			}
			continue
		}
		text := line(m, c.pid)
		greeting = append(greeting, received{text[:1], text})
		if text[0] == 'Z' {
			c.idle = true
			return greeting, nil
		}
	}
}

// read queues what comes until the connection ends.
func (c *client) read() {
	for end := false; !end; {
		r := closed
		m, err := c.frontend.Receive()
		if end = err != nil; !end {
			text := line(m, c.pid)
			r = received{text[:1], text}
		}
		c.mu.Lock()
		c.queue = append(c.queue, r)
		c.mu.Unlock()
		select {
		case c.more <- struct{}{}:
		default:
		}
	}
}

// next returns the next message, or false when none came until the deadline.
func (c *client) next(deadline <-chan time.Time) (received, bool) {
	for {
		c.mu.Lock()
		if len(c.queue) > 0 {
			r := c.queue[0]
			if r != closed { // which stays
				c.queue = c.queue[1:]
			}
			c.mu.Unlock()
			if c.idle = r.typ == "Z" && r.line == "Z I"; r == closed {
				c.left = true
			}
			return r, true
		}
		c.mu.Unlock()
		select {
		case <-c.more:
		case <-deadline:
			return received{}, false
		}
	}
}

// send writes; an error shows as the end of the connection.
func (c *client) send(b []byte) {
	c.idle = false
	_ = c.conn.SetWriteDeadline(time.Now().Add(patience))
	_, _ = c.conn.Write(b)
}

// cancel asks addr to cancel what the client does, and waits until the request
// was dealt with.
func (c *client) cancel(ctx context.Context, addr string, secret []byte) error {
	conn, err := (&net.Dialer{Timeout: patience}).DialContext(ctx, "tcp", addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	b := binary.BigEndian.AppendUint32(nil, uint32(12+len(secret)))
	b = binary.BigEndian.AppendUint32(b, 80877102)
	b = binary.BigEndian.AppendUint32(b, c.pid)
	if _, err := conn.Write(append(b, secret...)); err != nil {
		return err
	}
	var none [1]byte
	if n, err := conn.Read(none[:]); n > 0 || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("a cancel request was answered with %q, %w", none[:n], err)
	}
	return nil
}

func (c *client) leave() {
	c.left = true
	_ = c.conn.Close()
}

// reset closes so that the other side sees a broken connection.
func (c *client) reset() {
	if tcp, ok := c.conn.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	c.leave()
}
