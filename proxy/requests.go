package proxy

import (
	"time"

	"pggateway/netloop"
	"pggateway/wire"
)

// requests are the frontend messages on their way to a backend whose replies
// are still to come, in order. It tells whose reply the next message is, and
// when nothing is owed any more. It is a ring that grows and never shrinks: one
// exists for each backend, not for each client.
type requests struct {
	ring []byte // message types; ours marks those the gateway sent for itself
	head int
	n    int

	loop  *netloop.Loop // whose clock since is on; nil: no clock
	since time.Duration // since when the server is at work on the first statement, or at leisure
}

// ours marks a request of the gateway's own, whose replies no client may see.
// Frontend message types are ASCII, so the bit is free.
const ours = 0x80

// Requests that stand for a change of what the client has prepared, or for
// something else than what they look like to the server.
const (
	define    byte = 1 + iota // Parse of a named statement
	undefine                  // Close of one
	bindNamed                 // Bind of a named statement
	taken                     // Parse under a name that the client has given already
	stale                     // Bind or Describe of a statement whose result is not what the client was told
)

func (q *requests) push(kind byte) {
	if q.n == 0 {
		q.stamp()
	}
	if q.n == len(q.ring) {
		grown := make([]byte, max(16, 2*len(q.ring)))
		for i := range q.n {
			grown[i] = q.at(i)
		}
		q.ring, q.head = grown, 0
	}
	q.ring[(q.head+q.n)&(len(q.ring)-1)] = kind
	q.n++
}

func (q *requests) stamp() {
	if q.loop != nil {
		q.since = q.loop.Now()
	}
}

// replied is told of each reply that is not the bulk of data. A statement ends
// with its tag or an error; what comes before that is a part of it.
func (q *requests) replied(typ byte) {
	switch typ {
	case wire.CommandComplete, wire.EmptyQueryResponse, wire.PortalSuspended, wire.ErrorResponse, wire.ReadyForQuery:
		q.stamp()
	case wire.NoticeResponse, wire.NotificationResponse, wire.ParameterStatus:
	default:
		if q.n == 0 {
			q.stamp()
		}
	}
}

func (q *requests) at(i int) byte { return q.ring[(q.head+i)&(len(q.ring)-1)] }

// first is the oldest request, 0 when nothing is owed.
func (q *requests) first() byte {
	if q.n == 0 {
		return 0
	}
	return q.ring[q.head]
}

func (q *requests) pop() {
	q.head = (q.head + 1) & (len(q.ring) - 1)
	q.n--
	// The end of a COPY has no reply of its own.
	for q.n > 0 && q.ring[q.head] == wire.CopyDone {
		q.head = (q.head + 1) & (len(q.ring) - 1)
		q.n--
	}
}

// skipped is what became of requests that the server does not answer.
type skipped struct {
	sync      bool // a Sync among the requests ends the skipping
	changes   int  // of what the client has prepared
	describes int  // of the gateway's own
	closes    int  // of the gateway's own
}

// skipToSync drops what the server will not answer after an error: everything
// up to the next Sync, which stays.
func (q *requests) skipToSync() (gone skipped) {
	for q.n > 0 {
		switch q.first() {
		case wire.Sync, wire.Sync | ours:
			gone.sync = true
			return gone
		case define, undefine, taken:
			gone.changes++
		case wire.Describe | ours:
			gone.describes++
		case wire.Close | ours:
			gone.closes++
		}
		q.pop()
	}
	return gone
}

// beginCopy takes account of the oldest request's having begun to read COPY. The
// Syncs sent after it and before the end of the COPY are dropped, because the
// server ignores them ("COPY Operations"). ended reports whether that end was
// sent already, plain that nothing was sent before it that a COPY cannot take.
func (q *requests) beginCopy() (ended, plain bool) {
	plain = true
	keep := 1
	for i := 1; i < q.n; i++ {
		k := q.at(i)
		switch {
		case ended:
		case k == wire.CopyDone:
			ended = true
			continue
		case k == wire.Sync:
			continue
		default:
			plain = false
		}
		q.ring[(q.head+keep)&(len(q.ring)-1)] = k
		keep++
	}
	q.n = keep
	return ended, plain
}

// conclusive reports whether the replies to the first n requests end with a
// ReadyForQuery. Without, the server may keep them to itself until a Flush.
func (q *requests) conclusive(n int) bool {
	for i := n - 1; i >= 0; i-- {
		switch q.at(i) &^ ours {
		case wire.CopyDone:
		case wire.Sync, wire.Query, wire.FunctionCall:
			return true
		default:
			return false
		}
	}
	return false
}
