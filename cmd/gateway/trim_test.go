package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"testing/synctest"
	"time"
)

// forced is how many collections were asked for since the start.
func forced() uint64 {
	s := []metrics.Sample{{Name: "/gc/cycles/forced:gc-cycles"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}

var garbage []byte

// allocate makes garbage of a size that counts.
func allocate(n int) {
	for range n {
		garbage = make([]byte, 1<<20)
	}
}

// TestTrim does not run in parallel: others' allocations would be counted in.
func TestTrim(t *testing.T) {
	defer debug.SetGCPercent(debug.SetGCPercent(-1)) // no collection but those asked for
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); trim(ctx) }()
		quiet := func(d time.Duration) (collections uint64) {
			before := forced()
			time.Sleep(d)
			synctest.Wait()
			return forced() - before
		}
		quiet(time.Minute) // what the tests before this one left behind

		if n := quiet(time.Minute); n != 0 {
			t.Errorf("%d collections of nothing", n)
		}
		allocate(8)
		if n := quiet(1500 * time.Millisecond); n != 0 {
			t.Errorf("%d collections in the second of a burst", n)
		}
		if n := quiet(time.Minute); n != 1 {
			t.Errorf("%d collections after a burst, want 1", n)
		}
		allocate(2)
		if n := quiet(time.Minute); n != 0 {
			t.Errorf("%d collections for a little", n)
		}
		for range 5 { // one that goes on
			allocate(3)
			if n := quiet(trimInterval); n != 0 {
				t.Errorf("%d collections in the middle of a burst", n)
			}
		}
		if n := quiet(time.Minute); n != 1 {
			t.Errorf("%d collections after a long burst, want 1", n)
		}
		stop()
		<-done
	})
}
