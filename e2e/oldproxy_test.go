package e2e

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"pggateway/e2e/kit"
)

// TestProxyOfOldKind goes through a proxy in front of the database that knows
// protocol 3.0 only, gives no cancel key and takes no cancel requests, as RDS Proxy.
// Logins work, at the cost of one connection more for the first; a cancelled
// statement goes on as if nothing had been said; and a client that waits for a
// server connection can be cancelled all the same.
func TestProxyOfOldKind(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	proxy := kit.StartScripted(t, func(c *kit.ScriptConn) { oldProxy(c, pg.Addr()) })
	h.upstream("up", "127.0.0.1", proxy.Port, "tls: {mode: disable}", "pool: {size: 1}")
	h.start("")
	const simple = "sslmode=disable default_query_exec_mode=simple_protocol"
	c := h.dial("up", simple)
	if line := h.gateway.WaitLine("server does not take protocol 3.2, and is asked for 3.0 from now on", 1); line["upstream"] != "up" {
		t.Errorf("the log says %v", line)
	}
	ask(t, c, "select 'x'")
	if n := proxy.Seen(); n != 2 {
		t.Errorf("%d connections to the proxy, want one refused and one in use", n)
	}

	waiting := h.dial("up", simple)
	for range 2 {
		done := make(chan error, 1)
		go func() {
			_, err := c.Exec(t.Context(), "select pg_sleep(1.5)")
			done <- err
		}()
		pg.WaitFor("postgres", "select count(*) from pg_stat_activity where query like '%pg_sleep(1.5)' and state = 'active' and datname = 'app'", "1")
		if err := c.PgConn().CancelRequest(t.Context()); err != nil {
			t.Fatal(err)
		}
		timer := time.AfterFunc(100*time.Millisecond, func() { _ = waiting.PgConn().CancelRequest(t.Context()) })
		_, err := waiting.Exec(t.Context(), "select 'waited'")
		timer.Stop()
		if e := pgError(t, err); e.Severity != "ERROR" || e.Code != "57014" {
			t.Errorf("the client that waits: %+v", e)
		}
		if err := <-done; err != nil {
			t.Errorf("the statement: %v", err)
		}
	}
	ask(t, waiting, "select 'x'")
	if n := proxy.Seen(); n != 2 {
		t.Errorf("%d connections to the proxy: one was opened to cancel", n)
	}
	if n := strings.Count(h.gateway.Logs(), "takes no cancel requests"); n != 1 {
		t.Errorf("%d lines in the log about cancel requests, want 1", n)
	}
}

// oldProxy passes on what both sides say, less BackendKeyData.
func oldProxy(c *kit.ScriptConn, server string) {
	m, ok := c.Startup(nil)
	if !ok {
		return
	}
	if m.ProtocolVersion != pgproto3.ProtocolVersion30 {
		c.Say(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "0A000", Message: "unsupported frontend protocol"})
		return
	}
	up, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer up.Close()
	startup, err := m.Encode(nil)
	if err != nil {
		return
	}
	if _, err := up.Write(startup); err != nil {
		return
	}
	go func() { // until one of the two is closed
		_, _ = io.Copy(up, c.Conn)
		_ = up.Close()
	}()
	for {
		var head [5]byte
		if _, err := io.ReadFull(up, head[:]); err != nil {
			return
		}
		body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
		if _, err := io.ReadFull(up, body); err != nil {
			return
		}
		if head[0] != 'K' && !c.Send(append(head[:], body...)) {
			return
		}
	}
}
