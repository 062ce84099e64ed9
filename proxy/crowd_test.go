package proxy

import (
	"fmt"
	"testing"
	"time"

	"pggateway/config"
	"pggateway/wire"
)

// However many Syncs a client sends ahead of a COPY, the loop must not spend its
// time on them: others are waiting. With a pass over the queue for each, this
// many take longer than a test may.
func TestManySyncsBeforeACopy(t *testing.T) {
	var q requests
	q.push(wire.Query)
	const many = 1 << 20
	for range many {
		q.push(wire.Sync)
	}
	q.push(wire.CopyDone)
	q.push(wire.Query)
	ended, plain := q.beginCopy()
	if !ended || !plain || q.n != 2 || q.at(0) != wire.Query || q.at(1) != wire.Query {
		t.Errorf("ended %t, plain %t, %d requests left", ended, plain, q.n)
	}
}

// A pool that is merely busy is not an upstream that cannot be reached.
func TestLoginWhileThePoolIsBusy(t *testing.T) {
	r := newRig(t, func(c *config.Config, _ *config.Upstream) { c.Limits.LoginTimeout = 100 * time.Millisecond })
	a := r.admit(wire.Version30, nil)
	s := r.server()
	a.greeted()
	begin := wire.AppendQuery(nil, "begin")
	a.put(begin)
	s.want(begin)
	b := r.admit(wire.Version30, nil, wire.Parameter{Name: "application_name", Value: "b"})
	b.wantError("FATAL", "53300")
	b.closed()
}

// Names that a pattern covers and that are no databases leave nothing behind,
// with min_idle either.
func TestPoolsOfNoDatabaseAreForgotten(t *testing.T) {
	r := newRig(t, func(_ *config.Config, u *config.Upstream) { u.Name, u.Pool.MinIdle = "t_*", 1 })
	r.failing(down{})
	for i := range 5 {
		c := r.admitTo(fmt.Sprintf("t_%d", i))
		if f := c.wantError("FATAL", "08001"); f.Message != fmt.Sprintf(`could not connect to upstream "t_%d"`, i) {
			t.Errorf("message %q", f.Message)
		}
		c.closed()
	}
	left := -1
	for end := time.Now().Add(10 * time.Second); left != 0 && time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		r.proxy.mu.Lock()
		left = len(r.proxy.hosts)
		r.proxy.mu.Unlock()
	}
	if left != 0 {
		t.Errorf("%d pools are left", left)
	}
}

// A large result that nobody waits for is not read to its end: the connection is
// closed, and the next client gets another.
func TestOrphanWithALargeResult(t *testing.T) {
	r := newRig(t, nil)
	a := r.admit(wire.Version30, nil)
	s := r.server()
	a.greeted()
	query := wire.AppendQuery(nil, "select")
	a.put(query)
	s.want(query)
	_ = a.Close()
	r.counts("gone", func(poolCounts) bool { return r.sessions() == 0 })
	row := make([]byte, 64<<10)
	row[0], row[3], row[4] = wire.DataRow, 0xff, 0xff // 65,535 and the type byte
	_ = s.SetWriteDeadline(time.Now().Add(patience))
	for sent := 0; ; sent += len(row) {
		if _, err := s.Write(row); err != nil {
			break
		}
		if sent > 64<<20 {
			t.Fatal("it was read to no end")
		}
	}
	r.counts("empty", func(c poolCounts) bool { return c.Idle+c.Busy == 0 })
}
