package e2e

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"pggateway/e2e/kit"
)

// limitHouse is a gateway with these limits before a plain PostgreSQL, to which
// it has one server connection.
func limitHouse(t *testing.T, limits string) (*house, *kit.Postgres) {
	t.Helper()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	h.upstream("up", "127.0.0.1", pg.Port, "tls: {mode: disable}", "pool: {mode: transaction, size: 1, wait_timeout: 30s}")
	h.limits = limits
	h.start("")
	run(t, h.unpinned("up"), "create schema s; create table s.t (x text)")
	return h, pg
}

// hijack logs in and hands over the bare connection.
func (h *house) hijack(database string) *pgconn.HijackedConn {
	h.t.Helper()
	c, err := h.unpinned(database).PgConn().Hijack()
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() { c.Conn.Close() })
	_ = c.Conn.SetDeadline(time.Now().Add(time.Minute))
	return c
}

// farewell reads to the end of the connection and returns the last error told.
func farewell(t *testing.T, c *pgconn.HijackedConn) (last *pgproto3.ErrorResponse) {
	t.Helper()
	for {
		m, err := c.Frontend.Receive()
		var timeout net.Error
		switch {
		case errors.As(err, &timeout) && timeout.Timeout():
			t.Fatal("the connection is still open")
		case err != nil:
			return last
		}
		if e, ok := m.(*pgproto3.ErrorResponse); ok {
			copied := *e
			last = &copied
		}
	}
}

// clean checks that the database has no transaction of the gateway's open, and no
// statement running.
func clean(t *testing.T, pg *kit.Postgres) {
	t.Helper()
	pg.WaitFor("postgres", "select count(*) from pg_stat_activity where usename = '"+role+"' and state <> 'idle'", "0")
	if n, _ := strconv.Atoi(pg.Value("postgres", "select count(*) from pg_stat_activity where usename = $1", role)); n > 1 {
		t.Errorf("%d server connections, want 1 at most", n)
	}
}

// inUse is a query whether the only server connection is in use, or gone because
// it was: however long nobody looks, that stays true.
func inUse(t *testing.T, c *pgx.Conn) string {
	t.Helper()
	return "select not exists (select from pg_stat_activity where state = 'idle' and pid = " + ask(t, c, "select pg_backend_pid()::text") + ")"
}

// Whoever sits on the only server connection is told why it goes; the next
// client has a connection then, and finds nothing of the first one's.
func TestIdleInTransactionLimit(t *testing.T) {
	t.Parallel()
	h, pg := limitHouse(t, "{idle_in_transaction: 1s}")
	const insert = "insert into s.t values ('never')"
	query := func(sql string) []byte { return encode(t, &pgproto3.Query{String: sql}) }
	pipeline := encode(t, &pgproto3.Parse{Query: insert}, &pgproto3.Bind{}, &pgproto3.Execute{})
	for name, send := range map[string][]byte{
		"a transaction":           query("begin; " + insert),
		"a failed transaction":    query("begin; " + insert + "; select 1/0"),
		"a pipeline without Sync": pipeline,
		"a pipeline with a Flush": append(append([]byte(nil), pipeline...), encode(t, &pgproto3.Flush{})...),
		"a failed pipeline":       encode(t, &pgproto3.Parse{Query: "oops"}, &pgproto3.Flush{}),
		"a COPY":                  append(query("copy s.t from stdin"), encode(t, &pgproto3.CopyData{Data: []byte("never\n")})...),
		"half a message":          append(query("begin; "+insert), query("commit")[:9]...),
		"half a header":           append(query("begin; "+insert), query("commit")[:2]...),
	} {
		t.Run(name, func(t *testing.T) {
			c, other := h.hijack("up"), h.unpinned("up")
			used := inUse(t, other)
			if _, err := c.Conn.Write(send); err != nil {
				t.Fatal(err)
			}
			pg.WaitFor("postgres", used, "t")
			if got := ask(t, other, "select count(*)::text from s.t"); got != "0" {
				t.Errorf("%s rows are there, want none", got)
			}
			if e := farewell(t, c); e == nil || e.Severity != "FATAL" || e.Code != "25P03" {
				t.Errorf("told %+v, want FATAL 25P03", e)
			}
			clean(t, pg)
		})
	}
	t.Run("a result that nobody reads", func(t *testing.T) {
		c, other := h.hijack("up"), h.unpinned("up")
		used := inUse(t, other)
		if _, err := c.Conn.Write(query("select repeat('x', 1000) from generate_series(1, 100000)")); err != nil {
			t.Fatal(err)
		}
		pg.WaitFor("postgres", used, "t")
		if got := ask(t, other, "select 'served'"); got != "served" {
			t.Error(got)
		}
		if n, err := io.Copy(io.Discard, c.Conn); n > 90<<20 {
			t.Errorf("got %d bytes, %v: all of the result", n, err)
		}
		clean(t, pg)
	})
	t.Run("a result that is read slowly", func(t *testing.T) {
		c := h.hijack("up")
		if _, err := c.Conn.Write(query("select repeat('x', 1000) from generate_series(1, 50000)")); err != nil {
			t.Fatal(err)
		}
		total := 0
		for end := time.Now().Add(2500 * time.Millisecond); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
			n, err := io.CopyN(io.Discard, c.Conn, 600<<10)
			if total += int(n); err != nil {
				t.Fatalf("after %d bytes: %v", total, err)
			}
		}
		n, err := io.CopyN(io.Discard, c.Conn, int64(50<<20-total-8<<20))
		if err != nil {
			t.Errorf("after %d bytes more: %v", n, err)
		}
	})
}

