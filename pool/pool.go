package pool

import (
	"errors"
	"time"
)

// Errors that end a wait.
var (
	ErrTimeout = errors.New("pool: no connection came free in time")
	ErrClosed  = errors.New("pool: closed")
)

// Options are a pool's limits. The zero of each duration, rate and MinIdle
// means "no such limit".
type Options struct {
	Size        int           // connections at most, those being opened included
	MinIdle     int           // idle connections kept ready
	WaitTimeout time.Duration // how long a waiter waits
	IdleTimeout time.Duration // how long a connection beyond MinIdle lies idle
	MaxLifetime time.Duration // age at which a connection is not handed out again, jittered
	PerSecond   int           // connections opened a second, with a burst of as many
}

// Owner does for a pool what takes a network. Its methods must not block and
// not call back into the pool.
type Owner[C any] interface {
	// Open begins to open one connection and later calls Opened or OpenFailed.
	Open()
	// Close closes an idle connection that the pool has given up.
	Close(C)
}

// Slot is a connection's place in its pool, held by whoever holds the connection.
type Slot[C any] struct {
	Conn       C
	generation uint64
	expires    time.Duration // zero: never
	idleSince  time.Duration
}

// Pool shares connections of one kind. See the package comment for its rules.
type Pool[C any] struct {
	opt   Options
	owner Owner[C]
	now   func() time.Duration // monotonic
	rand  func() float64       // in [0, 1), for jitter

	idle       []*Slot[C] // the last to come back is the first to go out
	waiters    queue[C]
	live       int // connections that exist, idle or out
	opening    int
	generation uint64
	closed     bool

	failure  error         // of the latest attempt to open; nil after a success
	failures int           // in a row
	retryAt  time.Duration // no attempt before

	tokens   float64
	tokensAt time.Duration
}

// New makes an empty pool. now is a monotonic clock; random gives numbers in
// [0, 1) for jitter. Neither is called before the pool is used, so that another
// goroutine than the loop's may make it.
func New[C any](opt Options, owner Owner[C], now func() time.Duration, random func() float64) *Pool[C] {
	return &Pool[C]{
		opt: opt, owner: owner, now: now, rand: random,
		tokens: float64(opt.PerSecond),
	}
}

// Acquire asks for a connection. It returns a slot when one is idle, an error
// when there is no use in waiting, and neither when the waiter now stands in the
// queue and its taker will be told.
func (p *Pool[C]) Acquire(w *Waiter[C], taker Taker[C]) (*Slot[C], error) {
	if p.closed {
		return nil, ErrClosed
	}
	for n := len(p.idle); n > 0; n = len(p.idle) {
		s := p.idle[n-1]
		p.idle[n-1] = nil
		p.idle = p.idle[:n-1]
		if !p.stale(s) {
			return s, nil
		}
		p.live-- // it outlived its lifetime since the latest Tick
		p.owner.Close(s.Conn)
	}
	if p.live == 0 && p.opening == 0 && p.failure != nil && p.now() < p.retryAt {
		return nil, p.failure
	}
	w.taker, w.since = taker, p.now()
	p.waiters.push(w)
	p.open()
	return nil, nil
}

// Forget takes a waiter out of the queue; its taker is not told any more. A
// waiter that does not wait is left alone.
func (p *Pool[C]) Forget(w *Waiter[C]) {
	if w.queued {
		p.waiters.remove(w)
		w.taker = nil
	}
}

// Release takes back a clean connection and hands it to the oldest waiter. One
// that is too old, or of an earlier generation, is closed instead.
func (p *Pool[C]) Release(s *Slot[C]) {
	if p.stale(s) {
		p.live--
		p.owner.Close(s.Conn)
		p.open()
		return
	}
	p.offer(s)
}

// Discard forgets a connection that its holder has closed or lost.
func (p *Pool[C]) Discard(s *Slot[C]) {
	for i, other := range p.idle {
		if other == s {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			break
		}
	}
	p.live--
	p.open()
}

// Opened is the Owner's answer to Open: the connection goes to the oldest waiter.
func (p *Pool[C]) Opened(c C) *Slot[C] {
	p.opening--
	p.live++
	p.failure, p.failures = nil, 0
	s := &Slot[C]{Conn: c, generation: p.generation}
	if p.opt.MaxLifetime > 0 {
		// Up to a tenth less, so that connections opened together do not end together.
		s.expires = p.now() + p.opt.MaxLifetime - time.Duration(p.rand()*float64(p.opt.MaxLifetime)/10)
	}
	if p.closed {
		p.live--
		p.owner.Close(c)
		return s
	}
	p.offer(s)
	p.open() // a probe that succeeded is followed by as many as are wanted
	return s
}

// Back-off between attempts to open after one has failed.
const (
	firstBackoff = 100 * time.Millisecond
	lastBackoff  = 5 * time.Second
)

// OpenFailed is the Owner's other answer to Open. Waiters go on waiting while
// any connection lives that may come free; otherwise all of them are refused
// with the error, as is who asks before the next attempt is due.
func (p *Pool[C]) OpenFailed(err error) {
	p.opening--
	p.failure = err
	backoff := min(firstBackoff<<min(p.failures, 16), lastBackoff)
	p.failures++
	p.retryAt = p.now() + backoff/2 + time.Duration(p.rand()*float64(backoff)/2)
	if p.live == 0 && p.opening == 0 {
		p.refuseAll(err)
	}
}

