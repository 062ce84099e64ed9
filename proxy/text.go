package proxy

import (
	"bytes"

	"pggateway/wire"
)

// text is the statement text that a client sent last.
type text struct {
	kind    byte     // of the message: Query or Parse
	begun   bool     // a piece of it was looked at
	found   hints    // in the pieces so far
	forgets bool     // it makes the server forget all prepared statements
	does    *touches // nil: nothing that matters here
}

// keptWhole is the longest message that begins with SET or RESET of which no part
// goes on before all of it is there. Its text can then be read.
const keptWhole = 16 << 10

// mayBeSet reports whether a message, of which this much is there, has a text that
// begins with SET or RESET. Comments before that are too rare to be looked for.
func mayBeSet(message []byte) bool {
	text := message[wire.HeaderLen:]
	switch message[0] {
	case wire.Query:
	case wire.Parse:
		var ok bool
		if _, text, ok = wire.TakeCString(text); !ok {
			return false
		}
	default:
		return false
	}
	text = bytes.TrimLeft(text, " \t\n\r")
	n := min(len(text), len("reset"))
	return bytes.EqualFold(text[:min(n, 3)], []byte("set")[:min(n, 3)]) || bytes.EqualFold(text[:n], []byte("reset")[:n])
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
	found := s.backend.words.scan(piece) &^ hintNames
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
	t.does = readTouches(t.found, sql, s.backend.reported(clientEncoding))
	if t.kind == wire.Query {
		s.run(t.does)
	} else {
		s.touch(t.does)
	}
}
