package congestion

import (
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/jackc/pgx/v5/pgproto3"
)

// The client's statements all return $1 and a constant in their text. Under the
// names s0 to s3 everybody has others; and one text, whose constant is "shared",
// everybody has under names of his own.

// constant is what a client's statement has in its text: nobody else's has it.
func (c *client) constant() string { return fmt.Sprintf("<%s>%d", c.name(), c.rng.IntN(3)) }

func text(constant string) string {
	return "select $1::text as tag, '" + constant + "' as constant"
}

// batch is a run of messages up to a Sync, with what they are answered and what
// they leave.
type batch struct {
	c          *client
	tag        string
	request    request
	rows       [][]string
	statements map[string]string
	failed     bool // the rest is ignored
	dirty      bool // the unnamed statement is not one of those
	bound      bool // the unnamed statement was, since it was parsed
}

// say appends a message; what is not ignored is answered so.
func (b *batch) say(answer string, messages ...pgproto3.FrontendMessage) bool {
	b.request.messages = append(b.request.messages, messages...)
	if b.failed {
		return false
	}
	if b.request.want != "" && answer != "" {
		b.request.want += "|"
	}
	b.request.want += answer
	b.failed = len(answer) > 1 && answer[:2] == "E "
	return !b.failed
}

func (b *batch) parse(name, constant string) {
	answer := "1"
	if _, known := b.statements[name]; known && name != "" {
		answer = "E 42P05"
	}
	if b.say(answer, &pgproto3.Parse{Name: name, Query: text(constant)}) {
		b.statements[name] = constant
		b.bound = b.bound && name != ""
	}
}

func (b *batch) execute(name string) {
	bind, run := bind(name, b.tag), []pgproto3.FrontendMessage{&pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}}
	constant, known := b.statements[name]
	if !known {
		b.say("E 26000", bind)
		b.say("", run...)
		return
	}
	if b.say("2|T tag,constant|D 1|C SELECT 1", append([]pgproto3.FrontendMessage{bind}, run...)...) {
		b.rows = append(b.rows, []string{b.tag, constant})
		b.bound = b.bound || name == ""
	}
}

func (b *batch) describe(name string) {
	answer := "t25|T tag,constant"
	if _, known := b.statements[name]; !known {
		answer = "E 26000"
	}
	b.say(answer, &pgproto3.Describe{ObjectType: 'S', Name: name})
}

func (b *batch) close(name string) {
	if b.say("3", &pgproto3.Close{ObjectType: 'S', Name: name}) {
		delete(b.statements, name)
	}
}

// fail has something fail, at one stage or another.
func (b *batch) fail() {
	switch b.c.rng.IntN(3) {
	case 0: // an unnamed statement that does not come to be replaces the last one, too
		if !b.failed {
			delete(b.statements, "")
		}
		b.say("E 42601", &pgproto3.Parse{Query: "selekt"})
	case 1:
		b.say("E 42601", &pgproto3.Parse{Name: "broken", Query: "selekt"})
	default:
		if b.say("1", &pgproto3.Parse{Query: divide}) {
			b.dirty = true
		}
		b.say("2", bind("", "0"))
		b.say("E 22012", &pgproto3.Execute{})
	}
}

