package drivers

import (
	"context"
	"errors"
	"fmt"
	"io"
	"reflect"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"
)

// pgxWay is pgx in one of its ways to run a query.
type pgxWay struct {
	way
	mode string
}

// TestPgx runs pgx in each of its query exec modes. With cache_statement it names
// its statements.
func TestPgx(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"cache_statement", "cache_describe", "describe_exec", "exec", "simple_protocol"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			eachWay(t, func(t *testing.T, w way) answers {
				p := pgxWay{w, mode}
				return goJobs(t, map[string]func(context.Context) string{
					"connect": p.login, "parameters": p.parameters, "types": p.types, "prepared": p.prepared,
					"prepared_pool": p.preparedPool, "prepared_evicted": p.preparedEvicted, "transactions": p.transactions,
					"errors": p.errors, "batch": p.batch, "copy": p.copy, "cursor": p.cursor, "notify": p.notify,
					"settings": p.settings, "temporary": p.temporary, "cancel": p.cancel, "timeout": p.timeout,
					"large": p.large, "upsert": p.upsert, "swap": p.swap, "columns": p.columns,
				})
			}, map[string]string{"prepared_pool": "200 of 200 right", "prepared_evicted": "60 of 60 right"})
		})
	}
}

// connect returns a connection and what closes it.
func (p pgxWay) connect(ctx context.Context, more ...string) (*pgx.Conn, func()) {
	c := must1(pgx.Connect(ctx, p.conn(append(more, "default_query_exec_mode="+p.mode)...)))
	return c, func() { _ = c.Close(ctx) }
}

// pgxRunner is a connection, a pool or a transaction.
type pgxRunner interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

func pgxOne(ctx context.Context, c pgxRunner, sql string, args ...any) string {
	var s string
	must(c.QueryRow(ctx, sql, args...).Scan(&s))
	return s
}

func pgxRun(ctx context.Context, c pgxRunner, sql string, args ...any) {
	must1(c.Exec(ctx, sql, args...))
}

func pgxCode(err error) string {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return e.Code
	}
	return fmt.Sprint(err)
}

func (p pgxWay) login(ctx context.Context) string {
	c, done := p.connect(ctx, "application_name=sync", "timezone=Asia/Tokyo")
	defer done()
	return pgxOne(ctx, c, "select current_setting('application_name') || ' ' || current_setting('TimeZone')")
}

