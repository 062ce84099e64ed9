package pool

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// The model is the world around a pool, kept the simple way: a list of who
// waits, a stack of what is idle, a map of who holds what. Every call that the
// pool makes is checked against it when it comes, and the sums after each step.

type place int

const (
	returning place = iota // on its way into the pool, by Opened or Release
	idle
	out
	gone
)

type conn struct {
	place      place
	generation int
	expires    time.Duration // zero: never
	idleSince  time.Duration
}

type person struct {
	Waiter[*conn]
	m       *model
	waiting bool
	since   time.Duration
	slot    *Slot[*conn] // held
}

// seen counts what happened over all runs, so that none of the checks is idle.
type seen struct {
	taken, atOnce, timeouts, refusals, refusedAtOnce, forgotten, probes, recovered, limited int
	expired, idledOut, renewed, nested, minIdle                                             int
}

type model struct {
	t    *testing.T
	name string
	rng  *rand.Rand
	now  time.Duration
	opt  Options
	pool *Pool[*conn]
	seen *seen

	people  []*person
	queue   []*person
	idle    []*conn
	out     int
	opening int

	generation int
	closed     bool
	coming     *conn // in Opened
	err        error // of the latest attempt; nil after a success
	failures   int
	failedAt   time.Duration
	tokens     float64
	tokensAt   time.Duration
	advanced   bool // time has passed since the last Tick
	depth      int  // of callbacks
}

func (m *model) fail(format string, args ...any) {
	m.t.Helper()
	m.t.Fatalf("%s at %v: %s", m.name, m.now, fmt.Sprintf(format, args...))
}

func (m *model) stale(c *conn) bool {
	return c.generation != m.generation || c.expires > 0 && m.now >= c.expires
}

// backoff is the longest that the pool may put off the next attempt.
func (m *model) backoff() time.Duration {
	return min(100*time.Millisecond<<min(m.failures-1, 16), 5*time.Second)
}

func (m *model) refill() float64 {
	rate := float64(m.opt.PerSecond)
	m.tokens = min(rate, m.tokens+rate*(m.now-m.tokensAt).Seconds())
	m.tokensAt = m.now
	return m.tokens
}

// random is the pool's source of jitter.
func (m *model) random() float64 {
	r := m.rng.Float64()
	if c := m.coming; c != nil {
		life := m.opt.MaxLifetime
		c.expires = m.now + life - time.Duration(r*float64(life)/10)
	}
	return r
}

// rounding is what two ways to add up tokens may differ by.
const rounding = 1e-6

// Open is the pool's request for a connection.
func (m *model) Open() {
	m.opening++
	switch need := max(len(m.queue), m.opt.MinIdle-len(m.idle)); {
	case m.closed:
		m.fail("an attempt after Close")
	case m.out+len(m.idle)+m.opening > m.opt.Size:
		m.fail("%d out, %d idle and %d opening in a pool of %d", m.out, len(m.idle), m.opening, m.opt.Size)
	case m.opening > need:
		m.fail("%d attempts where %d were needed", m.opening, need)
	case m.err != nil && m.opening > 1:
		m.fail("%d attempts at a time while the server is down", m.opening)
	case m.err != nil && m.now < m.failedAt+m.backoff()/2:
		m.fail("an attempt %v after failure %d", m.now-m.failedAt, m.failures)
	}
	if m.err != nil {
		m.seen.probes++
	}
	if len(m.queue) == 0 {
		m.seen.minIdle++
	}
	if m.opt.PerSecond > 0 {
		if m.refill() < 1-rounding {
			m.fail("an attempt beyond %d a second", m.opt.PerSecond)
		}
		m.tokens--
	}
}

// Close is the pool's word that it gives up a connection.
func (m *model) Close(c *conn) {
	at := slices.Index(m.idle, c)
	if (at >= 0) != (c.place == idle) || c.place == out || c.place == gone {
		m.fail("closes a connection in place %d", c.place)
	}
	switch {
	case m.closed:
	case c.generation != m.generation:
		m.seen.renewed++
	case m.stale(c):
		m.seen.expired++
	case at >= 0 && m.opt.IdleTimeout > 0 && m.now-c.idleSince >= m.opt.IdleTimeout && len(m.idle) > m.opt.MinIdle:
		m.seen.idledOut++
	default:
		m.fail("closes a connection for no reason: %+v, %d idle", *c, len(m.idle))
	}
	if at >= 0 {
		m.idle = slices.Delete(m.idle, at, at+1)
	}
	c.place = gone
}

