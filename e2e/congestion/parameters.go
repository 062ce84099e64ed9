package congestion

import (
	"fmt"
	"maps"

	"github.com/jackc/pgx/v5/pgproto3"
)

// scope is what a transaction, or a savepoint in it, has made of the parameters.
type scope struct {
	now  map[string]string // as they are
	kept map[string]string // as they will be after COMMIT: without SET LOCAL
}

func (s scope) clone() scope { return scope{maps.Clone(s.now), maps.Clone(s.kept)} }

// shown checks all parameters against what the client holds them for.
func (c *client) shown(tx byte) request {
	return query("parameter", show, "T ?column?|D 1|C SELECT 1", tx, only(c.state.shown()))
}

// showAll checks all parameters.
func showAll(c *client) error {
	c.next()
	return c.do(c.shown('I'))
}

// change is a statement that changes parameters, and what it makes of a scope.
type change struct {
	sql    string
	tag    string
	apply  func(s scope)
	resets string // the parameter it takes back, "all", or ""
	local  string // the parameter it sets for a transaction, or ""
}

// newChange sets a parameter, for good or for a transaction, or takes it back.
func (c *client) newChange() change {
	name := parameterNames[c.rng.IntN(len(parameterNames))]
	initial := maps.Clone(c.state.initial)
	both := func(value string) func(scope) {
		return func(s scope) { s.now[name], s.kept[name] = value, value }
	}
	value := parameters[name](c, 1+c.rng.IntN(40))
	literal := "'" + value + "'"
	if name == "search_path" {
		literal = value
	}
	switch c.rng.IntN(8) {
	case 0:
		return change{"reset " + name, "C RESET", both(initial[name]), name, ""}
	case 1:
		return change{"set " + name + " to default", "C SET", both(initial[name]), name, ""}
	case 2:
		return change{"reset all", "C RESET", func(s scope) {
			maps.Copy(s.now, initial)
			maps.Copy(s.kept, initial)
		}, "all", ""}
	case 3, 4:
		return change{"set local " + name + " = " + literal, "C SET", func(s scope) { s.now[name] = value }, "", name}
	case 5:
		return change{fmt.Sprintf("SET /* %s */ SESSION %s TO %s", c.tag, name, literal), "C SET", both(value), "", ""}
	}
	return change{"set " + name + " = " + literal, "C SET", both(value), "", ""}
}

// set changes parameters in one of several ways, and looks at them in between.
func set(c *client) error {
	c.next()
	old := scope{c.state.set, c.state.set}.clone()
	err := []func(*client, scope) error{setAlone, setTogether, setPipelined, setInTransaction, setInTransaction}[c.rng.IntN(5)](c, old.clone())
	if err != nil {
		c.state.set = old.now // it was refused; otherwise the connection ends
		return err
	}
	return c.do(c.shown('I'))
}

// setAlone makes one change, which counts at once.
func setAlone(c *client, s scope) error {
	one := c.newChange()
	for one.local != "" { // warns, outside a transaction
		one = c.newChange()
	}
	one.apply(s)
	c.state.set = s.kept
	if c.rng.IntN(2) == 0 {
		return c.do(extended("parameter", one.sql, "1|2|n|"+one.tag, 'I', nil))
	}
	return c.do(query("parameter", one.sql, one.tag, 'I', nil))
}

// setTogether makes several changes in one message, which is one transaction:
// they count together or, when something fails, not at all.
func setTogether(c *client, s scope) error {
	var sql, want string
	resets := map[string]bool{}
	for range 1 + c.rng.IntN(3) {
		one := c.newChange()
		if one.local != "" && (resets[one.local] || resets["all"]) {
			continue // a gateway cannot tell that from a value set to the server's own default
		}
		resets[one.resets] = true
		one.apply(s)
		sql, want = sql+one.sql+"; ", want+one.tag+"|"
	}
	switch c.rng.IntN(3) {
	case 0:
		return c.do(query("parameter", "begin; "+sql+"rollback", "C BEGIN|"+want+"C ROLLBACK", 'I', nil))
	case 1:
		return c.transaction(query("parameter", "begin; "+sql+"select 1/0", "C BEGIN|"+want+"E 22012", 'E', nil),
			query("parameter", "rollback", "C ROLLBACK", 'I', nil))
	default:
		c.state.set = s.kept
		return c.do(query("parameter", "begin; "+sql+"commit", "C BEGIN|"+want+"C COMMIT", 'I', nil))
	}
}

// setPipelined makes a change before a Sync, and something fails before it, or not.
func setPipelined(c *client, s scope) error {
	one := c.newChange()
	for one.local != "" {
		one = c.newChange()
	}
	one.apply(s)
	r := request{"parameter", "1|2|" + one.tag, 'I', nil, []pgproto3.FrontendMessage{&pgproto3.Parse{Query: one.sql}, bind(""), &pgproto3.Execute{}}}
	if c.rng.IntN(2) == 0 {
		r.messages = append(r.messages, &pgproto3.Parse{Query: divide}, bind("", "0"), &pgproto3.Execute{})
		r.want += "|1|2|E 22012"
	} else {
		c.state.set = s.kept
	}
	r.messages = append(r.messages, &pgproto3.Sync{})
	return c.do(r)
}

// setInTransaction makes changes in a transaction with savepoints.
func setInTransaction(c *client, s scope) error {
	before := c.state.set
	if err := c.do(query("parameter", "begin", "C BEGIN", 'T', nil)); err != nil {
		return err
	}
	var saved []scope
	for range 2 + c.rng.IntN(5) {
		r, next := c.newStep(s, &saved)
		s = next
		c.state.set = s.now
		if err := c.do(r); err != nil {
			return err
		}
		if c.rng.IntN(2) == 0 {
			if err := c.do(c.shown('T')); err != nil {
				return err
			}
		}
	}
	end := query("parameter", "commit", "C COMMIT", 'I', nil)
	switch c.rng.IntN(4) {
	case 0:
		end = query("parameter", "rollback", "C ROLLBACK", 'I', nil)
		s.kept = before
	case 1:
		c.state.set = before // an error undoes at once what came after the last savepoint
		if n := len(saved); n > 0 {
			c.state.set = saved[n-1].now
		}
		if err := c.do(query("parameter", "select 1/0", "E 22012", 'E', nil)); err != nil {
			return err
		}
		end = query("parameter", "commit", "C ROLLBACK", 'I', nil)
		s.kept = before
	}
	c.state.set = s.kept
	return c.do(end)
}

// newStep is a change in a transaction, a savepoint, or the way back to one.
func (c *client) newStep(s scope, saved *[]scope) (request, scope) {
	n := len(*saved)
	switch c.rng.IntN(8) {
	case 0, 1:
		*saved = append(*saved, s.clone())
		return query("parameter", fmt.Sprintf("savepoint s%d", n), "C SAVEPOINT", 'T', nil), s
	case 2:
		if n > 0 {
			return query("parameter", fmt.Sprintf("rollback to s%d", n-1), "C ROLLBACK", 'T', nil), (*saved)[n-1].clone()
		}
	case 3:
		if n > 0 {
			*saved = (*saved)[:n-1]
			return query("parameter", fmt.Sprintf("release s%d", n-1), "C RELEASE", 'T', nil), s
		}
	}
	one := c.newChange()
	one.apply(s)
	return query("parameter", one.sql, one.tag, 'T', nil), s
}
