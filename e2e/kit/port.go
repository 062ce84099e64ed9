package kit

import (
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
)

var ports struct {
	sync.Mutex
	given map[int]bool
}

// FreePort returns a TCP port on which nobody listens on any address now, and
// that this process was not given before. It lies below the range that the
// kernel gives to outgoing connections (32768–60999), so that only another
// process's listener can take it in between.
func FreePort(t T) int {
	t.Helper()
	ports.Lock()
	defer ports.Unlock()
	if ports.given == nil {
		ports.given = map[int]bool{}
	}
	for range 200 {
		port := 18000 + rand.IntN(14000)
		if ports.given[port] {
			continue
		}
		l, err := net.Listen("tcp4", fmt.Sprintf("0.0.0.0:%d", port))
		if err != nil {
			continue
		}
		l.Close()
		ports.given[port] = true
		return port
	}
	t.Fatalf("no free port between 18000 and 32000")
	return 0
}
