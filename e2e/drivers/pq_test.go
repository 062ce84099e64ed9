package drivers

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/lib/pq"
)

// pqWay is lib/pq under database/sql, with parameters as text or in binary.
type pqWay struct {
	way
	binary string
}

// TestPQ runs lib/pq. It names the statements that database/sql prepares, and
// with binary_parameters uses unnamed ones for the others.
func TestPQ(t *testing.T) {
	t.Parallel()
	for name, binary := range map[string]string{"text": "no", "binary parameters": "yes"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachWay(t, func(t *testing.T, w way) answers {
				p := pqWay{w, binary}
				return goJobs(t, map[string]func(context.Context) string{
					"connect": p.login, "parameters": p.parameters, "types": p.types, "prepared": p.prepared,
					"transactions": p.transactions, "errors": p.errors, "copy": p.copy, "cursor": p.cursor,
					"notify": p.notify, "settings": p.settings, "temporary": p.temporary, "cancel": p.cancel,
					"timeout": p.timeout, "large": p.large, "upsert": p.upsert, "swap": p.swap, "columns": p.columns,
				})
			}, map[string]string{"copy": "5000 rows, sum 12497500, 22P02, 5000 rows"}, // it has no COPY TO
				"batch")
		})
	}
}

// connect returns one connection and what closes it.
func (p pqWay) connect(ctx context.Context, more ...string) (*sql.Conn, func()) {
	db := must1(sql.Open("postgres", p.conn(append(more, "binary_parameters="+p.binary)...)))
	c, err := db.Conn(ctx)
	if err != nil {
		db.Close()
		panic(err)
	}
	return c, func() {
		c.Close()
		db.Close()
	}
}

// pqRunner is a connection, a pool or a transaction.
type pqRunner interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

func pqOne(ctx context.Context, c pqRunner, query string, args ...any) string {
	var s string
	must(c.QueryRowContext(ctx, query, args...).Scan(&s))
	return s
}

func pqRun(ctx context.Context, c pqRunner, query string, args ...any) {
	must1(c.ExecContext(ctx, query, args...))
}

func pqCode(err error) string {
	var e *pq.Error
	if errors.As(err, &e) {
		return string(e.Code)
	}
	return fmt.Sprint(err)
}

func (p pqWay) login(ctx context.Context) string {
	c, done := p.connect(ctx, "application_name=sync", "timezone=Asia/Tokyo")
	defer done()
	return pqOne(ctx, c, "select current_setting('application_name') || ' ' || current_setting('TimeZone')")
}

