package drivers

import (
	"fmt"
	"strings"
	"testing"

	"pggateway/e2e/kit"
)

const (
	role           = "sync_writer"
	rolePassword   = "the role's own password"
	writer         = "orders-sync"
	writerPassword = "the writer's password"

	// Fewer server connections than a driver has clients.
	poolSize = 2
)

// way is how a client gets to its database. Each way has a database of its own.
type way struct {
	name           string // also the database's
	host           string
	port           int
	user, password string
}

// place is a PostgreSQL server and the ways to it: "direct", "transaction" and
// "session", the last two through a gateway with pools of that mode.
type place struct {
	pg   *kit.Postgres
	ways []way
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{pg: kit.StartPostgres(t, kit.PostgresOptions{Settings: map[string]string{"timezone": "UTC"}})}
	p.pg.CreateLogin(role, rolePassword)
	for _, database := range []string{"direct", "transaction", "session"} {
		p.pg.CreateDatabase(database, role)
		p.pg.Exec(database, "grant create on schema public to "+role)
	}
	upstream := func(mode string, size int) string {
		return fmt.Sprintf("  %s: {host: 127.0.0.1, port: %d, tls: {mode: disable}, pool: {mode: %[1]s, size: %[3]d, wait_timeout: 20s},\n"+
			"    login: {user: %[4]s, password: env:ROLE_PW}}\n", mode, p.pg.Port, size, role)
	}
	g := kit.StartGateway(t, kit.GatewayOptions{
		Config: "listen: [{address: 127.0.0.1:0}]\nupstreams:\n" +
			upstream("transaction", poolSize) + upstream("session", 40) +
			fmt.Sprintf("writers:\n  %s: {password: \"literal:%s\", upstreams: {transaction: {grants: ALL}, session: {grants: ALL}}}\n",
				writer, writerPassword),
		Env: []string{"ROLE_PW=" + rolePassword},
	})
	p.ways = []way{
		{"direct", p.pg.Host, p.pg.Port, role, rolePassword},
		{"transaction", g.Host(), g.Port(), writer, writerPassword},
		{"session", g.Host(), g.Port(), writer, writerPassword},
	}
	return p
}

// conn writes the way as a keyword/value connection string.
func (w way) conn(more ...string) string {
	return kit.ConnString(w.host, w.port, w.name, w.user, w.password, append([]string{"sslmode=disable"}, more...)...)
}

// env is the way in the variables that libpq and its like read.
func (w way) env() []string {
	return []string{
		"PGHOST=" + w.host, fmt.Sprintf("PGPORT=%d", w.port), "PGDATABASE=" + w.name,
		"PGUSER=" + w.user, "PGPASSWORD=" + w.password, "PGSSLMODE=disable", "PGCONNECT_TIMEOUT=20",
	}
}

// unharmed checks a way's database once its clients have gone: nothing they did
// lingers in a server connection, and a pool has kept to its size.
func (p *place) unharmed(t *testing.T, w way) {
	t.Helper()
	const idle = "select count(*) from pg_stat_activity where datname = $1 and usename = $2 and state <> 'idle'"
	for range patience {
		if p.pg.Value("postgres", idle, w.name, role) == "0" {
			break
		}
		pause()
	}
	rows := p.pg.Rows("postgres", "select state, query from pg_stat_activity where datname = $1 and usename = $2", w.name, role)
	for _, row := range rows {
		if row[0] != "idle" {
			t.Errorf("%s: left a server connection %s after %s", w.name, row[0], row[1])
		}
	}
	if w.name == "transaction" && len(rows) > poolSize {
		t.Errorf("%d server connections in a pool of %d", len(rows), poolSize)
	}
	locks := p.pg.Rows("postgres", "select l.locktype, l.objid from pg_locks l join pg_database d on d.oid = l.database "+
		"where d.datname = $1 and l.locktype = 'advisory'", w.name)
	if len(locks) > 0 {
		t.Errorf("%s: locks left: %s", w.name, strings.TrimSpace(fmt.Sprint(locks)))
	}
}
