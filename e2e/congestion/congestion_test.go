package congestion

import (
	"os"
	"testing"
	"time"

	"pggateway/e2e/kit"
)

func TestMain(m *testing.M) {
	release := kit.Hold()
	code := m.Run()
	release()
	os.Exit(code)
}

const (
	role         = "sync_writer"
	rolePassword = "the role's own password"
)

// database starts a server with the crowd's tables.
func database(t *testing.T) *kit.Postgres {
	t.Helper()
	pg := kit.StartPostgres(t, kit.PostgresOptions{MaxConnections: 200, Settings: map[string]string{"log_connections": "off"}})
	pg.CreateLogin(role, rolePassword)
	pg.CreateDatabase("app", role)
	pg.Exec("app", Schema+"; grant all on schema crowd to "+role+"; grant all on all tables in schema crowd to "+role)
	return pg
}

// report ends a test with what a crowd saw and what is left of it.
func report(t *testing.T, r *Result, pg *kit.Postgres) {
	t.Helper()
	t.Log(r.Summary())
	for _, v := range r.Violations() {
		t.Error(v)
	}
	for _, wrong := range r.Aftermath(func(sql string) [][]string { return pg.Rows("app", sql) }) {
		t.Error(wrong)
	}
}

// TestDirectly has a small crowd use PostgreSQL itself: what the crowd takes for
// right is what PostgreSQL does.
func TestDirectly(t *testing.T) {
	t.Parallel()
	pg := database(t)
	conn := kit.ConnString("127.0.0.1", pg.Port, "app", role, rolePassword, "sslmode=disable")
	r := Run(Options{
		Seed: seed(t), Clients: 20, Duration: 2 * time.Second, Holders: 20,
		Connect: func(int) string { return conn },
	})
	report(t, r, pg)
}
