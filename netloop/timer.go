package netloop

import (
	"container/heap"
	"time"
)

// Timer is one call to come. It belongs to its loop's goroutine.
type Timer struct {
	at    time.Duration // on the loop's clock
	fn    func()
	index int // in the heap; negative when not in it
}

// After calls fn on the loop once d has passed. It must be called on the loop.
func (l *Loop) After(d time.Duration, fn func()) *Timer {
	t := &Timer{at: l.now + max(d, 0), fn: fn}
	heap.Push(&l.timers, t)
	return t
}

// Cancel makes sure that the timer's function is not called any more. A nil,
// fired or cancelled timer is left as it is.
func (l *Loop) Cancel(t *Timer) {
	if t != nil && t.index >= 0 {
		heap.Remove(&l.timers, t.index)
	}
}

func (l *Loop) runTimers() {
	for len(l.timers) > 0 && l.timers[0].at <= l.now {
		heap.Pop(&l.timers).(*Timer).fn()
	}
}

type timerHeap []*Timer

func (h timerHeap) Len() int           { return len(h) }
func (h timerHeap) Less(i, j int) bool { return h[i].at < h[j].at }
func (h timerHeap) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *timerHeap) Push(x any) {
	t := x.(*Timer)
	t.index = len(*h)
	*h = append(*h, t)
}

func (h *timerHeap) Pop() any {
	old := *h
	n := len(old) - 1
	t := old[n]
	old[n] = nil
	t.index = -1
	*h = old[:n]
	return t
}
