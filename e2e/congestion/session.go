package congestion

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

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

// tied gives the session up afterwards, and with it the server.
func tied(do func(c *client) error) func(c *client) error {
	return func(c *client) error {
		if err := do(c); err != nil {
			return err
		}
		return c.discard()
	}
}

// showAll checks all parameters.
func showAll(c *client) error {
	c.next()
	return c.do(query("parameter", show, "T ?column?|D 1|C SELECT 1", 'I', only(c.state.shown())))
}

// assign is what SET makes of a parameter, once it counts.
func (c *client) assign(name string, local bool) (sql, value string) {
	value = parameters[name](c, 1+c.rng.IntN(40))
	word := "set "
	if local {
		word = "set local "
	}
	if name == "search_path" {
		return word + name + " = " + value, value
	}
	return word + name + " = '" + value + "'", value
}

// set changes parameters: at once, in a transaction that is kept or not, for
// one transaction only; and takes them back. What counts afterwards, and in
// between, is checked.
func set(c *client) error {
	c.next()
	name := parameterNames[c.rng.IntN(len(parameterNames))]
	shown := func(tx byte) request {
		return query("parameter", show, "T ?column?|D 1|C SELECT 1", tx, only(c.state.shown()))
	}
	step := func(r request, value string) error {
		before := c.state.set[name]
		c.state.set[name] = value
		err := c.do(r)
		if err != nil {
			c.state.set[name] = before
		}
		return err
	}
	old := c.state.set[name]
	var err error
	switch c.rng.IntN(6) {
	case 0: // back to the startup message's value
		err = step(query("parameter", "reset "+name, "C RESET", 'I', nil), c.state.initial[name])
	case 1:
		before := maps.Clone(c.state.set)
		c.state.set = maps.Clone(c.state.initial)
		if err = c.do(query("parameter", "reset all", "C RESET", 'I', nil)); err != nil {
			c.state.set = before
		}
	case 2, 3: // in a transaction
		sql, value := c.assign(name, c.rng.IntN(2) == 0)
		local := sql[:9] == "set local"
		end, tag := "commit", "C COMMIT"
		if c.rng.IntN(2) == 0 {
			end, tag = "rollback", "C ROLLBACK"
		}
		if err = c.do(query("parameter", "begin", "C BEGIN", 'T', nil)); err != nil {
			return err
		}
		if err = step(query("parameter", sql, "C SET", 'T', nil), value); err != nil {
			return err
		}
		if err = c.do(shown('T')); err != nil {
			return err
		}
		after := value
		if local || end == "rollback" {
			after = old
		}
		err = step(query("parameter", end, tag, 'I', nil), after)
	default:
		sql, value := c.assign(name, false)
		if c.rng.IntN(2) == 0 {
			err = step(extended("parameter", sql, "1|2|n|C SET", 'I', nil), value)
		} else {
			err = step(query("parameter", sql, "C SET", 'I', nil), value)
		}
	}
	if err != nil {
		return err
	}
	return c.do(shown('I'))
}

// constant is what a client's statement has in its text: nobody else's has it.
func (c *client) constant() string { return fmt.Sprintf("<%s>%d", c.name(), c.rng.IntN(3)) }

// sharedText is a statement that all clients have, each under another name.
const sharedText = "select $1::text as tag, 'shared' as constant"

// named prepares statements under names that other clients have for others, and
// one that others have under other names, uses and closes them.
func named(c *client) error {
	tag := c.next()
	name := fmt.Sprintf("s%d", c.rng.IntN(4))
	text := func(constant string) string {
		return "select $1::text as tag, '" + constant + "' as constant"
	}
	if c.rng.IntN(3) == 0 {
		name = fmt.Sprintf("own_%d_%d", c.id, c.rng.IntN(2))
		text = func(string) string { return sharedText }
	}
	known, ok := c.state.statements[name]
	switch {
	case !ok && c.rng.IntN(5) == 0: // it is not there, whoever else has one
		return c.do(request{"statement", "E 26000", 'I', nil, []pgproto3.FrontendMessage{bind(name, tag), &pgproto3.Execute{}, &pgproto3.Sync{}}})
	case !ok:
		constant := c.constant()
		if text("") == sharedText {
			constant = "shared"
		}
		prepare := request{"statement", "1|t25|T tag,constant", 'I', nil, []pgproto3.FrontendMessage{
			&pgproto3.Parse{Name: name, Query: text(constant)}, &pgproto3.Describe{ObjectType: 'S', Name: name}, &pgproto3.Sync{},
		}}
		if err := c.do(prepare); err != nil {
			return err
		}
		c.state.statements[name] = constant
		known = constant
	case c.rng.IntN(6) == 0:
		err := c.do(request{"statement", "3", 'I', nil, []pgproto3.FrontendMessage{&pgproto3.Close{ObjectType: 'S', Name: name}, &pgproto3.Sync{}}})
		if err == nil {
			delete(c.state.statements, name)
		}
		return err
	case c.rng.IntN(6) == 0: // it is there already
		return c.do(request{"statement", "E 42P05", 'I', nil, []pgproto3.FrontendMessage{&pgproto3.Parse{Name: name, Query: "select 'another'"}, &pgproto3.Sync{}}})
	}
	execute := request{"statement", "2|T tag,constant|D 1|C SELECT 1", 'I', only(tag, known), []pgproto3.FrontendMessage{
		bind(name, tag), &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{},
	}}
	fails := request{"statement", "2|D 1|C SELECT 1|1|2|E 22012", 'I', only(tag, known), []pgproto3.FrontendMessage{
		bind(name, tag), &pgproto3.Execute{}, &pgproto3.Parse{Query: divide}, bind("", "0"), &pgproto3.Execute{},
		&pgproto3.Close{ObjectType: 'S', Name: name}, &pgproto3.Sync{},
	}}
	if c.rng.IntN(4) == 0 {
		return c.do(fails, execute)
	}
	return c.do(execute, execute)
}

// later binds an unnamed statement after the Sync that followed its Parse.
func later(c *client) error {
	tag, constant := c.next(), c.constant()
	parse := request{"statement", "1|t25|T tag,constant", 'I', nil, []pgproto3.FrontendMessage{
		&pgproto3.Parse{Query: "select $1::text as tag, '" + constant + "' as constant"}, &pgproto3.Describe{ObjectType: 'S'}, &pgproto3.Sync{},
	}}
	if err := c.do(parse); err != nil {
		return err
	}
	return c.do(request{"statement", "2|D 1|C SELECT 1", 'I', only(tag, constant), []pgproto3.FrontendMessage{
		bind("", tag), &pgproto3.Execute{}, &pgproto3.Sync{},
	}})
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

// statementNames are those a client has, in order.
func (s *state) statementNames() []string { return slices.Sorted(maps.Keys(s.statements)) }

// reuse runs every statement the client has, in one go.
func reuse(c *client) error {
	tag := c.next()
	var all []request
	for _, name := range c.state.statementNames() {
		all = append(all, request{"statement", "t25|T tag,constant|2|D 1|C SELECT 1", 'I', only(tag, c.state.statements[name]), []pgproto3.FrontendMessage{
			&pgproto3.Describe{ObjectType: 'S', Name: name}, bind(name, tag), &pgproto3.Execute{}, &pgproto3.Sync{},
		}})
	}
	all = append(all, extended("rows", seriesSQL, "1|2|T tag,n,fill|D 1|C SELECT 1", 'I', tagged(tag, 2), tag, strconv.Itoa(1), "2"))
	return c.do(all...)
}
