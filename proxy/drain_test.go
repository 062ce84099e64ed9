package proxy

import (
	"context"
	"os"
	"runtime"
	"testing"
	"time"

	"go.uber.org/zap"

	"pggateway/config"
	"pggateway/wire"
)

func TestDrain(t *testing.T) {
	r := newRig(t, nil)
	enter := func() *end {
		c := r.admit(wire.Version30, nil)
		c.greeted()
		return c
	}
	idle, busy, waiting := enter(), enter(), enter()
	s := r.server()
	busy.put(frames(t, "Q(begin)", true))
	s.want(frames(t, "Q(begin)", true))
	s.put(frames(t, "C(BEGIN) Z(T)", false))
	busy.want(frames(t, "C(BEGIN) Z(T)", false))
	waiting.put(frames(t, "Q(w)", true))
	r.counts("one waiting", func(c poolCounts) bool { return c.Waiting == 1 })

	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- r.proxy.Drain(ctx) }()
	idle.wantError("FATAL", "57P01")
	idle.closed()
	waiting.wantError("FATAL", "57P01")
	waiting.closed()
	busy.quiet()
	select {
	case err := <-done:
		t.Fatalf("drained with a transaction open: %v", err)
	default:
	}
	late := r.admit(wire.Version30, nil)
	late.wantError("FATAL", "57P01")

	busy.put(frames(t, "Q(commit)", true))
	s.want(frames(t, "Q(commit)", true))
	s.put(frames(t, "C(COMMIT) Z", false))
	busy.want(frames(t, "C(COMMIT) Z", false))
	busy.wantError("FATAL", "57P01")
	busy.closed()
	if err := <-done; err != nil {
		t.Errorf("drain: %v", err)
	}
}

func TestDrainGivesUp(t *testing.T) {
	r := newRig(t, nil)
	c := r.admit(wire.Version30, nil)
	c.greeted()
	c.put(frames(t, "Q(a)", true))
	r.server().want(frames(t, "Q(a)", true))
	ctx, stop := context.WithTimeout(t.Context(), moment)
	defer stop()
	if err := r.proxy.Drain(ctx); err == nil {
		t.Error("drained with a statement running")
	}
	r.close()
	c.wantError("FATAL", "57P01")
}

func descriptors(t *testing.T) int {
	t.Helper()
	all, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip("cannot count descriptors: ", err)
	}
	return len(all)
}

// Close leaves no goroutine and no descriptor behind, whatever is going on.
// It is not parallel: it counts what the process has.
func TestCloseLeavesNothing(t *testing.T) {
	before, fds := runtime.NumGoroutine(), 0
	for round := range 3 {
		t.Run("", func(t *testing.T) {
			r := newRig(t, func(_ *config.Config, u *config.Upstream) { u.Pool.Size = 4 })
			var ends []*end
			enter := func() *end {
				c := r.admit(wire.Version30, nil)
				c.greeted()
				ends = append(ends, c)
				return c
			}
			enter()
			a := enter() // running
			a.put(frames(t, "Q(a)", true))
			s := r.server()
			s.want(frames(t, "Q(a)", true))
			ends = append(ends, s)
			way := r.divert()
			r.proxy.keys.serve(a.key)
			way.wait(t) // a cancel request on its way
			b := enter()
			b.put(frames(t, "Q(b)", true)) // orphaned
			s2 := r.server()
			s2.want(frames(t, "Q(b)", true))
			ends = append(ends, s2)
			b.reset()
			r.mu.Lock()
			r.block = make(chan struct{})
			r.mu.Unlock()
			c := enter()
			c.put(frames(t, "Q(c)", true)) // waits for a connection that is being opened
			r.counts("one waiting", func(c poolCounts) bool { return c.Waiting == 1 })
			ends = append(ends, r.admit(wire.Version30, nil, wire.Parameter{Name: "x", Value: "1"})) // not greeted yet
			r.close()
			for _, e := range ends {
				_ = e.Close()
			}
		})
		if round == 0 {
			fds = descriptors(t) // the first round has the runtime open its own
		}
	}
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before+1 })
	if n := descriptors(t); n > fds {
		t.Errorf("%d descriptors, %d after the first round", n, fds)
	}
}

// A proxy that never served can be closed.
func TestCloseWithoutServe(t *testing.T) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		p, err := New(t.Context(), Options{Config: &config.Config{}, Secrets: fakeSecrets{}, Log: zap.NewNop(), Now: time.Now, Loops: 1})
		if err != nil {
			t.Error(err)
			return
		}
		p.Close()
	}()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("Close does not return")
	}
}
