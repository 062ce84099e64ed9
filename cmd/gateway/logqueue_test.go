package main

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// stuck is a writer that takes nothing until it is let.
type stuck struct {
	open chan struct{}
	mu   sync.Mutex
	got  bytes.Buffer
}

func (s *stuck) Write(p []byte) (int, error) {
	<-s.open
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.got.Write(p)
}

func newStuckLog(most int) (*stuck, *logQueue) {
	to := &stuck{open: make(chan struct{})}
	return to, newLogQueue(to, most, func(n int) []byte { return fmt.Appendf(nil, "lost %d\n", n) })
}

func TestLogQueueNeverWaits(t *testing.T) {
	const lines = 1000
	to, q := newStuckLog(1 << 20)
	var want strings.Builder
	for i := range lines { // would hang
		line := fmt.Sprintf("line %d\n", i)
		want.WriteString(line)
		if n, err := q.Write([]byte(line)); n != len(line) || err != nil {
			t.Fatal(n, err)
		}
	}
	if err := q.flush(time.Millisecond); !errors.Is(err, errLogStuck) {
		t.Errorf("flushed to a writer that is stuck: %v", err)
	}
	close(to.open)
	if err := q.close(patience); err != nil {
		t.Fatal(err)
	}
	if got := to.got.String(); got != want.String() {
		t.Errorf("%d bytes were written, want %d, in order", len(got), want.Len())
	}
}

// What is lost is counted where it is missing, and the queue is bounded.
func TestLogQueueTellsWhatItLost(t *testing.T) {
	const lines = 5000
	to, q := newStuckLog(4 << 10)
	for i := range lines {
		_, _ = fmt.Fprintf(q, "%06d\n", i)
	}
	close(to.open)
	if err := q.flush(patience); err != nil {
		t.Fatal(err)
	}
	_, _ = fmt.Fprintf(q, "%06d\n", lines)
	if err := q.close(patience); err != nil {
		t.Fatal(err)
	}
	next, lost := 0, 0
	for line := range strings.Lines(to.got.String()) {
		line = strings.TrimSpace(line)
		if text, ok := strings.CutPrefix(line, "lost "); ok {
			n, err := strconv.Atoi(text)
			if err != nil {
				t.Fatal(err)
			}
			next, lost = next+n, lost+n
			continue
		}
		if n, err := strconv.Atoi(line); err != nil || n != next {
			t.Fatalf("line %q where %d was to come", line, next)
		}
		next++
	}
	if next != lines+1 || lost < lines/2 {
		t.Errorf("%d lines, %d of them lost; want %d, and most lost", next, lost, lines+1)
	}
}

// A process that ends does not wait for ever for who takes its log.
func TestLogQueueClosesWhenStuck(t *testing.T) {
	to, q := newStuckLog(1 << 10)
	_, _ = q.Write([]byte("x\n"))
	if err := q.close(time.Millisecond); !errors.Is(err, errLogStuck) {
		t.Error(err)
	}
	close(to.open)
}

// Lines of the log itself stand for lost ones.
func TestLoggerOverflows(t *testing.T) {
	to := &stuck{open: make(chan struct{})}
	log, done := newLogger(to, false)
	for range 2 * logQueueSize / 1000 {
		log.Info(strings.Repeat("x", 1000))
	}
	close(to.open)
	done()
	if text := to.got.String(); !strings.Contains(text, `"level":"warn"`) || !strings.Contains(text, `"lines":`) || len(text) > 2*logQueueSize {
		t.Errorf("%d bytes, and what is missing is not told", len(text))
	}
}
