package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pggateway/e2e/kit"
)

// party is clients of a gateway with one server connection, on which any client
// that keeps it for itself keeps all others waiting, for long enough to fail.
type party struct {
	*house
	pg *kit.Postgres
}

func newParty(t *testing.T, size int, wait string) party {
	h, pg := poolHouse(t, fmt.Sprintf("{mode: transaction, size: %d, wait_timeout: %s}", size, wait))
	return party{h, pg}
}

func connect(t *testing.T, conn string) *pgconn.PgConn {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	c, err := pgconn.Connect(ctx, conn)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	return c
}

func (p party) through(t *testing.T, more string) *pgconn.PgConn {
	t.Helper()
	return connect(t, p.gateway.ConnString(writer, writerPassword, "up", "sslmode=disable "+more))
}

func (p party) direct(t *testing.T, more string) *pgconn.PgConn {
	t.Helper()
	return connect(t, kit.ConnString("127.0.0.1", p.pg.Port, "app", role, rolePassword, "sslmode=disable application_name=gateway "+more))
}

// say runs a text, or a prepared statement by its name, and writes down what comes of it.
func say(t *testing.T, c *pgconn.PgConn, sql string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var results []*pgconn.Result
	var err error
	if name, ok := strings.CutPrefix(sql, "execute: "); ok {
		results = []*pgconn.Result{c.ExecPrepared(ctx, name, nil, nil, nil).Read()}
		err = results[0].Err
	} else {
		results, err = c.Exec(ctx, sql).ReadAll()
	}
	var b strings.Builder
	for _, r := range results {
		fmt.Fprintf(&b, "%q %s;", r.Rows, r.CommandTag)
	}
	if err != nil {
		fmt.Fprintf(&b, " %v;", err)
	}
	fmt.Fprintf(&b, " %c", c.TxStatus())
	return b.String()
}

// value runs a query for one value.
func value(t *testing.T, c *pgconn.PgConn, sql string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var values [][]byte
	for _, a := range args {
		values = append(values, []byte(a))
	}
	r := c.ExecParams(ctx, sql, values, nil, nil, nil).Read()
	if r.Err != nil {
		t.Fatalf("%s %q: %v", sql, args, r.Err)
	}
	if len(r.Rows) != 1 {
		return "no row"
	}
	return string(r.Rows[0][0])
}

// TestSettingsAreCarried has two clients share the only server connection, each
// with its own values.
func TestSettingsAreCarried(t *testing.T) {
	t.Parallel()
	p := newParty(t, 1, "10s")
	clients := []*pgconn.PgConn{p.through(t, ""), p.through(t, "client_encoding=LATIN1"), p.through(t, "")}
	set := map[string]func(client int) string{
		"search_path":       func(n int) string { return fmt.Sprintf("set search_path = s%d, \"$user\", \"Ä b\"", n) },
		"statement_timeout": func(n int) string { return fmt.Sprintf("set statement_timeout = '%dmin'", n+1) },
		"timezone":          func(n int) string { return fmt.Sprintf("set time zone interval '+0%d:00' hour to minute", n+1) },
		"my.own":            func(n int) string { return fmt.Sprintf("set my.own = 'it''s %d \\x'", n) },
		"work_mem":          func(n int) string { return fmt.Sprintf("select set_config('work_mem', '%dMB', false)", n+8) },
		"extra_float_digits": func(n int) string {
			return fmt.Sprintf("do $$ begin perform set_config('extra_float_digits', '%d', false); end $$", n)
		},
		"default_transaction_isolation": func(n int) string {
			return "set session characteristics as transaction isolation level " + []string{"serializable", "repeatable read", "read committed"}[n]
		},
	}
	want := make([]map[string]string, len(clients))
	for n, c := range clients {
		want[n] = make(map[string]string)
		for name, text := range set {
			got := say(t, c, text(n))
			want[n][name] = value(t, c, "select current_setting($1)", name)
			if strings.Contains(got, "ERROR") {
				t.Errorf("%s: %s", text(n), got)
			}
		}
	}
	for round := range 3 {
		for n, c := range clients {
			for name := range set {
				if got := value(t, c, "select current_setting($1)", name); got != want[n][name] || got == want[(n+1)%len(want)][name] {
					t.Errorf("round %d: client %d has %s = %q, want %q", round, n, name, got, want[n][name])
				}
			}
		}
	}
}