func (p *person) told() {
	if !p.waiting {
		p.m.fail("somebody is told who does not wait")
	}
	if p.m.queue[0] != p {
		p.m.fail("somebody is told before who came earlier")
	}
	p.waiting = false
	p.m.queue = p.m.queue[1:]
}

func (m *model) hold(p *person, s *Slot[*conn]) {
	c := s.Conn
	if m.stale(c) {
		m.fail("hands out a connection that is too old: %+v", *c)
	}
	c.place, p.slot = out, s
	m.out++
}

// Take hands a connection to who waited for it.
func (p *person) Take(s *Slot[*conn]) {
	p.told()
	if s.Conn.place != returning {
		p.m.fail("hands a connection in place %d to who waits", s.Conn.place)
	}
	p.m.hold(p, s)
	p.m.seen.taken++
	p.m.nest(p)
}

// Refuse ends a wait.
func (p *person) Refuse(err error) {
	p.told()
	m := p.m
	switch {
	case errors.Is(err, ErrTimeout):
		if m.opt.WaitTimeout == 0 || m.now-p.since < m.opt.WaitTimeout {
			m.fail("times out after %v", m.now-p.since)
		}
		m.seen.timeouts++
	case errors.Is(err, ErrClosed):
		if !m.closed {
			m.fail("refused because of Close, which was not called")
		}
	default:
		if err == nil || !errors.Is(err, m.err) || m.out+len(m.idle)+m.opening > 0 {
			m.fail("refused with %v; %d out, %d idle, %d opening", err, m.out, len(m.idle), m.opening)
		}
		m.seen.refusals++
	}
	m.nest(p)
}

// nest calls the pool from within one of its own calls, as a session does that
// fails at once, or goes on to its next message.
func (m *model) nest(p *person) {
	if m.depth >= 3 || m.rng.IntN(3) > 0 {
		return
	}
	m.depth++
	defer func() { m.depth-- }()
	for range 1 + m.rng.IntN(2) {
		m.seen.nested++
		switch m.rng.IntN(8) {
		case 0, 1:
			m.release(p)
		case 2:
			m.discard(p)
		case 3, 4:
			m.acquire(p)
		case 5:
			m.acquire(m.anybody())
		case 6:
			m.forget(m.anybody())
		case 7:
			m.release(m.anybody())
		}
	}
}

func (m *model) anybody() *person { return m.people[m.rng.IntN(len(m.people))] }

func (m *model) acquire(p *person) {
	if p.waiting || p.slot != nil {
		return
	}
	p.waiting, p.since = true, m.now
	m.queue = append(m.queue, p)
	s, err := m.pool.Acquire(&p.Waiter, p)
	if s == nil && err == nil {
		if len(m.idle) > 0 {
			m.fail("somebody waits beside %d idle connections", len(m.idle))
		}
		return
	}
	p.waiting = false
	m.queue = m.queue[:len(m.queue)-1]
	if err != nil {
		if want := m.err; m.closed {
			want = ErrClosed
			if !errors.Is(err, want) {
				m.fail("%v after Close", err)
			}
		} else if !errors.Is(err, want) || m.out+len(m.idle)+m.opening > 0 || m.now >= m.failedAt+m.backoff() {
			m.fail("refused at once with %v", err)
		}
		m.seen.refusedAtOnce++
		return
	}
	if len(m.queue) > 0 {
		m.fail("served before %d who came earlier", len(m.queue))
	}
	if n := len(m.idle); n == 0 || m.idle[n-1] != s.Conn {
		m.fail("handed out a connection that was not the latest idle one")
	}
	m.idle = m.idle[:len(m.idle)-1]
	m.hold(p, s)
	m.seen.atOnce++
}

