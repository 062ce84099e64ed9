// Package netloop runs non-blocking byte streams, plain and TLS, on event
// loops (Linux epoll, edge-triggered).
//
// A connection is made and its TLS handshake finished by ordinary blocking
// code on a Transport. Attach then moves the socket to a Loop as a Stream: from
// then on everything about it happens in that loop's goroutine, in callbacks
// that must not block, so nothing here takes a lock but the queue through which
// other goroutines Post work.
//
// The package knows no PostgreSQL and no other package of this module. The loop
// owns the sockets attached to it; whoever calls Run owns the loop's goroutine,
// and Stop ends it.
//
// Why not goroutines and net.Conn for this too: measured beside PgBouncer, a
// goroutine per client costs 1.3 to 1.6 times its CPU per transaction, mostly in
// wake-ups and in entersyscall/exitsyscall around calls that cannot block; this
// loop is level with it, and an idle client costs no stack.
package netloop
