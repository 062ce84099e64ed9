package pool

import "time"

// Taker is who waits for a connection. Exactly one of its methods is called for
// each wait, unless the waiter is Forgotten first.
type Taker[C any] interface {
	// Take hands over a connection that is clean and this taker's alone.
	Take(*Slot[C])
	// Refuse ends the wait: ErrTimeout, ErrClosed, or why none could be opened.
	Refuse(error)
}

// Waiter is a place in a pool's queue. It is meant to be embedded in its Taker,
// so that waiting allocates nothing. The zero Waiter waits for nothing.
type Waiter[C any] struct {
	taker      Taker[C]
	prev, next *Waiter[C]
	since      time.Duration
	queued     bool
}

// Waiting reports whether it stands in a queue.
func (w *Waiter[C]) Waiting() bool { return w.queued }

// queue is a first-in first-out list of waiters.
type queue[C any] struct {
	first, last *Waiter[C]
	told        *Waiter[C] // the last of those whom Overdue has told of; nil: none
	n           int
}

func (q *queue[C]) push(w *Waiter[C]) {
	w.queued, w.prev, w.next = true, q.last, nil
	if q.last == nil {
		q.first = w
	} else {
		q.last.next = w
	}
	q.last = w
	q.n++
}

func (q *queue[C]) remove(w *Waiter[C]) {
	if q.told == w {
		q.told = w.prev
	}
	if w.prev == nil {
		q.first = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.last = w.prev
	} else {
		w.next.prev = w.prev
	}
	w.queued, w.prev, w.next = false, nil, nil
	q.n--
}
