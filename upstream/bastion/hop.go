package bastion

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"pggateway/config"
)

// hop is one SSH server on the way to upstreams: its connection, or the attempt
// to make one, or the time before which none is made.
type hop struct {
	set    *Set
	server *config.Bastion
	before *hop   // the jump host to come from; nil: straight
	depth  int    // its place on the way, from 1
	name   string // user@host:port

	mu       sync.Mutex
	link     *link    // nil when there is none
	running  *attempt // nil when none runs
	failures int      // in a row, short-lived connections included
	refusals int      // in a row
	retryAt  time.Time
	last     *Error // why the last attempt, or the last connection, failed; nil when it did not
}

// attempt is one try to connect, shared by all who wait for it. link and err are
// set when done is closed.
type attempt struct {
	done chan struct{}
	link *link
	err  *Error
}

func (h *hop) errorf(kind Kind, format string, args ...any) *Error {
	return &Error{h.name, kind, fmt.Errorf(format, args...)}
}

// dial opens a forwarded connection.
func (h *hop) dial(ctx context.Context, addr string) (net.Conn, error) {
	l, e := h.get(ctx)
	if e != nil {
		return nil, e
	}
	conn, e := l.open(ctx, addr)
	if e != nil {
		return nil, e
	}
	return conn, nil
}

// get returns the live connection, or waits for one.
func (h *hop) get(ctx context.Context) (*link, *Error) {
	for {
		h.mu.Lock()
		if l := h.link; l != nil {
			h.mu.Unlock()
			return l, nil
		}
		wait, last := h.retryAt.Sub(h.set.o.Now()), h.last
		a := h.running
		if a == nil && wait <= 0 {
			a = &attempt{done: make(chan struct{})}
			if !h.set.spawn(func() { h.try(a) }) {
				h.mu.Unlock()
				return nil, &Error{h.name, Closed, errClosed}
			}
			h.running = a
		}
		h.mu.Unlock()
		if a != nil {
			select {
			case <-a.done:
				return a.link, a.err
			case <-ctx.Done():
				return nil, h.gaveUp(ctx, last)
			}
		}
		if deadline, ok := ctx.Deadline(); last.refusal() || ok && time.Until(deadline) < wait {
			return nil, last // waiting would not help
		}
		t := time.NewTimer(wait)
		select {
		case <-t.C:
		case <-h.set.ctx.Done():
		case <-ctx.Done():
			t.Stop()
			return nil, h.gaveUp(ctx, last)
		}
	}
}

// gaveUp is the error of a caller whose time was up before there was a
// connection: the reason that is known, or else that there was no answer.
func (h *hop) gaveUp(ctx context.Context, last *Error) *Error {
	switch {
	case last != nil:
		return &Error{last.Bastion, last.Kind, fmt.Errorf("%w; the last attempt: %w", context.Cause(ctx), last.Err)}
	case timedOut(ctx.Err()):
		return &Error{h.name, Unanswered, fmt.Errorf("no connection in time: %w", context.Cause(ctx))}
	}
	return &Error{h.name, Unreachable, context.Cause(ctx)}
}

// try connects, on the attempt's own goroutine. It ends within the timeouts for
// the hop and those before it, or with the Set.
func (h *hop) try(a *attempt) {
	o := &h.set.o
	ctx, stop := context.WithTimeout(h.set.ctx, time.Duration(h.depth)*(o.DialTimeout+o.HandshakeTimeout))
	defer stop()
	began := o.Now()
	l, e := h.connect(ctx)
	log := o.Log.With(zap.String("bastion", h.name))

	h.mu.Lock()
	h.running = nil
	if e == nil {
		h.link, h.last, h.refusals, h.retryAt = l, nil, 0, time.Time{}
	} else {
		h.failed(e)
	}
	retry := h.retryAt.Sub(o.Now())
	h.mu.Unlock()

	a.link, a.err = l, e
	close(a.done)
	switch {
	case e == nil:
		log.Info("bastion connected", zap.Duration("took", o.Now().Sub(began)))
		l.run()
	case h.set.ctx.Err() != nil:
	default:
		log.Warn("no connection to bastion", zap.Error(e.Err), zap.Duration("retry", max(retry, 0)))
	}
}

// failed notes a failure and decides when to try again. Errors of the gateway's
// own key, and of a hop before this one, say nothing about this server.
// h.mu is held.
func (h *hop) failed(e *Error) {
	o := &h.set.o
	h.last = e
	switch {
	case e.Bastion != h.name || e.Kind == Identity || e.Kind == Closed:
		h.retryAt = time.Time{}
		return
	case e.refusal():
		h.refusals++
		h.retryAt = o.Now().Add(backoff(o.RefusedMin, o.RefusedMax, h.refusals))
	default:
		h.failures++
		h.retryAt = o.Now().Add(backoff(o.BackoffMin, o.BackoffMax, h.failures))
	}
}

