package proxy

import (
	"bytes"
	"io"
	"runtime"
	"testing"
	"time"

	"pggateway/config"
	"pggateway/wire"
)

// Who takes nothing makes the other side wait, and little is held meanwhile.
func TestRelayBackPressure(t *testing.T) {
	held := func(r *rig) (n int) {
		r.onRelay(func(r *relay) {
			n = r.client.Held() + r.server.Held() + len(r.in) + len(r.held)
		})
		return n
	}
	data := message(wire.CopyData, string(make([]byte, 9000)))
	for name, c := range map[string]struct{ fromServer bool }{"client does not read": {true}, "server does not read": {false}} {
		t.Run(name, func(t *testing.T) {
			r, a, s := replicating(t, nil)
			send(t, a, s, "Q(START_REPLICATION 0/0)", true)
			send(t, s, a, "W(\x00\x00\x00)", false)
			from, to := a, s
			if c.fromServer {
				from, to = s, a
			}
			n := from.fill(data, socketBytes, func() bool { return held(r) > 0 })
			if got := held(r); got > heldBytes {
				t.Errorf("%d bytes are held", got)
			}
			send(t, to, from, "d(the other way)", true) // goes on meanwhile
			if part := n % len(data); part > 0 {        // a header may be held that is not all there
				_ = from.SetWriteDeadline(time.Now().Add(patience))
				go func() { _, _ = from.Write(data[part:]) }()
				n += len(data) - part
			}
			got, err := io.ReadAll(io.LimitReader(to, int64(n)))
			if err != nil || !bytes.Equal(got, bytes.Repeat(data, n/len(data))) {
				t.Errorf("%d of %d bytes arrived, %v", len(got), n, err)
			}
		})
	}
}

func TestRelayStall(t *testing.T) {
	r, a, s := replicating(t, func(c *config.Config, _ *config.Upstream) { c.Limits.IdleInTransaction = 300 * time.Millisecond })
	send(t, a, s, "Q(BASE_BACKUP)", true)
	send(t, s, a, "H(\x00\x00\x00)", false)
	data := message(wire.CopyData, string(make([]byte, 9000)))
	many := bytes.Repeat(data, 100)
	for start := time.Now(); r.sessions() > 0; {
		if time.Since(start) > patience {
			t.Fatal("it is still there")
		}
		_ = s.SetWriteDeadline(time.Now().Add(moment))
		if n, err := s.Write(many); err != nil {
			many = append(many[n:], many[:n]...)
		}
	}
	if len(r.logs.FilterMessage("logout").All()) != 1 {
		t.Error("it did not log out")
	}
}

// What streams allocates nothing.
func TestRelayingDoesNotAllocate(t *testing.T) {
	_, a, s := replicating(t, nil)
	send(t, a, s, "Q(START_REPLICATION 0/0)", true)
	send(t, s, a, "W(\x00\x00\x00)", false)
	change, feedback := frames(t, "d(a change)", false), frames(t, "d(feedback)", true)
	got := make([]byte, 100)
	round := func() {
		for _, way := range []struct {
			from, to *end
			what     []byte
		}{{s, a, change}, {a, s, feedback}} {
			if _, err := way.from.Write(way.what); err != nil {
				t.Fatal(err)
			}
			if _, err := io.ReadFull(way.to.TCPConn, got[:len(way.what)]); err != nil {
				t.Fatal(err)
			}
		}
	}
	for range 100 {
		round()
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
}
