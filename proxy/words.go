package proxy

// words looks in statement texts for the few words after which a server session
// may hold state that no command tag shows. It reads each text once as it passes
// by, in whatever pieces it comes, and does not care whether a word stands in a
// literal or a comment: what it finds is looked at more closely.
type words struct {
	word   [maxPinWord + 1]byte // the word in progress, lower case
	n      int                  // its length so far, at most len(word)
	first  bool                 // it may be a statement's first
	dash   bool                 // a dash came last, words aside
	dashes bool                 // two did: a comment, perhaps
}

// maxPinWord is the length of the longest word looked for.
const maxPinWord = len("pg_try_advisory_lock_shared")

// hints are what the words of a text point to.
type hints uint16

const (
	hintTemp     hints = 1 << iota // temp, temporary, pg_temp
	hintHold                       // hold
	hintAdvisory                   // a session advisory lock is taken
	hintUnlock                     // or given up
	hintConfig                     // set_config
	hintSet                        // SET or RESET as a statement's first word
	hintDo                         // DO as a statement's first word
	hintPrepare                    // prepare
	hintNames                      // what names prepared statements
)

// scan goes on reading and returns what it found in this piece.
func (w *words) scan(text []byte) hints {
	var found hints
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
		if n > 0 {
			if n >= 2 {
				found |= w.ended(n)
			}
			w.first = false
			n = 0
		}
		// In comments before a statement's first word, too many words pass for it.
		switch c {
		case ';', '/', 0:
			w.first = true
		case '\n', '\r':
			w.first = w.first || w.dashes
			w.dashes = false
		case '-':
			w.dashes = w.dashes || w.dash
			w.dash = true
			continue
		case ' ':
			continue
		}
		w.dash = false
	}
	w.n = n
	return found
}

// reset forgets the word in progress: another text begins.
func (w *words) reset() { w.n, w.first, w.dash, w.dashes = 0, true, false, false }

func (w *words) ended(n int) hints {
	word := w.word[:n]
	switch n {
	case 2:
		if w.first && string(word) == "do" {
			return hintDo
		}
	case 3:
		if w.first && string(word) == "set" {
			return hintSet
		}
	case 4:
		switch string(word) {
		case "temp":
			return hintTemp
		case "hold":
			return hintHold
		}
	case 5:
		if w.first && string(word) == "reset" {
			return hintSet
		}
	case 7:
		switch string(word) {
		case "pg_temp":
			return hintTemp
		case "prepare":
			return hintPrepare | hintNames
		case "execute", "discard":
			return hintNames
		}
	case 9:
		if string(word) == "temporary" {
			return hintTemp
		}
	case 10:
		switch string(word) {
		case "set_config":
			return hintConfig
		case "deallocate":
			return hintNames
		}
	case 16, 20, 23, 27:
		switch string(word) {
		case "pg_advisory_lock", "pg_advisory_lock_shared", "pg_try_advisory_lock", "pg_try_advisory_lock_shared":
			return hintAdvisory
		}
	case 18, 22, 25:
		switch string(word) {
		case "pg_prepared_statements":
			return hintNames
		case "pg_advisory_unlock", "pg_advisory_unlock_all", "pg_advisory_unlock_shared":
			return hintUnlock
		}
	}
	return 0
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
