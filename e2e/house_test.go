package e2e

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"pggateway/e2e/kit"
)

// What every test's gateway and databases have in common.
const (
	egress         = "127.0.0.2" // where the gateway's connections come from
	role           = "sync_writer"
	rolePassword   = "the role's own password"
	writer         = "orders-sync"
	writerPassword = "the writer's password"
	rdsHost        = "mydb.c9akciq32.us-east-1.rds.amazonaws.com"
)

// house is a gateway with what it needs to be configured.
type house struct {
	t       *testing.T
	ca      *kit.CA
	ssh     *kit.SSHKey
	gateway *kit.Gateway

	dir       string
	upstreams strings.Builder // YAML below "upstreams:"
	names     []string
	limits    string // YAML of "limits:"; none if empty
	env       []string
}

func newHouse(t *testing.T) *house {
	t.Helper()
	return &house{
		t: t, ca: kit.NewCA(t, "test root"), ssh: kit.NewSSHKey(t), dir: kit.Dir(t),
		env: []string{"ROLE_PW=" + rolePassword},
	}
}

// postgres starts a server with one database, "app", and the upstream role.
func (h *house) postgres(o kit.PostgresOptions) *kit.Postgres {
	h.t.Helper()
	pg := kit.StartPostgres(h.t, o)
	pg.CreateLogin(role, rolePassword)
	pg.CreateDatabase("app", role)
	return pg
}

// upstream adds an upstream; more are lines of YAML, the usual login unless they hold one.
func (h *house) upstream(name, host string, port int, more ...string) {
	lines := append([]string{"kind: postgres", "host: " + host, fmt.Sprintf("port: %d", port)}, more...)
	h.entry(name, lines...)
}

func (h *house) entry(name string, lines ...string) {
	has := func(key string) bool {
		for _, line := range lines {
			if strings.HasPrefix(line, key+":") {
				return true
			}
		}
		return false
	}
	if !has("login") {
		lines = append(lines, fmt.Sprintf("login: {user: %s, password: env:ROLE_PW}", role))
	}
	if !has("database") && !strings.Contains(name, "*") {
		lines = append(lines, "database: app")
	}
	fmt.Fprintf(&h.upstreams, "  %s:\n", name)
	for _, line := range lines {
		fmt.Fprintf(&h.upstreams, "    %s\n", line)
	}
	h.names = append(h.names, name)
}

// bastion starts an sshd that knows the gateway's key, and returns the line of
// YAML that leads through it.
func (h *house) bastion(o kit.SSHDOptions) (*kit.SSHD, string) {
	h.t.Helper()
	o.AuthorizedKeys = append(o.AuthorizedKeys, "restrict,port-forwarding "+h.ssh.Public)
	s := kit.StartSSHD(h.t, o)
	return s, via(s, s.HostKey.Public)
}

func via(s *kit.SSHD, hostKey string) string {
	return fmt.Sprintf(`via: {ssh: {host: %s, port: %d, user: %s, host_keys: [%q]}}`, s.Host, s.Port, s.User, hostKey)
}

// start runs the gateway on one listener ("": plaintext) with the usual writer,
// who may do everything everywhere, and further ones, as YAML indented by two.
func (h *house) start(listen string, extraWriters ...string) *kit.Gateway {
	h.t.Helper()
	h.gateway = kit.StartGateway(h.t, kit.GatewayOptions{Config: h.config(listen, extraWriters...), Dir: h.dir, Env: h.env})
	return h.gateway
}

// config is the gateway.yaml that start runs with.
func (h *house) config(listen string, extraWriters ...string) string {
	if listen == "" {
		listen = "{address: 127.0.0.1:0}"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "listen: [%s]\n", listen)
	fmt.Fprintf(&b, "egress: {source_ip: %s}\n", egress)
	fmt.Fprintf(&b, "ssh: {identity: file:%s}\n", h.ssh.File)
	if h.limits != "" {
		fmt.Fprintf(&b, "limits: %s\n", h.limits)
	}
	fmt.Fprintf(&b, "upstreams:\n%swriters:\n", h.upstreams.String())
	fmt.Fprintf(&b, "  %s:\n    password: \"literal:%s\"\n    upstreams: %s\n", writer, writerPassword, h.access())
	for _, w := range extraWriters {
		b.WriteString(w)
	}
	return b.String()
}

// access is the YAML that lets a writer do everything everywhere.
func (h *house) access() string {
	var all []string
	for _, name := range h.names {
		all = append(all, fmt.Sprintf("%q: {grants: ALL}", name))
	}
	return "{" + strings.Join(all, ", ") + "}"
}

// dial logs in as the usual writer and ends the test when that fails.
func (h *house) dial(database string, more ...string) *pgx.Conn {
	h.t.Helper()
	c, err := h.try(writer, writerPassword, database, more...)
	if err != nil {
		h.t.Fatalf("log in to %s: %v", database, err)
	}
	return c
}

// try logs in; see kit.Gateway.ConnString for more.
func (h *house) try(user, password, database string, more ...string) (*pgx.Conn, error) {
	h.t.Helper()
	ctx, cancel := context.WithTimeout(h.t.Context(), time.Minute)
	defer cancel()
	c, err := pgx.Connect(ctx, h.gateway.ConnString(user, password, database, more...))
	if err == nil {
		h.t.Cleanup(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			c.Close(ctx)
		})
	}
	return c, err
}

// tryFrom is try from an address of this machine.
func (h *house) tryFrom(source, user, password, database string) (*pgx.Conn, error) {
	h.t.Helper()
	return connectFrom(h.t, source, h.gateway.ConnString(user, password, database))
}

// connectFrom logs in to anything from an address of this machine.
func connectFrom(t *testing.T, source, conn string) (*pgx.Conn, error) {
	t.Helper()
	cfg, err := pgx.ParseConfig(conn)
	if err != nil {
		t.Fatal(err)
	}
	cfg.DialFunc = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}).DialContext
	c, err := pgx.ConnectConfig(t.Context(), cfg)
	if err == nil {
		t.Cleanup(func() { c.Close(context.Background()) })
	}
	return c, err
}

// pgError returns the ErrorResponse in err, or ends the test.
func pgError(t *testing.T, err error) *pgconn.PgError {
	t.Helper()
	var pg *pgconn.PgError
	if !errors.As(err, &pg) {
		t.Fatalf("got %v, want an ErrorResponse", err)
	}
	return pg
}

// discreet checks that an ErrorResponse gives nothing internal away.
func discreet(t *testing.T, e *pgconn.PgError, secrets ...string) {
	t.Helper()
	text := strings.Join([]string{e.Message, e.Detail, e.Hint, e.Where}, "\n")
	for _, s := range append(secrets, rolePassword, writerPassword, "127.0.0.", "dial tcp", "goroutine", "0x", ".go:") {
		if strings.Contains(text, s) {
			t.Errorf("%q is in an error that a client sees:\n%s", s, text)
		}
	}
}

// ask runs a query that returns one text.
func ask(t *testing.T, c *pgx.Conn, sql string, args ...any) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	var s string
	if err := c.QueryRow(ctx, sql, args...).Scan(&s); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return s
}

// run runs SQL.
func run(t *testing.T, c *pgx.Conn, sql string, args ...any) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if _, err := c.Exec(ctx, sql, args...); err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
}
