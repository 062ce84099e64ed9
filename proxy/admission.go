package proxy

import "sync/atomic"

// minLogins is the least number of logins that may be in progress at once.
const minLogins = 64

// admission counts clients, so that the gateway keeps within limits.max_clients
// and each writer within its own max_clients.
//
// Two bounds hold together. A connection has a seat from accept until its socket
// is closed, and there are max_clients seats; who gets none may still say what it
// wants, to be refused in words (or to cancel a query), but not log in. And at
// most half as many logins as there are seats, but no fewer than minLogins, are
// in progress at once: connections that have proved nothing cannot take all
// seats, and those that have no seat are bounded as well.
type admission struct {
	max    int64         // seats; 0 is no limit
	taken  atomic.Int64  // seats given
	logins chan struct{} // a token per login in progress
}

func newAdmission(maxClients int) *admission {
	logins := max(maxClients/2, minLogins)
	if maxClients == 0 {
		logins = 1 << 14
	}
	return &admission{max: int64(maxClients), logins: make(chan struct{}, logins)}
}

// tryLogin starts a login unless too many are in progress.
func (a *admission) tryLogin() bool {
	select {
	case a.logins <- struct{}{}:
		return true
	default:
		return false
	}
}

// waitLogin starts a login as soon as one may; false means that closing came first.
func (a *admission) waitLogin(closing <-chan struct{}) bool {
	select {
	case a.logins <- struct{}{}:
		return true
	case <-closing:
		return false
	}
}

// endLogin ends a login that tryLogin or waitLogin started.
func (a *admission) endLogin() { <-a.logins }

// seat takes a seat, for one connection. Who gets none has a seat that is spare.
func (a *admission) seat() *seat {
	if n := a.taken.Add(1); a.max > 0 && n > a.max {
		a.taken.Add(-1)
		return &seat{spare: true}
	}
	return &seat{admission: a}
}

// seat is a connection's place among the clients. One goroutine at a time uses it.
type seat struct {
	admission *admission // nil once left, and for a spare seat
	writer    *identity  // nil until claimed
	spare     bool       // over limits.max_clients: good for nothing but a refusal
}

// claim counts the seat as one of the writer's. False means that the writer has
// as many clients as it may.
func (s *seat) claim(w *identity) bool {
	limit := int64(w.writer.MaxClients)
	if n := w.clients.Add(1); limit > 0 && n > limit {
		w.clients.Add(-1)
		return false
	}
	s.writer = w
	return true
}

// leave gives the seat back; further calls do nothing.
func (s *seat) leave() {
	if s.writer != nil {
		s.writer.clients.Add(-1)
		s.writer = nil
	}
	if s.admission != nil {
		s.admission.taken.Add(-1)
		s.admission = nil
	}
}
