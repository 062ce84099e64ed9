package proxy

import (
	"errors"
	"io"

	"go.uber.org/zap"

	"pggateway/wire"
)

// lost ends the backend because its server did.
func (b *backend) lost(err error) {
	s := b.session
	b.session = nil
	b.destroy()
	if errors.Is(err, io.EOF) {
		err = errServerClosed
	}
	switch {
	case s != nil:
		b.host.log.Warn("server connection lost", zap.Error(err))
	case errors.Is(err, errServerClosed):
		b.host.log.Debug("idle server connection lost", zap.Error(err))
	default:
		b.host.log.Info("idle server connection closed", zap.Error(err))
	}
	if s != nil {
		s.serverLost(b, err)
	}
}

// end closes a connection that must not be reused, telling the server so.
func (b *backend) end(reason string) {
	b.host.log.Debug("server connection closed", zap.String("reason", reason))
	b.session = nil
	b.bye()
	b.destroy()
}

// bye tells the server that the connection ends, where it can be told: behind
// half a message a Terminate would be taken for its other half, and a statement
// run that nobody has written.
func (b *backend) bye() {
	if b.stream.Held() == 0 && !b.cut {
		b.send(wire.AppendTerminate(nil))
	}
}

// destroy closes the socket and leaves the pool.
func (b *backend) destroy() {
	b.shut()
	b.host.pool.Discard(b.slot)
}

// shut closes the socket.
func (b *backend) shut() {
	b.host.dismiss(b)
	b.unhold()
	b.answered()
	b.loaded.end()
	b.parked = false
	b.stream.Close()
}

// leave is called when the session is through with the backend for good: its
// client has gone or has logged out.
func (b *backend) leave(pinned bool) {
	b.session = nil
	b.stream.Resume()
	switch {
	case b.copyOpen || b.doubt || b.stream.Held() > 0,
		!b.ready && !b.requests.conclusive(b.requests.n):
		b.end("client left in the middle of a request")
	case b.requests.n > 0:
		// What was sent is left to the server to finish, as it would be if the
		// client had been connected to it. Its replies go nowhere.
		b.orphan, b.wasted = true, 0
	case pinned:
		b.recycle()
	case b.clean():
		b.release()
	default:
		b.end("client left a transaction open")
	}
}

// recycle makes a backend with a client's state in it fit for another.
func (b *backend) recycle() {
	if !b.clean() {
		b.end("client left a transaction open")
		return
	}
	b.resetting = true
	b.refused = nil
	b.own(wire.Query)
	b.send(wire.AppendQuery(nil, "DISCARD ALL"))
	b.expectSoon()
}

// release gives a clean backend back to the pool, unless a cancel request may
// still be on its way: it must not hit the next client's statement.
func (b *backend) release() {
	b.session = nil
	b.stream.Resume()
	b.loaded.pass()
	switch {
	case b.spoiled:
		b.end("a library was loaded")
		return
	case b.loaded.strays > maxStrays:
		b.end("too many statements were left behind")
		return
	}
	if b.cancels > 0 {
		b.parked = true
		return
	}
	b.host.pool.Release(b.slot)
}
