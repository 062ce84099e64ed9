package proxy

import "pggateway/wire"

// text is the statement text that a client sent last.
type text struct {
	kind  byte     // of the message: Query or Parse
	begun bool     // a piece of it was looked at
	found hints    // in the pieces so far
	does  *touches // nil: nothing that matters here
}

// scan looks for words in a piece of a message with text in it, the first of
// which begins with the header, and reads the text where that finds some. Most
// texts come in one piece; those that do not are not kept for it.
func (s *session) scan(piece []byte, last bool) {
	t := &s.text
	whole := last && !t.begun
	if !t.begun {
		piece = piece[wire.HeaderLen:]
		t.begun = true
	}
	found := s.backend.words.scan(piece)
	if found&^t.found == 0 {
		return
	}
	t.found |= found
	var sql []byte
	if whole {
		if t.kind == wire.Parse {
			_, piece, _ = wire.TakeCString(piece) // the statement's name
		}
		sql, _, _ = wire.TakeCString(piece)
	}
	t.does = readTouches(t.found, sql, s.backend.reported("client_encoding"))
	s.touch(t.does)
}
