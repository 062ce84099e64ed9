package proxy

import (
	"crypto/sha256"
	"strconv"

	"pggateway/wire"
)

// statement is one text with its parameter types that clients have prepared under
// names of their own. On every server it has the same one name, so that clients
// which prepare the same share what the server keeps of it. It is known to the
// host as long as a session or a server connection refers to it.
//
// A text that is read differently is another statement: its constants may mean
// something else, or its result has another shape.
type statement struct {
	host  *host
	key   statementKey // zero for a private one
	name  string       // on the server
	users int
}

type statementKey struct {
	reading reading
	text    string // what follows the name in a Parse message: text, 0, parameter types
}

// ownPrefix begins the names that the gateway gives. A client's own statements
// never reach a server under a name that begins like this.
const ownPrefix = "pggw_"

const (
	// noStatement is never prepared: to close it does nothing, to bind it fails.
	noStatement = ownPrefix + "none"
	// takenStatement is prepared where a Parse is meant to find its name taken.
	takenStatement = ownPrefix + "taken"
)

// statement returns the one statement with this text, and counts the caller as a
// user of it.
func (h *host) statement(under reading, text []byte) *statement {
	key := statementKey{under, string(text)}
	st := h.statements[key]
	if st == nil {
		st = &statement{host: h, key: key, name: h.nextName()}
		h.statements[key] = st
	}
	st.users++
	return st
}

// private returns a statement that only the session which prepares it may use,
// and only on the server that it is linked to now.
func (h *host) private() *statement { return &statement{host: h, name: h.nextName(), users: 1} }

func (h *host) nextName() string {
	h.named++
	return ownPrefix + strconv.FormatUint(h.named, 10)
}

func (st *statement) private() bool { return st.key.text == "" }

// leave counts a user less.
func (st *statement) leave() {
	if st.users--; st.users == 0 && !st.private() {
		delete(st.host.statements, st.key)
	}
}

// shape stands for what Describe answers of a statement, but for the tables that
// its columns come from. PostgreSQL takes the same for a reason to refuse a plan
// whose result has changed.
type shape [16]byte

func (s shape) and(more []byte) shape {
	h := sha256.New()
	h.Write(s[:])
	h.Write(more)
	return shape(h.Sum(nil)[:16])
}

// shapeOfParameters begins with the body of a ParameterDescription.
func shapeOfParameters(body []byte) shape { return shape{}.and(body) }

// withRow goes on with the body of a RowDescription.
func (s shape) withRow(body []byte) (shape, bool) {
	kept := make([]byte, 0, len(body))
	if len(body) < 2 {
		return s, false
	}
	rest := body[2:]
	for n := int(body[0])<<8 | int(body[1]); n > 0; n-- {
		name, after, ok := wire.TakeCString(rest)
		if !ok || len(after) < 18 {
			return s, false
		}
		kept = append(append(kept, name...), 0)
		kept = append(kept, after[6:16]...) // type, its length and modifier; not table, column, format
		rest = after[18:]
	}
	return s.and(kept), len(rest) == 0
}

// withoutRow goes on with NoData.
func (s shape) withoutRow() shape { return s.and([]byte("no data")) }
