package congestion

import (
	"errors"
	"fmt"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// part sends a part of a request: its first messages, and of the last one half.
func (c *client) part(messages ...pgproto3.FrontendMessage) error {
	var all []byte
	for i, m := range messages {
		text, err := m.Encode(nil)
		if err != nil {
			return err
		}
		if i == len(messages)-1 {
			text = text[:c.rng.IntN(len(text))]
		}
		all = append(all, text...)
	}
	_ = c.conn.SetDeadline(time.Now().Add(patience))
	_, _ = c.conn.Write(all) // the client is about to go; so may be the server
	return nil
}

// taste reads some messages of an answer that will never be read to its end.
func (c *client) taste(n int) error {
	for range n {
		m, err := c.receive()
		var v Violation
		if errors.As(err, &v) {
			return v
		}
		switch m.(type) {
		case nil, *pgproto3.ReadyForQuery, *pgproto3.ErrorResponse:
			return nil // without a Sync, an error may be all
		}
	}
	return nil
}

// killMessage goes away in the middle of a message.
func killMessage(c *client) error {
	tag := c.next()
	r := extended("kill", "insert into crowd.undone select $1, length($2::text)", "", 'I', nil, tag, filler(c.rng.IntN(200_000)))
	n := 1 + c.rng.IntN(len(r.messages)-1) // not the Sync
	if err := c.part(r.messages[:n]...); err != nil {
		return err
	}
	return c.kill()
}

// killPipeline goes away without the Sync that would commit.
func killPipeline(c *client) error {
	tag := c.next()
	for range 1 + c.rng.IntN(3) {
		c.front.Send(&pgproto3.Parse{Query: "insert into crowd.undone values ($1, 1)"})
		c.front.Send(bind("", tag))
		c.front.Send(&pgproto3.Execute{})
	}
	read := c.rng.IntN(2) == 0
	if read {
		c.front.Send(&pgproto3.Flush{})
	}
	if err := c.flush(); err != nil {
		return err
	}
	if read {
		if err := c.taste(3); err != nil {
			return err
		}
	}
	return c.kill()
}

// killTransaction goes away with a transaction open, or about to be.
func killTransaction(c *client) error {
	tag := c.next()
	insert := fmt.Sprintf("insert into crowd.undone values ('%s', 1)", tag)
	if c.rng.IntN(2) == 0 {
		c.front.Send(&pgproto3.Query{String: "begin; " + insert})
		if err := c.flush(); err != nil {
			return err
		}
		return c.kill()
	}
	if err := c.transaction(query("transaction", "begin", "C BEGIN", 'T', nil), query("transaction", insert, "C INSERT 0 1", 'T', nil)); err != nil {
		return err
	}
	if c.rng.IntN(3) == 0 {
		c.logout() // politely, even
		return errGone
	}
	return c.kill()
}

// killResult goes away while a large result comes.
func killResult(c *client) error {
	tag := c.next()
	sql := series(tag, 3000, 1000)
	if c.rng.IntN(2) == 0 {
		sql = "copy (" + sql + ") to stdout"
	}
	c.front.Send(&pgproto3.Query{String: sql})
	if err := c.flush(); err != nil {
		return err
	}
	if err := c.taste(c.rng.IntN(500)); err != nil {
		return err
	}
	return c.kill()
}

// killCopy goes away in the middle of a COPY to the server.
func killCopy(c *client) error {
	tag := c.next()
	var all []pgproto3.FrontendMessage
	all = append(all, &pgproto3.Query{String: "copy crowd.undone from stdin"})
	for i := range 1 + c.rng.IntN(50) {
		all = append(all, &pgproto3.CopyData{Data: fmt.Appendf(nil, "%s\t%d\n", tag, i)})
	}
	if err := c.part(all...); err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 {
		if err := c.taste(1); err != nil {
			return err
		}
	}
	return c.kill()
}

// killBusy goes away while a statement runs, or waits to be run.
func killBusy(c *client) error {
	c.next()
	c.front.Send(&pgproto3.Query{String: "select pg_sleep(0.02)"})
	if err := c.flush(); err != nil {
		return err
	}
	return c.kill()
}

// killLogin comes and goes before it is logged in; its own connection stays.
func killLogin(c *client) error {
	c.next()
	conn, err := net.Dial("tcp", c.tcp.RemoteAddr().String())
	if err != nil {
		return nil // whoever cannot connect has gone, too
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	startup := &pgproto3.StartupMessage{ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": "nobody", "database": "nothing"}}
	text, err := startup.Encode(nil)
	if err != nil {
		return err
	}
	_, _ = conn.Write(text[:c.rng.IntN(len(text)+1)])
	if c.rng.IntN(2) == 0 {
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		_, _ = io.CopyN(io.Discard, conn, 5)
	}
	return nil
}

// killIdle just goes away.
func killIdle(c *client) error { return c.kill() }