// TestEverySettingIsCarried sets every parameter of the server that the role may
// set to another value, and finds that value again on the server connection after
// it was another client's.
func TestEverySettingIsCarried(t *testing.T) {
	t.Parallel()
	p := newParty(t, 1, "10s")
	direct, mine, other := p.direct(t, ""), p.through(t, ""), p.through(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	rows := direct.ExecParams(ctx, `select name, vartype, coalesce(min_val, ''), coalesce(max_val, ''), setting,
		coalesce(array_to_string(enumvals, ','), '') from pg_settings where context = 'user' and name not like 'transaction_%' and name <> 'temp_buffers' order by name`, nil, nil, nil, nil).Read()
	if rows.Err != nil || len(rows.Rows) < 100 {
		t.Fatalf("%d parameters, %v", len(rows.Rows), rows.Err)
	}
	texts := map[string][]string{
		"application_name": {"x y"}, "client_encoding": {"LATIN1"}, "datestyle": {"German", "SQL, DMY"}, "timezone": {"Europe/Paris", "+3:30"},
		"search_path": {`"$user", "A,b"`}, "default_table_access_method": {"heap"}, "default_text_search_config": {"pg_catalog.german"},
		"lc_monetary": {"C"}, "lc_numeric": {"C"}, "lc_time": {"C"}, "lc_messages": {"C"}, "timezone_abbreviations": {"India"},
		"createrole_self_grant": {"set, inherit"}, "debug_io_direct": {},
	}
	carried := 0
	for _, row := range rows.Rows {
		name, kind, least, most, now := string(row[0]), string(row[1]), string(row[2]), string(row[3]), string(row[4])
		var values []string
		switch kind {
		case "bool":
			values = []string{map[string]string{"on": "off", "off": "on"}[now]}
		case "integer", "real":
			values = []string{least, most}
			if strings.Contains(name, "timeout") {
				values = []string{"54321"} // or it ends this test's own statements
			}
		case "enum":
			values = strings.Split(string(row[5]), ",")
		default:
			values = texts[strings.ToLower(name)]
		}
		initial := value(t, direct, "select current_setting($1)", name)
		for _, v := range values {
			if v == now || strings.Contains(say(t, direct, fmt.Sprintf("set %s = '%s'", name, v)), "ERROR") {
				continue
			}
			want := value(t, direct, "select current_setting($1)", name)
			if got := say(t, mine, fmt.Sprintf("set %s = '%s'", name, v)); strings.Contains(got, "ERROR") {
				t.Errorf("%s = %s: %s", name, v, got)
				continue
			}
			if got := value(t, other, "select current_setting($1)", name); got == want && got != initial {
				t.Errorf("%s = %s is another client's, too", name, v)
			}
			if got := value(t, mine, "select current_setting($1)", name); got != want {
				t.Errorf("%s = %s: came back as %q, want %q", name, v, got, want)
			}
			carried++
		}
		say(t, direct, "reset "+name)
		say(t, mine, "reset "+name)
		if got := value(t, mine, "select setting from pg_settings where name = $1", name); got != now {
			t.Errorf("%s is %s after RESET, want %s", name, got, now)
		}
	}
	if carried < 100 {
		t.Errorf("%d values were tried", carried)
	}
}

// TestPinsEnd has a client do what pins it and then what ends the state; before
// and after that, another client must get the only server connection.
func TestPinsEnd(t *testing.T) {
	t.Parallel()
	p := newParty(t, 1, "1s")
	p.pg.Exec("postgres", "grant pg_monitor to "+role)
	for name, script := range map[string]struct{ begin, end []string }{
		"temporary table":               {[]string{"create temp table t (n int)"}, []string{"drop table t"}},
		"temporary table, undone":       {nil, []string{"begin; create temp table t (n int); rollback"}},
		"temporary table, until commit": {nil, []string{"begin", "create temp table t (n int) on commit drop", "insert into t values (1)", "commit"}},
		"temporary function":            {[]string{"create function pg_temp.f() returns int language sql as 'select 1'"}, []string{"drop function pg_temp.f()"}},
		"temporary type":                {[]string{"create type pg_temp.ty as enum ('a')"}, []string{"drop type pg_temp.ty"}},
		"discard temp":                  {[]string{"create temp view v as select 1"}, []string{"discard temp"}},
		"a word":                        {nil, []string{"select 'temp', 'hold', 'pg_advisory_lock'"}},
		"listen":                        {[]string{"listen a; listen b"}, []string{"unlisten a", "unlisten *"}},
		"listen, undone":                {nil, []string{"begin", "listen a", "rollback"}},
		"cursor":                        {[]string{"begin; declare c cursor with hold for select 1; commit"}, []string{"fetch c", "close c"}},
		"close all":                     {[]string{"begin; declare c cursor with hold for select 1; commit"}, []string{"close all"}},
		"prepare":                       {[]string{"prepare a as select 1"}, []string{"execute a", "deallocate a"}},
		"deallocate all":                {[]string{"prepare a as select 1; prepare b as select 2"}, []string{"deallocate a", "deallocate all"}},
		"advisory lock":                 {[]string{"select pg_advisory_lock(1)", "select pg_advisory_lock(1)"}, []string{"select pg_advisory_unlock(1)", "select pg_advisory_unlock(1)"}},
		"advisory locks":                {[]string{"select pg_try_advisory_lock_shared(1), pg_advisory_lock(2)"}, []string{"select pg_advisory_unlock_all()"}},
		"advisory lock not got":         {nil, []string{"begin; select pg_advisory_xact_lock(3); select 'pg_advisory_lock'; commit"}},
		"lock by execute":               {[]string{"prepare a as select pg_advisory_lock(4)", "execute a", "deallocate a"}, []string{"select pg_advisory_unlock(4)"}},
		"role":                          {[]string{"set role pg_monitor"}, []string{"set role none"}},
		"role, reset":                   {[]string{"set session role pg_monitor"}, []string{"reset role"}},
		"local role":                    {nil, []string{"begin; set local role pg_monitor; commit"}},
		"session authorization":         {nil, []string{"set session authorization default"}},
		"several":                       {[]string{"listen a; create temp table t (n int)"}, []string{"unlisten *", "drop table t"}},
		"several, and a setting":        {[]string{"listen a; set work_mem = '7MB'"}, []string{"unlisten *", "show work_mem"}},
		"temp_buffers":                  {[]string{"set temp_buffers to default"}, []string{"discard all"}},
		"discard all":                   {[]string{"create temp table t (n int); listen a; prepare p as select 1; select set_config(lower('WORK_MEM'), '9MB', false)"}, []string{"discard all"}},
	} {
		t.Run(name, func(t *testing.T) {
			mine, other := p.through(t, ""), p.through(t, "")
			for _, sql := range script.begin {
				if got := say(t, mine, sql); strings.Contains(got, "ERROR") {
					t.Errorf("%s: %s", sql, got)
				}
			}
			if script.begin != nil {
				got := say(t, other, "set statement_timeout = 0")
				if !strings.Contains(got, "53300") {
					t.Errorf("not pinned: another client got %s", got)
				}
			}
			for _, sql := range script.end {
				if got := say(t, mine, sql); strings.Contains(got, "ERROR") {
					t.Errorf("%s: %s", sql, got)
				}
			}
			free := "select 1"
			for end := time.Now().Add(10 * time.Second); strings.Contains(free, "ERROR") || free == "select 1"; {
				if free = say(t, other, "select 1"); time.Now().After(end) {
					t.Fatalf("still pinned: another client got %s", free)
				}
			}
			state := "select (select count(*) from pg_listening_channels()), (select count(*) from pg_cursors where is_holdable), " +
				"(select count(*) from pg_prepared_statements), (select count(*) from pg_locks where locktype = 'advisory'), " +
				"(select count(*) from pg_class where relnamespace = pg_my_temp_schema()), current_user = session_user, current_setting('work_mem')"
			if got := say(t, other, state); !strings.Contains(got, `[["0" "0" "0" "0" "0" "t" "4MB"]]`) {
				t.Errorf("another client finds %s", got)
			}
		})
	}
}

// TestRandomSettings has clients set, reset and undo at random, each of them once
// directly and once through the gateway on two server connections, and compares
// all answers.
func TestRandomSettings(t *testing.T) {
	t.Parallel()
	p := newParty(t, 2, "10s")
	const clients, rounds = 5, 150
	names := []string{"work_mem", "timezone", "statement_timeout", "application_name", "my.own", "search_path", "lock_timeout"}
	values := map[string][]string{
		"work_mem": {"4MB", "5MB", "6MB"}, "timezone": {"Europe/Paris", "Asia/Tokyo", "GMT"}, "statement_timeout": {"54321", "60000", "0"},
		"application_name": {"a", "b", ""}, "my.own": {"1", "2", ""}, "search_path": {"a", "a, b", "public"}, "lock_timeout": {"0", "12345", "54321"},
	}
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 1))
	one := func() string {
		name := names[random.IntN(len(names))]
		v := values[name][random.IntN(3)]
		switch random.IntN(17) {
		case 0, 1, 2:
			return fmt.Sprintf("set %s = '%s'", name, v)
		case 3:
			return fmt.Sprintf("set local %s to '%s'", name, v)
		case 4:
			return fmt.Sprintf("select set_config('%s', '%s', %v)", name, v, random.IntN(2) == 0)
		case 5:
			return "reset " + name
		case 6:
			return fmt.Sprintf("set %s to default", name)
		case 7:
			return []string{"reset all", "discard all", "reset all; select 1", "set time zone local"}[random.IntN(4)]
		case 8:
			return "begin"
		case 9, 10:
			return []string{"commit", "rollback"}[random.IntN(2)]
		case 11:
			return []string{"savepoint a", "rollback to a", "release a"}[random.IntN(3)]
		case 12:
			return fmt.Sprintf("set %s = '%s'; select 1/0", name, v)
		case 13:
			return fmt.Sprintf("do $$ begin perform set_config('%s', '%s', false); end $$", name, v)
		case 14:
			return []string{"set nonsense = 1", "set session characteristics as transaction read only", "set session characteristics as transaction read write", "create temp table x (n int) on commit drop", "set transaction read only"}[random.IntN(5)]
		case 15:
			return []string{"execute: p0", "execute: p1", "execute: p2", "execute: p3"}[random.IntN(4)]
		default:
			return "select 'nothing of that'"
		}
	}
	look := "select current_setting('default_transaction_read_only')"
	for _, n := range names {
		look += ", current_setting('" + n + "', true)"
	}
	type twin struct{ direct, through *pgconn.PgConn }
	var twins []twin
	for n := range clients {
		startup := []string{"", "work_mem=5MB timezone=Asia/Tokyo", "options='-c my.own=1 -c lock_timeout=54321'", "search_path=a", "statement_timeout=60000"}[n]
		twins = append(twins, twin{p.direct(t, startup), p.through(t, startup)})
	}
	for _, w := range twins {
		for _, c := range []*pgconn.PgConn{w.direct, w.through} {
			for name, sql := range map[string]string{"p0": "set work_mem = '6MB'", "p1": "select set_config('my.own', '3', false)", "p2": "reset all", "p3": "select 'temp'"} {
				if _, err := c.Prepare(t.Context(), name, sql, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	var open int // clients in a transaction; more than one would keep both connections
	for round := range rounds * clients {
		n := random.IntN(clients)
		w := twins[n]
		sql := one()
		inside := w.direct.TxStatus() != 'I'
		if sql == "begin" && !inside && open == 1 {
			continue
		}
		want, got := say(t, w.direct, sql), say(t, w.through, sql)
		if want != got {
			t.Fatalf("round %d, client %d: %s\ndirectly: %s\nthrough:  %s", round, n, sql, want, got)
		}
		switch now := w.direct.TxStatus() != 'I'; {
		case now && !inside:
			open++
		case !now && inside:
			open--
		}
		if w.direct.TxStatus() != 'E' {
			if want, got := say(t, w.direct, look), say(t, w.through, look); want != got {
				t.Fatalf("round %d, client %d, after %s\ndirectly: %s\nthrough:  %s", round, n, sql, want, got)
			}
		}
	}
}
