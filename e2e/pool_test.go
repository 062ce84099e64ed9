package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pggateway/e2e/kit"
)

// poolHouse is a gateway before a plain PostgreSQL.
func poolHouse(t *testing.T, pool string, more ...string) (*house, *kit.Postgres) {
	t.Helper()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	h.upstream("up", "127.0.0.1", pg.Port, append([]string{"tls: {mode: disable}", "pool: " + pool}, more...)...)
	h.start("")
	return h, pg
}

// unpinned logs in with a driver that keeps no named prepared statements: those
// live in a session and would pin it to its server connection.
func (h *house) unpinned(database string) *pgx.Conn {
	h.t.Helper()
	return h.dial(database, "sslmode=disable default_query_exec_mode=exec")
}

// TestTransactionPooling has many clients share two server connections: nobody
// gets another's rows, and the server never sees a third connection.
func TestTransactionPooling(t *testing.T) {
	t.Parallel()
	h, pg := poolHouse(t, "{mode: transaction, size: 2}")
	run(t, h.unpinned("up"), "create schema s; create table s.t (client int, n int)")
	const clients, rounds = 20, 30
	var wg sync.WaitGroup
	for i := range clients {
		c := h.unpinned("up")
		wg.Go(func() {
			for n := range rounds {
				err := pgx.BeginFunc(t.Context(), c, func(tx pgx.Tx) error {
					if _, err := tx.Exec(t.Context(), "insert into s.t values ($1, $2)", i, n); err != nil {
						return err
					}
					var got string
					if err := tx.QueryRow(t.Context(), "select $1 || ':' || $2", strconv.Itoa(i), strconv.Itoa(n)).Scan(&got); err != nil {
						return err
					}
					if want := fmt.Sprintf("%d:%d", i, n); got != want {
						return fmt.Errorf("got %q, want %q", got, want)
					}
					return nil
				})
				if err != nil {
					t.Errorf("client %d: %v", i, err)
					return
				}
			}
		})
	}
	wg.Wait()
	if got := pg.Value("app", "select count(distinct (client, n)) from s.t"); got != strconv.Itoa(clients*rounds) {
		t.Errorf("%s rows, want %d", got, clients*rounds)
	}
	if n := pg.Value("postgres", "select count(*) from pg_stat_activity where usename = $1", role); n != "2" && n != "1" {
		t.Errorf("%s server connections, want 2 at most", n)
	}
}

// TestSessionSemantics sets what lives in a session and finds it again, in both
// pool modes, while other clients use the same pool.
func TestSessionSemantics(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"transaction", "session"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h, _ := poolHouse(t, "{mode: "+mode+", size: 4}")
			noise := h.unpinned("up")
			a, b := h.dial("up"), h.dial("up")
			run(t, a, "set search_path = pg_catalog")
			run(t, a, "set timezone = 'Asia/Tokyo'")
			run(t, a, "set application_name = 'a'")
			run(t, a, "create temp table mine as select 42 as answer")
			run(t, b, "prepare p as select 'prepared'")
			for range 5 {
				run(t, noise, "select pg_sleep(0.01)")
				if got := ask(t, a, "select current_setting('search_path') || ' ' || current_setting('timezone') || ' ' || answer from mine"); got != "pg_catalog Asia/Tokyo 42" {
					t.Fatalf("a finds %q", got)
				}
				if got := ask(t, b, "select current_setting('timezone')"); got == "Asia/Tokyo" {
					t.Fatal("b got a's time zone")
				}
				if got := ask(t, b, "execute p", pgx.QueryExecModeSimpleProtocol); got != "prepared" {
					t.Fatalf("b finds %q", got)
				}
				if got := ask(t, noise, "select count(*)::text from pg_prepared_statements where name = 'p'"); got != "0" {
					t.Fatal("a PREPARE reached another client")
				}
			}
		})
	}
}

// TestPoolIsFull waits for a server connection that does not come: an error,
// not the end of the session.
func TestPoolIsFull(t *testing.T) {
	t.Parallel()
	h, _ := poolHouse(t, "{mode: transaction, size: 1, wait_timeout: 500ms}")
	holder, waiter := h.unpinned("up"), h.unpinned("up")
	run(t, holder, "begin")
	_, err := waiter.Exec(t.Context(), "select 1")
	e := pgError(t, err)
	if e.Severity != "ERROR" || e.Code != "53300" {
		t.Errorf("%+v", e)
	}
	discreet(t, e)
	run(t, holder, "commit")
	if got := ask(t, waiter, "select 'it lives'"); got != "it lives" {
		t.Error(got)
	}
}

