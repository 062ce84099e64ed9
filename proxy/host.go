package proxy

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"go.uber.org/zap"

	"pggateway/config"
	"pggateway/fault"
	"pggateway/netloop"
	"pggateway/pool"
	"pggateway/upstream"
	"pggateway/wire"
)

// Opener opens logged-in connections to one real database with one login.
// *upstream.Target is one.
type Opener interface {
	Open(ctx context.Context) (*upstream.Conn, error)
	// OpenReplication opens one for replication, mode being "true" or "database".
	OpenReplication(ctx context.Context, mode string, settings []wire.Parameter) (*upstream.Conn, error)
}

// hostKey is what makes sessions share a pool: the same upstream, role and
// database. Logins are compared by identity; each has one place in the config.
type hostKey struct {
	upstream string
	login    *config.Login
	database string
}

// host is one pool with the sessions that are routed to it. All of it lives on
// one event loop, so that a query never crosses to another.
type host struct {
	proxy    *Proxy
	key      hostKey
	loop     *netloop.Loop
	upstream *config.Upstream
	target   Opener
	log      *zap.Logger
	users    int // sessions, and logins on their way to become one; guarded by proxy.mu

	pool       *pool.Pool[*backend]
	profiles   map[string]*profile
	statements map[statementKey]*statement
	named      uint64     // how many names were given to statements
	assembly   []byte     // requests that go out with the next run; empty between events
	sessions   *session   // head of the list
	backends   []*backend // all server connections, in no order
	ticker     *netloop.Timer
	interval   time.Duration // the ticker's
	sweeper    *netloop.Timer

	limits limits

	ownTimeout time.Duration // ownTimeout, but in tests
	closing    bool
	cancelless bool // that servers take no cancel requests has been logged
	scratch    [16]byte
}

const (
	// openTimeout bounds the opening of one connection, all its stages together.
	openTimeout = time.Minute
	// idleTick is how often a pool that nobody waits for is looked after.
	idleTick = time.Second
	// maxProfiles bounds the startup parameter sets remembered for each pool.
	maxProfiles = 1024
)

func newHost(p *Proxy, key hostKey, u *config.Upstream, target Opener, loop *netloop.Loop) *host {
	h := &host{
		proxy: p, key: key, loop: loop, upstream: u, target: target,
		log:      p.log.With(zap.String("upstream", u.Name), zap.String("database", key.database)),
		profiles: make(map[string]*profile), statements: make(map[statementKey]*statement), ownTimeout: ownTimeout,
		limits: p.limits,
	}
	h.pool = pool.New(pool.Options{
		Size:        u.Pool.Size,
		MinIdle:     u.Pool.MinIdle,
		WaitTimeout: u.Pool.WaitTimeout,
		IdleTimeout: u.Pool.IdleTimeout,
		MaxLifetime: u.Pool.MaxLifetime,
		PerSecond:   u.Pool.NewPerSecond,
	}, h, loop.Now, rand.Float64)
	return h
}

// begin makes a session of a client that proved who it is.
func (h *host) begin(c *client) {
	s := &session{
		host: h, writer: c.writer, seat: c.seat,
		owed: c.greeting, remote: c.remote,
		started: h.loop.Now(), greeting: true,
	}
	h.proxy.keys.issue(s, c.startup.Version)
	if s.next = h.sessions; s.next != nil {
		s.next.prev = s
	}
	h.sessions = s
	h.watchSessions()
	var err error
	if s.stream, err = h.loop.Attach(c.transport, c.tls, s); err != nil {
		s.end("client lost", err)
		return
	}
	s.stream.Pause()
	if len(c.leftover) > 0 {
		s.in = h.loop.Extend(nil, c.leftover)
	}
	settings, f := startupSettings(c.startup)
	switch {
	case f != nil:
		s.fatal(f)
		return
	case h.closing:
		s.fatal(faultDraining())
		return
	}
	s.startup = h.profile(settings)
	s.profile = s.startup
	if counts := h.pool.Counts(); s.profile.reported != nil && counts.Idle+counts.Busy > 0 {
		s.welcome()
		return
	}
	// Somebody has to ask the server what a client with these parameters is told,
	// and whether it is there at all.
	if limit := h.proxy.config.Limits.LoginTimeout; limit > 0 {
		s.timer = h.loop.After(limit-h.proxy.now().Sub(c.accepted), func() {
			s.fatal(s.unavailable(errLoginTimeout))
		})
	}
	slot, err := h.pool.Acquire(&s.Waiter, s)
	switch {
	case err != nil:
		s.Refuse(err)
	case slot != nil:
		s.Take(slot)
	}
	h.watch()
}

// welcomeAll greets the clients that wait to learn what their parameters are
// answered with, now that it is known.
func (h *host) welcomeAll(p *profile) {
	for s := h.sessions; s != nil; {
		next := s.next // s may end
		if s.greeting && s.profile == p && s.Waiting() {
			h.pool.Forget(&s.Waiter)
			s.welcome()
		}
		s = next
	}
}

var errLoginTimeout = errors.New("login_timeout passed while waiting for the upstream")

