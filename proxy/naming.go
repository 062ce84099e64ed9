package proxy

import (
	"bytes"
	"encoding/binary"

	"pggateway/wire"
)

// naming is what becomes of a message that may name a prepared statement.
type naming uint8

const (
	asItIs   naming = iota // the message names none, or one that is not there
	renamed                // its beginning is replaced
	withheld               // it has to wait for more of it, or for a reply
	native                 // the name is left to the server
	forgets                // the message makes the server forget all statements
)

// names reports whether messages of this type may name a prepared statement.
func names(typ byte) bool {
	return typ == wire.Parse || typ == wire.Bind || typ == wire.Describe || typ == wire.Close
}

// rename replaces the client's name of a statement in a message by the server's,
// and sees to it that the statement is on this server. m is what is there of a
// message of size bytes, in which the name begins at at. When it answers renamed,
// the beginning of the message, head bytes of it, is to be left out: what stands
// for it is in the host's assembly. The request is noted as kind.
func (s *session) rename(m []byte, size int, name []byte, at int) (n naming, head int, kind byte) {
	typ := m[0]
	b := s.backend
	key := significant(name)
	if s.prepared.unsettled(key) || len(s.prepared.changes) >= maxChanges && !s.quiet() {
		s.awaiting = true
		return withheld, 0, typ
	}
	head = at + len(name) + 1
	known, ok := s.prepared.byName[string(key)]
	switch {
	case typ == wire.Parse:
		return s.parse(m, size, key, ok)
	case typ == wire.Close:
		to := noStatement
		switch {
		case ok:
			if st := known.statement; st.private() {
				to = st.name
			}
			s.prepared.undefine(key)
			kind = undefine
		case bytes.HasPrefix(name, []byte(ownPrefix)):
			kind = wire.Close
		default:
			return asItIs, 0, typ // PREPARE may have given that name
		}
		s.replace(m[:at], to, size-len(name))
		return renamed, head, kind
	case !ok:
		if !bytes.HasPrefix(name, []byte(ownPrefix)) {
			return asItIs, 0, typ // the server says so, in the client's own words
		}
		s.replace(m[:at], noStatement, size-len(name))
		return renamed, head, typ
	}
	if s.stale {
		s.stale = false
		s.replace(m[:at], noStatement, size-len(name))
		return renamed, head, stale
	}
	switch c := b.loaded.byStatement[known.statement]; {
	case c != nil && c.described && (c.shape == known.shape || known.shape == shape{}),
		c != nil && !c.described && c.name == string(key) && c.cycle == s.prepared.cycle:
		b.loaded.touch(c)
	case c != nil && !c.described && c.cycle != s.prepared.cycle:
		s.awaiting = true
		return withheld, 0, typ
	case s.rereadingEnds():
		s.awaiting = true
		return withheld, 0, typ
	default:
		s.load(string(key), known.statement)
		return withheld, 0, typ
	}
	s.replace(m[:at], known.statement.name, size-len(name))
	if typ == wire.Bind {
		if known.does != nil {
			s.run(known.does)
		}
		s.forgetful = s.forgetful || known.forgets
	}
	return renamed, head, typ
}

// statementNamed finds the name of the statement in a message: at is where it begins. It
// answers renamed when there is one.
func statementNamed(m []byte, size int) (name []byte, at int, n naming) {
	at = wire.HeaderLen
	m = m[:min(len(m), maxNames)] // however it is cut, it is read the same
	whole := len(m) == size
	switch m[0] {
	case wire.Bind: // the portal's name comes first
		portal := bytes.IndexByte(m[at:], 0)
		if portal < 0 {
			return nil, 0, incomplete(m, whole)
		}
		at += portal + 1
	case wire.Describe, wire.Close:
		if len(m) > at && m[at] != 'S' {
			return nil, 0, asItIs // a portal, which lives no longer than its transaction
		}
		at++
	}
	if len(m) > at && m[at] == 0 {
		return nil, 0, asItIs
	}
	end := -1
	if len(m) > at {
		end = bytes.IndexByte(m[at:], 0)
	}
	if end < 0 {
		return nil, 0, incomplete(m, whole)
	}
	for _, c := range m[at : at+end] {
		if c >= 0x80 {
			return nil, 0, native // the server converts it, or refuses to
		}
	}
	return m[at : at+end], at, renamed
}

