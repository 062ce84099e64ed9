package main

import (
	"errors"
	"io"
	"sync"
	"time"
)

// logQueue is an io.Writer that never waits for the one behind it: what is
// written is queued, and a goroutine passes it on, in order. The log is written
// by event loops, too, and where the log goes to (a pipe whose reader is
// stopped, a full disk, a terminal with Ctrl-S) may not hold them up. When the
// queue is full, lines are lost, and a line says so as soon as there is room.
type logQueue struct {
	to   io.Writer
	most int                    // bytes queued at most
	gap  func(lines int) []byte // the line that stands for lost ones

	mu     sync.Mutex
	moved  sync.Cond // the queue has become longer, or empty, or closing
	queued []byte
	spare  []byte // the buffer that queued swaps with
	lost   int    // lines lost since the last that was queued
	busy   bool   // a write is in progress
	closed bool
}

// logQueueSize holds a few thousand lines.
const logQueueSize = 1 << 20

func newLogQueue(to io.Writer, most int, gap func(lines int) []byte) *logQueue {
	q := &logQueue{to: to, most: most, gap: gap}
	q.moved.L = &q.mu
	go q.run()
	return q
}

// Write queues one line. It never fails: nobody could be told.
func (q *logQueue) Write(line []byte) (int, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if q.closed || len(q.queued)+len(line) > q.most {
		q.lost++
		return len(line), nil
	}
	q.mind()
	q.queued = append(q.queued, line...)
	q.moved.Broadcast()
	return len(line), nil
}

// mind queues the line that stands for lost ones. The caller holds mu.
func (q *logQueue) mind() {
	if q.lost > 0 {
		q.queued = append(q.queued, q.gap(q.lost)...)
		q.lost = 0
	}
}

// run passes lines on until the queue is closed and empty.
func (q *logQueue) run() {
	q.mu.Lock()
	defer q.mu.Unlock()
	for {
		for len(q.queued) == 0 && !q.closed {
			q.moved.Wait()
		}
		if len(q.queued) == 0 {
			return
		}
		lines := q.queued
		q.queued, q.busy = q.spare[:0], true
		q.mu.Unlock()
		_, _ = q.to.Write(lines)
		q.mu.Lock()
		if q.spare, q.busy = lines, false; len(q.queued) == 0 {
			q.mind()
		}
		q.moved.Broadcast()
	}
}

var errLogStuck = errors.New("the log is not taken")

// flush waits until everything is written, but not longer than the patience.
func (q *logQueue) flush(patience time.Duration) error {
	late := false
	timer := time.AfterFunc(patience, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		late = true
		q.moved.Broadcast()
	})
	defer timer.Stop()
	q.mu.Lock()
	defer q.mu.Unlock()
	for (q.busy || len(q.queued) > 0) && !late {
		q.moved.Wait()
	}
	if late {
		return errLogStuck
	}
	return nil
}

// close flushes and ends the goroutine, unless that is stuck.
func (q *logQueue) close(patience time.Duration) error {
	err := q.flush(patience)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	q.moved.Broadcast()
	return err
}
