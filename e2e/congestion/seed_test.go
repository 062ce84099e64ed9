package congestion

import (
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
)

// seed is $CONGESTION_SEED, or a random one; it is printed.
func seed(t *testing.T) uint64 {
	t.Helper()
	n := rand.Uint64()
	if text := os.Getenv("CONGESTION_SEED"); text != "" {
		var err error
		if n, err = strconv.ParseUint(text, 10, 64); err != nil {
			t.Fatalf("CONGESTION_SEED: %v", err)
		}
	}
	t.Logf("CONGESTION_SEED=%d", n)
	return n
}
