package proxy

import (
	"context"
	"errors"
	"io"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"pggateway/config"
	"pggateway/fault"
	"pggateway/netloop"
	"pggateway/upstream"
	"pggateway/wire"
)

// relay is a client that replicates, with a server connection of its own, which
// was opened for it and is closed with it. No pool knows of either.
//
// Silence means nothing here: a standby without work and one whose server is gone
// look alike for hours. TCP's keepalive on both sockets, and what the two say to
// each other over the stream, tell them apart. So limits on silence and on the
// time a statement takes do not apply; only who takes nothing is ended (stall).
type relay struct {
	proxy    *Proxy
	loop     *netloop.Loop
	log      *zap.Logger
	writer   *config.Writer
	access   *config.WriterUpstream
	upstream *config.Upstream
	database string
	mode     replication
	seat     *seat
	remote   netip.AddrPort

	client *netloop.Stream
	server *netloop.Stream // nil until it was opened
	conn   canceler
	stop   context.CancelFunc // ends the opening of the server connection

	key  wire.CancelKey // what the client's cancel requests present
	owed []byte         // to be sent before AuthenticationOk; nil after the greeting

	in   []byte // a chunk: what the client sent and nobody has taken yet; nil when empty
	rest int    // bytes still to come of the client's message whose beginning has been taken
	held []byte // a chunk: the beginning of a reply that has to be seen whole
	due  int    // bytes still to come of the server's message whose beginning was sent on

	tx        byte // ReadyForQuery's latest status
	asked     bool // a command is with the server
	streaming bool // and it reads COPY
	pouring   bool // and it sends COPY
	over      bool // the client has ended its half of that COPY
	discard   bool // rest is thrown away
	skipping  bool // an error was answered here: everything up to the next Sync is ignored
	turned    bool // what the replies said may let the client's messages go on
	told      bool // the server said itself why it ends the connection
	hungup    bool // the client has ended its half while it was not read
	draining  bool // ends at the next boundary
	ended     bool
	cancels   int // cancel requests on their way
	stall     stall
	watcher   *netloop.Timer

	started  time.Duration // the loop's clock when it came to the loop
	received int64         // bytes from the client
	sent     int64         // bytes to the client
}

// The two streams of a relay tell different things.
type (
	relayClient relay
	relayServer relay
)

// relay takes over a client that replicates.
func (p *Proxy) relay(c *client) {
	r := &relay{
		proxy: p, writer: c.writer, access: c.access, upstream: c.upstream, database: c.database,
		mode: c.replication, seat: c.seat, remote: c.remote, owed: c.greeting, tx: wire.TxIdle,
		log: p.log.With(zap.String("upstream", c.upstream.Name), zap.String("database", c.database)),
	}
	p.mu.Lock()
	p.clients.Add(1)
	p.relays[r] = struct{}{}
	r.draining = p.draining
	r.loop = p.loops[p.next%len(p.loops)]
	p.next++
	p.mu.Unlock()
	r.loop.Post(func() { r.begin(c) })
}

// begin asks for a server connection.
func (r *relay) begin(c *client) {
	r.started = r.loop.Now()
	r.proxy.keys.issue(r, c.startup.Version)
	var err error
	if r.client, err = r.loop.Attach(c.transport, c.tls, (*relayClient)(r)); err != nil {
		r.end("client lost", err)
		return
	}
	r.client.Pause()
	if len(c.leftover) > 0 {
		r.in = r.loop.Extend(nil, c.leftover)
	}
	settings, f := replicationSettings(c.startup)
	switch {
	case f != nil:
		r.fatal(f)
		return
	case r.draining:
		r.fatal(faultDraining())
		return
	}
	limit := openTimeout
	if t := r.proxy.config.Limits.LoginTimeout; t > 0 {
		limit = min(limit, t-r.proxy.now().Sub(c.accepted))
	}
	ctx, stop := context.WithTimeoutCause(r.proxy.ctx, limit, errLoginTimeout)
	r.stop = stop
	r.proxy.background(func(context.Context) {
		conn, err := r.open(ctx, settings)
		r.loop.Post(func() { r.opened(conn, err) })
	})
}

// open opens the server connection, on a goroutine of its own.
func (r *relay) open(ctx context.Context, settings []wire.Parameter) (*upstream.Conn, error) {
	login := r.access.Login
	if login == nil {
		login = &r.upstream.Login
	}
	target, err := r.proxy.target(r.upstream, login, r.database)
	if err != nil {
		return nil, err
	}
	return target.OpenReplication(ctx, string(r.mode), settings)
}

// opened takes the server connection and tells the client that it is logged in.
func (r *relay) opened(conn *upstream.Conn, err error) {
	if err == nil && (r.ended || len(conn.Leftover) > 0) {
		_ = conn.Close()
		err = errUnasked
	}
	if r.ended {
		return
	}
	r.stop()
	if err == nil {
		r.server, err = r.loop.Attach(conn.Transport, conn.TLS, (*relayServer)(r))
	}
	if err != nil {
		r.fatal(r.unavailable(err))
		return
	}
	r.conn = conn
	msg := wire.AppendAuthenticationOK(r.owed)
	r.owed = nil
	for _, p := range conn.Parameters {
		msg = wire.AppendParameterStatus(msg, p)
	}
	msg = wire.AppendBackendKeyData(msg, r.key)
	r.reply(wire.AppendReadyForQuery(msg, wire.TxIdle))
	r.log.Info("login", zap.String("writer", r.writer.Name), zap.Stringer("client", r.remote), zap.String("replication", string(r.mode)))
	r.watch()
	r.resume()
}

