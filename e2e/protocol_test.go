package e2e

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"pggateway/e2e/kit"
	"pggateway/e2e/protocol"
)

// TestProtocol plays every script of testdata/protocol against PostgreSQL itself
// and through the gateway in both pool modes, where another client uses the
// same server connections between the script's transactions. The traces must be
// the same, but for what testdata/protocol/divergences names with a reason.
func TestProtocol(t *testing.T) {
	t.Parallel()
	cases, err := protocol.Load("testdata/protocol")
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) < 150 {
		t.Errorf("only %d scripts", len(cases))
	}
	known, err := protocol.LoadDivergences("testdata/protocol/divergences")
	if err != nil {
		t.Fatal(err)
	}
	for _, d := range known {
		if !slices.ContainsFunc(cases, func(c *protocol.Case) bool { return c.Title() == d.Title }) {
			t.Errorf("a divergence of %q, which is no script", d.Title)
		}
	}
	stages := map[string]*protocol.Stage{}
	servers := map[string]*theatre{}
	for _, mode := range []string{"direct", "transaction", "session"} {
		th := newTheatre(t, mode)
		servers[mode], stages[mode] = th, th.stage
	}
	version, err := servers["direct"].ask(t.Context(), "select current_setting('server_version_num')::int / 10000")
	if err != nil {
		t.Fatal(err)
	}
	major, err := strconv.Atoi(version)
	if err != nil {
		t.Fatal(err)
	}
	known = slices.DeleteFunc(known, func(d *protocol.Divergence) bool { return d.Before > 0 && major >= d.Before })
	cases = slices.DeleteFunc(cases, func(c *protocol.Case) bool { return major < c.Since })
	for _, c := range cases {
		t.Run(c.Title(), func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			if err := servers["direct"].clear(ctx); err != nil {
				t.Fatal(err)
			}
			want, pace, err := stages["direct"].Play(ctx, c, nil)
			if err != nil {
				t.Fatalf("directly: %v\n%s", err, strings.Join(want, "\n"))
			}
			var wg sync.WaitGroup
			for _, mode := range []string{"transaction", "session"} {
				wg.Go(func() {
					if err := servers[mode].clear(ctx); err != nil {
						t.Errorf("in %s mode: before the script: %v", mode, err)
						return
					}
					got, _, err := stages[mode].Play(ctx, c, pace)
					if err != nil {
						t.Errorf("in %s mode: %v\n%s", mode, err, strings.Join(got, "\n"))
						return
					}
					compare(t, c, mode, want, got, known)
				})
			}
			wg.Wait()
		})
	}
	for mode, th := range servers {
		if err := th.clear(t.Context()); err != nil {
			t.Errorf("in %s mode: at the end: %v", mode, err)
		}
	}
}

// compare checks that a trace differs from PostgreSQL's just as it is known to.
func compare(t *testing.T, c *protocol.Case, mode string, want, got []string, known []*protocol.Divergence) {
	t.Helper()
	diff := protocol.Diff(want, got)
	i := slices.IndexFunc(known, func(d *protocol.Divergence) bool {
		return d.Title == c.Title() && slices.Contains(d.Modes, mode)
	})
	switch {
	case i < 0 && len(diff) == 0:
	case i < 0:
		t.Errorf("in %s mode:\n%s", mode, &protocol.Divergence{Title: c.Title(), Modes: []string{mode}, Reason: "?", Lines: diff})
	case len(diff) == 0:
		t.Errorf("in %s mode it no longer differs: take it out of the divergences", mode)
	case !slices.Equal(diff, known[i].Lines):
		t.Errorf("in %s mode it differs in another way:\n%s\nknown is:\n%s", mode, strings.Join(diff, "\n"), strings.Join(known[i].Lines, "\n"))
	}
}

