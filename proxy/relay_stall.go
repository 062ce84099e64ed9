package proxy

import "time"

// stall finds out that a client takes nothing of what is held for it. It is
// looked for at intervals, since a slow client is one whose output is held back
// many times a second.
type stall struct {
	taken int64         // bytes the client's socket had taken when that last changed
	since time.Duration // when it was seen to have changed, on the loop's clock
}

// limit is how long a client may take nothing: as long as another that keeps a
// server connection for nothing.
func (r *relay) limit() time.Duration {
	l := newLimits(r.proxy.config.Limits)
	if l.idleInTransaction > 0 {
		return l.idleInTransaction
	}
	return l.untaken()
}

// watch looks for a stall now and again, until the session ends.
func (r *relay) watch() {
	if r.ended {
		return
	}
	limit := r.limit()
	taken := r.sent - int64(r.client.Held())
	switch {
	case r.client.Held() == 0 || taken != r.stall.taken:
		r.stall = stall{taken, r.loop.Now()}
	case r.loop.Now()-r.stall.since >= limit:
		r.fatal(faultUntaken(limit))
		return
	}
	r.watcher = r.loop.After(max(limit/10, leastTick), r.watch)
}
