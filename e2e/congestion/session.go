package congestion

import (
	"github.com/jackc/pgx/v5/pgproto3"
)

// discard gives up all that the session has.
func (c *client) discard() error {
	before := c.state.set
	c.state.set = c.state.initial
	if err := c.do(query("session", "discard all", "C DISCARD ALL", 'I', nil)); err != nil {
		c.state.set = before
		return err
	}
	c.state.discarded()
	return nil
}

// peek looks for what others may have left.
func peek(c *client) error {
	c.next()
	all := []request{
		query("temp", "select tag from scratch", "E 42P01", 'I', nil),
		query("statement", "execute crowd_sql", "E 26000", 'I', nil),
		query("cursor", "fetch all from crowd_hold", "E 34000", 'I', nil),
		query("cursor", "select count(*) from pg_cursors where name like 'crowd%'", "T count|D 1|C SELECT 1", 'I', only("0")),
		query("listen", "select count(*) from pg_listening_channels()", "T count|D 1|C SELECT 1", 'I', only("0")),
		query("lock", "select count(*) from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()", "T count|D 1|C SELECT 1", 'I', only("0")),
		query("transaction", "select now() = statement_timestamp()", "T ?column?|D 1|C SELECT 1", 'I', only("t")),
		{"statement", "E 26000", 'I', nil, []pgproto3.FrontendMessage{bind("never"), &pgproto3.Execute{}, &pgproto3.Sync{}}},
	}
	if c.state.channel != "" || c.state.locks > 0 {
		return nil
	}
	for _, i := range c.rng.Perm(len(all))[:3] {
		if err := c.do(all[i]); err != nil {
			return err
		}
	}
	return nil
}
