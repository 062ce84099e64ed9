// Package proxy is the client side: it owns the clients' sockets, from accept
// to the last byte, and links each client to a server connection of a pool
// while a transaction or a pin lasts.
//
// A client comes through the door (listener, startup, authenticate), where
// everything is blocking code on a goroutine. What proved who it is becomes a
// session on the event loop of its pool, where everything is run-to-completion
// code that takes no lock and never blocks. The package knows how to ask for
// server connections (Opener) but not how they are made: it must not import the
// AWS SDK, an SSH client, a YAML or an SQL parser.
package proxy

import (
	"context"
	"net"
	"runtime"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"

	"pggateway/config"
	"pggateway/netloop"
)

// Options is what a Proxy is made of. Everything but Loops is required.
type Options struct {
	Config  *config.Config
	Secrets secrets
	// Target makes what opens connections to a database of an upstream with a login.
	Target func(u *config.Upstream, login *config.Login, database string) (Opener, error)
	Log    *zap.Logger
	Now    func() time.Time
	Loops  int           // event loops; 0: GOMAXPROCS
	Linger time.Duration // of each loop: see netloop.Loop
}

// Proxy serves the listeners of one configuration.
type Proxy struct {
	config *config.Config
	limits limits
	target func(*config.Upstream, *config.Login, string) (Opener, error)
	log    *zap.Logger
	now    func() time.Time
	door   *door
	keys   cancelKeys
	pins   pinCounts
	loops  []*netloop.Loop

	ctx     context.Context // of background work; ends with Close
	stop    context.CancelFunc
	work    sync.WaitGroup // background work
	running sync.WaitGroup // loops
	serving bool           // the loops run
	clients sync.WaitGroup // sessions

	mu       sync.Mutex
	hosts    map[hostKey]*host
	relays   map[*relay]struct{}
	next     int  // the loop that the next host or relay goes to
	draining bool // who comes now is told to go
}

// New makes a proxy that listens nowhere yet. ctx bounds the resolution of
// secrets and is the parent of all that the proxy does until Close.
func New(ctx context.Context, o Options) (*Proxy, error) {
	p := &Proxy{
		config: o.Config, limits: newLimits(o.Config.Limits), target: o.Target, log: o.Log, now: o.Now,
		hosts: make(map[hostKey]*host), relays: make(map[*relay]struct{}),
	}
	p.keys.holders = make(map[uint32]keyHolder)
	p.ctx, p.stop = context.WithCancel(ctx)
	var err error
	p.door, err = newDoor(ctx, doorParts{
		config: o.Config, secrets: o.Secrets, log: o.Log, now: o.Now,
		admit: p.admit, cancel: p.keys.serve,
	})
	if err != nil {
		p.stop()
		return nil, err
	}
	loops := o.Loops
	if loops == 0 {
		loops = runtime.GOMAXPROCS(0)
	}
	for range loops {
		l, err := netloop.New()
		if err != nil {
			p.stop()
			return nil, err
		}
		l.Linger = o.Linger
		p.loops = append(p.loops, l)
	}
	return p, nil
}

// Listen binds every listener's address.
func (p *Proxy) Listen(ctx context.Context) error { return p.door.open(ctx) }

// Addresses are the bound addresses, in the order of the configuration.
func (p *Proxy) Addresses() []net.Addr { return p.door.addresses() }

// Serve begins to serve clients, and returns.
func (p *Proxy) Serve() {
	p.serving = true
	for _, l := range p.loops {
		p.running.Go(l.Run)
	}
	p.warm()
	p.door.serve()
}

