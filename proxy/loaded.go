package proxy

import (
	"errors"

	"pggateway/wire"
)

// loaded is a statement on one server.
type loaded struct {
	statement *statement
	shape     shape
	used      uint64 // backend.uses when it was last used
	described bool   // shape is known: the server has answered
	name      string // until then: the client's name for it, "" when it was not the client who prepared it
	passing   bool   // nobody knows how it was read: it is not there for the next client
	cycle     uint32 // until then: the client's pipeline in which it was sent
}

// maxLoaded is how many statements are kept on one server. What was not used for
// the longest time makes room, and is prepared again when it is needed.
const maxLoaded = 500

// maxStrays is how many statements a server may have that it was to close and
// did not, because of an error before, until it is better to do without it.
const maxStrays = 100

// loadeds are the statements on a server, and those whose description is due.
type loadeds struct {
	byStatement map[*statement]*loaded
	due         []*loaded // in the order of the requests
	uses        uint64
	strays      int
	passing     bool // some are
}

func (l *loadeds) touch(c *loaded) {
	l.uses++
	c.used = l.uses
}

func (l *loadeds) drop(st *statement) {
	if _, ok := l.byStatement[st]; ok {
		delete(l.byStatement, st)
		st.leave()
	}
}

// add makes a new entry in the place of any other.
func (l *loadeds) add(c *loaded) {
	if l.byStatement == nil {
		l.byStatement = make(map[*statement]*loaded)
	}
	if _, ok := l.byStatement[c.statement]; !ok {
		c.statement.users++
	}
	l.byStatement[c.statement] = c
	l.touch(c)
}

// oldest is the statement that was not used for the longest time, of those that
// can be prepared again.
func (l *loadeds) oldest() *loaded {
	var found *loaded
	for _, c := range l.byStatement {
		if c.described && !c.statement.private() && (found == nil || c.used < found.used) {
			found = c
		}
	}
	return found
}

// clear forgets everything but what is on its way. A private statement is on its
// way when its client still has it, who has forgotten the others.
func (l *loadeds) clear() {
	for st, c := range l.byStatement {
		if c.described && (!st.private() || st.users == 1) {
			l.drop(st)
		}
	}
}

// suspect forgets what can be prepared again. It may be there all the same.
func (l *loadeds) suspect() {
	for st, c := range l.byStatement {
		if c.described && !st.private() {
			l.strays++
			l.drop(st)
		}
	}
}

// pass forgets those that are not there for the next client.
func (l *loadeds) pass() {
	if !l.passing {
		return
	}
	l.passing = false
	for st, c := range l.byStatement {
		if c.passing {
			l.strays++
			l.drop(st)
		}
	}
}

// end lets go of everything.
func (l *loadeds) end() {
	for st := range l.byStatement {
		st.leave()
	}
	*l = loadeds{}
}

// describeDue takes a part of the answer to a Describe of the gateway's own.
func (l *loadeds) describeDue(typ byte, body []byte, size int) (c *loaded, err error) {
	if len(l.due) == 0 {
		return nil, unasked(typ)
	}
	c = l.due[0]
	if size > maxWhole {
		// Too long to be looked at: it has to stay what it is, and where.
		c.shape = c.shape.and([]byte{byte(size >> 24), byte(size >> 16), byte(size >> 8), byte(size)})
	} else {
		switch typ {
		case wire.ParameterDescription:
			c.shape = shapeOfParameters(body)
		case wire.NoData:
			c.shape = c.shape.withoutRow()
		case wire.RowDescription:
			var ok bool
			if c.shape, ok = c.shape.withRow(body); !ok {
				return nil, errors.New("malformed RowDescription")
			}
		}
	}
	if typ == wire.ParameterDescription {
		return nil, nil
	}
	l.due = l.due[1:]
	if len(l.due) == 0 {
		l.due = nil
	}
	c.described = true
	return c, nil
}

// skip drops the n oldest that are due, which the server will not answer.
func (l *loadeds) skip(n int) {
	for _, c := range l.due[:n] {
		if l.byStatement[c.statement] == c {
			l.drop(c.statement)
		}
	}
	l.due = l.due[n:]
}

// learn takes a part of the description of a statement.
func (b *backend) learn(typ byte, body []byte, size int) error {
	c, err := b.loaded.describeDue(typ, body, size)
	s := b.session
	if s == nil || err != nil {
		return err
	}
	if size > maxWhole {
		s.pinTo(pinStatement)
	}
	if c != nil && c.name != "" {
		s.prepared.describe(c.name, c.statement, c.shape)
		c.name = ""
	}
	return nil
}
