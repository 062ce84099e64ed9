package proxy

import "slices"

// prepared is what a client knows by a name: a statement, the shape in which it
// was described when it was prepared, and what it does to the session's state.
type prepared struct {
	statement *statement
	shape     shape
	does      *touches // nil: nothing that matters
	forgets   bool     // it makes the server forget all statements
}

// prepareds are a client's prepared statements. Messages are taken before it is
// known whether the server will carry them out, and after an error it skips what
// follows, so each change is noted until its reply comes, and undone when it is
// skipped. Within one pipeline that suffices: what builds on a change is skipped
// with it. What comes behind the next Sync has to wait for the reply.
type prepareds struct {
	byName  map[string]prepared // nil: none
	changes []change            // sent and not answered, in order
	bytes   int                 // of the texts
	cycle   uint32              // counts Syncs
}

// change is a Parse or Close of a named statement on its way. A statement stands on
// one side, or on none when a Parse is to be told that its name is taken.
type change struct {
	name  string
	was   prepared
	now   *statement
	cycle uint32
}

const (
	// maxPrepared is how many bytes of text, and of overhead, are kept for one
	// client. What it prepares beyond is tied to the server.
	maxPrepared = 1 << 20
	// preparedOverhead is what a statement costs besides its text.
	preparedOverhead = 200
	// maxKeptText is the longest Parse message whose text is kept. It must fit a
	// loop's buffer whole.
	maxKeptText = 16 << 10
	// maxChanges is how many changes are on their way at most: each message that
	// names a statement looks at them.
	maxChanges = 256
	// nameLen is how many bytes of a name PostgreSQL looks at (NAMEDATALEN - 1).
	nameLen = 63
	// maxNames bounds the names in a message: they have to be there in full.
	maxNames = 8 << 10
)

// significant is the part of a name that counts.
func significant(name []byte) []byte { return name[:min(len(name), nameLen)] }

// unsettled reports whether it is not yet known what the name stands for, and
// the answer is not in the pipeline that is being sent.
func (p *prepareds) unsettled(name []byte) bool {
	for i := range p.changes {
		if c := &p.changes[i]; c.cycle != p.cycle && c.name == string(name) {
			return true
		}
	}
	return false
}

// empty reports whether nothing is prepared, whatever becomes of what is on its way.
func (p *prepareds) empty() bool { return len(p.byName)+len(p.changes) == 0 }

// concerns reports whether the name stands for a statement, or may do so once
// what is on its way is answered.
func (p *prepareds) concerns(name []byte) bool {
	_, known := p.byName[string(name)]
	return known || slices.ContainsFunc(p.changes, func(c change) bool { return c.name == string(name) })
}

func (p *prepareds) note(c change) {
	c.cycle = p.cycle
	p.changes = append(p.changes, c)
}

// define makes a name stand for a statement, of which the caller is a user.
func (p *prepareds) define(name []byte, st *statement) {
	if p.byName == nil {
		p.byName = make(map[string]prepared)
	}
	key := string(name)
	p.put(key, prepared{statement: st})
	p.note(change{name: key, now: st})
}

// undefine makes a name stand for nothing.
func (p *prepareds) undefine(name []byte) {
	key := string(name)
	was := p.byName[key]
	p.drop(key)
	p.note(change{name: key, was: was})
}

// refuse notes that a Parse is to fail because its name is taken.
func (p *prepareds) refuse(name []byte) { p.note(change{name: string(name)}) }

func (p *prepareds) put(name string, to prepared) {
	p.byName[name] = to
	p.bytes += len(to.statement.key.text) + preparedOverhead
}

func (p *prepareds) drop(name string) {
	p.bytes -= len(p.byName[name].statement.key.text) + preparedOverhead
	delete(p.byName, name)
}

// confirm settles the oldest change and returns it.
func (p *prepareds) confirm() change {
	c := p.changes[0]
	p.changes = slices.Delete(p.changes, 0, 1)
	if c.was.statement != nil {
		c.was.statement.leave()
	}
	return c
}

// undo takes back the n oldest changes, which were skipped; lost is told which
// statements were not prepared.
func (p *prepareds) undo(n int, lost func(*statement)) {
	for i := n - 1; i >= 0; i-- {
		switch c := p.changes[i]; {
		case c.now != nil:
			if p.byName[c.name].statement == c.now {
				p.drop(c.name)
			}
			lost(c.now)
			c.now.leave()
		case c.was.statement != nil:
			p.put(c.name, c.was)
		}
	}
	p.changes = slices.Delete(p.changes, 0, n)
}

// describe notes the shape that a statement was prepared in.
func (p *prepareds) describe(name string, st *statement, s shape) {
	if known, ok := p.byName[name]; ok && known.statement == st {
		known.shape = s
		p.byName[name] = known
	}
}

// does notes what a statement that was just defined does.
func (p *prepareds) does(name []byte, t *touches, forgets bool) {
	if t != nil || forgets {
		known := p.byName[string(name)]
		known.does, known.forgets = t, forgets
		p.byName[string(name)] = known
	}
}

// remove makes a name stand for nothing, at once.
func (p *prepareds) remove(name string) {
	if known, ok := p.byName[name]; ok {
		p.drop(name)
		known.statement.leave()
	}
}

// clear forgets everything that was prepared before what is on its way now.
func (p *prepareds) clear() {
	for name, known := range p.byName {
		if !slices.ContainsFunc(p.changes, func(c change) bool { return c.now == known.statement && c.name == name }) {
			p.drop(name)
			known.statement.leave()
		}
	}
	for i := range p.changes {
		c := &p.changes[i]
		defined := func(o change) bool { return o.now == c.was.statement && o.name == c.name }
		if c.was.statement != nil && !slices.ContainsFunc(p.changes[:i], defined) {
			c.was.statement.leave()
			c.was = prepared{}
		}
	}
}

// end lets go of everything.
func (p *prepareds) end() {
	for _, known := range p.byName {
		known.statement.leave()
	}
	for _, c := range p.changes {
		if c.was.statement != nil {
			c.was.statement.leave()
		}
	}
	*p = prepareds{}
}
