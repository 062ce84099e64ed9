package proxy

import (
	"context"
	"crypto/rand"
	"crypto/subtle"
	"encoding/binary"
	"errors"
	"sync"
	"time"

	"go.uber.org/zap"

	"pggateway/upstream"
	"pggateway/wire"
)

// keyHolder is whom a CancelRequest may be meant for.
type keyHolder interface {
	heldKey() *wire.CancelKey // guarded by cancelKeys.mu
	// postCancel serves a request on its loop, and calls served, from any
	// goroutine, when the server has taken it or there is none to send.
	postCancel(served func())
}

func (s *session) heldKey() *wire.CancelKey { return &s.key }

func (s *session) postCancel(served func()) { s.host.loop.Post(func() { s.cancel(served) }) }

// cancelKeys finds whom a CancelRequest is meant for. The keys are
// the gateway's own: what a server gave for its connection stays here, since in
// transaction mode the connection may be another client's by the time a cancel
// request comes.
type cancelKeys struct {
	mu      sync.Mutex
	holders map[uint32]keyHolder // by the key's process ID
}

// Lengths of the secret part of a key, in bytes ("BackendKeyData").
const (
	secretLen30 = 4
	secretLen32 = 32
)

// issue gives a session of that protocol version its key, and registers it.
func (k *cancelKeys) issue(h keyHolder, version uint32) {
	n := secretLen30
	if version >= wire.Version32 {
		n = secretLen32
	}
	random := make([]byte, 4+n)
	_, _ = rand.Read(random) // never fails: see its documentation
	pid := binary.BigEndian.Uint32(random) &^ (1 << 31)
	k.mu.Lock()
	defer k.mu.Unlock()
	for k.holders[pid] != nil || pid == 0 {
		pid = (pid + 1) &^ (1 << 31) // drivers read it as a signed number
	}
	*h.heldKey() = wire.CancelKey{PID: pid, Secret: random[4:]}
	k.holders[pid] = h
}

// revoke forgets a session's key.
func (k *cancelKeys) revoke(h keyHolder) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.holders, h.heldKey().PID)
}

// serve passes a CancelRequest to its session. A wrong key is ignored without a
// word, as in PostgreSQL, and its secret compared in constant time. What it
// returns is closed when no request is on its way any more: a client that waits
// for its connection to be closed, as libpq does, may rely on its next statement
// not being hit.
func (k *cancelKeys) serve(key wire.CancelKey) <-chan struct{} {
	k.mu.Lock()
	h := k.holders[key.PID]
	var secret []byte
	if h != nil {
		secret = h.heldKey().Secret
	}
	k.mu.Unlock()
	served := make(chan struct{})
	if h != nil && subtle.ConstantTimeCompare(secret, key.Secret) == 1 {
		h.postCancel(func() { close(served) })
	} else {
		close(served)
	}
	return served
}

// cancel serves a CancelRequest with this session's key.
func (s *session) cancel(served func()) {
	switch {
	case s.ended || s.greeting:
	case s.Waiting():
		s.host.pool.Forget(&s.Waiter)
		s.Refuse(errCanceled)
	case s.setup: // the server runs nothing of this client's
	case s.backend != nil && s.backend.requests.n > 0:
		s.backend.cancel(served)
		return
	}
	served()
}

const (
	// cancelTimeout bounds how long a cancel request may take on its way.
	cancelTimeout = 10 * time.Second
	// maxCancels bounds how many are on their way at once for one backend, each
	// of which costs the upstream a connection.
	maxCancels = 4
)

// cancel asks the server to cancel what it is doing, on a connection of its own,
// and calls served when that was done.
func (b *backend) cancel(served func()) {
	if b.cancels == maxCancels {
		served()
		return
	}
	b.cancels++
	conn, loop := b.conn, b.host.loop
	b.host.proxy.background(func(ctx context.Context) {
		ctx, stop := context.WithTimeout(ctx, cancelTimeout)
		defer stop()
		err := conn.Cancel(ctx)
		served()
		loop.Post(func() { b.cancelled(err) })
	})
}

// cancelled is called when the server has taken the cancel request, or the way
// to it failed.
func (b *backend) cancelled(err error) {
	b.cancels--
	switch {
	case errors.Is(err, upstream.ErrNoCancel):
		b.host.noCancel()
	case err != nil:
		b.host.log.Warn("cancel request failed", zap.Error(err))
	}
	b.expired()
	if s := b.session; b.cancels == 0 && s != nil && s.restore == restoreHeld {
		s.restoreStartup()
	}
	if b.cancels == 0 && b.parked {
		b.parked = false
		b.host.pool.Release(b.slot)
	}
}

// noCancel notes, once for each pool, that a server takes no cancel requests. The
// client's has no effect then, as one that comes too late.
func (h *host) noCancel() {
	if h.cancelless {
		return
	}
	h.cancelless = true
	h.log.Warn("the upstream takes no cancel requests: its servers give no key for them (RDS Proxy does not); those of clients have no effect")
}