func (p pgxWay) parameters(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	return pgxOne(ctx, c, "select concat_ws('|', $1::int + 1, $2::text, coalesce($3::text, 'NULL'), $4::boolean)",
		41, `Zoë 🐘 'quoted' \`, nil, true)
}

func (p pgxWay) types(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pgxRun(ctx, c, kinds)
	i, a, bc := func(n int32) *int32 { return &n }, "a", "b c"
	row := []any{
		int16(-32768), int32(2147483647), int64(9007199254740991), 0.1, "12345.67890", true, "Zoë",
		time.Date(2024, 2, 29, 12, 34, 56, 789e6, time.UTC), time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC),
		[]byte{0, 0xff, 16},
		[]*int32{i(1), nil, i(3)},
		[]*string{&a, nil, &bc},
		`{"k": [1, 2]}`,
		"6ba7b810-9dad-11d1-80b4-00c04fd430c8", (*int32)(nil),
	}
	pgxRun(ctx, c, "insert into kinds values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)", row...)
	back, targets := make([]any, len(row)), make([]any, len(row))
	for i, v := range row {
		targets[i] = reflect.New(reflect.TypeOf(v)).Interface()
	}
	must(c.QueryRow(ctx, "select * from kinds").Scan(targets...))
	for i, v := range targets {
		back[i] = reflect.ValueOf(v).Elem().Interface()
		if at, ok := back[i].(time.Time); ok {
			back[i] = at.UTC()
		}
	}
	if !reflect.DeepEqual(back, row) {
		panic(fmt.Sprintf("got back %v", back))
	}
	return pgxOne(ctx, c, shown)
}

func (p pgxWay) prepared(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pgxRun(ctx, c, "create table rounds (client int, round int)")
	right := together(func(i int, wait, right func()) {
		c, done := p.connect(ctx)
		defer done()
		for r := range rounds {
			wait()
			must(pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
				if pgxOne(ctx, tx, fmt.Sprintf("select 'client %d round ' || $1::int", i), r) == fmt.Sprintf("client %d round %d", i, r) {
					right()
				}
				_, err := tx.Exec(ctx, fmt.Sprintf("insert into rounds /* %d */ values ($1, $2)", i), i, r)
				return err
			}))
		}
	})
	rows := pgxOne(ctx, c, "select count(distinct (client, round))::text from rounds")
	return fmt.Sprintf("%d of %d right, %s rows", right, clients*rounds, rows)
}

// preparedPool is pgxpool with more connections than the gateway has.
func (p pgxWay) preparedPool(ctx context.Context) string {
	pool := must1(pgxpool.New(ctx, p.conn("default_query_exec_mode="+p.mode, "pool_max_conns=8")))
	defer pool.Close()
	n := together(func(i int, wait, right func()) {
		wait()
		for r := range 200 / clients {
			if pgxOne(ctx, pool, "select ($1::int + $2::int)::text", i, r) == fmt.Sprint(i+r) {
				right()
			}
		}
	})
	return fmt.Sprintf("%d of 200 right", n)
}

// preparedEvicted has more statements than the driver keeps.
func (p pgxWay) preparedEvicted(ctx context.Context) string {
	c, done := p.connect(ctx, "statement_cache_capacity=3", "description_cache_capacity=3")
	defer done()
	n := 0
	for r := range 10 {
		for s := range 6 {
			if pgxOne(ctx, c, fmt.Sprintf("select (%d * 100 + $1::int)::text", s), r) == fmt.Sprint(s*100+r) {
				n++
			}
		}
	}
	return fmt.Sprintf("%d of 60 right", n)
}

func (p pgxWay) transactions(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pgxRun(ctx, c, "create table steps (n int)")
	const add = "insert into steps values ($1)"
	must(pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		pgxRun(ctx, tx, add, 1)
		save := must1(tx.Begin(ctx)) // a savepoint
		pgxRun(ctx, save, add, 2)
		must(save.Rollback(ctx))
		pgxRun(ctx, tx, add, 3)
		return nil
	}))
	tx := must1(c.Begin(ctx))
	pgxRun(ctx, tx, add, 4)
	must(tx.Rollback(ctx))
	return pgxOne(ctx, c, steps)
}

func (p pgxWay) errors(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pgxRun(ctx, c, "create table uniques (n int primary key)")
	pgxRun(ctx, c, "insert into uniques values (1)")
	code := func(sql string, args ...any) string {
		_, err := c.Exec(ctx, sql, args...)
		return pgxCode(err)
	}
	codes := []string{code("insert into uniques values ($1)", 1), code("selec 1")}
	pgxRun(ctx, c, "begin")
	codes = append(codes, code("select 1 / $1::int", 0), code("select 1"))
	pgxRun(ctx, c, "rollback")
	return strings.Join(codes, " ") + " " + pgxOne(ctx, c, "select $1::text", "alive")
}

func (p pgxWay) batch(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pgxRun(ctx, c, "create table batches (n int)")
	const add, count = "insert into batches values ($1::int)", "select count(*)::text from batches"
	var good, bad pgx.Batch
	for n := range 100 {
		good.Queue(add, n)
	}
	must(c.SendBatch(ctx, &good).Close())
	before := pgxOne(ctx, c, count)
	bad.Queue(add, 1000)
	bad.Queue("select 1 / $1::int", 0)
	bad.Queue(add, 1001)
	failed := pgxCode(c.SendBatch(ctx, &bad).Close())
	return fmt.Sprintf("%s rows, %s, %s rows", before, failed, pgxOne(ctx, c, count))
}

func (p pgxWay) copy(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pgxRun(ctx, c, "create table copied (n int, t text)")
	must1(c.CopyFrom(ctx, pgx.Identifier{"copied"}, []string{"n", "t"}, pgx.CopyFromSlice(5000, func(i int) ([]any, error) {
		return []any{i, fmt.Sprintf("line %d\twith a tab", i)}, nil
	})))
	var out strings.Builder
	must1(c.PgConn().CopyTo(ctx, &out, "copy copied to stdout"))
	rows, sum := 0, 0
	for line := range strings.Lines(out.String()) {
		var n, again int
		must1(fmt.Sscanf(line, "%d\tline %d\\twith a tab\n", &n, &again))
		rows, sum = rows+1, sum+again
	}
	_, refused := c.PgConn().CopyFrom(ctx, strings.NewReader("1\tone\nx\ttwo\n"), "copy copied from stdin")
	_, givenUp := c.PgConn().CopyFrom(ctx, io.MultiReader(strings.NewReader("1\tone\n"), brokenReader{}), "copy copied from stdin")
	return fmt.Sprintf("%d rows, sum %d, %s, %s, %s rows", rows, sum, pgxCode(refused), pgxCode(givenUp),
		pgxOne(ctx, c, "select count(*)::text from copied"))
}

// brokenReader is where a COPY's rows stop coming.
type brokenReader struct{}

func (brokenReader) Read([]byte) (int, error) { return 0, errors.New("changed my mind") }

func (p pgxWay) cursor(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	rows, sum := 0, 0
	must(pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		pgxRun(ctx, tx, "declare numbers cursor for select generate_series(1, 10000)")
		for {
			some := must1(pgx.CollectRows(must1(tx.Query(ctx, "fetch 100 from numbers")), pgx.RowTo[int]))
			if len(some) == 0 {
				return nil
			}
			rows += len(some)
			for _, n := range some {
				sum += n
			}
		}
	}))
	given := must1(c.Query(ctx, "select generate_series(1, $1::int)", 10000))
	given.Next()
	given.Close()
	return fmt.Sprintf("%d rows, sum %d, %s", rows, sum, pgxOne(ctx, c, "select $1::text", "alive"))
}

func (p pgxWay) notify(ctx context.Context) string {
	listener, done := p.connect(ctx)
	defer done()
	other, done := p.connect(ctx)
	defer done()
	pgxRun(ctx, listener, "listen orders")
	var got []string
	for n := 1; n <= 2; n++ {
		pgxRun(ctx, listener, "select 1")
		pgxRun(ctx, other, "select pg_notify('orders', $1)", fmt.Sprintf("row %d", n))
	}
	for range 2 {
		got = append(got, must1(listener.WaitForNotification(ctx)).Payload)
	}
	return strings.Join(got, ", ")
}

func (p pgxWay) settings(ctx context.Context) string {
	var all [3]*pgx.Conn
	for i := range all {
		c, done := p.connect(ctx)
		defer done()
		all[i] = c
	}
	pgxRun(ctx, all[0], "set search_path to one")
	pgxRun(ctx, all[0], "set timezone to 'Asia/Tokyo'")
	pgxRun(ctx, all[1], "set search_path to two")
	pgxRun(ctx, all[1], "set timezone to 'America/Lima'")
	var seen []string
	for range 5 {
		for _, c := range all {
			seen = append(seen, pgxOne(ctx, c, settings))
		}
	}
	pgxRun(ctx, all[0], "reset all")
	return once(seen) + ", " + pgxOne(ctx, all[0], settings)
}

func (p pgxWay) temporary(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	other, done := p.connect(ctx)
	defer done()
	pgxRun(ctx, c, "create temporary table staged (n int)")
	for n := range 3 {
		pgxRun(ctx, c, "insert into staged values ($1)", n)
	}
	_, err := other.Exec(ctx, "select * from staged")
	return pgxOne(ctx, c, "select count(*)::text from staged") + " rows, " + pgxCode(err)
}

func (p pgxWay) cancel(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	other, done := p.connect(ctx)
	defer done()
	var late atomic.Value
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer func() {
			if p := recover(); p != nil {
				late.Store(fmt.Sprint(p))
			}
		}()
		for pgxOne(ctx, other, sleeping) == "0" {
			pause()
		}
		must(c.PgConn().CancelRequest(ctx))
	}()
	_, err := c.Exec(ctx, "select pg_sleep(60)")
	<-ended
	if p := late.Load(); p != nil {
		return p.(string)
	}
	return pgxCode(err) + " " + pgxOne(ctx, c, "select $1::text", "alive")
}

func (p pgxWay) timeout(ctx context.Context) string {
	c, done := p.connect(ctx, "statement_timeout=100ms")
	defer done()
	_, err := c.Exec(ctx, "select pg_sleep(60)")
	return pgxCode(err) + " " + pgxOne(ctx, c, "select $1::text", "alive")
}

func (p pgxWay) large(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	text, data := largeValues()
	var gotText, digest string
	var gotData []byte
	must(c.QueryRow(ctx, "select $1::text, $2::bytea, md5($2::bytea)", text, data).Scan(&gotText, &gotData, &digest))
	return large(gotText, gotData, digest)
}

func (p pgxWay) upsert(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pgxRun(ctx, c, "create table upserted (id int primary key, v int)")
	for _, v := range []int{1, 1000} {
		var b pgx.Batch
		for id := range 1000 {
			b.Queue("insert into upserted values ($1, $2) on conflict (id) do update set v = excluded.v", id, v)
		}
		must(c.SendBatch(ctx, &b).Close())
	}
	return pgxOne(ctx, c, "select count(*) || ' rows, sum ' || sum(v) from upserted")
}

func (p pgxWay) swap(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pgxRun(ctx, c, "create table swapped as select 'old'::text v")
	var seen []string
	look := func() {
		for range 10 {
			seen = append(seen, pgxOne(ctx, c, "select v from swapped where v <> $1", ""))
		}
	}
	look()
	must(pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		pgxRun(ctx, tx, "create table fresh as select 'new'::text v")
		pgxRun(ctx, tx, "drop table swapped")
		pgxRun(ctx, tx, "alter table fresh rename to swapped")
		return nil
	}))
	look()
	return strings.ReplaceAll(once(seen), ",", "")
}

func (p pgxWay) columns(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pgxRun(ctx, c, "create table described (id int, name text)")
	return pgxOne(ctx, c, columns, "public", "described")
}
