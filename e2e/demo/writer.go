package main

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// writer is a sync worker. All that it knows is how to log in to what it takes
// for the database: five settings.
type writer struct {
	host           string
	port           int
	database       string
	user, password string
	machine        net.IP // where it runs: the address its sockets come from
	requireTLS     bool
}

// schema is where the writer puts its tables.
const schema = "sales"

// load is what one sync moved.
type load struct {
	rows  int
	bytes int
	copy  time.Duration // of that, in COPY
	all   time.Duration
}

func (l *load) add(m load) {
	l.rows += m.rows
	l.bytes += m.bytes
	l.copy += m.copy
	l.all += m.all
}

func (l load) String() string {
	mb := float64(l.bytes) / 1e6
	return fmt.Sprintf("%s rows, %.1f MB: COPY at %s rows/s, %.0f MB/s; with upsert and all %s rows/s",
		thousands(l.rows), mb, thousands(int(float64(l.rows)/l.copy.Seconds())), mb/l.copy.Seconds(),
		thousands(int(float64(l.rows)/l.all.Seconds())))
}

// connect logs in.
func (w writer) connect(ctx context.Context) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(fmt.Sprintf("host=%s port=%d dbname=%s user=%s password=%s sslmode=%s connect_timeout=20",
		w.host, w.port, w.database, w.user, w.password, map[bool]string{false: "prefer", true: "require"}[w.requireTLS]))
	if err != nil {
		return nil, err
	}
	cfg.DialFunc = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: w.machine}}).DialContext
	cfg.RuntimeParams["application_name"] = "sync-worker"
	return pgx.ConnectConfig(ctx, cfg)
}

// prepare makes the schema and the tables where they are missing.
func prepare(ctx context.Context, c *pgx.Conn, tables []*table) error {
	if _, err := c.Exec(ctx, "create schema if not exists "+schema); err != nil {
		return err
	}
	for _, t := range tables {
		var columns []string
		for _, col := range t.columns {
			columns = append(columns, col.name+" "+col.kind)
		}
		if _, err := c.Exec(ctx, fmt.Sprintf("create table if not exists %s.%s (%s, primary key (%s))",
			schema, t.name, strings.Join(columns, ", "), strings.Join(t.key, ", "))); err != nil {
			return fmt.Errorf("create table %s: %w", t.name, err)
		}
	}
	return nil
}

// sync carries one batch: COPY into a staging table of its own, then an upsert
// in one transaction.
func sync(ctx context.Context, c *pgx.Conn, b batch) (load, error) {
	start := time.Now()
	stage, target := schema+"._stage_"+b.table.name, schema+"."+b.table.name
	if _, err := c.Exec(ctx, fmt.Sprintf("drop table if exists %s; create table %s (like %s)", stage, stage, target)); err != nil {
		return load{}, fmt.Errorf("staging table for %s: %w", b.table.name, err)
	}
	before := time.Now()
	tag, err := c.PgConn().CopyFrom(ctx, bytes.NewReader(b.csv), "copy "+stage+" from stdin (format csv)")
	copied := time.Since(before)
	if err != nil {
		return load{}, fmt.Errorf("copy %s: %w", b.table.name, err)
	}
	if tag.RowsAffected() != int64(b.rows) {
		return load{}, fmt.Errorf("copy %s: %d rows arrived of %d", b.table.name, tag.RowsAffected(), b.rows)
	}
	err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
		tag, err := tx.Exec(ctx, upsert(b.table, stage, target))
		if err == nil && tag.RowsAffected() != int64(b.rows) {
			err = fmt.Errorf("%d rows upserted of %d", tag.RowsAffected(), b.rows)
		}
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, "drop table "+stage)
		return err
	})
	if err != nil {
		return load{}, fmt.Errorf("upsert %s: %w", b.table.name, err)
	}
	return load{b.rows, len(b.csv), copied, time.Since(start)}, nil
}

func upsert(t *table, stage, target string) string {
	var set []string
	for _, col := range t.columns {
		set = append(set, col.name+" = excluded."+col.name)
	}
	return fmt.Sprintf("insert into %s select * from %s on conflict (%s) do update set %s",
		target, stage, strings.Join(t.key, ", "), strings.Join(set, ", "))
}

// count asks for a table's state.
func count(ctx context.Context, c *pgx.Conn, t *table) (state, error) {
	var s state
	err := c.QueryRow(ctx, t.stateQuery(schema)).Scan(&s.rows, &s.fingerprint)
	return s, err
}

// thousands writes 1234567 as 1,234,567.
func thousands(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}
