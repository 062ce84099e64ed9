package proxy

import (
	"errors"
	"fmt"
	"strings"

	"pggateway/wire"
)

var (
	errUnasked      = errors.New("message on an idle connection")
	errServerClosed = errors.New("server closed the connection")
)

// walk forwards the replies in data and returns how much of it is done with.
// What is left is the beginning of a message that has to be seen whole, or, after
// an error, what cannot be forwarded.
func (b *backend) walk(data []byte) (used int, err error) {
	run := 0 // data[run:i] is to be forwarded
	i := 0
	for i < len(data) {
		if b.rest > 0 {
			n := min(b.rest, len(data)-i)
			if b.drop {
				b.forward(data[run:i])
				run = i + n
			}
			b.rest -= n
			i += n
			continue
		}
		typ, size := wire.Peek(data[i:])
		if size == 0 {
			break
		}
		if size < 0 {
			err = fmt.Errorf("message %q with an impossible length", typ)
			break
		}
		b.drop = false
		switch typ {
		case wire.DataRow, wire.CopyData:
			first := b.requests.first()
			if kind := first &^ ours; kind != wire.Query && kind != wire.Execute {
				err = unasked(typ)
			}
			if b.drop = first&ours != 0; b.drop && b.session != nil && b.session.asking {
				switch {
				case size > maxWhole:
					b.session.carried.asked.row(nil)
				case size > len(data)-i:
					b.forward(data[run:i])
					return i, nil
				default:
					b.session.carried.asked.row(data[i+wire.HeaderLen : i+size])
				}
			}
		default:
			if whole(typ) || described(typ) && b.requests.first() == wire.Describe|ours {
				if size > maxWhole && typ != wire.ErrorResponse && !described(typ) {
					err = fmt.Errorf("message %q of %d bytes", typ, size)
					break
				}
				if size > len(data)-i && size <= maxWhole {
					b.forward(data[run:i])
					return i, nil
				}
			}
			b.drop, err = b.reply(typ, data[i+wire.HeaderLen:min(i+size, len(data))], size)
			if b.instead != nil {
				b.forward(data[run:i])
				run = i
				b.forward(b.instead)
				b.instead = nil
			}
			b.requests.replied(typ)
		}
		if err != nil {
			break
		}
		b.rest = size
	}
	b.forward(data[run:i])
	return i, err
}

// maxWhole is the longest of those messages that are looked at whole. It must
// fit a loop's buffer.
const maxWhole = 32 << 10

// whole reports whether a reply must be there in full before it is handled. Of
// an error longer than maxWhole the beginning will do.
func whole(typ byte) bool {
	return typ == wire.ReadyForQuery || typ == wire.CommandComplete ||
		typ == wire.ParameterStatus || typ == wire.ErrorResponse || typ == wire.NotificationResponse
}

// described reports whether a reply is part of the answer to a Describe.
func described(typ byte) bool { return typ == wire.RowDescription || typ == wire.ParameterDescription }

// forward sends a run of replies to the client. An orphan's replies go nowhere.
func (b *backend) forward(run []byte) {
	if len(run) > 0 && b.session != nil {
		b.session.reply(run)
	}
}

// torn reports whether the client has got a part of a message and not yet all
// of it: anything said now would be taken for the rest.
func (b *backend) torn() bool { return b.rest > 0 && !b.drop }

