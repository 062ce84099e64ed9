package proxy

import (
	"context"
	"errors"
	"time"

	"pggateway/netloop"
	"pggateway/pool"
	"pggateway/wire"
)

// backend is one server connection on its pool's loop. It is idle in the pool,
// linked to one session, an orphan whose client has left and whose replies
// nobody wants, or being reset.
//
// What it may be reused for depends on what is known of the server behind it,
// so whatever is not understood ends it: closing a connection costs a login,
// reusing a doubtful one gives somebody another's rows.
type backend struct {
	host    *host
	conn    canceler
	pid     uint32 // the server's process ID; 0: not known
	stream  *netloop.Stream
	slot    *pool.Slot[*backend]
	session *session // linked to; nil otherwise
	profile *profile // applied to the server; nil: as after login
	status  []wire.Parameter

	requests requests
	loaded   loadeds
	unnamed  bool   // there may be an unnamed statement
	instead  []byte // what the client is sent in the place of the server's error
	words    words
	rest     int  // bytes still to come of a reply whose beginning has been handled
	drop     bool // rest is dropped, not forwarded
	held     []byte

	tx        byte // ReadyForQuery's latest status
	ready     bool // nothing was sent since that ReadyForQuery
	skipping  bool // the server ignores everything up to the next Sync
	copyOpen  bool // the server reads COPY, and the end of it was not sent yet
	cut       bool // the server was sent half a message, and gets no more of it
	doubt     bool // what the server will do next is not known
	spoiled   bool // the server has something in it that no reset removes
	orphan    bool
	wasted    int // bytes read as an orphan
	resetting bool
	refused   *wire.Fields // the server's error to a request of the gateway's own
	fatal     bool         // the server told the client itself why it closes

	patience *netloop.Timer // ends a wait for the answer to the gateway's own requests

	index     int // in the host's list
	probed    probe
	expiry    expiry
	uploading time.Duration // when the client was last seen in the middle of what the server waits for

	cancels int  // cancel requests in flight, each of which may still hit
	parked  bool // clean, and waits for the last of them
}

// canceler asks a server to cancel what a connection does. *upstream.Conn is one.
type canceler interface {
	Cancel(ctx context.Context) error
}

// replyTurns bounds how many buffers one backend forwards before the loop's
// other streams have their turn.
const replyTurns = 4

// maxWasted is how much of its replies is read for nobody. PostgreSQL itself ends
// a statement whose result cannot be delivered; one that only changes something
// says little, and is left to finish.
const maxWasted = 256 << 10

// Readable walks what the server sent and forwards it in runs.
func (b *backend) Readable() {
	buf := b.host.loop.Buffer()
	for turn := 0; b.stream.More(); turn++ {
		if turn == replyTurns {
			b.stream.Yield()
			return
		}
		have := copy(buf, b.held)
		b.unhold()
		n, err := b.stream.Read(buf[have:])
		if err != nil {
			b.lost(err)
			return
		}
		if b.orphan {
			if b.wasted += n; b.wasted > maxWasted {
				b.end("client left in the middle of a large result")
				return
			}
		}
		data := buf[:have+n]
		if n == 0 {
			b.hold(data)
			return
		}
		used, err := b.walk(data)
		if err != nil {
			b.lost(err)
			return
		}
		b.hold(data[used:])
		b.settle()
		if s := b.session; s != nil && s.stream.Held() > 0 {
			b.stream.Pause() // until the client has read; see session.Flushed
			return
		}
	}
}

// settle does what the replies just walked allow. The backend may be another
// session's, or closed, afterwards.
func (b *backend) settle() {
	switch {
	case b.session != nil:
		b.session.replied()
	case b.orphan && b.copyOpen:
		b.end("client left, and the server waits for its COPY")
	case b.requests.n > 0:
	case b.orphan:
		b.orphan = false
		b.recycle()
	case b.resetting:
		b.resetting = false
		b.answered()
		if b.refused != nil || !b.clean() {
			b.end("reset failed")
			return
		}
		b.profile = nil
		b.loaded.end()
		b.release()
	}
}

// idle reports whether the server should be silent: no one uses it.
func (b *backend) idle() bool { return b.session == nil && !b.orphan && !b.resetting }

// clean reports whether the server is between transactions with nothing owed on
// either side. Only a ReadyForQuery after the last request tells that: replies
// may be complete while the server's implicit transaction still waits for a Sync.
func (b *backend) clean() bool {
	return b.ready && b.tx == wire.TxIdle && b.rest == 0 && len(b.held) == 0 && !b.doubt
}

// request takes note of a frontend message that is about to go to the server. kind
// is its type, or what it stands for.
func (b *backend) request(typ, kind byte) {
	switch typ {
	case wire.Sync:
		b.ready, b.skipping = false, false
		b.requests.push(typ)
	case wire.Query, wire.FunctionCall, wire.Parse, wire.Bind, wire.Describe, wire.Execute, wire.Close:
		b.ready = false
		b.doubt = b.doubt || b.copyOpen // a COPY cannot take it
		if !b.skipping {
			b.requests.push(kind)
		}
	case wire.CopyDone, wire.CopyFail:
		switch {
		case b.copyOpen:
			b.copyOpen = false
		case b.requests.n > 0 && !b.skipping:
			b.requests.push(wire.CopyDone) // sent before the COPY began
		}
	}
}

// own queues requests of the gateway's own, which the caller sends.
func (b *backend) own(kinds ...byte) {
	b.ready = false
	for _, k := range kinds {
		b.requests.push(k | ours)
	}
}

// ownTimeout is how long a server may take over the gateway's own requests, which
// touch no table.
const ownTimeout = 15 * time.Second

var errNoAnswer = errors.New("the gateway's own request was not answered in time")

// expectSoon gives the server so long to answer what was just sent.
func (b *backend) expectSoon() {
	b.answered() // what a client that has left was waiting for is a part of it
	b.patience = b.host.loop.After(b.host.ownTimeout, func() { b.lost(errNoAnswer) })
}

// answered ends that wait.
func (b *backend) answered() {
	b.host.loop.Cancel(b.patience)
	b.patience = nil
}

// send writes to the server; what goes wrong is learnt by reading.
func (b *backend) send(p []byte) { _ = b.stream.Write(p) }

// Flushed lets the client be read again.
func (b *backend) Flushed() {
	if b.session != nil {
		b.session.resume()
	}
}

// Hangup is left to be read in its turn: what the server said last comes first.
func (b *backend) Hangup() {}

func (b *backend) hold(p []byte) {
	if len(p) > 0 {
		b.held = b.host.loop.Extend(b.held, p)
	}
}

func (b *backend) unhold() {
	if b.held != nil {
		b.host.loop.Recycle(b.held)
		b.held = nil
	}
}
