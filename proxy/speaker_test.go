package proxy

import (
	"fmt"
	"math/rand/v2"

	"pggateway/wire"
)

// speaker makes up a client's side. What it must be answered is what a server
// would answer that is its own.
type speaker struct {
	name   string
	rnd    *rand.Rand
	send   []byte
	server *actor
	next   func() // what has to follow once everything up to here was answered
}

func newSpeaker(name string, rnd *rand.Rand, fault func(format string, args ...any)) *speaker {
	s := &speaker{name: name, rnd: rnd, server: newActor(fault)}
	s.server.app = name
	return s
}

func (s *speaker) say(typ byte, body string) {
	s.send = append(s.send, message(typ, body)...)
	s.server.take(typ, []byte(body))
}

func (s *speaker) query(text string)      { s.say(wire.Query, text+"\x00") }
func (s *speaker) simple(verb string)     { s.query(s.name + ":" + verb) }
func (s *speaker) sync()                  { s.say(wire.Sync, "") }
func (s *speaker) maybe(n int) bool       { return s.rnd.IntN(n) == 0 }
func (s *speaker) one(of []string) string { return of[s.rnd.IntN(len(of))] }

func (s *speaker) parse(name, text string) { s.say(wire.Parse, name+"\x00"+text+"\x00\x00\x00") }

// run sends Bind and Execute of a statement.
func (s *speaker) run(name string) {
	s.say(wire.Bind, "\x00"+name+"\x00\x00\x00\x00\x00\x00\x00")
	if s.maybe(2) {
		s.say(wire.Describe, "P\x00")
	}
	s.say(wire.Execute, "\x00\x00\x00\x00\x00")
}

// prepare sends Parse to Execute of an unnamed statement.
func (s *speaker) prepare(verb string) {
	s.parse("", s.name+":"+verb)
	s.run("")
}

// turn adds something to say.
func (s *speaker) turn() {
	if next := s.next; next != nil {
		s.next = nil
		next()
		return
	}
	plain := []string{"rows", "fail", "out", "big"}
	pick := func() string { return plain[s.rnd.IntN(len(plain)-s.rnd.IntN(2))] }
	switch s.rnd.IntN(20) {
	case 0, 1:
		s.simple(pick())
	case 2: // a transaction
		s.simple("begin")
		s.simple("rows")
		s.prepare("rows")
		s.sync()
		s.simple("fail")
		s.simple("commit")
	case 3: // a pipeline
		for range 1 + s.rnd.IntN(3) {
			s.prepare("rows")
		}
		s.sync()
	case 4: // an error in one: what follows it is skipped
		s.prepare("rows")
		s.prepare("fail")
		s.prepare("rows")
		s.sync()
	case 5: // COPY, simple
		s.simple("in")
		for range s.rnd.IntN(4) {
			s.say(wire.CopyData, s.name)
		}
		s.say(wire.CopyDone, "")
	case 6: // one that fails at once, and is sent to the end
		s.simple("in-bad")
		for range 1 + s.rnd.IntN(4) {
			s.say(wire.CopyData, s.name)
		}
		s.say(wire.CopyDone, "")
	case 7: // COPY in libpq's way, with a Sync that the server ignores
		s.prepare("in")
		if s.maybe(2) {
			s.sync()
		}
		for range s.rnd.IntN(4) {
			s.say(wire.CopyData, s.name)
		}
		s.say(wire.CopyDone, "")
		s.sync()
	case 8:
		s.sync()
	case 9: // a transaction, waiting for its answers
		s.simple("begin")
		s.next = func() {
			s.simple("rows")
			s.next = func() { s.simple("commit") }
		}
	case 10: // unsynced, waiting for the answers
		s.prepare("rows")
		s.say(wire.Flush, "")
		s.next = s.sync
	case 11: // COPY in libpq's way, waiting to be asked for it
		s.prepare("in")
		s.sync()
		s.next = func() {
			s.say(wire.CopyData, s.name)
			s.say(wire.CopyDone, "")
			s.say(wire.Flush, "")
			s.next = s.sync
		}
	case 12: // what PostgreSQL takes on its own only
		if s.server.tx == wire.TxIdle {
			s.query("discard all")
			s.server.app = s.name // from the startup message
		}
		s.next = s.sync
	default:
		s.named()
	}
}

// named uses prepared statements. Others use the same names, and some of the same
// texts.
func (s *speaker) named() {
	in := s.maybe(4)
	if in {
		s.simple("begin")
	}
	for range 1 + s.rnd.IntN(12) {
		s.aboutStatements()
	}
	if s.server.tx != wire.TxIdle && !s.maybe(3) {
		s.sync()
		s.simple("commit")
		return
	}
	if !s.maybe(6) {
		s.sync()
		return
	}
	s.say(wire.Flush, "")
	s.next = s.sync
}

// aboutStatements says one thing about prepared statements.
func (s *speaker) aboutStatements() {
	name := s.one([]string{"s1", "s2", "S3", "a fourth"})
	switch s.rnd.IntN(24) {
	case 0, 1, 2, 3, 4, 5:
		who := s.one([]string{"*", "*", s.name})
		s.parse(name, who+":"+s.one([]string{"rows", "rows1", "rows2", "rows3", "begin", "commit", "fail", "broken", "out"}))
	case 6, 7, 8, 9, 10, 11, 12:
		s.run(name)
	case 13, 14:
		s.say(wire.Describe, "S"+name+"\x00")
	case 15, 16, 17:
		s.say(wire.Close, "S"+name+"\x00")
	case 18:
		s.say(wire.Flush, "")
	case 19:
		s.sync()
	case 20:
		s.simple(s.one([]string{"rows", "fail"}))
	case 21:
		s.query("deallocate " + s.one([]string{"s1", "s2"}))
	case 22:
		switch s.rnd.IntN(3) {
		case 0:
			s.query("deallocate all")
		case 1:
			s.parse("", "deallocate all")
			s.run("")
		case 2:
			s.prepare("rows")
		}
	case 23:
		if s.maybe(12) {
			s.query(fmt.Sprintf("execute s%d", 1+s.rnd.IntN(2)))
		}
	}
}
