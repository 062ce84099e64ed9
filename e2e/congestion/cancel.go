package congestion

import (
	"errors"
	"io"
	"net"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// oldKeys is how many keys of its ended connections a client remembers.
const oldKeys = 5

// sleepy is a statement that is there to be cancelled.
const sleepy = "select 'slept' from pg_sleep(0.15)"

// cancelNow has its statement cancelled, which may come too early, too late or
// in time.
func cancelNow(c *client) error {
	c.next()
	c.mayCancel = true
	r := query("cancel", sleepy, "T ?column?|D 1|C SELECT 1", 'I', only("slept"))
	if c.rng.IntN(2) == 0 {
		r = extended("cancel", sleepy, "1|2|T ?column?|D 1|C SELECT 1", 'I', only("slept"))
	}
	for _, m := range r.messages {
		c.front.Send(m)
	}
	if err := c.flush(); err != nil {
		return err
	}
	time.Sleep(time.Duration(c.rng.IntN(40)) * time.Millisecond)
	c.cancel(c.key)
	if err := c.read(r); !errors.Is(err, errCanceled) {
		return err
	}
	return nil
}

// cancelLate asks for a statement to be cancelled that has ended.
func cancelLate(c *client) error {
	if err := simple(c); err != nil {
		return err
	}
	c.mayCancel = true
	c.cancel(c.key)
	return nil
}

// cancelOther asks with keys that are nobody's any more, or that never were.
func cancelOther(c *client) error {
	c.next()
	for _, key := range c.dead {
		c.cancel(key)
	}
	key := c.key
	key.SecretKey = append([]byte{}, key.SecretKey...)
	key.SecretKey[c.rng.IntN(len(key.SecretKey))] ^= 1
	c.cancel(key)
	return nil
}

// cancel sends a CancelRequest; whether it arrives is not the client's to know.
func (c *client) cancel(key pgproto3.CancelRequest) {
	c.crowd.verdict.count(c.crowd.verdict.seen, "cancel requests")
	conn, err := (&net.Dialer{Timeout: patience}).Dial("tcp", c.tcp.RemoteAddr().String())
	if err != nil {
		return
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(patience))
	text, err := key.Encode(nil)
	if err != nil {
		return
	}
	if _, err := conn.Write(text); err == nil && c.rng.IntN(2) == 0 {
		_, _ = io.Copy(io.Discard, conn) // until it has been taken
	}
}
