package main

import (
	"context"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

const (
	// trimInterval is how often trim looks.
	trimInterval = time.Second
	// trimWorth is how much must have been allocated since the last time for
	// another to be worth its CPU: some dozens of TLS logins.
	trimWorth = 4 << 20
	// trimQuiet is how little may be allocated in an interval for the burst to count as over.
	trimQuiet = 1 << 20
)

// trim gives memory back to the system after a burst of logins, until ctx ends.
//
// Forwarding allocates nothing, so after the last login the heap would not grow
// and the collector would not run for minutes, while every login has left some
// tens of kilobytes of handshake behind: several times what its idle session
// needs.
func trim(ctx context.Context) {
	ticker := time.NewTicker(trimInterval)
	defer ticker.Stop()
	trimmed, last := uint64(0), uint64(0)
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		now := allocated()
		if now-trimmed >= trimWorth && now-last <= trimQuiet {
			debug.FreeOSMemory()
			trimmed = now
		}
		last = now
	}
}

// allocated is the number of bytes allocated on the heap since the start.
func allocated() uint64 {
	s := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
