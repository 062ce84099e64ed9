package proxy

import (
	"encoding/binary"
	"fmt"

	"pggateway/fault"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// take walks the messages in data: it sends those for a backend on in one run,
// answers those that need none, and stops where a backend has to be waited for
// or a message's header is not all there. It returns how much it took.
func (s *session) take(data []byte) int {
	run, i := 0, 0 // data[run:i] is to be sent on
	for i < len(data) {
		if s.rest > 0 {
			n := min(s.rest, len(data)-i)
			if s.scanning {
				s.scan(data[i:i+n], n == s.rest)
			}
			s.rest -= n
			i += n
			if s.discard {
				run = i
			}
			continue
		}
		typ, size := wire.Peek(data[i:])
		if size == 0 {
			break
		}
		if size < 0 || !frontend(typ) || oversized(typ, size) {
			s.pass(data[run:i])
			s.fatal(malformed(data[i:]))
			return i
		}
		if typ == wire.Terminate {
			s.pass(data[run:i])
			s.logout()
			return len(data)
		}
		s.discard, s.scanning = false, false
		if s.backend == nil {
			if size > len(data)-i && len(data)-i < enough && !s.skipping && needsBackend(typ) {
				break // half a message takes no server connection from others
			}
			verdict := s.unlinked(typ)
			if verdict == wait {
				return i
			}
			if s.discard = verdict == drop; s.discard {
				s.rest = size
				continue
			}
		}
		if typ == wire.Sync && s.backend.copyOpen {
			// The server would ignore it, unless the COPY has failed meanwhile.
			// Kept from it, the number of its replies stays known.
			s.pass(data[run:i])
			s.discard, s.rest = true, size
			run = i
			continue
		}
		m := data[i:min(i+size, len(data))]
		d := s.dispatch(m, size, data[run:i])
		if d.assembled {
			run = i
		}
		if d.wait {
			break
		}
		s.note(m, size, d)
		if s.rest = size - d.head; d.head > 0 {
			i += d.head
			run = i
			s.replaced(m, d)
		}
	}
	s.pass(data[run:i])
	return i
}

// enough is how much of a message longer than that must be there before it gets
// a backend; a shorter one must be there in full. It is less than a loop's
// buffer, which has to hold it.
const enough = 32 << 10

// needsBackend reports whether a message cannot be answered without a server.
func needsBackend(typ byte) bool {
	switch typ {
	case wire.CopyData, wire.CopyDone, wire.CopyFail, wire.Flush, wire.Sync:
		return false
	}
	return true
}

// frontend reports whether a client may send such a message once logged in.
func frontend(typ byte) bool {
	switch typ {
	case wire.Bind, wire.Close, wire.CopyData, wire.CopyDone, wire.CopyFail, wire.Describe, wire.Execute,
		wire.Flush, wire.FunctionCall, wire.Parse, wire.Query, wire.Sync, wire.Terminate:
		return true
	}
	return false
}

// malformed says what is wrong with a header.
func malformed(header []byte) *fault.Fault {
	typ, length := header[0], int32(binary.BigEndian.Uint32(header[1:]))
	switch {
	case !frontend(typ):
		return fault.New(fault.Client, sqlstate.ProtocolViolation, fmt.Sprintf("invalid frontend message type %d", typ))
	case length < 4, length < wire.MaxFrame:
		return fault.New(fault.Client, sqlstate.ProtocolViolation, "invalid message length")
	default:
		return fault.New(fault.Client, sqlstate.ProgramLimitExceeded, "message is too long").
			WithDetail(fmt.Sprintf("A message may be at most %d bytes long.", wire.MaxFrame))
	}
}

// verdict is what becomes of a message of a client without a backend.
type verdict uint8

const (
	forward verdict = iota // the session is linked now
	drop                   // it was answered here, or needs no answer
	wait                   // until there is a backend, and it is set up
)

// unlinked decides about a message that comes while no backend is linked.
func (s *session) unlinked(typ byte) verdict {
	if s.stream.Held() > 0 {
		return wait
	}
	s.heard = s.host.loop.Now()
	switch typ {
	case wire.CopyData, wire.CopyDone, wire.CopyFail:
		// Left over from a COPY that failed. PostgreSQL ignores them, too.
		return drop
	case wire.Flush:
		return drop // nothing is on its way
	case wire.Sync:
		s.skipping = false
		s.reply(wire.AppendReadyForQuery(s.host.scratch[:0], wire.TxIdle))
		return drop
	}
	if s.skipping {
		return drop
	}
	slot, err := s.host.pool.Acquire(&s.Waiter, s)
	switch {
	case err != nil:
		s.refuse(typ, s.unavailable(err))
		return drop
	case slot == nil:
		s.host.watch()
		return wait
	}
	if s.link(slot); s.setup {
		return wait
	}
	return forward
}