// theatre is a PostgreSQL server of its own, perhaps with a gateway before it,
// and what cleans up between two scripts.
type theatre struct {
	mode  string
	stage *protocol.Stage
	admin *pgx.Conn
	other *pgx.Conn // a client of the gateway that uses the pool, too; nil without a gateway
	hold  *pgx.Conn // another, which keeps a connection while the script gets the next
	turn  int

	through string // the way to the gateway, "" without one
}

// others are what the other clients ask for at login.
const others = "sslmode=disable timezone=America/Lima search_path=others client_encoding=LATIN1 " +
	"application_name=other options='-c statement_timeout=77777 -c DateStyle=German -c work_mem=1234kB'"

// statements are named as those of scripts are.
var statements = []string{"s1", "s2", "p1", "a", strings.Repeat("n", 70)}

// seen is what such a client must find whatever others did on its server, and whenever.
const seen = "America/Lima others LATIN1 other 77777ms German, DMY 1234kB on 0 0 0"

const look = `select concat_ws(' ', current_setting('timezone'), current_setting('search_path'), current_setting('client_encoding'),
	current_setting('application_name'), current_setting('statement_timeout'), current_setting('datestyle'),
	current_setting('work_mem'), current_setting('enable_seqscan'), (select count(*) from pg_catalog.pg_listening_channels()),
	(select count(*) from pg_catalog.pg_cursors where name <> ''),
	(select count(*) from pg_catalog.pg_locks where locktype = 'advisory' and pid = pg_catalog.pg_backend_pid()))`

