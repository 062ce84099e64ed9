package proxy

import "pggateway/wire"

// pin is why a session keeps its backend after a transaction: state that lives
// in the server's session and cannot be carried to another.
type pin uint8

const (
	pinNone     pin = iota
	pinMode         // pool.mode is session
	pinSet          // SET, or a parameter that changed in another way
	pinListen       // LISTEN
	pinPrepare      // a named prepared statement
	pinLoad         // LOAD
	pinTemp         // a temporary object
	pinHold         // a WITH HOLD cursor
	pinAdvisory     // a session advisory lock
	pinConfig       // set_config()
)

var pinNames = [...]string{
	"", "session mode", "SET", "LISTEN", "prepared statement", "LOAD",
	"temporary object", "WITH HOLD cursor", "advisory lock", "set_config",
}

func (p pin) String() string { return pinNames[p] }

// pinOfTag tells from a CommandComplete's body whether the statement left state
// behind. The tag cannot tell SET LOCAL from SET, so that pins too.
func pinOfTag(body []byte) pin {
	if len(body) < 4 {
		return pinNone
	}
	switch body[0] {
	case 'S':
		if tagIs(body, "SET") {
			return pinSet
		}
	case 'L':
		if tagIs(body, "LISTEN") {
			return pinListen
		}
		if tagIs(body, "LOAD") {
			return pinLoad
		}
	case 'P':
		if tagIs(body, "PREPARE") {
			return pinPrepare
		}
	}
	return pinNone
}

// tagIs reports whether a CommandComplete's body is this very tag.
func tagIs(body []byte, tag string) bool {
	return len(body) == len(tag)+1 && string(body[:len(tag)]) == tag
}

// words looks in statement texts for the few words after which a server session
// may hold state that no command tag shows. It reads each text once as it passes
// by, in whatever pieces it comes, and does not care whether a word stands in a
// literal or a comment: a pin too many costs a connection, one too few an answer
// that belongs to someone else.
type words struct {
	word [maxPinWord + 1]byte // the word in progress, lower case
	n    int                  // its length so far, at most len(word)
}

// maxPinWord is the length of the longest word looked for.
const maxPinWord = len("pg_try_advisory_lock_shared")

// scan goes on reading and returns the first pin found in this piece.
func (w *words) scan(text []byte) pin {
	found := pinNone
	n := w.n
	for _, c := range text {
		lower := wordByte[c]
		if lower != 0 {
			if n < len(w.word) {
				w.word[n] = lower
				n++
			}
			continue
		}
		if n >= 4 && found == pinNone {
			found = pinOfWord(w.word[:n])
		}
		n = 0
	}
	w.n = n
	return found
}

// reset forgets the word in progress: another text begins.
func (w *words) reset() { w.n = 0 }

func pinOfWord(word []byte) pin {
	switch len(word) {
	case 4:
		switch string(word) {
		case "temp":
			return pinTemp
		case "hold":
			return pinHold
		}
	case 7:
		if string(word) == "pg_temp" {
			return pinTemp
		}
	case 9:
		if string(word) == "temporary" {
			return pinTemp
		}
	case 10:
		if string(word) == "set_config" {
			return pinConfig
		}
	case 16, 20, 23, 27:
		switch string(word) {
		case "pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared":
			return pinAdvisory
		}
	}
	return pinNone
}

// wordByte maps the bytes of identifiers to lower case, all others to 0.
var wordByte = func() (t [256]byte) {
	for c := range t {
		switch {
		case c >= 'a' && c <= 'z', c >= '0' && c <= '9', c == '_':
			t[c] = byte(c)
		case c >= 'A' && c <= 'Z':
			t[c] = byte(c) + 'a' - 'A'
		}
	}
	return t
}()

// pinOfMessage tells what a frontend message's type and first body byte say: a
// Parse with a name makes a statement that lives as long as the session.
func pinOfMessage(typ, first byte) pin {
	if typ == wire.Parse && first != 0 {
		return pinPrepare
	}
	return pinNone
}