// TestServerDies kills the database under its clients.
func TestServerDies(t *testing.T) {
	t.Parallel()
	h, pg := poolHouse(t, "{mode: transaction, size: 5, wait_timeout: 2s}")
	idle, busy, open := h.unpinned("up"), h.unpinned("up"), h.unpinned("up")
	ask(t, idle, "select 'x'")
	run(t, open, "begin")
	lost := make(chan error, 1)
	go func() {
		_, err := busy.Exec(t.Context(), "select pg_sleep(30)")
		lost <- err
	}()
	pg.WaitFor("postgres", "select count(*) from pg_stat_activity where usename = 'sync_writer' and query like 'select pg_sleep%'", "1")
	pg.Kill()
	for name, err := range map[string]error{
		"during a statement": <-lost,
		"in a transaction":   second(open.Exec(t.Context(), "select 1")),
	} {
		if e := pgError(t, err); e.Severity != "FATAL" || e.Code != "08006" {
			t.Errorf("%s: %+v", name, e)
		} else {
			discreet(t, e)
		}
	}
	// One who had nothing open keeps the session, and is told that there is no server now.
	_, err := idle.Exec(t.Context(), "select 1")
	if e := pgError(t, err); e.Severity != "ERROR" || e.Code != "57P03" {
		t.Errorf("later: %+v", e)
	} else {
		discreet(t, e)
	}
	_, err = h.try(writer, writerPassword, "up")
	if e := pgError(t, err); e.Severity != "FATAL" || e.Code != "08001" {
		t.Errorf("at login: %+v", e)
	}
	pg.Start()
	h.eventually("up")
	if got := ask(t, idle, "select 'back'"); got != "back" {
		t.Error(got)
	}
}

func second[T any](_ T, err error) error { return err }

// TestDrain ends a gateway while one client idles and another is in a
// transaction: the first is told at once, the second may finish.
func TestDrain(t *testing.T) {
	t.Parallel()
	h, pg := poolHouse(t, "{mode: transaction, size: 5}")
	idle, open := h.unpinned("up"), h.unpinned("up")
	run(t, open, "create schema s; create table s.t (x int)")
	run(t, open, "begin")
	run(t, open, "insert into s.t values (1)")
	h.gateway.Signal(syscall.SIGTERM)

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := fmt.Errorf("nothing yet")
	for err != nil && !strings.Contains(err.Error(), "57P01") && ctx.Err() == nil {
		_, err = idle.Exec(ctx, "select 1")
	}
	if e := pgError(t, err); e.Severity != "FATAL" || e.Code != "57P01" {
		t.Errorf("an idle client: %+v", e)
	}
	if _, err := h.try(writer, writerPassword, "up"); err == nil {
		t.Error("a new client is let in while the gateway drains")
	}
	run(t, open, "insert into s.t values (2)")
	run(t, open, "commit")
	if code, ended := h.gateway.Wait(10 * time.Second); !ended || code != 0 {
		t.Errorf("exit code %d, ended %v", code, ended)
	}
	if got := pg.Value("app", "select sum(x) from s.t"); got != "3" {
		t.Errorf("the transaction that was let finish left %s, want 3", got)
	}
}

// TestTooManyClients counts the gateway's clients and a writer's own.
func TestTooManyClients(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	h.upstream("up", "127.0.0.1", pg.Port, "tls: {mode: disable}")
	h.start("", "  few:\n    password: \"literal:pw\"\n    max_clients: 2\n    upstreams: {up: {grants: ALL}}\n")
	for range 2 {
		if _, err := h.try("few", "pw", "up"); err != nil {
			t.Fatal(err)
		}
	}
	_, err := h.try("few", "pw", "up")
	if e := pgError(t, err); e.Severity != "FATAL" || e.Code != "53300" {
		t.Errorf("%+v", e)
	}
	h.dial("up")
}

// TestTooManyClientsOfAll counts the clients of all writers, and has a place
// again when one has left.
func TestTooManyClientsOfAll(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	h.upstream("up", "127.0.0.1", pg.Port, "tls: {mode: disable}")
	h.limits = "{max_clients: 3}"
	h.start("", "  other:\n    password: \"literal:pw\"\n    upstreams: {up: {grants: ALL}}\n")
	var first *pgx.Conn
	for range 3 { // more than once when the kit's own visit has not been taken off the books
		for end := time.Now().Add(20 * time.Second); ; time.Sleep(10 * time.Millisecond) {
			c, err := h.try("other", "pw", "up")
			if err == nil {
				first = c
				break
			}
			if time.Now().After(end) {
				t.Fatal(err)
			}
		}
	}
	_, err := h.try(writer, writerPassword, "up")
	if e := pgError(t, err); e.Severity != "FATAL" || e.Code != "53300" {
		t.Errorf("%+v", e)
	}
	if err := first.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
	h.eventually("up")
}

// TestSilentUpstream asks for a database that takes the login and never answers.
func TestSilentUpstream(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	h.upstream("good", "127.0.0.1", pg.Port, "tls: {mode: disable}")
	mute := kit.StartScripted(t, func(c *kit.ScriptConn) {
		if _, ok := c.Startup(nil); ok {
			c.Silence()
		}
	})
	h.upstream("mute", "127.0.0.1", mute.Port, "tls: {mode: disable}", "pool: {wait_timeout: 3s}")
	h.start("")
	w := newWitness(t, h.dial("good"))
	start := time.Now()
	failed := make(chan error, 1)
	go func() {
		_, err := h.try(writer, writerPassword, "mute")
		failed <- err
	}()
	for {
		select {
		case err := <-failed:
			e := pgError(t, err)
			if e.Severity != "FATAL" || e.Code != "08001" && e.Code != "53300" {
				t.Errorf("after %s: %+v", time.Since(start), e)
			}
			discreet(t, e)
			return
		case <-time.After(200 * time.Millisecond):
			w.check(t)
		}
	}
}
