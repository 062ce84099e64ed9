package proxy

import (
	"time"

	"pggateway/config"
)

// limits bound how long a client may keep what others want: a server connection,
// or memory for what it does not take. Zero is no limit, for each of them.
//
// Nothing is set up and nothing taken down for a transaction. What runs and what
// is silent is known from two times of the loop's clock, which cost a store for
// each message (session.heard, requests.since), and the host looks at them at
// intervals: at the server connections in use on its ticker, which ticks anyway
// while there are any, and at all sessions much less often.
type limits struct {
	clientIdle        time.Duration
	idleInTransaction time.Duration
	statement         time.Duration
	waitNotice        time.Duration

	tick  time.Duration // how often server connections in use are looked at
	sweep time.Duration // how often all sessions are
	grace time.Duration // from cancelling a statement to giving up its server

	loaded int // statements kept on one server
}

const (
	// untakenTimeout is how long a client may leave untaken what is held for it
	// while it has no server connection, unless client_idle is set. All that it
	// keeps is a buffer's memory.
	untakenTimeout = time.Hour
	// cancelGrace is how long a server may take over ending a cancelled statement.
	cancelGrace = 30 * time.Second

	leastTick  = 10 * time.Millisecond
	leastSweep = time.Second
)

func newLimits(c config.Limits) limits {
	l := limits{
		clientIdle: c.ClientIdle, idleInTransaction: c.IdleInTransaction,
		statement: c.Statement, waitNotice: c.WaitNotice,
		tick: idleTick, grace: cancelGrace, loaded: maxLoaded,
	}
	// A limit is kept to a tenth, but no better than to leastTick.
	for _, d := range []time.Duration{l.idleInTransaction, l.statement} {
		if d > 0 {
			l.tick = min(l.tick, max(d/10, leastTick))
		}
	}
	l.sweep = max(l.untaken()/10, leastSweep)
	return l
}

// untaken is the limit for clients without a server connection.
func (l *limits) untaken() time.Duration {
	if l.clientIdle > 0 {
		return l.clientIdle
	}
	return untakenTimeout
}

// enforce looks at every server connection in use.
func (h *host) enforce() {
	if h.limits.idleInTransaction > 0 || h.limits.statement > 0 {
		// From the end: one that ends is replaced by the last, which was seen already.
		for i := len(h.backends) - 1; i >= 0; i-- {
			if i < len(h.backends) {
				h.backends[i].enforce(h.loop.Now())
			}
		}
	}
	if h.limits.waitNotice > 0 {
		h.notice()
	}
}

// sweep looks at every session that is between transactions, now and again for
// as long as there are any.
func (h *host) sweep() {
	h.sweeper = nil
	for s := h.sessions; s != nil; {
		next := s.next
		s.enforce(h.loop.Now())
		if next != nil && next.ended {
			break // what this one gave back was another's end; the rest has time
		}
		s = next
	}
	h.watchSessions()
}

// watchSessions sees to it that the next sweep comes.
func (h *host) watchSessions() {
	if h.sweeper == nil && h.sessions != nil && !h.closing {
		h.sweeper = h.loop.After(h.limits.sweep, h.sweep)
	}
}

// watchBackends is called when a server connection comes into use. A tick that
// comes soon enough anyway is left as it is, so that a stream of transactions
// costs no timers.
func (h *host) watchBackends() {
	if h.limits.tick < h.interval || h.ticker == nil {
		h.watch()
	}
}

// enroll and dismiss keep the list of the host's server connections.
func (h *host) enroll(b *backend) {
	b.index = len(h.backends)
	h.backends = append(h.backends, b)
}

func (h *host) dismiss(b *backend) {
	last := len(h.backends) - 1
	if b.index > last || h.backends[b.index] != b {
		return // dismissed already
	}
	h.backends[b.index] = h.backends[last]
	h.backends[b.index].index = b.index
	h.backends[last] = nil
	h.backends = h.backends[:last]
}
