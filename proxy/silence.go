package proxy

import (
	"fmt"
	"time"

	"pggateway/fault"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// substance is how much of one message counts as a sign of life. Less is
// silence: half a message, or one that trickles in, keeps a server connection
// from others as well as none does.
const substance = 64 << 10

// silent is how long it has been the client's turn to send something.
func (s *session) silent(now time.Duration) time.Duration {
	if s.received-s.counted >= substance {
		s.counted, s.heard = s.received, now
	}
	since := s.heard
	if s.backend != nil {
		since = max(since, s.backend.requests.since)
	}
	return now - since
}

// backlog is what is held for a client that does not take it.
type backlog struct {
	taken int64         // bytes it has taken, when they last became more
	since time.Duration // when that was
}

// untaken is how long the client has taken nothing of what is held for it, as
// far as earlier looks tell.
func (s *session) untaken(now time.Duration) time.Duration {
	held := s.stream.Held()
	if held == 0 {
		s.backlog = nil
		return 0
	}
	taken := s.sent - int64(held)
	switch {
	case s.backlog == nil:
		s.backlog = &backlog{taken, now}
	case s.backlog.taken != taken:
		*s.backlog = backlog{taken, now}
	}
	return now - s.backlog.since
}

// enforce ends a session that is between transactions and has been silent, or
// has not taken its answers, for too long.
func (s *session) enforce(now time.Duration) {
	l := &s.host.limits
	switch {
	case s.ended, s.greeting, s.setup, s.leaving, s.Waiting(), s.backend != nil && s.backend.inTransaction():
	case s.untaken(now) >= l.untaken():
		s.fatal(faultUntaken(l.untaken()))
	case l.clientIdle > 0 && s.stream.Held() == 0 && s.silent(now) >= l.clientIdle:
		s.fatal(fault.New(fault.Client, sqlstate.IdleSession, "terminating connection due to idle-session timeout").
			WithDetail(fmt.Sprintf("The client sent nothing for %s.", l.clientIdle)))
	}
}

// faultIdleInTransaction ends a client that keeps a server connection for nothing.
func faultIdleInTransaction(limit time.Duration) *fault.Fault {
	return fault.New(fault.Client, sqlstate.IdleInTransaction, "terminating connection due to idle-in-transaction timeout").
		WithDetail(fmt.Sprintf("The client sent nothing for %s while it held a server connection.", limit))
}

// faultUntaken ends a client that does not read.
func faultUntaken(limit time.Duration) *fault.Fault {
	return fault.New(fault.Client, sqlstate.ConnectionFailure, "terminating connection because the client takes no data").
		WithDetail(fmt.Sprintf("Nothing was taken for %s.", limit))
}

// inTransaction reports whether the server connection cannot be given to others
// yet: a transaction, explicit or not, has not been concluded.
func (b *backend) inTransaction() bool { return !b.ready || b.tx != wire.TxIdle }

// enforce holds a server connection in use, and its client, to the limits.
func (b *backend) enforce(now time.Duration) {
	s, l := b.session, &b.host.limits
	if b.idle() || b.resetting || s != nil && s.setup {
		return // what the gateway asks for itself has a limit of its own
	}
	if s != nil && l.idleInTransaction > 0 && b.inTransaction() {
		switch {
		case s.untaken(now) >= l.idleInTransaction:
			s.fatal(faultUntaken(l.idleInTransaction))
			return
		case b.clientsTurn() && s.silent(now) >= l.idleInTransaction:
			s.fatal(faultIdleInTransaction(l.idleInTransaction))
			return
		}
	}
	if b.working(now) {
		b.expire(now)
	}
}

// clientsTurn reports whether a transaction goes on only when its client sends
// something: nothing is owed to it, or the server waits for the rest of a
// message or for the data of a COPY.
func (b *backend) clientsTurn() bool {
	s := b.session
	if s.blocked() || s.stream.Held() > 0 {
		return false // what it sends is not read now, or it has not had its answers
	}
	return s.rest > 0 || b.copyOpen || b.requests.n == 0
}
