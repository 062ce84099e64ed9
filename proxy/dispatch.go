package proxy

import "pggateway/wire"

// dispatch is how a message for the backend is to be sent.
type dispatch struct {
	kind      byte   // what the request counts as: the message's type, or what it stands for
	name      []byte // of the prepared statement in it, when the gateway has another for it
	head      int    // so much of the message's beginning is in the assembly, in other words
	wait      bool   // it has to wait: for more of it, or for a reply
	unnamed   bool   // no prepared statement with a name is in it
	forgets   bool   // it makes the server forget all prepared statements
	assembled bool   // what goes before it is in the assembly
}

// dispatch decides how a message is sent of which m is there, size bytes in all.
// before is what was not sent yet of the messages that it follows. Requests of the
// gateway's own that have to precede it are left in the host's assembly, which
// goes out with the next run.
func (s *session) dispatch(m []byte, size int, before []byte) (d dispatch) {
	b := s.backend
	typ := m[0]
	d.kind = typ
	var name []byte
	how, at := asItIs, 0
	// In a COPY the server refuses them all, and answers nothing that could be waited for.
	mapped := s.pins&pinMode.bit() == 0 && !b.skipping && !s.native && !b.copyOpen
	if mapped && names(typ) {
		name, at, how = statementNamed(m, size)
	}
	if s.dropping != "" || how == withheld || size > len(m) && size <= keptWhole && (mayBeSet(m) || mapped && s.mayMention(typ)) {
		d.wait = true
		return d
	}
	assemble := func() {
		if !d.assembled {
			d.assembled = true
			s.host.assembly = append(s.host.assembly, before...)
		}
	}
	if how == renamed && s.forgetful {
		assemble()
		if d.wait = s.forgetting(); d.wait {
			return d
		}
	}
	if s.fresh {
		s.fresh = false
		if replaced := typ == wire.Query || typ == wire.Parse && how == asItIs; !replaced && b.unnamed {
			assemble()
			b.unnamed = false
			s.ownClose("")
		}
	}
	if mapped && len(m) == size && s.minds(m, how) {
		assemble()
		switch foreseen := s.foresee(m); {
		case foreseen == withheld:
			d.wait = true
			return d
		case foreseen == renamed:
			d.head = size
		case s.native:
			how = native
		default:
			d.forgets = foreseen == forgets
		}
	}
	d.unnamed = how == asItIs && !b.skipping
	switch how {
	case renamed:
		assemble()
		d.name = significant(name)
		how, d.head, d.kind = s.rename(m, size, name, at)
		d.wait = how == withheld
	case native:
		if typ == wire.Parse {
			s.pinTo(pinStatement)
		}
	}
	return d
}

// forgetting reports whether the server may be about to forget all prepared
// statements, so that what a name stands for is not known yet.
func (s *session) forgetting() bool {
	s.forgetful = !s.quiet()
	s.awaiting = s.forgetful
	return s.forgetful
}

// note takes account of a message that is sent, of which m is there.
func (s *session) note(m []byte, size int, d dispatch) {
	b := s.backend
	typ := m[0]
	s.heard = s.host.loop.Now()
	s.acted = true
	if typ == wire.Bind && d.kind == typ && !d.unnamed {
		d.kind = bindNamed
	}
	b.request(typ, d.kind)
	switch typ {
	case wire.Query:
		s.text = text{kind: typ}
		b.words.reset()
		s.scanning = true
	case wire.Parse:
		b.unnamed = b.unnamed || d.unnamed
		s.text = text{kind: typ, forgets: d.forgets}
		b.words.reset()
		s.scanning = true
	case wire.FunctionCall:
		s.touchBy(m, size)
	case wire.Bind:
		if d.unnamed {
			if s.text.does != nil {
				s.run(s.text.does) // it may run once more
			}
			s.forgetful = s.forgetful || s.text.forgets
		}
	case wire.Sync:
		s.prepared.cycle++
	}
}

// replaced takes account of a message whose beginning went out in other words.
func (s *session) replaced(m []byte, d dispatch) {
	if s.scanning {
		s.scan(m[:d.head], d.head == len(m) && s.rest == 0)
	}
	if s.describe != "" {
		s.ownDescribe(s.describe)
		s.describe = ""
		s.prepared.does(d.name, s.text.does, s.text.forgets)
	}
}