// settle notes that what went into the pool was handed to nobody and not closed.
func (m *model) settle(c *conn) {
	if c.place == returning {
		c.place, c.idleSince = idle, m.now
		m.idle = append(m.idle, c)
	}
}

func (m *model) release(p *person) {
	if s := p.slot; s != nil {
		p.slot, s.Conn.place = nil, returning
		m.out--
		m.pool.Release(s)
		m.settle(s.Conn)
	}
}

func (m *model) discard(p *person) {
	if s := p.slot; s != nil {
		p.slot, s.Conn.place = nil, gone
		m.out--
		m.pool.Discard(s)
	}
}

// lose discards an idle connection, as its owner does when the server ends it.
func (m *model) lose() {
	if len(m.pool.idle) > 0 {
		s := m.pool.idle[m.rng.IntN(len(m.pool.idle))]
		s.Conn.place = gone
		m.idle = slices.DeleteFunc(m.idle, func(c *conn) bool { return c == s.Conn })
		m.pool.Discard(s)
	}
}

func (m *model) forget(p *person) {
	if p.waiting {
		m.seen.forgotten++
	}
	p.waiting = false
	m.queue = slices.DeleteFunc(m.queue, func(q *person) bool { return q == p })
	m.pool.Forget(&p.Waiter)
}

func (m *model) opened() {
	if m.opening == 0 {
		return
	}
	m.opening--
	if m.err != nil {
		m.seen.recovered++
	}
	m.err, m.failures = nil, 0
	c := &conn{generation: m.generation}
	m.coming = c
	m.pool.Opened(c)
	m.coming = nil
	m.settle(c)
	if life := m.opt.MaxLifetime; life > 0 && !m.closed && c.expires == 0 {
		m.fail("a connection that never ends")
	}
}

func (m *model) openFailed() {
	if m.opening == 0 {
		return
	}
	m.opening--
	m.failures++
	m.err, m.failedAt = fmt.Errorf("failure at %v", m.now), m.now
	m.pool.OpenFailed(m.err)
}

func (m *model) tick() {
	m.advanced = false
	m.pool.Tick()
	for _, p := range m.queue {
		if m.opt.WaitTimeout > 0 && m.now-p.since >= m.opt.WaitTimeout {
			m.fail("somebody still waits after %v", m.now-p.since)
		}
	}
	for i, c := range m.idle {
		if m.stale(c) {
			m.fail("a connection too old is still idle: %+v", *c)
		}
		if m.opt.IdleTimeout > 0 && m.now-c.idleSince >= m.opt.IdleTimeout && len(m.idle) > m.opt.MinIdle {
			m.fail("connection %d of %d lies idle for %v", i, len(m.idle), m.now-c.idleSince)
		}
	}
	m.mustHaveOpened(m.opt.MinIdle-len(m.idle), "idle connections")
}

// mustHaveOpened checks that the pool does not sit on its hands where some are
// wanted and its limits allow to open one.
func (m *model) mustHaveOpened(wanted int, what string) {
	room := m.out+len(m.idle)+m.opening < m.opt.Size
	if m.closed || m.opening >= wanted || !room {
		return
	}
	if m.opt.PerSecond > 0 && m.refill() < 1+rounding {
		m.seen.limited++
		return
	}
	if m.err == nil || m.opening == 0 && m.now >= m.failedAt+m.backoff() {
		m.fail("%d are being opened for %d %s", m.opening, wanted, what)
	}
}

func (m *model) check() {
	want := Counts{Idle: len(m.idle), Busy: m.out, Opening: m.opening, Waiting: len(m.queue)}
	if got := m.pool.Counts(); got != want {
		m.fail("counts %+v, want %+v", got, want)
	}
	if len(m.idle) > 0 && len(m.queue) > 0 {
		m.fail("%d wait beside %d idle connections", len(m.queue), len(m.idle))
	}
	for _, p := range m.people {
		if p.Waiting() != p.waiting {
			m.fail("Waiting says %v", p.Waiting())
		}
	}
	if !m.advanced {
		m.mustHaveOpened(len(m.queue), "waiters")
	}
	if !m.closed && (m.out+len(m.idle) > 0 || len(m.queue) > 0) && !m.pool.Busy() {
		m.fail("Busy says there is nothing to look after")
	}
	if !errors.Is(m.pool.Failure(), m.err) {
		m.fail("Failure says %v, want %v", m.pool.Failure(), m.err)
	}
}

