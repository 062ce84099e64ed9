package bastion

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"sync"
	"time"

	"go.uber.org/zap"

	"pggateway/config"
	"pggateway/upstream/dial"
)

// Secrets reads private keys. *secret.Resolver is one.
type Secrets interface {
	// PrivateKey returns the text of a private key and refuses a file that others may read.
	PrivateKey(ctx context.Context, s config.Secret) ([]byte, error)
}

// Options are what a Set needs and how patient it is. Zero durations stand for
// the defaults given.
type Options struct {
	Source   netip.Addr    // local address of the TCP connections (egress.source_ip); zero: the kernel chooses
	Resolver dial.Resolver // nil: the system's
	Secrets  Secrets
	Log      *zap.Logger      // nil: none
	Now      func() time.Time // nil: time.Now

	DialTimeout      time.Duration // TCP connection, 10 s
	HandshakeTimeout time.Duration // key exchange and login, 15 s

	// A keepalive request is sent every KeepaliveInterval (15 s); when nothing at
	// all was received for KeepaliveTimeout (10 s) after one, the connection is given up.
	KeepaliveInterval time.Duration
	KeepaliveTimeout  time.Duration

	// After a failure the next attempt waits BackoffMin (1 s), doubled each time
	// up to BackoffMax (30 s), give or take a quarter. A connection that lived
	// shorter than BackoffMax counts as one.
	BackoffMin, BackoffMax time.Duration
	// After a refused key, or an unexpected host key, it waits RefusedMin (1 min),
	// doubled up to RefusedMax (10 min), and callers get the error at once.
	RefusedMin, RefusedMax time.Duration
}

func (o *Options) fill() {
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{
		{&o.DialTimeout, dial.Timeout},
		{&o.HandshakeTimeout, 15 * time.Second},
		{&o.KeepaliveInterval, 15 * time.Second},
		{&o.KeepaliveTimeout, 10 * time.Second},
		{&o.BackoffMin, time.Second},
		{&o.BackoffMax, 30 * time.Second},
		{&o.RefusedMin, time.Minute},
		{&o.RefusedMax, 10 * time.Minute},
	} {
		if *d.at == 0 {
			*d.at = d.def
		}
	}
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Now == nil {
		o.Now = time.Now
	}
}

// Set is the SSH connections of a gateway, one for each bastion.
type Set struct {
	o      Options
	dialer *dial.Dialer
	ctx    context.Context // ends with Close
	stop   context.CancelFunc
	work   sync.WaitGroup // every goroutine of the Set; added to under mu while not closed

	mu     sync.Mutex
	closed bool
	hops   map[[sha256.Size]byte]*hop // by the way to it; never removed, there are as many as the configuration names
}

var errClosed = errors.New("closed")

// NewSet returns a Set without connections; they are made when needed. It ends
// with ctx or Close, whichever is first; Close must be called in any case.
func NewSet(ctx context.Context, o Options) *Set {
	o.fill()
	s := &Set{
		o:      o,
		dialer: &dial.Dialer{Source: o.Source, Resolver: o.Resolver, Timeout: o.DialTimeout},
		hops:   map[[sha256.Size]byte]*hop{},
	}
	s.ctx, s.stop = context.WithCancel(ctx)
	return s
}

// Dial connects to addr, a host:port that the bastion resolves, through the
// bastion and the jump hosts before it. It waits for a connection to the bastion
// that is being made, or for the time when one may be tried again, as long as ctx
// allows.
//
// The connection is a *net.UnixConn that the caller owns. When the other side
// closes, or the bastion is lost, it reads io.EOF. Errors are *Error.
func (s *Set) Dial(ctx context.Context, b *config.Bastion, addr string) (net.Conn, error) {
	h := s.hop(way(b))
	conn, err := h.dial(ctx, addr)
	if e := (*Error)(nil); errors.As(err, &e) && e.Kind == Lost && ctx.Err() == nil {
		// The connection was dead and nobody had noticed: one more time on a new one.
		conn, err = h.dial(ctx, addr)
	}
	if err != nil {
		return nil, err
	}
	return conn, nil
}

// Close ends every connection and waits until nothing of the Set runs any more.
func (s *Set) Close() {
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.work.Wait()
}

// spawn runs f on a goroutine that Close waits for. It reports whether it did:
// a closed Set starts nothing.
func (s *Set) spawn(f func()) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.ctx.Err() != nil {
		return false
	}
	s.work.Go(f)
	return true
}

// way lists the SSH servers to go through, in order, the bastion last.
func way(b *config.Bastion) []*config.Bastion {
	var all []*config.Bastion
	for _, j := range b.Jump {
		all = append(all, way(j)...)
	}
	return append(all, b)
}

// hop returns the one hop for the last server of the way, and those before it.
func (s *Set) hop(way []*config.Bastion) *hop {
	s.mu.Lock()
	defer s.mu.Unlock()
	var last *hop
	for i, b := range way {
		k := key(way[:i+1])
		h := s.hops[k]
		if h == nil {
			h = &hop{set: s, server: b, before: last, depth: i + 1, name: b.User + "@" + address(b)}
			s.hops[k] = h
		}
		last = h
	}
	return last
}

// key tells ways apart: by all that decides who is reached, as whom, and how it
// is made sure of. Pins belong to it: an upstream must not be served by a
// connection that another one's laxer pins let through. It is a digest because
// a literal: identity is a key in itself.
func key(way []*config.Bastion) [sha256.Size]byte {
	h := sha256.New()
	for _, b := range way {
		pins := slices.Clone(b.HostKeys)
		slices.Sort(pins)
		fmt.Fprintf(h, "%q %q %q %q %q %q %q %q %q\n", address(b), b.User,
			b.Identity.Scheme, b.Identity.Ref, b.Identity.Key,
			b.KnownHosts.Scheme, b.KnownHosts.Ref, b.KnownHosts.Key, pins)
	}
	return [sha256.Size]byte(h.Sum(nil))
}

// address is a bastion's host:port.
func address(b *config.Bastion) string {
	return net.JoinHostPort(b.Host, strconv.Itoa(int(port(b))))
}

func port(b *config.Bastion) uint16 {
	if b.Port == 0 {
		return 22
	}
	return b.Port
}