// incomplete answers for a message in which the end of a name is missing.
func incomplete(m []byte, whole bool) naming {
	switch {
	case whole:
		return asItIs // malformed, and the server says so
	case len(m) < maxNames:
		return withheld
	}
	return native
}

// parse takes a Parse message that gives a name, known telling whether it is
// given already.
func (s *session) parse(m []byte, size int, key []byte, known bool) (n naming, head int, kind byte) {
	b := s.backend
	at := wire.HeaderLen
	head = at + bytes.IndexByte(m[at:], 0) + 1
	rest, length := size-(head-at-1), size-head // without the name, and only the text
	if known {
		// The server reads the text before it looks at the name, and may find
		// something else to complain of.
		s.ownClose(takenStatement)
		s.ownParse(takenStatement, "\x00\x00\x00")
		s.replace(m[:at], takenStatement, rest)
		s.prepared.refuse(m[at : head-1])
		return renamed, head, taken
	}
	if length == 0 {
		return native, 0, wire.Parse // malformed, and the server says so
	}
	if s.rereadingEnds() {
		s.awaiting = true
		return withheld, 0, 0
	}
	if s.rereading || length > maxKeptText || s.prepared.bytes+length+preparedOverhead > maxPrepared {
		s.pinTo(pinStatement)
		st := s.host.private()
		s.prepared.define(key, st)
		b.loaded.add(&loaded{statement: st, described: true})
		s.replace(m[:at], st.name, rest)
		return renamed, head, define
	}
	if len(m) < size {
		return withheld, 0, 0
	}
	st := s.host.statement(s.reading(), m[head:])
	s.makeRoom()
	s.ownClose(st.name) // where a server has it, the plan may be outdated
	s.replace(m[:at], st.name, rest)
	s.host.assembly = append(s.host.assembly, m[head:]...)
	s.prepared.define(key, st)
	s.expectShape(&loaded{statement: st, name: string(key), cycle: s.prepared.cycle})
	s.describe = st.name
	return renamed, size, define
}

// load prepares a statement on a server that does not have it, or not in the
// shape that the client knows. The client's messages wait for the outcome; an
// error is the answer to the message that needs the statement.
func (s *session) load(name string, st *statement) {
	s.makeRoom()
	was, now := st.key.reading, s.reading()
	if readsLater(st.key.text) {
		was = now
	}
	s.reread(now, was)
	s.ownClose(st.name)
	s.ownParse(st.name, st.key.text)
	s.ownDescribe(st.name)
	s.reread(was, now)
	s.host.assembly = append(s.host.assembly, flush...)
	s.expectShape(&loaded{statement: st, passing: s.rereading})
	s.loading, s.wanted = true, name
}

// loadingDone goes on with the message that a statement was prepared for.
func (s *session) loadingDone() {
	s.loading = false
	known := s.prepared.byName[s.wanted]
	c := s.backend.loaded.byStatement[known.statement]
	s.stale = c != nil && known.shape != (shape{}) && c.shape != known.shape
	s.wanted = ""
}

// expectShape notes a statement that is being prepared and described.
func (s *session) expectShape(c *loaded) {
	l := &s.backend.loaded
	l.add(c)
	l.passing = l.passing || c.passing
	l.due = append(l.due, c)
}

// makeRoom closes what was not used for long.
func (s *session) makeRoom() {
	b := s.backend
	for len(b.loaded.byStatement) >= s.host.limits.loaded {
		old := b.loaded.oldest()
		if old == nil {
			return
		}
		s.ownClose(old.statement.name)
		b.loaded.drop(old.statement)
	}
}

// replace sends the beginning of a message that is size bytes long without the
// name of the statement, under another name.
func (s *session) replace(beginning []byte, name string, size int) {
	a := s.host.assembly
	at := len(a)
	a = append(append(append(a, beginning...), name...), 0)
	binary.BigEndian.PutUint32(a[at+1:], uint32(size+len(name)-1))
	s.host.assembly = a
}

func (s *session) ownClose(name string) {
	s.backend.own(wire.Close)
	s.host.assembly = wire.AppendCloseStatement(s.host.assembly, name)
}

// ownParse prepares a text with what follows it in a Parse message.
func (s *session) ownParse(name, text string) {
	s.backend.own(wire.Parse)
	s.host.assembly = wire.AppendParseRaw(s.host.assembly, name, text)
}

func (s *session) ownDescribe(name string) {
	s.backend.own(wire.Describe)
	s.host.assembly = wire.AppendDescribeStatement(s.host.assembly, name)
}
