package congestion

import (
	"fmt"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5/pgproto3"
)

// What follows ties a session to its server: it is held briefly, by few clients
// at once, while the others use what is left.

// temp makes a temporary table of the name that everybody gives it.
func temp(c *client) error {
	tag := c.next()
	create := "create temp table scratch (tag text)"
	look := func(tx byte, n int) request {
		return query("temp", "select tag from scratch", fmt.Sprintf("T tag|D %d|C SELECT %d", n, n), tx, only(tag))
	}
	insert := func(tx byte) request {
		return extended("temp", "insert into scratch values ($1)", "1|2|n|C INSERT 0 1", tx, nil, tag)
	}
	if c.rng.IntN(2) == 0 { // as long as a transaction
		if err := c.transaction(query("temp", "begin", "C BEGIN", 'T', nil),
			query("temp", create+" on commit drop", "C CREATE TABLE", 'T', nil), insert('T'), look('T', 1),
			query("temp", "commit", "C COMMIT", 'I', nil),
			query("temp", "select tag from scratch", "E 42P01", 'I', nil)); err != nil {
			return err
		}
		return c.discard()
	}
	if err := c.transaction(query("temp", create, "C CREATE TABLE", 'I', nil), look('I', 0), insert('I'), look('I', 1), look('I', 1)); err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 {
		if err := c.do(query("temp", "drop table scratch", "C DROP TABLE", 'I', nil),
			query("temp", "select tag from scratch", "E 42P01", 'I', nil)); err != nil {
			return err
		}
	}
	return c.discard()
}

// listen listens to a channel of its own and notifies itself and a stranger.
func listen(c *client) error {
	tag := c.next()
	channel := fmt.Sprintf("ch_%d_%d", c.id, c.lives)
	c.state.channel = channel
	if err := c.do(query("listen", "listen "+channel, "C LISTEN", 'I', nil)); err != nil {
		return err
	}
	for range 3 {
		payload := fmt.Sprintf("%s%d", tag, c.rng.IntN(100))
		other := fmt.Sprintf("ch_%d_%d", c.rng.IntN(c.crowd.options.Clients), 1+c.rng.IntN(3))
		if other == channel {
			other += "_"
		}
		sql := fmt.Sprintf("notify %s, '%s'; notify %s, '%s'", channel, payload, other, payload)
		if err := c.do(query("listen", sql, "C NOTIFY|C NOTIFY", 'I', nil)); err != nil {
			return err
		}
		if !slices.Contains(c.heard, payload) {
			return c.violation("listen", "heard %q, not its own %q", c.heard, payload)
		}
	}
	if err := c.do(query("listen", "select pg_listening_channels()", "T pg_listening_channels|D 1|C SELECT 1", 'I', only(channel))); err != nil {
		return err
	}
	if err := c.do(query("listen", "unlisten *", "C UNLISTEN", 'I', nil)); err != nil {
		return err
	}
	c.state.channel = ""
	return c.discard()
}

// notify sends to channels of others, who may or may not be listening.
func notify(c *client) error {
	tag := c.next()
	return c.do(query("listen", fmt.Sprintf("notify ch_%d_%d, '%s'", c.rng.IntN(c.crowd.options.Clients), 1+c.rng.IntN(3), tag), "C NOTIFY", 'I', nil))
}

// lock takes an advisory lock that only this connection asks for, twice.
func lock(c *client) error {
	c.next()
	held := func(n int) request {
		return query("lock", "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
			"T count|D 1|C SELECT 1", 'I', only(strconv.Itoa(n)))
	}
	key := fmt.Sprintf("(%d, %d)", 1000+c.id, c.lives)
	take := query("lock", "select pg_try_advisory_lock"+key, "T pg_try_advisory_lock|D 1|C SELECT 1", 'I', only("t"))
	give := query("lock", "select pg_advisory_unlock"+key, "T pg_advisory_unlock|D 1|C SELECT 1", 'I', only("t"))
	if err := c.transaction(take, held(1), take, give, held(1)); err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 {
		if err := c.transaction(give, held(0)); err != nil {
			return err
		}
	}
	return c.discard()
}

// hold keeps a cursor beyond its transaction.
func hold(c *client) error {
	tag := c.next()
	piece := func(from, n int) request {
		return query("cursor", fmt.Sprintf("fetch %d from crowd_hold", n), fmt.Sprintf("T tag,n,fill|D %d|C FETCH %d", n, n), 'I', func(i int, row [][]byte) string {
			return tagged(tag, 3)(from+i, row)
		})
	}
	if err := c.transaction(query("cursor", "begin", "C BEGIN", 'T', nil),
		query("cursor", "declare crowd_hold cursor with hold for "+series(tag, 20, 3), "C DECLARE CURSOR", 'T', nil),
		query("cursor", "commit", "C COMMIT", 'I', nil), piece(0, 5), piece(5, 10)); err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 {
		if err := c.do(query("cursor", "close crowd_hold", "C CLOSE CURSOR", 'I', nil)); err != nil {
			return err
		}
	}
	return c.discard()
}

// sqlPrepare uses PREPARE, EXECUTE and DEALLOCATE under everybody's name.
func sqlPrepare(c *client) error {
	tag := c.next()
	run := query("statement", "execute crowd_sql (7)", "T tag,n|D 1|C SELECT 1", 'I', only(tag, "7"))
	if err := c.transaction(
		query("statement", "prepare crowd_sql (int) as select '"+tag+"' as tag, $1 as n", "C PREPARE", 'I', nil), run,
		request{"statement", "2|D 1|C SELECT 1", 'I', only(tag, "8"), []pgproto3.FrontendMessage{
			bind("crowd_sql", "8"), &pgproto3.Execute{}, &pgproto3.Sync{},
		}}, run); err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 {
		if err := c.do(query("statement", "deallocate crowd_sql", "C DEALLOCATE", 'I', nil)); err != nil {
			return err
		}
	}
	return c.discard()
}

// leave goes away with all of this still there.
func leave(c *client) error {
	tag := c.next()
	c.state.channel = fmt.Sprintf("ch_%d_%d", c.id, c.lives)
	sql := fmt.Sprintf("create temp table scratch (tag text); insert into scratch values ('%s'); listen %s; "+
		"prepare crowd_sql as select '%s'; select pg_advisory_lock(%d, %d); set work_mem = '7777kB'; "+
		"declare crowd_hold cursor with hold for select '%s'", tag, c.state.channel, tag, 1000+c.id, c.lives, tag)
	if err := c.do(query("session", sql, "C CREATE TABLE|C INSERT 0 1|C LISTEN|C PREPARE|T pg_advisory_lock|D 1|C SELECT 1|C SET|C DECLARE CURSOR", 'I', nil)); err != nil {
		return err
	}
	if c.rng.IntN(2) == 0 {
		c.logout()
		return errGone
	}
	return c.kill()
}
