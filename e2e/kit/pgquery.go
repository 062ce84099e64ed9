package kit

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
)

// Connect opens a connection as the superuser over the unix socket. It is
// closed at the end.
func (p *Postgres) Connect(database string) *pgx.Conn {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	c, err := p.connect(ctx, database)
	if err != nil {
		p.t.Fatalf("connect to PostgreSQL as superuser: %v", err)
	}
	p.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

func (p *Postgres) connect(ctx context.Context, database string) (*pgx.Conn, error) {
	cfg, err := pgx.ParseConfig(ConnString(p.SocketDir, p.Port, database, "postgres", "", "sslmode=disable"))
	if err != nil {
		return nil, err
	}
	return pgx.ConnectConfig(ctx, cfg)
}

// ConnString writes a keyword/value connection string. Further settings
// ("sslmode=require") follow as they are.
func ConnString(host string, port int, database, user, password string, more ...string) string {
	quote := func(s string) string {
		return "'" + strings.NewReplacer(`\`, `\\`, `'`, `\'`).Replace(s) + "'"
	}
	s := fmt.Sprintf("host=%s port=%d dbname=%s user=%s password=%s connect_timeout=20",
		quote(host), port, quote(database), quote(user), quote(password))
	return strings.Join(append([]string{s}, more...), " ")
}

// Exec runs SQL as the superuser, several statements when there are no arguments.
func (p *Postgres) Exec(database, sql string, args ...any) {
	p.t.Helper()
	p.with(database, func(ctx context.Context, c *pgx.Conn) error {
		_, err := c.Exec(ctx, sql, args...)
		return err
	})
}

// Rows returns a query's rows as text, run as the superuser; NULL is "NULL".
func (p *Postgres) Rows(database, sql string, args ...any) [][]string {
	p.t.Helper()
	var all [][]string
	p.with(database, func(ctx context.Context, c *pgx.Conn) error {
		rows, err := c.Query(ctx, sql, append([]any{pgx.QueryResultFormats{pgx.TextFormatCode}}, args...)...)
		if err != nil {
			return err
		}
		defer rows.Close()
		for rows.Next() {
			var row []string
			for _, v := range rows.RawValues() {
				if v == nil {
					row = append(row, "NULL")
				} else {
					row = append(row, string(v))
				}
			}
			all = append(all, row)
		}
		return rows.Err()
	})
	return all
}

// Value returns the first column of a query's only row as text, run as the superuser.
func (p *Postgres) Value(database, sql string, args ...any) string {
	p.t.Helper()
	rows := p.Rows(database, sql, args...)
	if len(rows) != 1 || len(rows[0]) == 0 {
		p.t.Fatalf("%s: %d rows, not one", sql, len(rows))
	}
	return rows[0][0]
}

func (p *Postgres) with(database string, f func(ctx context.Context, c *pgx.Conn) error) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := p.connect(ctx, database)
	if err != nil {
		p.t.Fatalf("connect to PostgreSQL as superuser: %v", err)
	}
	defer c.Close(ctx)
	if err := f(ctx, c); err != nil {
		p.t.Fatalf("as superuser: %v", err)
	}
}

// CreateLogin makes a role that may log in, and no more.
func (p *Postgres) CreateLogin(name, password string) {
	p.t.Helper()
	p.Exec("postgres", fmt.Sprintf("create role %s login nosuperuser nocreatedb nocreaterole password %s",
		pgx.Identifier{name}.Sanitize(), literal(password)))
}

// CreateDatabase makes a database in which only the named role, besides the
// superuser, may connect, create schemas and make temporary tables: the
// rights that a sync writer is given.
func (p *Postgres) CreateDatabase(name, writer string) {
	p.t.Helper()
	db := pgx.Identifier{name}.Sanitize()
	p.Exec("postgres", "create database "+db)
	p.Exec("postgres", fmt.Sprintf("revoke all on database %s from public; grant connect, create, temporary on database %s to %s",
		db, db, pgx.Identifier{writer}.Sanitize()))
}

func literal(s string) string { return "'" + strings.ReplaceAll(s, "'", "''") + "'" }

// WaitFor asks as the superuser until the query's only value is want, for 10 s at most.
func (p *Postgres) WaitFor(database, sql, want string) {
	p.t.Helper()
	var got string
	for range 500 {
		if got = p.Value(database, sql); got == want {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	p.t.Fatalf("%s is still %s after 10 s, not %s", sql, got, want)
}
