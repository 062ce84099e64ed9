package proxy

import (
	"bytes"
	"strings"

	"pggateway/fault"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// confirmed settles the oldest change of what the client has prepared.
func (b *backend) confirmed() {
	if s := b.session; s != nil {
		if was := s.prepared.confirm().was.statement; was != nil && was.private() {
			b.loaded.drop(was)
		}
	}
}

// forgotten takes account of statements that a CommandComplete's body says are gone.
func (b *backend) forgotten(tag []byte) {
	switch string(tag) {
	case "DEALLOCATE\x00":
		if s := b.session; s != nil && s.dropping != "" && b.requests.first() == wire.Query {
			s.prepared.remove(s.dropping)
		}
	case "DISCARD ALL\x00", "DEALLOCATE ALL\x00":
		if s := b.session; s != nil {
			s.prepared.clear()
		}
		b.loaded.clear()
	}
}

// skip drops the requests that the server ignores after an error, and what they
// would have changed.
func (b *backend) skip() {
	gone := b.requests.skipToSync()
	b.skipping = !gone.sync
	b.loaded.skip(gone.describes)
	b.loaded.strays += gone.closes
	if s := b.session; s != nil {
		s.prepared.undo(gone.changes, b.loaded.drop)
		if s.dropping != "" && b.skipping {
			// The client's Query is among them, and ends with ReadyForQuery all the same.
			b.request(wire.Sync, wire.Sync)
			b.send(wire.AppendSync(nil))
		}
	}
}

// replaceError puts an error into the client's terms that is about a name of the
// gateway's.
func (b *backend) replaceError(kind byte, fields *wire.Fields) {
	s := b.session
	switch {
	case s == nil:
	case kind == taken && fields.Code == sqlstate.DuplicateStatement:
		b.replaceBy(fault.New(fault.Client, fields.Code, `prepared statement "`+s.prepared.changes[0].name+`" already exists`))
	case kind == stale && fields.Code == sqlstate.InvalidStatementName:
		b.replaceBy(fault.New(fault.Client, sqlstate.FeatureNotSupported, "cached plan must not change result type"))
	case fields.Code == sqlstate.InvalidStatementName && strings.Contains(fields.Message, `"`+ownPrefix) &&
		!strings.Contains(fields.Message, noStatement):
		// A function may have deallocated what was prepared.
		b.loaded.suspect()
	}
}

// inOwnWords puts an error that mentions the gateway's name of a statement into
// words with the client's name for it.
func (s *session) inOwnWords(body []byte) []byte {
	at := bytes.Index(body, []byte(`"`+ownPrefix))
	if at < 0 {
		return nil
	}
	n := bytes.IndexByte(body[at+1:], '"')
	if n < 0 {
		return nil
	}
	theirs := string(body[at+1 : at+1+n])
	for name, p := range s.prepared.byName {
		if p.statement.name == theirs {
			return wire.AppendMessage(nil, wire.ErrorResponse, bytes.ReplaceAll(body, []byte(`"`+theirs+`"`), []byte(`"`+name+`"`)))
		}
	}
	return nil
}

func (b *backend) replaceBy(f *fault.Fault) {
	b.instead = wire.AppendErrorResponse(nil, faultFields("ERROR", f))
}
