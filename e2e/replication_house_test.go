package e2e

import (
	"bytes"
	"context"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"pggateway/e2e/kit"
)

// A writer whose grants are replication and nothing else.
const (
	replicator         = "replicator"
	replicatorPassword = "the replicator's password"
)

// replicationHouse is a gateway before a PostgreSQL that can be replicated, with
// the usual writer and the replicator.
func replicationHouse(t *testing.T) (*house, *kit.Postgres) {
	t.Helper()
	h := newHouse(t)
	pg := h.replicable(kit.PostgresOptions{})
	h.upstream("up", "127.0.0.1", pg.Port, "tls: {mode: disable}")
	h.start("", replicatorYAML)
	return h, pg
}

const replicatorYAML = "  " + replicator + ":\n    password: \"literal:" + replicatorPassword + "\"\n    upstreams: {up: {grants: {replication: true}}}\n"

func replicableSettings() map[string]string {
	return map[string]string{
		"wal_level": "logical", "max_wal_senders": "20", "max_replication_slots": "20", "synchronous_commit": "on",
		"wal_retrieve_retry_interval": "100ms",
	}
}

// replicable starts a server that the role may replicate.
func (h *house) replicable(o kit.PostgresOptions) *kit.Postgres {
	h.t.Helper()
	o.HBA = []string{
		"host all all 127.0.0.0/8 scram-sha-256",
		"host replication " + role + " 127.0.0.0/8 scram-sha-256",
	}
	o.Settings = replicableSettings()
	pg := h.postgres(o)
	pg.Exec("postgres", "alter role "+role+" replication")
	pg.Exec("app", "create table events (id serial primary key, what text)")
	return pg
}

// replicate is the replicator's connection string.
func (h *house) replicate(database string, more ...string) string {
	if len(more) == 0 || !strings.HasPrefix(more[0], "sslmode=") {
		more = append([]string{"sslmode=disable"}, more...)
	}
	return h.gateway.ConnString(replicator, replicatorPassword, database, more...)
}

// walsender opens a replication connection through the gateway.
func (h *house) walsender(mode string, more ...string) *pgconn.PgConn {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	c, err := pgconn.Connect(ctx, h.replicate("up", append([]string{"replication=" + mode}, more...)...))
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		_ = c.Close(ctx)
	})
	return c
}

// command runs a command to its end and returns its only row.
func command(t *testing.T, c *pgconn.PgConn, text string) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	results, err := c.Exec(ctx, text).ReadAll()
	if err != nil {
		t.Fatalf("%s: %v", text, err)
	}
	var row []string
	for _, r := range results {
		for _, values := range r.Rows {
			for _, v := range values {
				row = append(row, string(v))
			}
		}
	}
	return row
}

// stream begins to stream and reads until the server is in COPY both.
func stream(t *testing.T, c *pgconn.PgConn, text string) *pgconn.HijackedConn {
	t.Helper()
	hc, err := c.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { hc.Conn.Close() })
	_ = hc.Conn.SetDeadline(time.Now().Add(time.Minute))
	hc.Frontend.Send(&pgproto3.Query{String: text})
	if err := hc.Frontend.Flush(); err != nil {
		t.Fatal(err)
	}
	for {
		switch m := receive(t, hc).(type) {
		case *pgproto3.CopyBothResponse:
			return hc
		case *pgproto3.NoticeResponse:
		default:
			t.Fatalf("%s: got %#v", text, m)
		}
	}
}

func receive(t *testing.T, hc *pgconn.HijackedConn) pgproto3.BackendMessage {
	t.Helper()
	m, err := hc.Frontend.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// changes reads the stream until the text has come by. It answers keepalives
// that want an answer.
func changes(t *testing.T, hc *pgconn.HijackedConn, text string) {
	t.Helper()
	for {
		data, ok := receive(t, hc).(*pgproto3.CopyData)
		if !ok {
			t.Fatal("the stream ended")
		}
		switch data.Data[0] {
		case 'w':
			if bytes.Contains(data.Data, []byte(text)) {
				return
			}
		case 'k':
			if data.Data[17] == 1 {
				hc.Frontend.Send(&pgproto3.CopyData{Data: append([]byte{'r'}, make([]byte, 33)...)})
				if err := hc.Frontend.Flush(); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
