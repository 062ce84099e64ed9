package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"go.uber.org/zap"

	"pggateway/config"
	"pggateway/wire"
)

// secrets is what the door wants of package secret.
type secrets interface {
	Text(ctx context.Context, s config.Secret) (string, error)
	// PrivateKey refuses a file that others than its owner can read.
	PrivateKey(ctx context.Context, s config.Secret) ([]byte, error)
}

// doorParts is what a door is made of. Everything in it is required.
type doorParts struct {
	config  *config.Config
	secrets secrets
	log     *zap.Logger
	now     func() time.Time // wall clock; socket deadlines are derived from it

	// admit takes over a client, its socket and its seat. It runs on the login's
	// goroutine and must not wait for the client. It may still be called while
	// close waits, but not after close returned.
	admit func(*client)
	// cancel serves a CancelRequest that presented the key; the connection it
	// came on is closed when what it returns is.
	cancel func(wire.CancelKey) <-chan struct{}
}

// door is where clients come in: it listens, and brings each connection from
// accept to a client that proved who it is, or to a refusal that a PostgreSQL
// driver understands. It is blocking code and knows no event loop.
//
// A door owns its listening sockets, the sockets of logins in progress and
// their goroutines. What admit took is no longer its business.
type door struct {
	doorParts
	admission  *admission
	routes     *routes
	identities *identities
	listeners  []*listener

	work    sync.WaitGroup // accept loops and logins
	closing chan struct{}  // closed first thing by close

	mu     sync.Mutex
	logins map[*login]struct{} // in progress; guarded by mu
}

// newDoor resolves what the listeners and writers need (certificates, verifiers)
// and opens no socket. Verifiers of writers that are given by a password are
// computed here, about a millisecond each, because at login they would be the
// most expensive part of it.
func newDoor(ctx context.Context, p doorParts) (*door, error) {
	d := &door{
		doorParts: p,
		admission: newAdmission(p.config.Limits.MaxClients),
		routes:    newRoutes(p.config.Upstreams),
		closing:   make(chan struct{}),
		logins:    make(map[*login]struct{}),
	}
	var faults []error
	for i, l := range p.config.Listen {
		made, err := newListener(ctx, d, l)
		if err != nil {
			faults = append(faults, fmt.Errorf("listen[%d].%w", i, err))
			continue
		}
		d.listeners = append(d.listeners, made)
	}
	ids, err := newIdentities(ctx, p.config.Writers, p.secrets, mockSeed(d.listeners))
	if err != nil {
		faults = append(faults, err)
	}
	d.identities = ids
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return d, nil
}

// open binds every address. After an error none is bound.
func (d *door) open(ctx context.Context) error {
	for i, l := range d.listeners {
		if err := l.open(ctx); err != nil {
			for _, o := range d.listeners {
				o.shut()
			}
			return fmt.Errorf("listen[%d].address: %w", i, err)
		}
	}
	return nil
}

// addresses are the bound addresses, in the order of the configuration.
func (d *door) addresses() []net.Addr {
	var a []net.Addr
	for _, l := range d.listeners {
		a = append(a, l.socket.Addr())
	}
	return a
}

// serve accepts connections, on goroutines of its own, until close.
func (d *door) serve() {
	for _, l := range d.listeners {
		d.work.Go(l.accept)
	}
}

// close stops accepting, ends every login in progress with 57P01 and returns
// when their goroutines are gone: within farewell and linger, and what admit
// takes. It is called once.
func (d *door) close() {
	close(d.closing)
	for _, l := range d.listeners {
		l.shut()
	}
	d.mu.Lock()
	for l := range d.logins {
		l.interrupt()
	}
	d.mu.Unlock()
	d.work.Wait()
}

// closed reports whether close was called.
func (d *door) closed() bool {
	select {
	case <-d.closing:
		return true
	default:
		return false
	}
}

// begin notes a login in progress, so that close can interrupt it.
func (d *door) begin(l *login) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.logins[l] = struct{}{}
	if d.closed() {
		l.interrupt()
	}
}

// end forgets a login: its socket is closed, or about to belong to someone else.
func (d *door) end(l *login) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.logins, l)
}