// reply takes note of one reply, other than the bulk of data, and says whether
// it is dropped. body is whole for the types that whole names, and what is there
// for the others; size is that of the whole message.
func (b *backend) reply(typ byte, body []byte, size int) (drop bool, err error) {
	first := b.requests.first()
	drop = first&ours != 0
	kind := first &^ ours
	switch typ {
	case wire.ReadyForQuery:
		if kind != wire.Sync && kind != wire.Query && kind != wire.FunctionCall || len(body) != 1 {
			return drop, unasked(typ)
		}
		if b.tx = body[0]; b.tx != wire.TxIdle && b.tx != wire.TxActive && b.tx != wire.TxFailed {
			return drop, fmt.Errorf("ReadyForQuery with status %q", b.tx)
		}
		b.skipping, b.copyOpen = false, false
		if kind == wire.Query && b.session != nil {
			b.session.unbound = false // a Query drops the unnamed statement
		}
		b.requests.pop()
		b.ready = b.requests.n == 0
		if b.session != nil && b.ready {
			b.session.rereading = false // what has changed was reported by now
		}
		if s := b.session; s != nil && !drop {
			drop = s.withholds(b)
		}
		return drop, nil
	case wire.CommandComplete, wire.EmptyQueryResponse, wire.PortalSuspended:
		if kind != wire.Query && kind != wire.Execute {
			return drop, unasked(typ)
		}
		if typ == wire.CommandComplete {
			b.forgotten(body)
		}
		switch s := b.session; {
		case s == nil:
		case !drop && typ == wire.CommandComplete:
			s.completed(readTag(body))
		case drop && s.asking && kind == wire.Execute:
			s.carried.asked.answered()
		}
		b.copyOpen = false
		b.done(wire.Execute, kind)
	case wire.ParseComplete:
		if kind == define {
			b.confirmed()
			kind = wire.Parse
		} else if b.session != nil && !drop {
			b.session.unbound = true
		}
		return drop, b.expect(wire.Parse, kind, typ)
	case wire.BindComplete:
		if kind == bindNamed {
			kind = wire.Bind
		} else if b.session != nil && !drop {
			b.session.unbound = false
		}
		return drop, b.expect(wire.Bind, kind, typ)
	case wire.CloseComplete:
		if kind == undefine {
			b.confirmed()
			kind = wire.Close
		}
		return drop, b.expect(wire.Close, kind, typ)
	case wire.RowDescription, wire.NoData:
		if kind != wire.Query && kind != wire.Describe {
			return drop, unasked(typ)
		}
		if drop {
			if err := b.learn(typ, body, size); err != nil {
				return drop, err
			}
		}
		b.done(wire.Describe, kind)
	case wire.ParameterDescription:
		if kind != wire.Describe {
			return drop, unasked(typ)
		}
		if drop {
			return drop, b.learn(typ, body, size)
		}
	case wire.CopyInResponse:
		if kind != wire.Query && kind != wire.Execute {
			return drop, unasked(typ)
		}
		ended, plain := b.requests.beginCopy()
		b.copyOpen = !ended
		if b.session != nil {
			b.session.heard = b.host.loop.Now() // it is the client's turn
		}
		b.doubt = b.doubt || !plain
	case wire.CopyOutResponse, wire.CopyDone:
		if kind != wire.Query && kind != wire.Execute {
			return drop, unasked(typ)
		}
	case wire.FunctionCallResponse:
		if kind != wire.FunctionCall {
			return drop, unasked(typ)
		}
	case wire.ErrorResponse:
		// What the gateway asks for on behalf of a request fails in its place.
		drop = drop && (b.session == nil || b.session.setup)
		if b.session != nil && !drop && size <= maxWhole {
			b.instead = b.session.inOwnWords(body)
		}
		err = b.failed(kind, drop, body)
		return drop || b.instead != nil, err
	case wire.ParameterStatus:
		p, ok := wire.ParseParameterStatus(body)
		if !ok {
			return drop, fmt.Errorf("malformed ParameterStatus")
		}
		before := b.reported(p.Name)
		if !b.noteStatus(p) {
			return drop, fmt.Errorf("more than %d parameters", maxStatus)
		}
		if b.idle() {
			return drop, errUnasked
		}
		if s := b.session; s != nil {
			if !drop && kind != 0 {
				s.changed(p.Name, before) // whatever the statement was, a function perhaps
			}
			drop = drop && s.restore != restoring
		}
	case wire.NoticeResponse, wire.NotificationResponse:
		if b.idle() {
			return drop, errUnasked
		}
		if s := b.session; typ == wire.NotificationResponse && s != nil {
			// The client's own, unless the server is only being prepared for it.
			drop = drop && !s.asking && s.restore != restoring
			b.notified(body)
		}
	default:
		return drop, fmt.Errorf("unknown message %q", typ)
	}
	return drop, nil
}

func unasked(typ byte) error { return fmt.Errorf("message %q that was not asked for", typ) }

// expect pops the request that the reply belongs to.
func (b *backend) expect(want, kind, typ byte) error {
	if kind != want {
		return unasked(typ)
	}
	b.requests.pop()
	return nil
}

// done pops the extended request that the reply ends; a simple query goes on
// until ReadyForQuery.
func (b *backend) done(want, kind byte) {
	if kind == want {
		b.requests.pop()
	}
}

// failed takes note of an ErrorResponse. After one in the extended protocol the
// server ignores everything up to the next Sync.
func (b *backend) failed(kind byte, own bool, body []byte) error {
	fields, _ := wire.ParseFields(body)
	last := fields.Last()
	if last {
		b.fatal = b.session != nil && !own
		b.doubt = true
	}
	if own && b.refused == nil {
		b.refused = &fields
	}
	if b.session != nil {
		b.session.undone()
	}
	switch kind {
	case wire.Query, wire.FunctionCall, wire.Sync:
	case 0:
		if !last || b.idle() {
			return errUnasked
		}
	default:
		if b.requests.first() == wire.Parse && b.session != nil {
			b.session.unbound = false // dropped before the text is looked at
		}
		b.replaceError(kind, &fields)
		b.skip()
	}
	b.copyOpen = false
	return nil
}

// completed takes account of the tag of a statement that the client ran.
func (s *session) completed(tag tagged) {
	s.pinAll(tag.pins)
	if tag.hints == askable && s.pins&pinPrepare.bit() != 0 {
		s.pins |= askable // what EXECUTE did, no text has shown
	}
	s.suspect |= tag.hints & s.pins
	b := s.backend
	b.spoiled = b.spoiled || tag.pins&pinLoad.bit() != 0
	switch {
	case tag.set:
		s.set()
	case tag.code:
		s.beware()
	case tag.undo:
		s.undone()
	case tag.clear:
		s.cleared(b.lastRequest())
	}
}

// lastRequest reports whether nothing was sent after the statement that is
// being answered: later texts may have set pins that its reply must not lift.
func (b *backend) lastRequest() bool {
	return b.requests.n == 1 || b.requests.n == 2 && b.requests.at(1) == wire.Sync
}

// maxStatus bounds the parameters that a server may report; PostgreSQL 18
// reports 16.
const maxStatus = 256

// noteStatus keeps the reported parameters as the server has them now, unless
// there are too many.
func (b *backend) noteStatus(p wire.Parameter) bool {
	for i := range b.status {
		if b.status[i].Name == p.Name {
			b.status[i].Value = p.Value
			return true
		}
	}
	b.status = append(b.status, p)
	return len(b.status) <= maxStatus
}

// reported returns a parameter's value as the server last reported it; letter
// case does not matter.
func (b *backend) reported(name string) string {
	for i := range b.status {
		if strings.EqualFold(b.status[i].Name, name) {
			return b.status[i].Value
		}
	}
	return ""
}