// newBatch makes up a batch. Much of what it asks for is not there.
func (c *client) newBatch(tag string, tx byte, dirty bool) *batch {
	b := &batch{c: c, tag: tag, statements: maps.Clone(c.state.statements)}
	if dirty {
		b.close("")
	}
	name := func() string {
		switch c.rng.IntN(4) {
		case 0:
			return ""
		case 1:
			return fmt.Sprintf("own_%d_%d", c.id, c.rng.IntN(2))
		}
		return fmt.Sprintf("s%d", c.rng.IntN(4))
	}
	known := func() string {
		names := slices.Sorted(maps.Keys(b.statements))
		if len(names) == 0 || c.rng.IntN(12) == 0 {
			return name()
		}
		return names[c.rng.IntN(len(names))]
	}
	for range 1 + c.rng.IntN(5) {
		switch c.rng.IntN(12) {
		case 0:
			b.fail()
		case 1:
			b.close(known())
		case 2:
			b.describe(known())
		case 3, 4, 5, 6:
			n, constant := name(), c.constant()
			if len(n) > 3 {
				constant = "shared"
			}
			if _, there := b.statements[n]; there && n != "" && c.rng.IntN(4) > 0 {
				b.close(n)
			}
			b.parse(n, constant)
		default:
			b.execute(known())
		}
	}
	b.say("", &pgproto3.Sync{})
	b.request.kind, b.request.tx = "statement", tx
	if b.failed && tx == 'T' {
		b.request.tx = 'E'
	}
	rows := b.rows
	b.request.row = func(i int, row [][]byte) string {
		if i >= len(rows) {
			return "too many"
		}
		return only(rows[i]...)(0, row)
	}
	return b
}

// send does a batch. Statements stay although a transaction is rolled back.
func (c *client) send(b *batch) error {
	if err := c.do(b.request); err != nil {
		return err
	}
	c.state.statements = b.statements
	return nil
}

// statements prepares, uses and closes statements in some batches, which may be
// a transaction.
func statements(c *client) error {
	tag := c.next()
	dirty, tx := true, byte('I')
	if c.rng.IntN(3) == 0 {
		if err := c.do(query("statement", "begin", "C BEGIN", 'T', nil)); err != nil {
			return err
		}
		tx = 'T'
	}
	for range 1 + c.rng.IntN(4) {
		b := c.newBatch(tag, tx, dirty)
		if err := c.send(b); err != nil {
			return err
		}
		dirty = b.dirty || b.bound && tx == 'I' && c.crowd.options.Shared
		if b.failed && tx == 'T' {
			break
		}
	}
	if tx == 'I' {
		return nil
	}
	return c.do(query("statement", "rollback", "C ROLLBACK", 'I', nil))
}

// reuse runs every statement the client has, in one go, and may drop them all.
func reuse(c *client) error {
	tag := c.next()
	delete(c.state.statements, "")
	var all []request
	for _, name := range slices.Sorted(maps.Keys(c.state.statements)) {
		all = append(all, request{"statement", "t25|T tag,constant|2|D 1|C SELECT 1", 'I', only(tag, c.state.statements[name]), []pgproto3.FrontendMessage{
			&pgproto3.Describe{ObjectType: 'S', Name: name}, bind(name, tag), &pgproto3.Execute{}, &pgproto3.Sync{},
		}})
	}
	all = append(all, extended("rows", seriesSQL, "1|2|T tag,n,fill|D 1|C SELECT 1", 'I', tagged(tag, 2), tag, strconv.Itoa(1), "2"))
	if err := c.do(all...); err != nil || c.rng.IntN(3) > 0 {
		return err
	}
	before := c.state.statements
	c.state.statements = map[string]string{}
	if err := c.do(query("statement", "deallocate all", "C DEALLOCATE ALL", 'I', nil)); err != nil {
		c.state.statements = before
		return err
	}
	return nil
}

// later binds an unnamed statement after the Sync that followed its Parse, and
// once more after that.
func later(c *client) error {
	tag, constant := c.next(), c.constant()
	parse := request{"statement", "1|t25|T tag,constant", 'I', nil, []pgproto3.FrontendMessage{
		&pgproto3.Parse{Query: text(constant)}, &pgproto3.Describe{ObjectType: 'S'}, &pgproto3.Sync{},
	}}
	if err := c.do(parse); err != nil {
		return err
	}
	return c.do(request{"statement", "2|D 1|C SELECT 1", 'I', only(tag, constant), []pgproto3.FrontendMessage{
		bind("", tag), &pgproto3.Execute{}, &pgproto3.Sync{},
	}})
}
