package proxy

import (
	"errors"
	"time"

	"go.uber.org/zap"
)

// expiry is what has been done about a statement that runs for too long.
type expiry struct {
	of      time.Duration // requests.since of the statement that is cancelled
	first   time.Duration // when it was cancelled first
	latest  time.Duration // and last
	sending bool          // a cancel request for it is on its way, and the client's next message waits
}

// cancelAgain is how long a cancel request has for its effect before it is
// repeated: one that arrives between two messages of a pipeline has none.
const cancelAgain = 5 * time.Second

var errNotCancelled = errors.New("the statement did not end when it was cancelled")

// probe is a Flush of the gateway's own. A server keeps replies to itself until
// a Sync or a Flush, so when a client sends neither nobody knows whether the
// server still works or waits. A Flush brings out what there is: if the client's
// requests are still not answered then, the server works.
type probe struct {
	received int64         // session.received when it was sent
	since    time.Duration // requests.since then
	at       time.Duration
}

// working reports whether the server has been at work on one statement for as
// long as it may. A message that is still coming is no work yet.
func (b *backend) working(now time.Duration) bool {
	s, q, l := b.session, &b.requests, &b.host.limits
	there := q.n
	if s != nil && s.rest > 0 && !b.copyOpen {
		there--
	}
	if s == nil || b.copyOpen || there > 0 && q.conclusive(there) {
		return l.statement > 0 && there > 0 && now-max(q.since, b.uploading) >= l.statement
	}
	if there == 0 || s.rest > 0 {
		b.uploading = now // whatever the server does, it cannot end before the client does
		return false
	}
	over := l.statement > 0 && now-max(q.since, b.uploading) >= l.statement
	if b.probed.received != s.received && (over || s.silent(now) >= l.tick) {
		b.probed = probe{received: s.received, since: q.since, at: now}
		b.send(flush)
	}
	return over && b.probed.since == q.since && now-b.probed.at >= l.tick
}

// expire cancels what the server does, in the way that a client would, so that
// the client gets the server's own answer to it. A server that does not heed
// that is given up after the grace.
//
// The client's next messages are kept back until the request has arrived: it must
// not hit a statement that came after the one it was meant for.
func (b *backend) expire(now time.Duration) {
	e := &b.expiry
	switch {
	case e.of != b.requests.since || e.first == 0:
		b.host.log.Info("statement cancelled: it ran for too long", b.user(), zap.Duration("limit", b.host.limits.statement))
		e.of, e.first = b.requests.since, now
	case now-e.first >= b.host.limits.grace:
		b.lost(errNotCancelled)
		return
	case b.cancels > 0 || now-e.latest < cancelAgain:
		return
	}
	e.latest, e.sending = now, true
	if b.session != nil {
		b.session.stream.Pause()
	}
	b.cancel(func() {})
}

// expired lets the client go on when the cancel request has arrived, or failed to.
func (b *backend) expired() {
	if !b.expiry.sending || b.cancels > 0 {
		return
	}
	b.expiry.sending = false
	if s := b.session; s != nil {
		s.heard = b.host.loop.Now()
		s.resume()
	}
}

// user says in the log whose statement it is.
func (b *backend) user() zap.Field {
	if b.session == nil {
		return zap.String("writer", "")
	}
	return zap.String("writer", b.session.writer.Name)
}