// Renew begins a new generation: idle connections are closed now, those that
// are out when they come back.
func (p *Pool[C]) Renew() {
	p.generation++
	p.closeIdle()
	p.open()
}

// Close refuses all waiters and closes the idle connections; the others when
// they come back.
func (p *Pool[C]) Close() {
	p.closed = true
	p.generation++
	p.refuseAll(ErrClosed)
	p.closeIdle()
}

// Tick does what is due: waits that have timed out, connections idle or alive
// for too long, attempts to open that were put off. The owner calls it about
// every TickInterval while Busy.
func (p *Pool[C]) Tick() {
	now := p.now()
	for w := p.waiters.first; w != nil && p.opt.WaitTimeout > 0 && now-w.since >= p.opt.WaitTimeout; w = p.waiters.first {
		p.waiters.remove(w)
		p.refuse(w, ErrTimeout)
	}
	kept := p.idle[:0]
	for i, s := range p.idle {
		surplus := len(p.idle)-i+len(kept) > p.opt.MinIdle
		idleTooLong := p.opt.IdleTimeout > 0 && now-s.idleSince >= p.opt.IdleTimeout
		if p.stale(s) || surplus && idleTooLong {
			p.live--
			p.owner.Close(s.Conn)
			continue
		}
		kept = append(kept, s)
	}
	clear(p.idle[len(kept):])
	p.idle = kept
	p.open()
}

// Overdue calls tell for who has waited for d or longer, once in each wait, the
// oldest first. tell must not acquire or release; it may Forget its waiter.
func (p *Pool[C]) Overdue(d time.Duration, tell func(t Taker[C], waited time.Duration)) {
	for now := p.now(); ; {
		w := p.waiters.first
		if p.waiters.told != nil {
			w = p.waiters.told.next
		}
		if w == nil || now-w.since < d {
			return
		}
		p.waiters.told = w
		tell(w.taker, now-w.since)
	}
}

// TickInterval is how often a Busy pool wants a Tick.
const TickInterval = 100 * time.Millisecond

// Busy reports whether Tick may have something to do later.
func (p *Pool[C]) Busy() bool {
	return !p.closed && (p.live > 0 || p.waiters.n > 0 || p.opt.MinIdle > 0)
}

// Failure is why the latest attempt to open failed, nil after a success.
func (p *Pool[C]) Failure() error { return p.failure }

// Counts is a pool's state in numbers of connections and waiters.
type Counts struct{ Idle, Busy, Opening, Waiting int }

// Counts returns the present state.
func (p *Pool[C]) Counts() Counts {
	return Counts{Idle: len(p.idle), Busy: p.live - len(p.idle), Opening: p.opening, Waiting: p.waiters.n}
}

func (p *Pool[C]) stale(s *Slot[C]) bool {
	return s.generation != p.generation || s.expires > 0 && p.now() >= s.expires
}

// offer hands a connection to the oldest waiter, or keeps it.
func (p *Pool[C]) offer(s *Slot[C]) {
	if w := p.waiters.first; w != nil {
		p.waiters.remove(w)
		t := w.taker
		w.taker = nil
		t.Take(s)
		return
	}
	s.idleSince = p.now()
	p.idle = append(p.idle, s)
}

func (p *Pool[C]) refuse(w *Waiter[C], err error) {
	t := w.taker
	w.taker = nil
	t.Refuse(err)
}

// refuseAll refuses those who wait now, not those who come back because of it.
func (p *Pool[C]) refuseAll(err error) {
	for n := p.waiters.n; n > 0 && p.waiters.first != nil; n-- {
		w := p.waiters.first
		p.waiters.remove(w)
		p.refuse(w, err)
	}
}

func (p *Pool[C]) closeIdle() {
	for i, s := range p.idle {
		p.idle[i] = nil
		p.live--
		p.owner.Close(s.Conn)
	}
	p.idle = p.idle[:0]
}

// open begins as many attempts as waiters and MinIdle ask for and size, rate
// and back-off allow.
func (p *Pool[C]) open() {
	if p.closed || p.failure != nil && p.now() < p.retryAt {
		return
	}
	want := max(p.waiters.n, p.opt.MinIdle-len(p.idle)) - p.opening
	if p.failure != nil {
		want = min(want, 1-p.opening) // one probe, not a storm
	}
	want = min(want, p.opt.Size-p.live-p.opening)
	for ; want > 0 && p.spend(); want-- {
		p.opening++
		p.owner.Open()
	}
}

// spend takes a token from the rate limit's bucket.
func (p *Pool[C]) spend() bool {
	if p.opt.PerSecond <= 0 {
		return true
	}
	now := p.now()
	full := float64(p.opt.PerSecond)
	p.tokens = min(full, p.tokens+full*(now-p.tokensAt).Seconds())
	p.tokensAt = now
	if p.tokens < 1 {
		return false
	}
	p.tokens--
	return true
}