func newTheatre(t *testing.T, mode string) *theatre {
	t.Helper()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{Settings: map[string]string{"max_prepared_transactions": "10", "deadlock_timeout": "100ms"}})
	pg.Exec("app", fmt.Sprintf("create role friend; create role stranger; grant friend to %s; grant create on database app to friend", role))
	th := &theatre{mode: mode, admin: pg.Connect("app")}
	th.stage = &protocol.Stage{
		Addr: fmt.Sprintf("127.0.0.1:%d", pg.Port), User: role, Password: rolePassword, Database: "app",
		Admin: th.ask,
	}
	if mode == "direct" {
		return th
	}
	// Through the gateway, names and passwords are the same as without.
	h.upstream("app", "127.0.0.1", pg.Port, "tls: {mode: disable}", "pool: {mode: "+mode+", size: 5, wait_timeout: 10s}")
	h.start("", fmt.Sprintf("  %s:\n    password: \"literal:%s\"\n    upstreams: {app: {grants: ALL}}\n", role, rolePassword))
	th.stage.Addr = h.gateway.Addrs[0]
	th.through = h.gateway.ConnString(role, rolePassword, "app", others)
	if mode == "transaction" {
		th.other, th.hold = h.dial("app", others), h.dial("app", others)
		for _, c := range []*pgx.Conn{th.other, th.hold} {
			for _, name := range statements {
				if _, err := c.PgConn().Prepare(t.Context(), name, fmt.Sprintf("select '%s of others'", name), nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		th.stage.Between = th.between
	}
	return th
}

// ask runs SQL as the superuser, past the gateway.
func (th *theatre) ask(ctx context.Context, sql string) (string, error) {
	results, err := th.admin.PgConn().Exec(ctx, sql).ReadAll()
	if err != nil || len(results) == 0 || len(results[len(results)-1].Rows) == 0 {
		return "", err
	}
	rows := results[len(results)-1].Rows
	return string(rows[len(rows)-1][0]), nil
}

// between has the other clients use the server connection that the script used
// last, and keeps it from the script: one of them holds a transaction open until
// the next time. Each finds its own parameters and nobody's leavings.
func (th *theatre) between(ctx context.Context) error {
	if err := th.use(ctx, th.other); err != nil {
		return err
	}
	if th.hold.PgConn().TxStatus() != 'I' {
		if _, err := th.hold.PgConn().Exec(ctx, "rollback").ReadAll(); err != nil {
			return err
		}
	}
	th.other, th.hold = th.hold, th.other
	return nil
}

// use begins a transaction and looks around in it, and runs one of the client's
// statements.
func (th *theatre) use(ctx context.Context, c *pgx.Conn) error {
	if _, err := c.PgConn().Exec(ctx, "begin").ReadAll(); err != nil {
		return fmt.Errorf("another client: %w", err)
	}
	r := c.PgConn().ExecParams(ctx, look, nil, nil, nil, nil).Read()
	if r.Err != nil {
		return fmt.Errorf("another client: %w", r.Err)
	}
	if got := string(r.Rows[0][0]); got != seen {
		return fmt.Errorf("another client finds %q, not %q", got, seen)
	}
	th.turn++
	name := statements[th.turn%len(statements)]
	if r = c.PgConn().ExecPrepared(ctx, name, nil, nil, nil).Read(); r.Err != nil {
		return fmt.Errorf("another client's statement %s: %w", name, r.Err)
	}
	if got := string(r.Rows[0][0]); got != name+" of others" {
		return fmt.Errorf("another client's statement %s returns %q", name, got)
	}
	// Without its portal it keeps nobody from CREATE INDEX CONCURRENTLY.
	_, err := c.PgConn().Exec(ctx, "select 1").ReadAll()
	return err
}

// soil is a client that leaves all that a session can hold behind, under names
// that scripts use. The script's client may get the very connection.
func (th *theatre) soil(ctx context.Context) error {
	c, err := pgconn.Connect(ctx, th.through)
	if err != nil {
		return err
	}
	defer c.Close(ctx)
	if _, err := c.Prepare(ctx, "s1", "select 'of a predecessor'", nil); err != nil {
		return err
	}
	_, err = c.Exec(ctx, `set work_mem = '9MB'; set session characteristics as transaction read only;
		prepare p as select 'of a predecessor'; listen ch; select pg_advisory_lock(42);
		begin read write; create temp table t as select 'of a predecessor'; create temp table tt as select 1;
		declare c cursor with hold for select 'of a predecessor'; commit; set role friend`).ReadAll()
	return err
}

// clear waits until nothing of the last script runs any more and makes the
// database as new. A connection, a lock or a transaction that stays is an error.
func (th *theatre) clear(ctx context.Context) error {
	for _, c := range []*pgx.Conn{th.other, th.hold} {
		if c != nil && c.PgConn().TxStatus() != 'I' {
			if _, err := c.PgConn().Exec(ctx, "rollback").ReadAll(); err != nil {
				return err
			}
		}
	}
	if th.through != "" {
		if err := th.soil(ctx); err != nil {
			return fmt.Errorf("the client before: %w", err)
		}
	}
	idle := "true"
	if th.mode != "direct" {
		idle = "(state <> 'idle' or pid in (select pid from pg_locks where locktype = 'advisory'))"
	}
	busy := `select concat_ws('; ', (select string_agg(concat_ws(' ', pid, state, query), '; ') from pg_stat_activity
		where usename = '` + role + `' and ` + idle + `), (select string_agg(relname, ' ') from pg_class where relpersistence = 't'))`
	var left string
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		var err error
		if left, err = th.ask(ctx, busy); err != nil {
			return err
		}
		if left == "" {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("still there: %s", left)
		}
	}
	if th.other != nil {
		// Whoever uses the connection next finds nothing of the script's.
		if err := th.between(ctx); err != nil {
			return fmt.Errorf("after a script: %w", err)
		}
	}
	if gid, err := th.ask(ctx, `select gid from pg_prepared_xacts`); err != nil || gid != "" {
		return fmt.Errorf("a prepared transaction %q is left (%w)", gid, err)
	}
	_, err := th.ask(ctx, `set lock_timeout = '5s'; drop schema public cascade; create schema public; grant all on schema public to public;
		select lo_unlink(oid) from pg_largeobject_metadata`)
	return err
}
