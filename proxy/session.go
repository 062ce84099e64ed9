package proxy

import (
	"io"
	"net/netip"
	"time"

	"pggateway/config"
	"pggateway/netloop"
	"pggateway/pool"
	"pggateway/wire"
)

// session is one logged-in client on its pool's loop. Between transactions it
// holds nothing but this struct and its socket: no goroutine, no buffer, no
// server connection, so that ten thousand quiet writers cost a few megabytes.
//
// A session is greeting (until the client was told ReadyForQuery for the first
// time), free, waiting for a backend, or linked to one.
type session struct {
	pool.Waiter[*backend] // its place in the pool's queue

	host    *host
	writer  *config.Writer
	seat    *seat
	stream  *netloop.Stream
	backend *backend // linked to; nil otherwise
	startup *profile // what the startup message asked for, and RESET returns to
	profile *profile // what is set: startup, and what was set since
	carried *carried // nil for a client that has not set anything
	next    *session // the host's list of sessions
	prev    *session
	timer   *netloop.Timer // ends a greeting that takes too long; nil afterwards

	in   []byte // a chunk: what the client sent and nobody has taken yet; nil when empty
	rest int    // bytes still to come of a message whose beginning has been taken

	prepared prepareds
	wanted   string // the name of the statement that is being prepared on this server
	describe string // the server's name of a statement whose description is to be asked for next
	dropping string // the statement that a DEALLOCATE on its way is about

	key    wire.CancelKey // what its cancel requests present
	owed   []byte         // to be sent before AuthenticationOk; nil after the greeting
	remote netip.AddrPort

	started  time.Duration // the loop's clock when it came to the loop
	received int64         // bytes from the client
	sent     int64         // bytes to the client
	heard    time.Duration // the loop's clock when its latest message began, or it was its turn again
	counted  int64         // received when a sign of life was last seen in it; see silent
	backlog  *backlog      // nil while it takes what it is sent

	greeting  bool // not logged in yet
	admitted  bool // was told AuthenticationOk
	setup     bool // requests of the gateway's own are under way: parameters, or an inquiry
	asking    bool // an inquiry
	discard   bool // rest is thrown away
	scanning  bool // rest is statement text
	text      text
	fresh     bool // nothing was sent to the backend yet: its unnamed statement may be another client's
	unbound   bool // the server has an unnamed statement of the client's that was not bound yet
	restore   restore
	loading   bool // the backend is being given a statement that the next message needs
	stale     bool // it has another shape than the client knows
	awaiting  bool // the next message depends on a reply that is due
	forgetful bool // what was sent may make the server forget all statements
	rereading bool // how the server reads texts is not known before ReadyForQuery
	native    bool // the server knows the client's statements by the client's names
	adopting  bool // it is being told them
	skipping  bool // an error was answered here: everything up to the next Sync is ignored
	leaving   bool // Terminate came while replies were due
	draining  bool // ends at the next chance
	ended     bool
	parting   bool // the client has hung up: what it sent is read to the end
	crowded   bool // the backend has enough requests to answer; see maxRequests
	pins      pins // why it keeps its backend, as far as that is known
	suspect   pins // those of them that may not be there, or not any more
	acted     bool // something was sent for it since it was last asked about
	wary      pins // those that may come to be with any statement
	pin       pin  // one of them, while it keeps its backend between transactions
}

// requestTurns bounds how many buffers one client sends before the loop's other
// streams have their turn.
const requestTurns = 4

// Readable takes what the client sent.
func (s *session) Readable() {
	buf := s.host.loop.Buffer()
	for turn := 0; s.stream.More() && !s.ended; turn++ {
		if turn == requestTurns {
			s.stream.Yield()
			return
		}
		have := copy(buf, s.in)
		s.unhold()
		n, err := s.stream.Read(buf[have:])
		if err != nil {
			s.gone(err)
			return
		}
		s.received += int64(n)
		if !s.advance(buf[:have+n]) {
			return
		}
	}
}

// advance takes data as far as it can be taken now and holds the rest. It
// reports whether more should be read.
func (s *session) advance(data []byte) bool {
	used := s.take(data)
	if s.ended {
		return false
	}
	if used < len(data) {
		s.in = s.host.loop.Extend(s.in, data[used:])
	}
	if s.backend != nil && s.backend.ready {
		// No reply is to come that would give the backend back: what was sent was
		// the rest of a COPY that has failed.
		if s.free(); s.ended {
			return false
		}
	}
	if s.backend != nil && s.backend.requests.n > maxRequests && !s.parting {
		s.crowded = true
	}
	if s.blocked() {
		s.stream.Pause()
		return false
	}
	return true
}

// maxRequests is how many requests a client may have waiting for their replies
// before it is not read until half of them are answered: each takes a place in
// memory, and a storm of five-byte messages would take more than their bytes do.
// A server that has so many to answer says so before long: their replies are many
// times what PostgreSQL keeps to itself.
const maxRequests = 16 << 10

// maxOwed bounds what is held for a client that goes on sending. Replies keep
// well below it, since a backend is not read while its client has not read; but
// TLS has answers of its own.
const maxOwed = 2 * netloop.BufferSize

// blocked reports whether the client is not to be read for now.
func (s *session) blocked() bool {
	return s.stalled() || s.crowded || s.backend != nil && (s.backend.stream.Held() > 0 || s.backend.expiry.sending) || s.stream.Held() > maxOwed
}

// stalled reports whether the client's messages have to wait for something
// other than the backend's socket. A client that does not read gets no further
// backend, or each would add to what is held for it.
func (s *session) stalled() bool {
	return s.ended || s.leaving || s.greeting || s.setup || s.loading || s.awaiting || s.dropping != "" || s.Waiting() ||
		s.backend == nil && s.stream.Held() > 0
}

// resume goes on with what was held, and with reading.
func (s *session) resume() {
	if s.blocked() {
		return
	}
	if len(s.in) > 0 {
		held := s.in
		s.in = nil
		more := s.advance(held)
		s.host.loop.Recycle(held)
		if !more {
			return
		}
	}
	s.stream.Resume()
}

// reply sends to the client; what goes wrong is learnt by reading.
func (s *session) reply(p []byte) {
	s.sent += int64(len(p))
	_ = s.stream.Write(p)
}

// pass sends a run of requests to the backend, behind what was assembled for it.
func (s *session) pass(run []byte) {
	if a := s.host.assembly; len(a) > 0 {
		run = append(a, run...)
		s.host.assembly = run[:0]
	}
	if len(run) > 0 && s.backend != nil {
		s.backend.send(run)
	}
}

// Flushed lets the backend be read again, or the client.
func (s *session) Flushed() {
	if s.backend != nil {
		s.backend.stream.Resume()
	}
	s.resume()
}

// Hangup ends a session that waits for a backend: nobody is there to be
// answered. Otherwise the end is read in its turn, after what came before it;
// what was held back for a client that is gone will never be flushed, though,
// and must not keep the rest waiting.
func (s *session) Hangup() {
	if s.Waiting() || s.greeting {
		s.gone(io.EOF)
		return
	}
	s.parting, s.crowded = true, false
	s.Flushed()
}

func (s *session) unhold() {
	if s.in != nil {
		s.host.loop.Recycle(s.in)
		s.in = nil
	}
}
