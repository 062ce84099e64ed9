package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"pggateway/e2e/kit"
)

// startup is what the client of the scripts below asks for; none of it is the
// server's default.
const startup = "timezone=Asia/Tokyo search_path=own,public client_encoding=LATIN1 application_name=script " +
	"options='-c statement_timeout=54321 -c DateStyle=German'"

const show = "select current_setting('timezone'), current_setting('search_path'), current_setting('client_encoding'), " +
	"current_setting('application_name'), current_setting('statement_timeout'), current_setting('datestyle')"

// scripts are what a client does to its session; their transcripts must not
// depend on whether there is a gateway, and another client, between.
var scripts = map[string][]string{
	"startup values":                {show},
	"reset all":                     {"reset all", show, "select 1", show},
	"reset one":                     {"reset timezone", show, "reset search_path", show},
	"reset what was set":            {"set timezone = 'Europe/Paris'", "set search_path = other", "reset timezone", show, "reset all", show},
	"discard all":                   {"set timezone = 'Europe/Paris'", "discard all", show, "set search_path = other", show},
	"the server's default":          {"set statement_timeout = 0", show, "begin; reset all; rollback", show, "reset all; select 1/0", show, "begin; reset all; set statement_timeout = 0; commit", show},
	"reset in a transaction":        {"begin", "reset all", show, "commit", show},
	"reset undone":                  {"begin", "reset all", "rollback", show},
	"reset in an aborted statement": {"reset all; select 1/0", show},
	"set local":                     {"begin", "set local timezone = 'Europe/Paris'", show, "commit", show},
	"set undone":                    {"begin", "set timezone = 'Europe/Paris'", "rollback", show},
	"set in a block": {
		"do $$ begin perform set_config('timezone', 'Europe/Paris', false); end $$", show,
		"do $$ begin execute 'set datestyle = ''SQL'''; end $$", show,
	},
	"temporary table": {"create temp table t (n int)", "insert into t values (1)", "select n from t", "discard temp", "select n from t"},
	"prepare":         {"prepare p as select 1", "execute p", "deallocate p", "execute p"},
	"cursor":          {"begin", "declare c cursor with hold for select generate_series(1, 3)", "commit", "fetch 2 from c", "fetch 2 from c", "close c"},
	"advisory lock":   {"select pg_advisory_lock(42)", "select pg_advisory_unlock(42)", "select pg_advisory_unlock(42)"},
	"latin1":          {"select chr(228), octet_length(chr(228))", "set client_encoding = 'UTF8'", "select chr(228)", "reset client_encoding", "select chr(228)"},
	"savepoints":      {"begin", "savepoint a", "select 1/0", "select 1", "rollback to a", "select 1", "commit"},
	"many at once":    {"select 1; select 2; select 1/0; select 3", "begin; select 1; commit; select 2", "", ";"},
}

// transcript runs a script statement by statement and writes down everything a
// client can see of it, the reported parameters included.
func transcript(t *testing.T, conn string, script []string, between func()) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := pgconn.Connect(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(ctx)
	var b strings.Builder
	for _, sql := range script {
		between()
		results, err := c.Exec(ctx, sql).ReadAll()
		fmt.Fprintf(&b, "%s\n", sql)
		for _, r := range results {
			fmt.Fprintf(&b, "  %q %s\n", r.Rows, r.CommandTag)
		}
		if err != nil {
			fmt.Fprintf(&b, "  %v\n", err)
		}
		fmt.Fprintf(&b, "  [%c", c.TxStatus())
		for _, name := range []string{"TimeZone", "client_encoding", "application_name", "DateStyle"} {
			fmt.Fprintf(&b, " %s=%s", name, c.ParameterStatus(name))
		}
		b.WriteString("]\n")
	}
	return b.String()
}

// TestSessionsAreTheirClients has each script run directly and through the
// gateway, where a client with other parameters uses the same server connections
// between any two statements.
func TestSessionsAreTheirClients(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"transaction", "session"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h, pg := poolHouse(t, "{mode: "+mode+", size: 2, wait_timeout: 10s}")
			direct := kit.ConnString("127.0.0.1", pg.Port, "app", role, rolePassword, "sslmode=disable ")
			through := h.gateway.ConnString(writer, writerPassword, "up", "sslmode=disable ")
			other, err := pgconn.Connect(t.Context(), through+"timezone=America/Lima search_path=others application_name=other")
			if err != nil {
				t.Fatal(err)
			}
			defer other.Close(t.Context())
			disturb := func() {
				if _, err := other.Exec(t.Context(), "begin; select current_setting('timezone'); commit").ReadAll(); err != nil {
					t.Error(err)
				}
			}
			for name, script := range scripts {
				t.Run(name, func(t *testing.T) {
					want := transcript(t, direct+startup, script, func() {})
					got := transcript(t, through+startup, script, disturb)
					if got != want {
						t.Errorf("through the gateway:\n%s\ndirectly:\n%s", got, want)
					}
				})
			}
			if zone := other.ParameterStatus("TimeZone"); zone != "America/Lima" {
				t.Errorf("the other client was told TimeZone %s", zone)
			}
		})
	}
}

// TestUnnamedStatementsAreTheirClients tries to run a statement that another
// client has left unnamed on the only server connection.
func TestUnnamedStatementsAreTheirClients(t *testing.T) {
	t.Parallel()
	h, _ := poolHouse(t, "{mode: transaction, size: 1}")
	victim := h.unpinned("up").PgConn()
	parse, bind, execute, sync := &pgproto3.Parse{Query: "select oops"}, &pgproto3.Bind{}, &pgproto3.Execute{}, &pgproto3.Sync{}
	for name, messages := range map[string][]pgproto3.FrontendMessage{
		"at once":                 {bind, execute, sync},
		"behind a named Parse":    {&pgproto3.Parse{Name: "s1", Query: "select 1"}, bind, execute, sync},
		"behind a failed Execute": {execute, parse, sync, bind, execute, sync},
		"behind a failed Bind":    {execute, bind, sync, bind, execute, sync},
		"behind a Describe":       {&pgproto3.Describe{ObjectType: 'S'}, sync, bind, execute, sync},
	} {
		t.Run(name, func(t *testing.T) {
			if r := victim.ExecParams(t.Context(), "select 'the secret of A'", nil, nil, nil, nil).Read(); r.Err != nil {
				t.Fatal(r.Err)
			}
			thief, err := h.unpinned("up").PgConn().Hijack()
			if err != nil {
				t.Fatal(err)
			}
			defer thief.Conn.Close() // a named statement would keep the connection from the next victim
			_ = thief.Conn.SetDeadline(time.Now().Add(time.Minute))
			owed := 0
			for _, m := range messages {
				thief.Frontend.Send(m)
				if m == pgproto3.FrontendMessage(sync) {
					owed++
				}
			}
			if err := thief.Frontend.Flush(); err != nil {
				t.Fatal(err)
			}
			refused := false
			for owed > 0 {
				m, err := thief.Frontend.Receive()
				if err != nil {
					t.Fatal(err)
				}
				switch m := m.(type) {
				case *pgproto3.DataRow:
					t.Errorf("got a row: %q", m.Values)
				case *pgproto3.RowDescription:
					t.Error("got a description of another's statement")
				case *pgproto3.ErrorResponse:
					refused = true
				case *pgproto3.ReadyForQuery:
					owed--
				}
			}
			if !refused {
				t.Error("nothing was refused")
			}
		})
	}
}
