package e2e

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pggateway/e2e/kit"
)

// route adds an upstream named "up" to a house and says which address the
// database will see, and where it really is for whom the writer tries directly.
type route struct {
	name  string
	build func(h *house, pool string) (pg *kit.Postgres, seenAs string)
}

func routes() []route {
	return []route{
		{"plaintext and scram", func(h *house, pool string) (*kit.Postgres, string) {
			pg := h.postgres(kit.PostgresOptions{HBA: []string{"host app " + role + " " + egress + "/32 scram-sha-256"}})
			h.upstream("up", "127.0.0.1", pg.Port, "tls: {mode: disable}", pool)
			return pg, egress
		}},
		{"plaintext and md5", func(h *house, pool string) (*kit.Postgres, string) {
			pg := h.postgres(kit.PostgresOptions{
				HBA: []string{"host app " + role + " " + egress + "/32 md5"}, PasswordEncryption: "md5",
			})
			h.upstream("up", "127.0.0.1", pg.Port, "tls: {mode: disable}", pool)
			return pg, egress
		}},
		{"TLS and cleartext password", func(h *house, pool string) (*kit.Postgres, string) {
			pg := h.postgres(kit.PostgresOptions{
				HBA: []string{"hostssl app " + role + " " + egress + "/32 password"},
				TLS: h.ca.Issue(h.t, kit.CertRequest{Names: []string{"db.example.com"}}),
			})
			h.upstream("up", "db.example.com", pg.Port, "hostaddr: 127.0.0.1", "tls: {ca: file:"+h.ca.File+"}", pool)
			return pg, egress
		}},
		{"TLS and scram", func(h *house, pool string) (*kit.Postgres, string) {
			pg := h.postgres(kit.PostgresOptions{
				HBA: []string{"hostssl app " + role + " " + egress + "/32 scram-sha-256"},
				TLS: h.ca.Issue(h.t, kit.CertRequest{Names: []string{"db.example.com"}}),
			})
			h.upstream("up", "db.example.com", pg.Port, "hostaddr: 127.0.0.1",
				"tls: {mode: verify-full, ca: file:"+h.ca.File+"}", pool)
			return pg, egress
		}},
		{"TLS and certificate", func(h *house, pool string) (*kit.Postgres, string) {
			pg := h.postgres(kit.PostgresOptions{
				HBA: []string{"hostssl app " + role + " " + egress + "/32 cert"}, ClientCA: h.ca.File,
				TLS: h.ca.Issue(h.t, kit.CertRequest{Names: []string{"db.example.com"}}),
			})
			own := h.ca.Issue(h.t, kit.CertRequest{Subject: role, Client: true})
			h.upstream("up", "db.example.com", pg.Port, "hostaddr: 127.0.0.1",
				"tls: {ca: file:"+h.ca.File+", cert: file:"+own.CertFile+", key: file:"+own.KeyFile+"}",
				"login: {user: "+role+", cert: true}", pool)
			return pg, egress
		}},
		{"bastion and TLS", func(h *house, pool string) (*kit.Postgres, string) {
			pg := h.postgres(kit.PostgresOptions{
				HBA: []string{"hostssl app " + role + " 127.0.0.1/32 scram-sha-256"},
				TLS: h.ca.Issue(h.t, kit.CertRequest{Names: []string{"db.internal"}}),
			})
			_, way := h.bastion(kit.SSHDOptions{})
			h.upstream("up", "db.internal", pg.Port, "hostaddr: 127.0.0.1",
				"tls: {mode: verify-full, ca: file:"+h.ca.File+"}", way, pool)
			return pg, "127.0.0.1"
		}},
		{"bastion and plaintext", func(h *house, pool string) (*kit.Postgres, string) {
			pg := h.postgres(kit.PostgresOptions{HBA: []string{"host app " + role + " 127.0.0.1/32 scram-sha-256"}})
			_, way := h.bastion(kit.SSHDOptions{})
			h.upstream("up", "127.0.0.1", pg.Port, "tls: {mode: disable}", way, pool)
			return pg, "127.0.0.1"
		}},
		{"RDS and IAM", func(h *house, pool string) (*kit.Postgres, string) {
			rds, pg := h.rds(nil)
			h.entry("up", "kind: rds", "host: "+rds.Host, "hostaddr: 127.0.0.1", fmt.Sprintf("port: %d", rds.Port()),
				"tls: {ca: file:"+h.ca.File+"}", "login: {user: "+role+", iam: {}}", pool)
			return pg, egress
		}},
	}
}

