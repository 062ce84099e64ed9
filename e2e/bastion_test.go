package e2e

import (
	"testing"
	"time"

	"pggateway/e2e/kit"
)

// TestBastionIsShared carries several server connections, of two upstreams, over
// one SSH connection.
func TestBastionIsShared(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	s, way := h.bastion(kit.SSHDOptions{})
	h.upstream("a", "127.0.0.1", pg.Port, "tls: {mode: disable}", "pool: {mode: session, size: 5}", way)
	h.upstream("b", "127.0.0.1", pg.Port, "tls: {mode: disable}", "pool: {mode: session, size: 5}", way)
	h.start("")
	for range 3 {
		for _, name := range []string{"a", "b"} {
			ask(t, h.dial(name), "select 'x'")
		}
	}
	if n := pg.Value("postgres", "select count(*) from pg_stat_activity where usename = $1", role); n != "6" {
		t.Errorf("%s server connections, want 6", n)
	}
	if n := s.Connections(); n != 1 {
		t.Errorf("%d SSH connections, want 1", n)
	}
}

// TestBastionComesBack breaks the SSH connection in several ways. Who was using
// it is told that the connection was lost; a client of another upstream notices
// nothing; and the next login finds its way through a new SSH connection.
func TestBastionComesBack(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	s, way := h.bastion(kit.SSHDOptions{})
	h.upstream("straight", "127.0.0.1", pg.Port, "tls: {mode: disable}")
	h.upstream("through", "127.0.0.1", pg.Port, "tls: {mode: disable}", way)
	h.start("")
	w := newWitness(t, h.dial("straight"))

	c := h.dial("through")
	run(t, c, "begin")
	s.DropConnections()
	_, err := c.Exec(t.Context(), "select 1")
	if e := pgError(t, err); e.Severity != "FATAL" || e.Code != "08006" {
		t.Errorf("in a transaction: %+v", e)
	} else {
		discreet(t, e)
	}
	w.check(t)
	h.eventually("through")

	s.Restart()
	w.check(t)
	h.eventually("through")

	s.Freeze() // a bastion that says nothing any more holds nobody else up
	start := time.Now()
	w.check(t)
	ask(t, h.dial("straight"), "select 'x'")
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("with a silent bastion, others waited %s", d)
	}
	s.Thaw()
	h.eventually("through")
}

// eventually logs in until it works, for 30 s at most: reconnecting waits a little after each failure.
func (h *house) eventually(database string) {
	h.t.Helper()
	deadline := time.Now().Add(30 * time.Second)
	for {
		c, err := h.try(writer, writerPassword, database)
		if err == nil {
			var s string
			if err = c.QueryRow(h.t.Context(), "select 'x'").Scan(&s); err == nil {
				return
			}
		}
		if time.Now().After(deadline) {
			h.t.Fatalf("log in to %s: still, after 30 s: %v", database, err)
		}
		time.Sleep(100 * time.Millisecond)
	}
}