// profile returns the one profile with these settings.
func (h *host) profile(settings []wire.Parameter) *profile {
	p := &profile{settings: settings}
	key := p.key()
	if known := h.profiles[key]; known != nil {
		return known
	}
	if len(h.profiles) >= maxProfiles {
		clear(h.profiles) // sessions keep theirs; others are made anew
	}
	h.profiles[key] = p
	return p
}

// unusable stands in for a target that could not be made: whoever asks learns why.
type unusable struct{ err error }

// Open always fails.
func (u unusable) Open(context.Context) (*upstream.Conn, error) { return nil, u.err }

// OpenReplication always fails.
func (u unusable) OpenReplication(context.Context, string, []wire.Parameter) (*upstream.Conn, error) {
	return nil, u.err
}

// Open opens a connection on a goroutine of its own.
func (h *host) Open() {
	h.proxy.background(func(ctx context.Context) {
		ctx, stop := context.WithTimeout(ctx, openTimeout)
		defer stop()
		started := h.proxy.now()
		conn, err := h.target.Open(ctx)
		took := h.proxy.now().Sub(started)
		h.loop.Post(func() { h.opened(conn, err, took) })
	})
}

// opened takes what Open brought to the pool.
func (h *host) opened(conn *upstream.Conn, err error, took time.Duration) {
	if err == nil && len(conn.Leftover) > 0 {
		_ = conn.Close()
		err = errUnasked
	}
	b := &backend{host: h, conn: conn, tx: wire.TxIdle, ready: true}
	if err == nil {
		b.status, b.pid = conn.Parameters, conn.PID()
		b.stream, err = h.loop.Attach(conn.Transport, conn.TLS, b)
		b.requests.loop = h.loop
	}
	if err != nil {
		h.log.Warn("could not open a server connection", zap.Duration("took", took), zap.Error(err))
		h.pool.OpenFailed(err)
		h.watch()
		return
	}
	h.enroll(b)
	h.log.Debug("server connection opened", zap.Duration("took", took))
	if counts := h.pool.Counts(); counts.Idle+counts.Busy == 0 {
		// After a time without any, it may be another server, of another version.
		for _, p := range h.profiles {
			p.reported = nil
		}
	}
	slot := h.pool.Opened(b)
	b.slot = slot
	h.watch()
}

// Close closes an idle connection that the pool has given up.
func (h *host) Close(b *backend) {
	b.session = nil
	b.bye()
	b.shut()
}

// watch sees to it that the pool is looked after while it has something to do,
// and server connections while they are in use.
func (h *host) watch() {
	counts := h.pool.Counts()
	d := idleTick
	if counts.Waiting > 0 {
		d = pool.TickInterval
	}
	if counts.Busy > 0 {
		d = min(d, h.limits.tick)
	}
	if h.ticker != nil && h.interval <= d {
		return
	}
	h.loop.Cancel(h.ticker)
	h.interval = d
	h.ticker = h.loop.After(d, h.tick)
}

func (h *host) tick() {
	h.ticker = nil
	h.enforce()
	h.pool.Tick()
	counts := h.pool.Counts()
	unused := h.sessions == nil && counts.Idle+counts.Busy+counts.Opening == 0
	if unused && (h.upstream.Pattern() || !h.pool.Busy()) && h.proxy.forget(h) {
		h.pool.Close()           // min_idle is not kept of a database that may not exist
		h.loop.Cancel(h.ticker)  // who left just now may have set it
		h.loop.Cancel(h.sweeper) // nobody is left to look at
		return
	}
	if h.pool.Busy() || counts.Opening > 0 {
		h.watch()
	}
}

// refused notes that a request was answered with an error here.
func (h *host) refused(s *session, f *fault.Fault) {
	h.log.Warn("request refused", zap.String("writer", s.writer.Name), zap.String("side", string(f.Side)), zap.String("sqlstate", f.Code), zap.Error(f))
}

func (h *host) loggedIn(s *session) {
	h.log.Info("login", zap.String("writer", s.writer.Name), zap.Stringer("client", s.remote))
}

// loggedOut takes an ended session off the books.
func (h *host) loggedOut(s *session, reason string, err error) {
	if s.prev == nil {
		h.sessions = s.next
	} else {
		s.prev.next = s.next
	}
	if s.next != nil {
		s.next.prev = s.prev
	}
	s.next, s.prev = nil, nil
	h.proxy.keys.revoke(s)
	s.seat.leave()
	what, level := "logout", zap.InfoLevel
	if s.greeting {
		what, level = "login failed", zap.WarnLevel
	}
	h.log.Log(level, what,
		zap.String("writer", s.writer.Name), zap.Stringer("client", s.remote), zap.String("reason", reason),
		zap.Duration("duration", h.loop.Now()-s.started),
		zap.Int64("received", s.received), zap.Int64("sent", s.sent), zap.Error(err))
	h.watch()
	h.proxy.left(h)
}

// drain ends every session at its next chance, and the pool with them.
func (h *host) drain() {
	h.closing = true
	for s := h.sessions; s != nil; {
		next := s.next
		s.drain()
		s = next
	}
}
