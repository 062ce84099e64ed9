package proxy

import (
	"pggateway/config"
	"pggateway/fault"
	"pggateway/pool"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// Take links the session to the backend that it waited for.
func (s *session) Take(slot *pool.Slot[*backend]) {
	s.link(slot)
	if s.greeting {
		s.greet()
		return
	}
	s.resume()
}

// Refuse answers the message for which the session waited.
func (s *session) Refuse(err error) {
	f := s.unavailable(err)
	if s.greeting {
		s.fatal(f)
		return
	}
	typ, size := wire.Peek(s.in)
	s.refuse(typ, f)
	s.discard, s.rest = true, size
	s.resume()
}

// refuse answers a request in PostgreSQL's own way: an error, and what comes up
// to the end of the request is ignored. The session lives on.
func (s *session) refuse(typ byte, f *fault.Fault) {
	s.host.refused(s, f)
	msg := wire.AppendErrorResponse(nil, faultFields("ERROR", f))
	switch typ {
	case wire.Query, wire.FunctionCall, wire.Sync:
		msg = wire.AppendReadyForQuery(msg, wire.TxIdle)
	default:
		s.skipping = true
	}
	s.reply(msg)
}

// link makes the backend this session's until it is released, and sets it up
// with the session's parameters where it has others. The client's messages wait
// for the setup to be confirmed: were they sent along, a statement could run
// with another client's parameters when the setup fails.
func (s *session) link(slot *pool.Slot[*backend]) {
	b := slot.Conn
	b.slot, b.session, s.backend = slot, s, b
	b.refused = nil
	b.probed, b.expiry = probe{}, expiry{}
	s.host.watchBackends()
	s.native, s.forgetful, s.rereading = false, false, false
	s.fresh, s.unbound, s.restore, s.text = true, false, restoreNone, text{}
	if s.host.upstream.Pool.Mode == config.PoolSession {
		s.pinTo(pinMode)
	}
	if b.profile != s.profile {
		setup := appendSetup(s.host.loop.Chunk(1024), &b.requests, b.profile, s.profile)
		b.profile = s.profile
		if len(setup) > 0 {
			b.unnamed = true // the gateway's
			s.setup, b.ready = true, false
			b.send(setup)
			b.expectSoon()
		}
		s.host.loop.Recycle(setup)
	}
}

// replied is called when the backend's replies so far have been sent on.
func (s *session) replied() {
	b := s.backend
	if b.fatal {
		return // the client has the server's last word; nothing may follow it but the end
	}
	if s.restore == restoreHeld {
		return // what comes was not asked for: a notice
	}
	thinned := s.crowded && b.requests.n <= maxRequests/2
	if thinned {
		s.crowded = false
	}
	if s.setup {
		if b.refused != nil && !s.asking && !s.adopting {
			if !s.greeting && s.restore == restoreNone && b.refused.Last() {
				return // the server has gone, and nothing of the client's was sent: see serverLost
			}
			s.setupRefused(*b.refused)
			return
		}
		if b.requests.n > 0 {
			return
		}
		s.setup = false
		b.answered()
		switch {
		case s.adopting:
			s.adopting = false
			s.resume()
			return
		case s.restore == restoring, s.asking:
			if s.asking {
				s.learn()
			} else {
				s.restored()
			}
			if s.leaving {
				s.logout()
			} else if s.free(); !s.ended {
				s.resume()
			}
			return
		case !s.greeting:
			s.resume()
			return
		}
	}
	if s.loading && (b.requests.n == 0 || b.skipping) {
		s.loadingDone()
		s.resume()
		return
	}
	waited := s.awaiting || thinned
	s.awaiting = false
	if s.dropping != "" && b.requests.n == 0 && b.ready {
		s.dropping, waited = "", true
	}
	if s.restore == restoreDue {
		s.restoreStartup()
		return
	}
	if s.greeting {
		s.greet()
		return
	}
	if s.leaving {
		s.logout()
		return
	}
	if s.free(); s.backend == nil || waited {
		s.resume()
	}
}

// free gives the backend back, or ends a session that is to end, if it is
// between transactions.
func (s *session) free() {
	b := s.backend
	if !b.clean() || s.rest > 0 {
		return
	}
	if s.draining {
		s.fatal(faultDraining())
		return
	}
	if s.settled() {
		s.heard = s.host.loop.Now()
		s.backend = nil
		b.release()
	}
}

// setupRefused ends a session whose parameters the server does not take. At
// login the server's own words are the client's answer, as they would be without
// a gateway between.
func (s *session) setupRefused(fields wire.Fields) {
	b := s.backend
	s.backend, b.session = nil, nil
	b.end("parameters refused")
	f := fault.New(fault.Client, fields.Code, fields.Message)
	f.Detail, f.Hint = fields.Detail, fields.Hint
	if len(f.Code) != 5 {
		f.Code = sqlstate.InternalError
	}
	s.fatal(f)
}