// rds starts a stand-in, the PostgreSQL behind it, and gives the gateway the key.
func (h *house) rds(with func(*kit.RDSOptions)) (*kit.RDS, *kit.Postgres) {
	h.t.Helper()
	pg := h.postgres(kit.PostgresOptions{HBA: []string{"host app " + role + " " + egress + "/32 scram-sha-256"}})
	key := kit.AccessKey{ID: "AKIATEST000000000000", Secret: "secret/access+key"}
	o := kit.RDSOptions{
		Hosts: []string{rdsHost}, Cert: h.ca.Issue(h.t, kit.CertRequest{Names: []string{rdsHost}}),
		Keys: []kit.AccessKey{key}, Users: map[string]string{role: rolePassword}, Backend: pg, KeepSource: true,
	}
	if with != nil {
		with(&o)
	}
	h.env = append(h.env, "AWS_ACCESS_KEY_ID="+key.ID, "AWS_SECRET_ACCESS_KEY="+key.Secret, "AWS_EC2_METADATA_DISABLED=true")
	return kit.StartRDS(h.t, o), pg
}

// TestFirstSync loads a table by each way to a database, in both pool modes, as
// a sync worker does. That the rows are where they belong is asked of the
// database itself, past the gateway; that the gateway was needed is shown by
// trying without.
func TestFirstSync(t *testing.T) {
	t.Parallel()
	for _, r := range routes() {
		for _, mode := range []string{"transaction", "session"} {
			t.Run(r.name+", "+mode+" pooling", func(t *testing.T) {
				t.Parallel()
				h := newHouse(t)
				pg, seenAs := r.build(h, "pool: {mode: "+mode+", size: 3}")
				h.start("")

				for _, login := range [][2]string{{writer, writerPassword}, {role, rolePassword}} {
					_, err := connectFrom(t, "127.0.0.9", kit.ConnString("127.0.0.1", pg.Port, "app", login[0], login[1], "sslmode=prefer"))
					if e := pgError(t, err); e.Code != "28000" || !strings.Contains(e.Message, `host "127.0.0.9"`) {
						t.Fatalf("%s, without the gateway: %v", login[0], err)
					}
				}
				c := h.dial("up")
				if got := ask(t, c, "select host(inet_client_addr())"); got != seenAs {
					t.Errorf("the database sees %s, want %s", got, seenAs)
				}
				firstSync(t, c)
				if got := pg.Value("app", "select count(*) || ' ' || sum(total) from sales.orders"); got != wantSync {
					t.Errorf("the database holds %s, want %s", got, wantSync)
				}
				cancelWorks(t, c)
			})
		}
	}
}

const (
	syncRows = 20_000
	wantSync = "20000 200010000" // the sum of 1 … 20000: the second pass added one to 0 … 19999
)

// firstSync is a small sync: schema, staging table, COPY, upsert, count; twice,
// so that the second one updates.
func firstSync(t *testing.T, c *pgx.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	run(t, c, "create schema if not exists sales")
	run(t, c, "create table if not exists sales.orders (id bigint primary key, status text not null, total bigint not null, note text)")
	for pass := range 2 {
		run(t, c, "create table sales.stage (like sales.orders)")
		n, err := c.CopyFrom(ctx, pgx.Identifier{"sales", "stage"}, []string{"id", "status", "total", "note"},
			pgx.CopyFromSlice(syncRows, func(i int) ([]any, error) {
				total := int64(i)
				if pass == 1 {
					total++
				}
				if i%7 == 0 {
					return []any{int64(i), "placed", total, nil}, nil
				}
				return []any{int64(i), "shipped", total, "ring twice " + strconv.Itoa(i)}, nil
			}))
		if err != nil || n != syncRows {
			t.Fatalf("COPY: %d rows, %v", n, err)
		}
		err = pgx.BeginFunc(ctx, c, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, `insert into sales.orders select * from sales.stage
				on conflict (id) do update set status = excluded.status, total = excluded.total, note = excluded.note`); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, "drop table sales.stage")
			return err
		})
		if err != nil {
			t.Fatalf("upsert: %v", err)
		}
	}
	if got := ask(t, c, "select count(*) || ' ' || sum(total) from sales.orders where id >= $1", 0); got != wantSync {
		t.Errorf("through the gateway: %s, want %s", got, wantSync)
	}
}

// cancelWorks cancels a statement by the protocol's own means.
func cancelWorks(t *testing.T, c *pgx.Conn) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	timer := time.AfterFunc(300*time.Millisecond, func() { _ = c.PgConn().CancelRequest(ctx) })
	defer timer.Stop()
	_, err := c.Exec(ctx, "select pg_sleep(15)")
	if e := pgError(t, err); e.Code != "57014" {
		t.Errorf("a cancelled statement: %v", err)
	}
	if got := ask(t, c, "select 'still here'"); got != "still here" {
		t.Error(got)
	}
}
