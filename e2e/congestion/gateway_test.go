package congestion

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strconv"
	"testing"
	"time"

	"pggateway/e2e/kit"
)

const (
	writer         = "crowd"
	writerPassword = "the writer's password"
	servers        = 5
)

// startGateway runs a gateway with one pool before pg, and a listener that takes
// clients with and without TLS.
func startGateway(t *testing.T, pg *kit.Postgres, mode string) *kit.Gateway {
	t.Helper()
	cert := kit.NewCA(t, "test root").Issue(t, kit.CertRequest{Names: []string{"gateway.test"}})
	return kit.StartGateway(t, kit.GatewayOptions{
		Env: []string{"ROLE_PW=" + rolePassword, "GOTRACEBACK=all"},
		Config: fmt.Sprintf(`
listen: [{address: 127.0.0.1:0, tls: {mode: allow, cert: "file:%s", key: "file:%s"}}]
limits: {login_timeout: 1m}
upstreams:
  up:
    kind: postgres
    host: 127.0.0.1
    port: %d
    database: app
    tls: {mode: disable}
    login: {user: %s, password: env:ROLE_PW}
    pool: {mode: %s, size: %d, wait_timeout: 30s, new_per_second: 1000}
writers:
  %s: {password: "literal:%s", upstreams: {up: {grants: ALL}}}
`, cert.CertFile, cert.KeyFile, pg.Port, role, mode, servers, writer, writerPassword),
	})
}

// connect returns how the crowd reaches the gateway: every fourth by TLS.
func connect(g *kit.Gateway) func(int) string {
	return func(client int) string {
		tls := "sslmode=disable"
		if client%4 == 0 {
			tls = "sslmode=require"
		}
		return g.ConnString(writer, writerPassword, "up", tls)
	}
}

// terminator ends one of the role's server connections. (A parallel worker that is
// ended makes its statement fail with the same code, and the session lives on.)
func terminator(t *testing.T, pg *kit.Postgres) func(*rand.Rand) bool {
	admin := pg.Connect("app")
	return func(rng *rand.Rand) bool {
		var ended bool
		err := admin.QueryRow(t.Context(), "select pg_terminate_backend(pid) from pg_stat_activity where usename = $1 and backend_type = 'client backend'"+
			" order by hashtext(pid::text || $2) limit 1", role, strconv.Itoa(rng.Int())).Scan(&ended)
		return err == nil && ended
	}
}

// full is how long the invariants are tried, and with how many clients: a minute
// where CI is set, or $CONGESTION.
func full(t *testing.T) (time.Duration, int) {
	t.Helper()
	duration, clients := 20*time.Second, 300
	if os.Getenv(kit.EnvCI) != "" {
		duration = time.Minute
	}
	var err error
	if text := os.Getenv("CONGESTION"); text != "" {
		if duration, err = time.ParseDuration(text); err != nil {
			t.Fatalf("CONGESTION: %v", err)
		}
	}
	if text := os.Getenv("CONGESTION_CLIENTS"); text != "" {
		if clients, err = strconv.Atoi(text); err != nil {
			t.Fatalf("CONGESTION_CLIENTS: %v", err)
		}
	}
	return duration, clients
}

// TestTransactionMode has hundreds of clients share five server connections.
func TestTransactionMode(t *testing.T) {
	duration, clients := full(t)
	crowded(t, "transaction", Options{Clients: clients, Duration: duration, Holders: servers - 1, Shared: true})
}

// TestSessionMode has more clients than server connections come and go.
func TestSessionMode(t *testing.T) {
	duration, clients := full(t)
	crowded(t, "session", Options{Clients: min(clients, 2*servers), Duration: duration / 10, Holders: servers})
}

// crowded lets a crowd loose on a gateway and looks at what it leaves: nothing.
func crowded(t *testing.T, mode string, o Options) {
	pg := database(t)
	g := startGateway(t, pg, mode)
	before := census(t, g, pg)
	o.Seed, o.Connect, o.Terminate = seed(t), connect(g), terminator(t, pg)
	r := Run(o)
	report(t, r, pg)
	if t.Failed() {
		return
	}
	after := census(t, g, pg)
	after.compare(t, before)
	servesAll(t, g, o.Clients)
	if n := goroutines(t, g); n > quietGoroutines {
		t.Errorf("%d goroutines are left in the gateway, want %d at most", n, quietGoroutines)
	}
}