// Drain stops listening, tells idle clients to go (57P01), lets transactions
// finish, and returns when no client is left, or ctx ends.
func (p *Proxy) Drain(ctx context.Context) error {
	p.door.close()
	p.mu.Lock()
	p.draining = true
	for _, h := range p.hosts {
		h.loop.Post(h.drain)
	}
	for r := range p.relays {
		r.loop.Post(r.drain)
	}
	p.mu.Unlock()
	done := make(chan struct{})
	go func() { defer close(done); p.clients.Wait() }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close ends everything at once, and returns when no goroutine is left. It is
// called after Drain, whether that succeeded or not, and from the goroutine that
// called Serve, if that was called at all.
func (p *Proxy) Close() {
	p.stop()
	if !p.serving {
		for _, l := range p.loops {
			l.Stop()
			l.Run() // closes what it has
		}
		return
	}
	var closed sync.WaitGroup
	for _, l := range p.loops {
		closed.Add(1)
		l.Post(func() {
			defer closed.Done()
			p.closeHosts(l)
			p.closeRelays(l)
		})
	}
	closed.Wait() // no loop begins background work any more
	p.work.Wait()
	for _, l := range p.loops {
		l.Stop()
	}
	p.running.Wait()
}

// closeHosts ends the sessions and pools of a loop, on that loop.
func (p *Proxy) closeHosts(l *netloop.Loop) {
	p.mu.Lock()
	var mine []*host
	for _, h := range p.hosts {
		if h.loop == l {
			mine = append(mine, h)
		}
	}
	p.mu.Unlock()
	for _, h := range mine {
		h.closing = true
		for s := h.sessions; s != nil; s = s.next {
			h.pool.Forget(&s.Waiter) // what it waits to send is not sent any more
		}
		for h.sessions != nil {
			h.sessions.fatal(faultDraining())
		}
		h.pool.Close()
	}
}

// background runs work that may wait, on a goroutine that Close waits for.
func (p *Proxy) background(work func(ctx context.Context)) {
	p.work.Go(func() { work(p.ctx) })
}

// admit takes over a client from the door: its pool's loop makes a session of it.
func (p *Proxy) admit(c *client) {
	if c.replication != noReplication {
		p.relay(c)
		return
	}
	p.mu.Lock()
	h := p.host(c.upstream, c.access.Login, c.database)
	h.users++
	p.clients.Add(1)
	p.mu.Unlock()
	h.loop.Post(func() { h.begin(c) })
}

// host finds the pool of a database with a login, nil standing for the
// upstream's own, or makes it. The caller holds mu.
func (p *Proxy) host(u *config.Upstream, login *config.Login, database string) *host {
	if login == nil {
		login = &u.Login
	}
	key := hostKey{upstream: u.Name, login: login, database: database}
	if h := p.hosts[key]; h != nil {
		return h
	}
	target, err := p.target(u, login, database)
	if err != nil {
		target = unusable{err}
	}
	h := newHost(p, key, u, target, p.loops[p.next%len(p.loops)])
	p.next++
	p.hosts[key] = h
	return h
}

// warm makes the pools that keep connections ready, and has them open those. A
// pattern's databases are not known before somebody asks for them.
func (p *Proxy) warm() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, w := range p.config.Writers {
		for _, access := range w.Upstreams {
			if access.Grants.Replication {
				continue // its connections come from no pool
			}
			i := slices.IndexFunc(p.config.Upstreams, func(u *config.Upstream) bool { return u.Name == access.Name })
			if i < 0 {
				continue
			}
			u := p.config.Upstreams[i]
			if u.Pool.MinIdle == 0 || u.Pattern() {
				continue
			}
			database := u.Database
			if database == "" {
				database = u.Name
			}
			h := p.host(u, access.Login, database)
			h.loop.Post(func() { h.pool.Tick(); h.watch() })
		}
	}
}

// left counts a client out.
func (p *Proxy) left(h *host) {
	p.mu.Lock()
	h.users--
	p.mu.Unlock()
	p.clients.Done()
}

// forget drops a host without connections, unless a client is on its way to it,
// and reports whether it did. Patterns would otherwise let hosts pile up, one for
// each name ever asked for.
func (p *Proxy) forget(h *host) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if h.users == 0 && p.hosts[h.key] == h {
		delete(p.hosts, h.key)
	}
	return h.users == 0
}