func encode(t *testing.T, messages ...pgproto3.FrontendMessage) (b []byte) {
	t.Helper()
	for _, m := range messages {
		var err error
		if b, err = m.Encode(b); err != nil {
			t.Fatal(err)
		}
	}
	return b
}

// A statement that runs for too long is cancelled, however it was sent, and the
// session goes on.
func TestStatementLimit(t *testing.T) {
	t.Parallel()
	h, pg := limitHouse(t, "{statement: 1s}")
	cancelled := func(t *testing.T, err error) {
		t.Helper()
		if e := pgError(t, err); e.Severity != "ERROR" || e.Code != "57014" {
			t.Errorf("got %+v, want ERROR 57014", e)
		}
	}
	for name, mode := range map[string]pgx.QueryExecMode{"simple": pgx.QueryExecModeSimpleProtocol, "extended": pgx.QueryExecModeExec} {
		t.Run(name, func(t *testing.T) {
			c := h.unpinned("up")
			_, err := c.Exec(t.Context(), "select pg_sleep($1)", mode, 60)
			cancelled(t, err)
			if got := ask(t, c, "select 'it lives'"); got != "it lives" {
				t.Error(got)
			}
			run(t, c, "begin")
			_, err = c.Exec(t.Context(), "select pg_sleep($1)", mode, 60)
			cancelled(t, err)
			if status := c.PgConn().TxStatus(); status != 'E' {
				t.Errorf("status %c in the transaction, want E", status)
			}
			run(t, c, "rollback")
			if got := ask(t, h.unpinned("up"), "select 'the next'"); got != "the next" {
				t.Error(got)
			}
			clean(t, pg)
		})
	}
	t.Run("pipeline", func(t *testing.T) {
		c := h.unpinned("up").PgConn()
		p := c.StartPipeline(t.Context())
		for _, sql := range []string{"select 'first'", "select pg_sleep(60)", "select 'skipped'"} {
			p.SendQueryParams(sql, nil, nil, nil, nil)
		}
		if err := p.Sync(); err != nil {
			t.Fatal(err)
		}
		p.SendQueryParams("select 'behind'", nil, nil, nil, nil)
		if err := p.Sync(); err != nil {
			t.Fatal(err)
		}
		var told []string
		for {
			r, err := p.GetResults()
			var e *pgconn.PgError
			switch r := r.(type) {
			case *pgconn.ResultReader:
				res := r.Read()
				if errors.As(res.Err, &e) {
					told = append(told, e.Code)
				} else {
					told = append(told, string(res.Rows[0][0]))
				}
			case *pgconn.PipelineSync:
				told = append(told, "sync")
			}
			if r == nil {
				if errors.As(err, &e) {
					told = append(told, e.Code)
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				break
			}
		}
		if got := strings.Join(told, " "); got != "first 57014 sync behind sync" {
			t.Errorf("told %s", got)
		}
		if err := p.Close(); err != nil {
			t.Error(err)
		}
		clean(t, pg)
	})
	t.Run("each for itself", func(t *testing.T) {
		c := h.hijack("up")
		for range 6 { // a pipeline of transactions
			c.Frontend.Send(&pgproto3.Query{String: "select pg_sleep(0.3)"})
		}
		if err := c.Frontend.Flush(); err != nil {
			t.Fatal(err)
		}
		for left := 6; left > 0; {
			m, err := c.Frontend.Receive()
			if err != nil {
				t.Fatal(err)
			}
			switch m := m.(type) {
			case *pgproto3.ErrorResponse:
				t.Fatalf("%+v", m)
			case *pgproto3.ReadyForQuery:
				left--
			}
		}
	})
	t.Run("client gone", func(t *testing.T) {
		c := h.hijack("up")
		if _, err := c.Conn.Write(encode(t, &pgproto3.Query{String: "select pg_sleep(61)"})); err != nil {
			t.Fatal(err)
		}
		pg.WaitFor("postgres", "select count(*) from pg_stat_activity where query = 'select pg_sleep(61)'", "1")
		c.Conn.Close()
		if got := ask(t, h.unpinned("up"), "select 'the next'"); got != "the next" {
			t.Error(got)
		}
		clean(t, pg)
	})
}

func TestClientIdleLimit(t *testing.T) {
	t.Parallel()
	h, pg := limitHouse(t, "{client_idle: 1s}")
	for name, sql := range map[string]string{"free": "select 1", "pinned": "create temp table mine as select 1 as x"} {
		t.Run(name, func(t *testing.T) {
			c := h.hijack("up")
			if _, err := c.Conn.Write(encode(t, &pgproto3.Query{String: sql})); err != nil {
				t.Fatal(err)
			}
			if e := farewell(t, c); e == nil || e.Severity != "FATAL" || e.Code != "57P05" {
				t.Errorf("told %+v, want FATAL 57P05", e)
			}
			if got := ask(t, h.unpinned("up"), "select coalesce(to_regclass('pg_temp.mine')::text, 'nothing')"); got != "nothing" {
				t.Errorf("the next client finds %s", got)
			}
			clean(t, pg)
		})
	}
	t.Run("who works is not idle", func(t *testing.T) {
		run(t, h.unpinned("up"), "select pg_sleep(3)")
	})
}

func TestWaitNotice(t *testing.T) {
	t.Parallel()
	h, _ := limitHouse(t, "{wait_notice: 300ms}")
	holder := h.unpinned("up")
	run(t, holder, "begin")
	var told []string
	cfg, err := pgx.ParseConfig(h.gateway.ConnString(writer, writerPassword, "up", "sslmode=disable default_query_exec_mode=exec"))
	if err != nil {
		t.Fatal(err)
	}
	cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
		if told = append(told, fmt.Sprintf("%s %s %s %s", n.Severity, n.Code, n.Message, n.Detail)); len(told) == 1 {
			run(t, holder, "commit")
		}
	}
	c, err := pgx.ConnectConfig(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(context.Background())
	if got := ask(t, c, "select 'served'"); got != "served" {
		t.Error(got)
	}
	if len(told) != 1 || !strings.HasPrefix(told[0], `NOTICE 00000 waiting for a server connection to "up"`) || !strings.Contains(told[0], "at most 1 connections: 1 in use") {
		t.Errorf("told %q", told)
	}
}

// A login that has to wait is told as well, and libpq and pgx take it: the only
// server connection is in use, and has to be asked about parameters that nobody
// has had before.
func TestWaitNoticeAtLogin(t *testing.T) {
	t.Parallel()
	h, _ := limitHouse(t, "{wait_notice: 300ms}")
	holder := h.unpinned("up")
	hold := func() { run(t, holder, "begin") }
	t.Run("pgx", func(t *testing.T) {
		hold()
		cfg, err := pgx.ParseConfig(h.gateway.ConnString(writer, writerPassword, "up", "sslmode=disable application_name=pgx timezone=Asia/Tokyo"))
		if err != nil {
			t.Fatal(err)
		}
		told := 0
		cfg.OnNotice = func(_ *pgconn.PgConn, n *pgconn.Notice) {
			told++
			run(t, holder, "commit")
		}
		c, err := pgx.ConnectConfig(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close(context.Background())
		if got := ask(t, c, "select current_setting('timezone')"); got != "Asia/Tokyo" || told != 1 {
			t.Errorf("told %d times, and finds %s", told, got)
		}
	})
	t.Run("psql", func(t *testing.T) {
		hold()
		info := fmt.Sprintf("host=127.0.0.1 port=%d user=%s dbname=up sslmode=disable", h.gateway.Port(), writer)
		cmd := exec.CommandContext(t.Context(), kit.PostgresBinary(t, "psql"), "-XAtqc", "show application_name", info)
		cmd.Env = append(os.Environ(), "PGPASSWORD="+writerPassword, "PGAPPNAME=told")
		var printed bytes.Buffer
		cmd.Stdout = &printed
		said, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		line, err := bufio.NewReader(said).ReadString('\n')
		if want := `NOTICE:  waiting for a server connection to "up"`; !strings.HasPrefix(line, want) {
			t.Errorf("psql says %q, %v, want %q", line, err, want)
		}
		run(t, holder, "commit")
		if err := cmd.Wait(); err != nil || printed.String() != "told\n" {
			t.Errorf("psql prints %q, %v", printed.String(), err)
		}
	})
}
