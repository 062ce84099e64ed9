package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"pggateway/e2e/kit"
)

// TestSchema: sessions begin in the schema that is configured, which is created by
// whoever comes first, unless they ask for another search_path; and RESET returns to
// what each began with.
func TestSchema(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"session", "transaction"} {
		t.Run(mode, func(t *testing.T) {
			t.Parallel()
			h := newHouse(t)
			pg := h.postgres(kit.PostgresOptions{})
			pg.CreateDatabase("tenant_one", role)
			pg.CreateDatabase("tenant_two", role)
			pg.CreateLogin("other_writer", rolePassword)
			size := 1
			if mode == "session" {
				size = 10
			}
			pool := fmt.Sprintf("pool: {mode: %s, size: %d}", mode, size)
			const plain = "tls: {mode: disable}"
			name := `Été's "schema"`
			h.upstream("up", "127.0.0.1", pg.Port, plain, pool, fmt.Sprintf("schema: {name: %q, create: true}", name))
			h.entry("tenant_*", "kind: postgres", "host: 127.0.0.1", fmt.Sprintf("port: %d", pg.Port), plain, pool,
				"schema: {name: sales, create: true}")
			h.upstream("missing", "127.0.0.1", pg.Port, plain, pool, "schema: {name: nowhere}")
			h.start("", fmt.Sprintf("  other:\n    password: \"literal:%s\"\n    upstreams: {up: {grants: ALL, login: {user: other_writer, password: env:ROLE_PW}}}\n", writerPassword))

			quoted := `"` + strings.ReplaceAll(name, `"`, `""`) + `"`
			clients := []struct {
				more, path string
				c          *pgx.Conn
			}{
				{"", quoted, nil},
				{"search_path=pg_catalog", "pg_catalog", nil},
				{"options=-csearch_path=public,pg_catalog", "public,pg_catalog", nil},
				{"client_encoding=LATIN1", "", nil},
			}
			for i := range clients {
				clients[i].c = h.dial("up", clients[i].more, "default_query_exec_mode=exec") // DISCARD ALL takes statements away
			}
			for range 2 { // each in its turn, on one server connection in transaction mode
				for i, who := range clients {
					check := func(when string) {
						t.Helper()
						if who.path == "" { // other bytes than the driver reads
							if n := ask(t, who.c, "select length(current_schema())::text"); n != "14" {
								t.Errorf("client %d, %s: a schema of %s letters", i, when, n)
							}
							return
						}
						if got := ask(t, who.c, "show search_path"); got != who.path {
							t.Errorf("client %d, %s: search_path %s, want %s", i, when, got, who.path)
						}
					}
					check("at first")
					run(t, who.c, "set search_path to pg_temp")
					run(t, who.c, "reset search_path")
					check("after RESET")
					run(t, who.c, "discard all")
					check("after DISCARD ALL")
				}
			}
			run(t, clients[0].c, "create table here (n int)")
			if got := pg.Value("app", "select nspname from pg_namespace join pg_class on relnamespace = pg_namespace.oid where relname = 'here'"); got != name {
				t.Errorf("the table is in %q", got)
			}
			if n := len(h.gateway.Lines("schema created")); n != 1 {
				t.Errorf("%d lines say that the schema was created", n)
			}

			for _, db := range []string{"tenant_one", "tenant_two"} {
				if got := ask(t, h.dial(db), "select current_database() || ' ' || current_schema()"); got != db+" sales" {
					t.Errorf("%s: %s", db, got)
				}
			}
			if got := ask(t, h.dial("missing"), "select coalesce(current_schema(), 'none') || ' ' || current_setting('search_path')"); got != "none nowhere" {
				t.Errorf("with a schema that is not there: %s", got)
			}
			h.gateway.WaitLine("the schema that sessions work in does not exist, so that they see none: create it, or set schema.create", 1)

			// A role that may not create it finds it there.
			pg.Exec("postgres", "grant connect on database app to other_writer")
			other, err := h.try("other", writerPassword, "up")
			if err != nil {
				t.Fatal(err)
			}
			if got := ask(t, other, "show search_path"); got != quoted {
				t.Errorf("another role: %s", got)
			}
		})
	}
}

// TestSchemaDenied tells a client why it cannot log in, in words that it can pass on.
func TestSchemaDenied(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	pg.Exec("postgres", "revoke create on database app from "+role)
	h.upstream("up", "127.0.0.1", pg.Port, "tls: {mode: disable}", "schema: {name: sales, create: true}")
	h.start("")
	_, err := h.try(writer, writerPassword, "up")
	e := pgError(t, err)
	if e.Severity != "FATAL" || e.Code != "42501" || !strings.Contains(e.Message, `"up"`) || !strings.Contains(e.Detail, "it needs CREATE on the database") {
		t.Errorf("%+v", e)
	}
	discreet(t, e, role)
	if line := h.gateway.WaitLine("could not open a server connection", 1); !strings.Contains(fmt.Sprint(line["error"]), `create schema "sales" as sync_writer`) {
		t.Errorf("the log says %v", line["error"])
	}
	pg.Exec("postgres", "grant create on database app to "+role)
	h.eventually("up")
	if got := ask(t, h.dial("up"), "select current_schema()"); got != "sales" {
		t.Errorf("afterwards: %s", got)
	}
}
