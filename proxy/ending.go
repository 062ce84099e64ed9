package proxy

import (
	"errors"
	"io"

	"pggateway/fault"
	"pggateway/wire"
)

// drain ends the session as soon as it is between transactions.
func (s *session) drain() {
	s.draining = true
	switch {
	case s.ended || s.greeting:
	case s.backend == nil, // nothing of what it sent has been run
		s.backend.clean() && s.rest == 0:
		s.fatal(faultDraining())
	}
}

// logout ends the session at the client's wish, once everything sent before the
// Terminate has been answered.
func (s *session) logout() {
	if b := s.backend; b != nil && b.requests.n > 0 && !b.copyOpen {
		if !s.leaving {
			s.leaving = true
			s.stream.Pause()
			if !b.requests.conclusive(b.requests.n) {
				b.send(flush)
			}
		}
		return
	}
	s.end("logout", nil)
	s.stream.Close()
}

var flush = []byte{wire.Flush, 0, 0, 0, 4}

// gone ends the session because its client is no longer there.
func (s *session) gone(err error) {
	if errors.Is(err, io.EOF) {
		s.end("client disconnected", nil)
	} else {
		s.end("client lost", err)
	}
	s.stream.Close()
}

// fatal tells the client why its session ends, and ends it.
func (s *session) fatal(f *fault.Fault) {
	if s.ended {
		return
	}
	if s.backend == nil || !s.backend.torn() {
		var msg []byte
		if s.greeting {
			msg = append(msg, s.owed...)
		}
		s.reply(wire.AppendErrorResponse(msg, faultFields("FATAL", f)))
	}
	s.end("ended by the gateway", f)
	s.stream.Finish(farewell)
}

// serverLost ends the session with its backend. The backend is closed already.
func (s *session) serverLost(b *backend, cause error) {
	s.backend = nil
	switch {
	case b.fatal:
		// The client has the server's own reason.
		s.end("server ended the session", cause)
		s.stream.Finish(farewell)
	case b.torn():
		s.end("server lost in the middle of a message", cause)
		s.stream.Finish(farewell)
	case s.greeting:
		s.fatal(s.unavailable(cause))
	case s.setup && s.restore == restoreNone && !s.asking && !s.adopting:
		s.setup = false
		s.Refuse(cause) // nothing of the client's was sent
	default:
		s.fatal(faultServerLost(b, cause))
	}
}

// end gives everything back but the stream, which the caller closes.
func (s *session) end(reason string, err error) {
	if s.ended {
		return
	}
	s.ended = true
	s.unhold()
	s.host.loop.Cancel(s.timer)
	s.host.pool.Forget(&s.Waiter)
	s.prepared.end()
	if b := s.backend; b != nil {
		s.backend = nil
		if s.rest > 0 && !s.discard {
			b.doubt, b.cut = true, true
		}
		b.leave(s.dirty())
	}
	if before := s.pin; before != pinNone {
		s.pin = pinNone
		s.host.pinned(s, before)
	}
	s.host.loggedOut(s, reason, err)
}
