package kit

import (
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

func connect(t *testing.T, conn string) (*pgx.Conn, error) {
	t.Helper()
	c, err := pgx.Connect(t.Context(), conn)
	if err == nil {
		t.Cleanup(func() { c.Close(t.Context()) })
	}
	return c, err
}

// TestPostgresAdmitsWhatHBASays checks the ground every other test stands on:
// an allowed login works, and each thing that pg_hba forbids is refused.
func TestPostgresAdmitsWhatHBASays(t *testing.T) {
	t.Parallel()
	ca := NewCA(t, "test root")
	p := StartPostgres(t, PostgresOptions{
		Listen: []string{"127.0.0.1", "127.0.0.3"},
		HBA:    []string{"hostssl app writer 127.0.0.1/32 scram-sha-256"},
		TLS:    ca.Issue(t, CertRequest{Names: []string{"db.example.com", "127.0.0.1"}}),
	})
	p.CreateLogin("writer", "it's a secret")
	p.CreateLogin("other", "x")
	p.CreateDatabase("app", "writer")

	c, err := connect(t, ConnString("127.0.0.1", p.Port, "app", "writer", "it's a secret", "sslmode=verify-full sslrootcert="+ca.File))
	if err != nil {
		t.Fatal(err)
	}
	var one int
	if err := c.QueryRow(t.Context(), "select 1").Scan(&one); err != nil || one != 1 {
		t.Fatalf("%d, %v", one, err)
	}
	for name, tc := range map[string]struct{ conn, code string }{
		"plaintext":      {ConnString("127.0.0.1", p.Port, "app", "writer", "it's a secret", "sslmode=disable"), "28000"},
		"wrong password": {ConnString("127.0.0.1", p.Port, "app", "writer", "x", "sslmode=require"), "28P01"},
		"other role":     {ConnString("127.0.0.1", p.Port, "app", "other", "x", "sslmode=require"), "28000"},
		"other database": {ConnString("127.0.0.1", p.Port, "postgres", "writer", "it's a secret", "sslmode=require"), "28000"},
		"superuser":      {ConnString("127.0.0.1", p.Port, "postgres", "postgres", "", "sslmode=require"), "28000"},
	} {
		_, err := connect(t, tc.conn)
		var pg *pgconn.PgError
		if !errors.As(err, &pg) || pg.Code != tc.code {
			t.Errorf("%s: %v, want %s", name, err, tc.code)
		}
	}
	if got := p.Rows("app", "select 1, null::text, 'x'"); len(got) != 1 || strings.Join(got[0], "|") != "1|NULL|x" {
		t.Errorf("Rows: %q", got)
	}
}

// TestPostgresComesBack stops, kills and reloads a server, and sees its data survive.
func TestPostgresComesBack(t *testing.T) {
	t.Parallel()
	p := StartPostgres(t, PostgresOptions{})
	p.CreateLogin("w", "pw")
	p.CreateDatabase("app", "w")
	conn := ConnString(p.Host, p.Port, "app", "w", "pw", "sslmode=disable")
	p.Restart()
	if _, err := connect(t, conn); err != nil {
		t.Fatalf("after a restart: %v", err)
	}
	p.Kill()
	if _, err := connect(t, conn); err == nil {
		t.Fatal("a killed server takes connections")
	}
	p.Start()
	if _, err := connect(t, conn); err != nil {
		t.Fatalf("after a crash: %v", err)
	}
	p.SetHBA([]string{"host all all all reject"})
	p.Reload()
	if _, err := connect(t, conn); err == nil {
		t.Fatal("a login that pg_hba rejects now")
	}
}

// TestNothingStays starts a server in a subtest and looks for its directory and process afterwards.
func TestNothingStays(t *testing.T) {
	t.Parallel()
	var p *Postgres
	t.Run("parts", func(t *testing.T) { p = StartPostgres(t, PostgresOptions{}) })
	if p == nil {
		t.Skip("there was no server to look for")
	}
	if _, err := os.Stat(p.dir); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", p.dir, err)
	}
	if p.proc.running() || len(descendants(p.proc.cmd.Process.Pid)) > 0 {
		t.Error("the server still runs")
	}
}
