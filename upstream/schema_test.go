package upstream

import (
	"errors"
	"fmt"
	"strconv"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"pggateway/config"
	"pggateway/e2e/kit"
)

func withSchema(t *testing.T, d Dependencies, p *kit.Postgres, database, name string, create bool) *Target {
	t.Helper()
	u := upstreamAt(p.Port, func(u *config.Upstream) { u.Schema = &config.UpstreamSchema{Name: name, Create: create} })
	target, err := NewTarget(t.Context(), d, u, &u.Login, database)
	if err != nil {
		t.Fatal(err)
	}
	return target
}

// TestSchema is the real server: the schema is created once, and what every
// connection begins with and RESET returns to.
func TestSchema(t *testing.T) {
	p := kit.StartPostgres(t, kit.PostgresOptions{})
	p.CreateLogin("sync_writer", "hunter22")
	p.CreateDatabase("orders", "sync_writer")
	there := func(name string) string {
		return p.Value("orders", "select count(*) from pg_namespace where nspname = $1 and nspowner = 'sync_writer'::regrole", name)
	}
	for i, name := range []string{"sales", "sales_2", "Sales", `we"ird`, "été", "with space", "select", "a.b", "a,b", "2sales", "Ü\"'\\"} {
		t.Run(name, func(t *testing.T) {
			core, logged := observer.New(zap.InfoLevel)
			d := dependencies()
			d.Log = zap.New(core)
			target := withSchema(t, d, p, "orders", name, true)
			if n := there(name); n != "0" {
				t.Fatalf("%s schemas before", n)
			}
			c := mustOpen(t, target)
			if got := ask(t, c, "select current_schema()"); got != name {
				t.Errorf("current_schema() is %q", got)
			}
			ask(t, c, "set search_path to pg_catalog")
			ask(t, c, "reset search_path")
			if got := ask(t, c, fmt.Sprintf("create table t%d (); select current_schema()", i)); got != name {
				t.Errorf("after RESET, current_schema() is %q", got)
			}
			if n := there(name); n != "1" {
				t.Errorf("%s schemas after", n)
			}
			p.Exec("orders", "drop schema "+QuoteIdentifier(name)+" cascade")
			mustOpen(t, target)
			if n := there(name); n != "0" {
				t.Error("created a second time by one target")
			}
			if lines := logged.FilterMessage("schema created").Len(); lines != 1 {
				t.Errorf("%d lines in the log", lines)
			}
		})
	}

	t.Run("by many at once", func(t *testing.T) {
		var all sync.WaitGroup
		for i := range 24 {
			target := withSchema(t, dependencies(), p, "orders", "contended"+strconv.Itoa(i/8), true)
			for range 2 {
				all.Go(func() {
					c, err := target.Open(t.Context())
					if err != nil {
						t.Error(err)
						return
					}
					c.End()
				})
			}
		}
		all.Wait()
	})

	t.Run("reserved", func(t *testing.T) { // the configuration refuses it, too
		_, err := withSchema(t, dependencies(), p, "orders", "pg_sales", true).Open(t.Context())
		wantError(t, err, StageSchema, "The schema that sessions work in could not be created (SQLSTATE 42939).", "pg_sales")
	})

	t.Run("there already", func(t *testing.T) { // CREATE ... IF NOT EXISTS would be refused
		p.Exec("orders", "create schema given; grant usage on schema given to sync_writer")
		p.Exec("postgres", "revoke create on database orders from sync_writer")
		mustOpen(t, withSchema(t, dependencies(), p, "orders", "given", true))
	})

	t.Run("not allowed", func(t *testing.T) {
		_, err := withSchema(t, dependencies(), p, "orders", "denied", true).Open(t.Context())
		wantError(t, err, StageSchema,
			"The schema that sessions work in does not exist, and the gateway's login may not create it: it needs CREATE on the database.",
			`create schema "denied" as sync_writer`, "42501")
		var e *Error
		if errors.As(err, &e); e.SQLState() != "42501" {
			t.Errorf("SQLSTATE %q", e.SQLState())
		}
	})

	t.Run("not wanted", func(t *testing.T) {
		core, logged := observer.New(zap.InfoLevel)
		d := dependencies()
		d.Log = zap.New(core)
		target := withSchema(t, d, p, "orders", "Missing", false)
		for range 2 {
			if got := ask(t, mustOpen(t, target), "show search_path"); got != `"Missing"` {
				t.Errorf("search_path %q", got)
			}
		}
		if logged.Len() != 1 || logged.All()[0].Level != zap.WarnLevel || there("Missing") != "0" {
			t.Errorf("logged %v", logged.All())
		}
	})

	t.Run("read-only", func(t *testing.T) {
		p.CreateDatabase("frozen", "sync_writer")
		p.Exec("postgres", "alter database frozen set default_transaction_read_only = on")
		_, err := withSchema(t, dependencies(), p, "frozen", "sales", true).Open(t.Context())
		wantError(t, err, StageSchema,
			"The schema that sessions work in does not exist, and cannot be created: the upstream is read-only.", "25006")
	})

	t.Run("another encoding", func(t *testing.T) {
		p.Exec("postgres", "create database latin encoding 'LATIN1' locale 'C' template template0")
		p.Exec("postgres", "grant create on database latin to sync_writer")
		_, err := withSchema(t, dependencies(), p, "latin", "été", true).Open(t.Context())
		wantError(t, err, StageSchema, "The name of the schema that sessions work in cannot be written in the database's encoding.", "LATIN1")
		mustOpen(t, withSchema(t, dependencies(), p, "latin", "Sales", true))
	})
}

// TestQuery leaves nothing on a connection, whether the statement succeeds or not.
func TestQuery(t *testing.T) {
	p := kit.StartPostgres(t, kit.PostgresOptions{})
	p.CreateLogin("sync_writer", "hunter22")
	c := mustOpen(t, mustTargetOn(t, p, "postgres"))
	rows, err := c.Query(t.Context(), "select $1::text, null, '' from generate_series(1, 2)", `it's "so"`)
	if err != nil || len(rows) != 2 || fmt.Sprintf("%q", rows[1]) != `["it's \"so\"" "" ""]` {
		t.Errorf("%q, %v", rows, err)
	}
	for range 2 {
		if _, err := c.Query(t.Context(), "select 1/0"); err == nil || !isServer(err, "22012") {
			t.Errorf("division by zero: %v", err)
		}
	}
	if rows, err := c.Query(t.Context(), "do $$ begin raise notice 'x'; end $$"); err != nil || len(rows) != 0 {
		t.Errorf("%q, %v", rows, err)
	}
	front := pgproto3.NewFrontend(c.stream(), c.stream())
	front.Send(&pgproto3.Bind{})
	front.Send(&pgproto3.Sync{})
	if err := front.Flush(); err != nil {
		t.Fatal(err)
	}
	if m, err := front.Receive(); err != nil || fmt.Sprintf("%T", m) != "*pgproto3.ErrorResponse" || m.(*pgproto3.ErrorResponse).Code != "26000" {
		t.Errorf("the unnamed statement is still there: %+v, %v", m, err)
	}
}

func mustTargetOn(t *testing.T, p *kit.Postgres, database string) *Target {
	t.Helper()
	u := upstreamAt(p.Port, nil)
	target, err := NewTarget(t.Context(), dependencies(), u, &u.Login, database)
	if err != nil {
		t.Fatal(err)
	}
	return target
}