// greeting reports whether the client was not told yet that it is logged in.
func (r *relay) greeting() bool { return r.server == nil }

// reply sends to the client; what goes wrong is learnt by reading.
func (r *relay) reply(p []byte) {
	if len(p) > 0 {
		r.sent += int64(len(p))
		_ = r.client.Write(p)
	}
}

// pass sends to the server.
func (r *relay) pass(p []byte) {
	if len(p) > 0 {
		_ = r.server.Write(p)
	}
}

// fatal tells the client why its session ends, and ends it. Where the client has
// got a part of a message, anything said now would be taken for the rest.
func (r *relay) fatal(f *fault.Fault) {
	if r.ended {
		return
	}
	if r.due == 0 {
		r.reply(wire.AppendErrorResponse(r.owed, faultFields("FATAL", f)))
	}
	r.end("ended by the gateway", f)
	r.client.Finish(farewell)
}

// gone ends the session because its client is no longer there.
func (r *relay) gone(err error) {
	if errors.Is(err, io.EOF) {
		r.end("client disconnected", nil)
	} else {
		r.end("client lost", err)
	}
	r.client.Close()
}

// lost ends the session because its server did.
func (r *relay) lost(err error) {
	switch {
	case r.told:
		r.end("server ended the session", err)
		r.client.Finish(farewell)
	case errors.Is(err, io.EOF):
		r.fatal(r.faultLost(errServerClosed))
	default:
		r.fatal(r.faultLost(err))
	}
}

// end gives everything back but the client's stream, which the caller closes. The
// server is told, and may bring to its end what it has begun, for a moment: its
// slots are free when it has noticed.
func (r *relay) end(reason string, err error) {
	if r.ended {
		return
	}
	what, level := "logout", zap.InfoLevel
	if r.greeting() {
		what, level = "login failed", zap.WarnLevel
	}
	r.ended = true
	if r.stop != nil {
		r.stop()
	}
	r.loop.Cancel(r.watcher)
	r.drop(&r.in)
	r.drop(&r.held)
	if r.server != nil {
		if r.rest == 0 || r.discard {
			r.pass(wire.AppendTerminate(nil))
		}
		r.server.Finish(farewell)
	}
	r.proxy.keys.revoke(r)
	r.seat.leave()
	r.log.Log(level, what,
		zap.String("writer", r.writer.Name), zap.Stringer("client", r.remote), zap.String("replication", string(r.mode)),
		zap.String("reason", reason), zap.Duration("duration", r.loop.Now()-r.started),
		zap.Int64("received", r.received), zap.Int64("sent", r.sent), zap.Error(err))
	r.proxy.mu.Lock()
	delete(r.proxy.relays, r)
	r.proxy.mu.Unlock()
	r.proxy.clients.Done()
}

func (r *relay) drop(chunk *[]byte) {
	if *chunk != nil {
		r.loop.Recycle(*chunk)
		*chunk = nil
	}
}

// drain ends the session: at the next boundary of a message where something is
// streamed, which otherwise never ends; when a command has been answered, where
// one is running. A client that does not read to that boundary is not waited for.
func (r *relay) drain() {
	r.draining = true
	switch {
	case r.ended || r.client == nil: // see begin
	case r.greeting(), r.due == 0 && r.interruptible():
		r.fatal(faultDraining())
	case r.interruptible():
		r.loop.After(farewell, func() { r.fatal(faultDraining()) })
	}
}

// interruptible reports whether ending the session now leaves no command without
// an answer that would have come by itself.
func (r *relay) interruptible() bool { return !r.asked || r.streaming || r.pouring }

// closeRelays ends the replicating sessions of a loop, on that loop.
func (p *Proxy) closeRelays(l *netloop.Loop) {
	p.mu.Lock()
	var mine []*relay
	for r := range p.relays {
		if r.loop == l {
			mine = append(mine, r)
		}
	}
	p.mu.Unlock()
	for _, r := range mine {
		r.fatal(faultDraining())
	}
}

// heldKey is guarded by cancelKeys.mu.
func (r *relay) heldKey() *wire.CancelKey { return &r.key }

func (r *relay) postCancel(served func()) { r.loop.Post(func() { r.cancel(served) }) }

// cancel serves a CancelRequest with this session's key. One that comes late hits
// nobody else: the server connection is this client's alone.
func (r *relay) cancel(served func()) {
	if r.ended || !r.asked || r.cancels == maxCancels {
		served()
		return
	}
	r.cancels++
	r.proxy.background(func(ctx context.Context) {
		ctx, stop := context.WithTimeout(ctx, cancelTimeout)
		defer stop()
		err := r.conn.Cancel(ctx)
		served()
		r.loop.Post(func() {
			r.cancels--
			if err != nil {
				r.log.Warn("cancel request failed", zap.Error(err))
			}
		})
	})
}