func (m *model) step() {
	switch n := m.rng.IntN(100); {
	case n < 30:
		m.acquire(m.anybody())
	case n < 50:
		m.release(m.anybody())
	case n < 65:
		m.opened()
	case n < 70:
		m.openFailed()
	case n < 74:
		m.discard(m.anybody())
	case n < 76:
		m.lose()
	case n < 80:
		m.forget(m.anybody())
	case n < 81:
		m.generation++
		m.pool.Renew()
		if len(m.idle) > 0 {
			m.fail("%d idle connections outlive Renew", len(m.idle))
		}
	case n < 90:
		m.tick()
	default:
		m.advanced = true
		m.now += time.Duration(m.rng.Int64N(int64([]time.Duration{
			time.Millisecond, 50 * time.Millisecond, time.Second, 3 * time.Second,
		}[m.rng.IntN(4)])))
	}
	m.check()
}

// drain lets everything come to its end: nobody may be left waiting.
func (m *model) drain() {
	for range 120 { // longer than the longest back-off, at a tick's pace
		for m.opening > 0 {
			m.opened()
		}
		for _, p := range m.people {
			m.release(p)
		}
		m.now += TickInterval
		m.tick()
		m.check()
	}
	if len(m.queue) > 0 {
		m.fail("%d still wait", len(m.queue))
	}
	for _, p := range m.people {
		m.acquire(p)
	}
	m.closed = true
	m.generation++
	m.pool.Close()
	m.check()
	for m.opening > 0 {
		m.opened()
	}
	for _, p := range m.people {
		m.release(p)
		m.acquire(p)
	}
	m.check()
	if len(m.queue) > 0 || len(m.idle) > 0 || m.out > 0 || m.pool.live != 0 || m.pool.Busy() {
		m.fail("after Close %d wait, %d are idle, %d out, %d alive", len(m.queue), len(m.idle), m.out, m.pool.live)
	}
}

func someOptions(rng *rand.Rand) Options {
	pick := func(list ...time.Duration) time.Duration { return list[rng.IntN(len(list))] }
	size := 1 + rng.IntN(6)
	return Options{
		Size:        size,
		MinIdle:     []int{0, 0, 1, size, size + 2}[rng.IntN(5)],
		WaitTimeout: pick(0, time.Second, 5*time.Second),
		IdleTimeout: pick(0, 500*time.Millisecond, 3*time.Second),
		MaxLifetime: pick(0, 2*time.Second, 20*time.Second),
		PerSecond:   []int{0, 0, 1, 3, 50}[rng.IntN(5)],
	}
}

func TestPoolAgainstTheModel(t *testing.T) {
	runs, steps := 600, 400
	if testing.Short() {
		runs = 100
	}
	var s seen
	for seed := range uint64(runs) {
		rng := rand.New(rand.NewPCG(seed, 1))
		opt := someOptions(rng)
		m := &model{
			t: t, rng: rng, opt: opt, seen: &s, now: time.Hour,
			name: fmt.Sprintf("seed %d, %+v", seed, opt), tokens: float64(opt.PerSecond), tokensAt: time.Hour,
		}
		for range 1 + rng.IntN(12) {
			m.people = append(m.people, &person{m: m})
		}
		m.pool = New(opt, m, func() time.Duration { return m.now }, m.random)
		for range steps {
			m.step()
		}
		m.drain()
	}
	t.Logf("%+v", s)
	for name, n := range map[string]int{
		"taken": s.taken, "at once": s.atOnce, "timeouts": s.timeouts, "refusals": s.refusals,
		"refused at once": s.refusedAtOnce, "forgotten": s.forgotten, "probes": s.probes, "recovered": s.recovered,
		"held up by the rate": s.limited, "expired": s.expired, "idled out": s.idledOut, "renewed": s.renewed,
		"nested": s.nested, "opened for min_idle": s.minIdle,
	} {
		if n < 10 {
			t.Errorf("%s happened %d times: too seldom to have been tested", name, n)
		}
	}
}