func (p pqWay) parameters(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	return pqOne(ctx, c, "select concat_ws('|', $1::int + 1, $2::text, coalesce($3::text, 'NULL'), $4::boolean)",
		41, `Zoë 🐘 'quoted' \`, nil, true)
}

func (p pqWay) types(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pqRun(ctx, c, kinds)
	ints := []sql.NullInt64{{Int64: 1, Valid: true}, {}, {Int64: 3, Valid: true}}
	texts := []sql.NullString{{String: "a", Valid: true}, {}, {String: "b c", Valid: true}}
	row := []any{
		int16(-32768), int32(2147483647), int64(9007199254740991), 0.1, "12345.67890", true, "Zoë",
		time.Date(2024, 2, 29, 12, 34, 56, 789e6, time.UTC), time.Date(2024, 2, 29, 0, 0, 0, 0, time.UTC),
		[]byte{0, 0xff, 16},
		ints, texts, `{"k": [1, 2]}`, "6ba7b810-9dad-11d1-80b4-00c04fd430c8",
		sql.NullInt32{},
	}
	sent, targets, back := make([]any, len(row)), make([]any, len(row)), make([]any, len(row))
	for i, v := range row {
		targets[i] = reflect.New(reflect.TypeOf(v)).Interface()
		sent[i] = v
	}
	sent[10], sent[11] = pq.Array(ints), pq.Array(texts)
	pqRun(ctx, c, "insert into kinds values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15)", sent...)
	into := append([]any{}, targets...)
	into[10], into[11] = pq.Array(targets[10]), pq.Array(targets[11])
	must(c.QueryRowContext(ctx, "select * from kinds").Scan(into...))
	for i, v := range targets {
		back[i] = reflect.ValueOf(v).Elem().Interface()
		if at, ok := back[i].(time.Time); ok {
			back[i] = at.UTC()
		}
	}
	if !reflect.DeepEqual(back, row) {
		panic(fmt.Sprintf("got back %v", back))
	}
	return pqOne(ctx, c, shown)
}

func (p pqWay) prepared(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pqRun(ctx, c, "create table rounds (client int, round int)")
	right := together(func(i int, wait, right func()) {
		c, done := p.connect(ctx)
		defer done()
		ask := must1(c.PrepareContext(ctx, fmt.Sprintf("select 'client %d round ' || $1::int", i)))
		defer ask.Close()
		add := must1(c.PrepareContext(ctx, fmt.Sprintf("insert into rounds /* %d */ values ($1, $2)", i)))
		defer add.Close()
		for r := range rounds {
			wait()
			tx := must1(c.BeginTx(ctx, nil))
			var got string
			must(tx.StmtContext(ctx, ask).QueryRowContext(ctx, r).Scan(&got))
			must1(tx.StmtContext(ctx, add).ExecContext(ctx, i, r))
			must(tx.Commit())
			if got == fmt.Sprintf("client %d round %d", i, r) {
				right()
			}
		}
	})
	rows := pqOne(ctx, c, "select count(distinct (client, round))::text from rounds")
	return fmt.Sprintf("%d of %d right, %s rows", right, clients*rounds, rows)
}

func (p pqWay) transactions(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pqRun(ctx, c, "create table steps (n int)")
	const add = "insert into steps values ($1)"
	tx := must1(c.BeginTx(ctx, nil))
	pqRun(ctx, tx, add, 1)
	pqRun(ctx, tx, "savepoint s")
	pqRun(ctx, tx, add, 2)
	pqRun(ctx, tx, "rollback to s")
	pqRun(ctx, tx, add, 3)
	must(tx.Commit())
	tx = must1(c.BeginTx(ctx, nil))
	pqRun(ctx, tx, add, 4)
	must(tx.Rollback())
	return pqOne(ctx, c, steps)
}

func (p pqWay) errors(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pqRun(ctx, c, "create table uniques (n int primary key)")
	pqRun(ctx, c, "insert into uniques values (1)")
	code := func(query string, args ...any) string {
		_, err := c.ExecContext(ctx, query, args...)
		return pqCode(err)
	}
	codes := []string{code("insert into uniques values ($1)", 1), code("selec 1")}
	pqRun(ctx, c, "begin")
	codes = append(codes, code("select 1 / $1::int", 0), code("select 1"))
	pqRun(ctx, c, "rollback")
	return strings.Join(codes, " ") + " " + pqOne(ctx, c, "select $1::text", "alive")
}

func (p pqWay) copy(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pqRun(ctx, c, "create table copied (n int, t text)")
	load := func(rows int, first any) error {
		tx := must1(c.BeginTx(ctx, nil))
		defer func() { _ = tx.Rollback() }() // nothing to undo after the commit
		stmt, err := tx.PrepareContext(ctx, "copy copied (n, t) from stdin")
		if err != nil {
			return err
		}
		for n := range rows {
			row := []any{n, fmt.Sprintf("line %d\twith a tab", n)}
			if n == 0 {
				row[0] = first
			}
			if _, err := stmt.ExecContext(ctx, row...); err != nil {
				return err
			}
		}
		if _, err := stmt.ExecContext(ctx); err != nil {
			return err
		}
		if err := stmt.Close(); err != nil {
			return err
		}
		return tx.Commit()
	}
	must(load(5000, 0))
	const count = "select count(*) || ' rows' from copied"
	loaded := pqOne(ctx, c, "select count(*) || ' rows, sum ' || sum(n) from copied where t = 'line ' || n || e'\\twith a tab'")
	return loaded + ", " + pqCode(load(2, "x")) + ", " + pqOne(ctx, c, count)
}

func (p pqWay) cursor(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	tx := must1(c.BeginTx(ctx, nil))
	pqRun(ctx, tx, "declare numbers cursor for select generate_series(1, 10000)")
	rows, sum := 0, 0
	for more := true; more; {
		some := must1(tx.QueryContext(ctx, "fetch 100 from numbers"))
		for more = false; some.Next(); more = true {
			var n int
			must(some.Scan(&n))
			rows, sum = rows+1, sum+n
		}
		must(some.Err())
	}
	must(tx.Commit())
	given := must1(c.QueryContext(ctx, "select generate_series(1, $1::int)", 10000))
	given.Next()
	given.Close()
	must(given.Err())
	return fmt.Sprintf("%d rows, sum %d, %s", rows, sum, pqOne(ctx, c, "select $1::text", "alive"))
}

func (p pqWay) notify(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	listener := pq.NewListener(p.conn(), time.Second, time.Second, nil)
	defer listener.Close()
	must(listener.Listen("orders"))
	pqRun(ctx, c, "select pg_notify('orders', $1)", "row 1")
	must(listener.Ping())
	pqRun(ctx, c, "select pg_notify('orders', $1)", "row 2")
	var got []string
	for range 2 {
		select {
		case n := <-listener.Notify:
			got = append(got, n.Extra)
		case <-ctx.Done():
			panic(ctx.Err())
		}
	}
	return strings.Join(got, ", ")
}

func (p pqWay) settings(ctx context.Context) string {
	var all [3]*sql.Conn
	for i := range all {
		c, done := p.connect(ctx)
		defer done()
		all[i] = c
	}
	pqRun(ctx, all[0], "set search_path to one")
	pqRun(ctx, all[0], "set timezone to 'Asia/Tokyo'")
	pqRun(ctx, all[1], "set search_path to two")
	pqRun(ctx, all[1], "set timezone to 'America/Lima'")
	var seen []string
	for range 5 {
		for _, c := range all {
			seen = append(seen, pqOne(ctx, c, settings))
		}
	}
	pqRun(ctx, all[0], "reset all")
	return once(seen) + ", " + pqOne(ctx, all[0], settings)
}

func (p pqWay) temporary(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	other, done := p.connect(ctx)
	defer done()
	pqRun(ctx, c, "create temporary table staged (n int)")
	for n := range 3 {
		pqRun(ctx, c, "insert into staged values ($1)", n)
	}
	_, err := other.ExecContext(ctx, "select * from staged")
	return pqOne(ctx, c, "select count(*) from staged") + " rows, " + pqCode(err)
}

// cancel ends a statement's context, upon which the driver sends a cancel request.
func (p pqWay) cancel(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	other, done := p.connect(ctx)
	defer done()
	short, stop := context.WithCancel(ctx)
	defer stop()
	ended := make(chan any, 1)
	go func() {
		defer func() { ended <- recover() }()
		for pqOne(ctx, other, sleeping) == "0" {
			pause()
		}
		stop()
	}()
	_, err := c.ExecContext(short, "select pg_sleep(60)")
	if p := <-ended; p != nil {
		panic(p)
	}
	// The driver may give the connection up after that; another one must do.
	again, done := p.connect(ctx)
	defer done()
	return pqCode(err) + " " + pqOne(ctx, again, "select $1::text", "alive")
}

func (p pqWay) timeout(ctx context.Context) string {
	c, done := p.connect(ctx, "statement_timeout=100ms")
	defer done()
	_, err := c.ExecContext(ctx, "select pg_sleep(60)")
	return pqCode(err) + " " + pqOne(ctx, c, "select $1::text", "alive")
}

func (p pqWay) large(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	text, data := largeValues()
	var gotText, digest string
	var gotData []byte
	must(c.QueryRowContext(ctx, "select $1::text, $2::bytea, md5($2::bytea)", text, data).Scan(&gotText, &gotData, &digest))
	return large(gotText, gotData, digest)
}

// upsert has no batches to use: one prepared statement, many times in a transaction.
func (p pqWay) upsert(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pqRun(ctx, c, "create table upserted (id int primary key, v int)")
	for _, v := range []int{1, 1000} {
		tx := must1(c.BeginTx(ctx, nil))
		stmt := must1(tx.PrepareContext(ctx, "insert into upserted values ($1, $2) on conflict (id) do update set v = excluded.v"))
		for id := range 1000 {
			must1(stmt.ExecContext(ctx, id, v))
		}
		must(stmt.Close())
		must(tx.Commit())
	}
	return pqOne(ctx, c, "select count(*) || ' rows, sum ' || sum(v) from upserted")
}

func (p pqWay) swap(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pqRun(ctx, c, "create table swapped as select 'old'::text v")
	stmt := must1(c.PrepareContext(ctx, "select v from swapped where v <> $1"))
	defer stmt.Close()
	var seen []string
	look := func() {
		for range 10 {
			var v string
			must(stmt.QueryRowContext(ctx, "").Scan(&v))
			seen = append(seen, v)
		}
	}
	look()
	pqRun(ctx, c, "begin; create table fresh as select 'new'::text v; drop table swapped; alter table fresh rename to swapped; commit")
	look()
	return strings.ReplaceAll(once(seen), ",", "")
}

func (p pqWay) columns(ctx context.Context) string {
	c, done := p.connect(ctx)
	defer done()
	pqRun(ctx, c, "create table described (id int, name text)")
	return pqOne(ctx, c, columns, "public", "described")
}