// backoff is least doubled with every failure after the first, up to most, give
// or take a quarter, so that gateways that lost a bastion together do not come
// back together: sshd drops what comes in at once (MaxStartups).
func backoff(least, most time.Duration, failures int) time.Duration {
	d := most
	if n := failures - 1; n < 16 && least<<n < most {
		d = least << n
	}
	return d - d/4 + rand.N(d/2+1)
}

// ended is called when the hop's connection is no more, and why.
func (h *hop) ended(l *link, e *Error) {
	o := &h.set.o
	lived := o.Now().Sub(l.since)
	h.mu.Lock()
	if h.link == l {
		h.link = nil
		if lived < o.BackoffMax {
			h.failed(e)
		} else {
			h.failures, h.last, h.retryAt = 0, e, time.Time{}
		}
	}
	h.mu.Unlock()
	if h.set.ctx.Err() == nil {
		o.Log.Warn("bastion lost", zap.String("bastion", h.name), zap.Error(e.Err), zap.Duration("lived", lived))
	}
}

// connect makes an SSH connection.
func (h *hop) connect(ctx context.Context) (*link, *Error) {
	o := &h.set.o
	signer, err := identityOf(ctx, o.Secrets, h.server)
	if err != nil {
		return nil, &Error{h.name, Identity, err}
	}
	p, err := readPins(h.server)
	if err != nil {
		return nil, &Error{h.name, HostKey, err}
	}
	conn, e := h.reach(ctx)
	if e != nil {
		return nil, e
	}
	watched := newWatchedConn(conn)

	ctx, stop := context.WithTimeout(ctx, o.HandshakeTimeout)
	defer stop()
	cut := context.AfterFunc(ctx, func() { _ = conn.Close() })
	var hostKey error
	c, channels, requests, err := ssh.NewClientConn(watched, address(h.server), &ssh.ClientConfig{
		User: h.server.User,
		Auth: []ssh.AuthMethod{ssh.PublicKeys(signer)},
		HostKeyCallback: func(host string, remote net.Addr, key ssh.PublicKey) error {
			hostKey = p.check(host, remote, key)
			return hostKey
		},
		HostKeyAlgorithms: p.algorithms,
	})
	if !cut() && err == nil {
		_ = c.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		return nil, h.explain(ctx, p, hostKey, err)
	}
	return newLink(h, watched, ssh.NewClient(c, channels, requests)), nil
}

// reach opens the connection that SSH is to run on.
func (h *hop) reach(ctx context.Context) (net.Conn, *Error) {
	if h.before != nil {
		conn, err := h.before.dial(ctx, address(h.server))
		if err != nil {
			e := (*Error)(nil)
			errors.As(err, &e)
			return nil, e
		}
		return conn, nil
	}
	conn, err := h.set.dialer.Dial(ctx, h.server.Host, port(h.server))
	switch {
	case err == nil:
		return conn, nil
	case timedOut(err):
		return nil, &Error{h.name, Unanswered, err}
	}
	return nil, &Error{h.name, Unreachable, err}
}

// explain sorts and words why the handshake failed.
func (h *hop) explain(ctx context.Context, p *pins, hostKey, err error) *Error {
	var mismatch *ssh.AlgorithmNegotiationError
	text := err.Error()
	switch {
	case h.set.ctx.Err() != nil:
		return &Error{h.name, Closed, errClosed}
	case hostKey != nil:
		return &Error{h.name, HostKey, hostKey}
	case errors.As(err, &mismatch) && mismatch.What == "host key":
		return h.errorf(HostKey, "it has no host key of a pinned type: it offers %s, expected %s",
			strings.Join(mismatch.RequestedAlgorithms, ", "), p.expected())
	case strings.Contains(text, textRefused), strings.Contains(text, textTooMany), strings.Contains(text, textNoMethod):
		return h.errorf(Unauthorized, "it does not accept the key of user %s (is its public half, `gateway pubkey`, in authorized_keys?): %w",
			h.server.User, err)
	case timedOut(ctx.Err()):
		return &Error{h.name, Unanswered, fmt.Errorf("%w during the SSH handshake: %w", errUnanswered, err)}
	case strings.HasSuffix(text, "EOF"):
		return h.errorf(Handshake, "it closed the connection during the handshake (busy, or penalizing this address): %w", err)
	}
	return &Error{h.name, Handshake, err}
}
