package proxy

import (
	"io"
	"runtime"
	"testing"

	"pggateway/wire"
)

// A query's way from client to server and back, checkout and release included,
// allocates nothing. What ticks once a second is allowed for.
func TestForwardingDoesNotAllocate(t *testing.T) {
	for _, c := range []struct{ name, request, arrives, reply string }{
		{"simple", "Q(select 1)", "", "T D(1) C(SELECT 1) Z"},
		{"extended", "P(|select $1) B D E S", "", "1 2 T D(1) C(SELECT 1) Z"},
		{"transaction", "Q(begin) P(|x) B E S Q(commit)", "", "C(BEGIN) Z(T) 1 2 C(X) Z(T) C(COMMIT) Z"},
		{"prepared", "B(|s) D(s) E S", "B(|pggw_1) D(pggw_1) E S", "2 t n C(X) Z"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t, limited)
			a := r.admit(wire.Version30, nil)
			a.greeted()
			s := r.server()
			request, arrives, reply := frames(t, c.request, true), frames(t, c.request, true), frames(t, c.reply, false)
			if c.arrives != "" {
				arrives = frames(t, c.arrives, true)
				a.put(frames(t, "P(s|x) S", true))
				s.want(frames(t, "C(pggw_1) P(pggw_1|x) D(pggw_1) S", true))
				s.put(frames(t, "3 1 t n Z", false))
				a.want(frames(t, "1 Z", false))
			}
			got := make([]byte, 1024)
			round := func() {
				for _, way := range []struct {
					from, to    *end
					what, comes []byte
				}{{a, s, request, arrives}, {s, a, reply, reply}} {
					if _, err := way.from.Write(way.what); err != nil {
						t.Fatal(err)
					}
					if _, err := io.ReadFull(way.to.TCPConn, got[:len(way.comes)]); err != nil {
						t.Fatal(err)
					}
				}
			}
			for range 100 {
				round()
			}
			if string(got[:len(reply)]) != string(reply) {
				t.Fatalf("got %q, so nothing was measured", got[:len(reply)])
			}
			const rounds = 5000
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			for range rounds {
				round()
			}
			runtime.ReadMemStats(&after)
			if n := after.Mallocs - before.Mallocs; n > rounds/20 {
				t.Errorf("%d allocations for %d round trips", n, rounds)
			}
		})
	}
}
