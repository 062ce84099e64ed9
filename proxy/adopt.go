package proxy

import (
	"bytes"

	"pggateway/sqltext"
	"pggateway/wire"
)

// mention is what a text says about prepared statements by their names, which on
// the server are others.
type mention uint8

const (
	mentionsNone mention = iota
	mentionsDrop         // a DEALLOCATE of one of them, and nothing else
	mentionsAll          // DEALLOCATE ALL or DISCARD ALL
	mentionsName         // anything else that the server must find by its name
)

// mentions reads a text for names of this session's prepared statements. What
// stands in strings, function bodies among them, is not found.
func (s *session) mentions(sql []byte, encoding string) (m mention, name string) {
	r := sqltext.NewLexer(sql)
	var buf []byte
	words := 0
	for t := r.Next(); t.Kind != sqltext.End; t = r.Next() {
		words++
		switch {
		case r.Is(t, "pg_prepared_statements"):
			m = mentionsName
		case r.Is(t, "discard"):
			if r.Is(r.Next(), "all") {
				m = max(m, mentionsAll)
			}
		case r.Is(t, "execute"), r.Is(t, "deallocate"), r.Is(t, "prepare"):
			drop := r.Is(t, "deallocate")
			if t = r.Next(); drop && r.Is(t, "prepare") {
				t = r.Next()
			}
			if drop && r.Is(t, "all") {
				m = max(m, mentionsAll)
				continue
			}
			var ok bool
			if buf, ok = r.Name(buf[:0], t); !ok {
				continue
			}
			if s.prepared.concerns(significant(buf)) {
				if drop && words == 1 {
					m, name = max(m, mentionsDrop), string(significant(buf))
				} else {
					m = mentionsName
				}
			}
		case r.IsByte(t, ';'):
		default:
			if m == mentionsDrop {
				m = mentionsName // there is more
			}
		}
	}
	if m != mentionsNone && (r.Unsure() || !sqltext.Transparent(encoding)) {
		m = mentionsName
	}
	return m, name
}

// minds reports whether a Query or Parse message needs a closer look, how being
// what is known of the name in it.
func (s *session) minds(m []byte, how naming) bool {
	switch {
	case m[0] != wire.Query && m[0] != wire.Parse:
		return false
	case how == renamed && s.pins&pinPrepare.bit() != 0:
		return true // PREPARE may have given that name
	case s.prepared.empty() && how != renamed:
		return len(s.backend.loaded.byStatement) > 0 && asksForStatements(m)
	}
	var w words
	w.reset()
	return w.scan(m[wire.HeaderLen:])&hintNames != 0
}

// asksForStatements reports whether a message is about pg_prepared_statements, where
// a client must find none but its own.
func asksForStatements(m []byte) bool {
	for {
		i := bytes.IndexByte(m, '_')
		if i < 0 || len(m)-i < len(statementsView) {
			return false
		}
		if m = m[i:]; bytes.EqualFold(m[:len(statementsView)], []byte(statementsView)) {
			return true
		}
		m = m[1:]
	}
}

// statementsView is what follows the first two letters of its name.
const statementsView = "_prepared_statement"

// mayMention reports whether a message of this type may have to be minded, for
// which all of it must be there.
func (s *session) mayMention(typ byte) bool {
	return (typ == wire.Query || typ == wire.Parse) && !s.prepared.empty()
}

// foresee looks into a Query or Parse message for what the server must know of
// the client's prepared statements, and tells it. It answers withheld when the
// message has to wait, renamed when another has taken its place, and forgets.
func (s *session) foresee(m []byte) naming {
	sql := m[wire.HeaderLen:]
	if m[0] == wire.Parse {
		name, rest, ok := wire.TakeCString(sql)
		switch {
		case !ok:
			return asItIs
		case len(name) > 0 && s.pins&pinPrepare.bit() != 0:
			return s.adopt(m[0])
		}
		sql = rest
	}
	sql, _, _ = wire.TakeCString(sql)
	switch what, name := s.mentions(sql, s.backend.reported("client_encoding")); what {
	case mentionsAll:
		s.forgetful = true
		return forgets
	case mentionsDrop:
		if m[0] == wire.Query {
			return s.deallocate(name)
		}
		return s.adopt(m[0])
	case mentionsName:
		return s.adopt(m[0])
	case mentionsNone:
	}
	return asItIs
}

// deallocate sends a DEALLOCATE of a statement that is the client's alone. What
// others use as well stays on the server.
func (s *session) deallocate(name string) naming {
	if s.prepared.unsettled([]byte(name)) || !s.quiet() {
		s.awaiting = true
		return withheld
	}
	s.ownClose(takenStatement)
	s.ownParse(takenStatement, "\x00\x00\x00")
	s.host.assembly = wire.AppendQuery(s.host.assembly, "DEALLOCATE "+takenStatement)
	s.dropping = name
	return renamed
}

// adopt gives the client's prepared statements their own names on this server,
// which the session keeps from now on.
func (s *session) adopt(typ byte) naming {
	if !s.quiet() {
		s.awaiting = true
		return withheld
	}
	b := s.backend
	if b.tx == wire.TxFailed {
		return asItIs // it is refused, and so would be what is prepared
	}
	for _, p := range s.prepared.byName {
		if p.statement.private() {
			return asItIs // cannot be prepared twice
		}
	}
	for st := range b.loaded.byStatement {
		s.ownClose(st.name)
	}
	b.loaded.end()
	if s.prepared.empty() && s.pins&pinPrepare.bit() == 0 {
		return asItIs // it had only to be without those of others
	}
	for name, p := range s.prepared.byName {
		s.ownClose(name)
		s.ownParse(name, p.statement.key.text)
		if typ == wire.Query && b.tx == wire.TxIdle {
			s.host.assembly = appendOwnSync(s.host.assembly, &b.requests) // should it fail, the others need not
		}
	}
	s.prepared.end()
	s.pinTo(pinStatement)
	s.native = true
	if typ == wire.Query {
		// A Query ends what these have begun, unless one of them fails.
		s.host.assembly = appendOwnSync(s.host.assembly, &b.requests)
		s.setup, s.adopting, b.refused = true, true, nil
		return withheld
	}
	return asItIs
}

// quiet reports whether the server has answered everything, and asks for the
// answers where it has not.
func (s *session) quiet() bool {
	b := s.backend
	if b.requests.n == 0 {
		return true
	}
	if !b.requests.conclusive(b.requests.n) {
		s.host.assembly = append(s.host.assembly, flush...)
	}
	return false
}
