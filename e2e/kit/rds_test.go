package kit

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
)

type rdsFixture struct {
	rds  *RDS
	ca   *CA
	key  AccessKey
	pg   *Postgres
	host string
}

func startRDS(t *testing.T, with func(*RDSOptions)) rdsFixture {
	t.Helper()
	f := rdsFixture{
		ca:   NewCA(t, "stand-in for the RDS root"),
		key:  AccessKey{ID: "AKIDEXAMPLE", Secret: "secret"},
		host: "mydb.123456789012.us-east-1.rds.amazonaws.com",
	}
	f.pg = StartPostgres(t, PostgresOptions{})
	f.pg.CreateLogin("writer", "behind")
	f.pg.CreateDatabase("app", "writer")
	o := RDSOptions{
		Hosts: []string{f.host}, Cert: f.ca.Issue(t, CertRequest{Names: []string{f.host}}),
		Keys: []AccessKey{f.key}, Users: map[string]string{"writer": "behind"}, Backend: f.pg, KeepSource: true,
	}
	if with != nil {
		with(&o)
	}
	f.rds = StartRDS(t, o)
	return f
}

// login connects as a client that knows the real endpoint name, from 127.0.0.2.
func (f rdsFixture) login(t *testing.T, user, password string, insecure bool) (*pgx.Conn, error) {
	t.Helper()
	cfg, err := pgx.ParseConfig(ConnString(f.host, f.rds.Port(), "app", user, password, "sslmode=disable"))
	if err != nil {
		t.Fatal(err)
	}
	if !insecure {
		cfg.TLSConfig = &tls.Config{RootCAs: f.ca.Pool(), ServerName: f.host}
	}
	cfg.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
	cfg.DialFunc = (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}).DialContext
	c, err := pgx.ConnectConfig(t.Context(), cfg)
	if err == nil {
		t.Cleanup(func() { c.Close(t.Context()) })
	}
	return c, err
}

func (f rdsFixture) token(t *testing.T) string {
	t.Helper()
	return sdkToken(t, net.JoinHostPort(f.host, strconv.Itoa(f.rds.Port())), "us-east-1", "writer", f.key)
}

func TestRDSLogin(t *testing.T) {
	t.Parallel()
	f := startRDS(t, nil)
	c, err := f.login(t, "writer", f.token(t), false)
	if err != nil {
		t.Fatalf("%v; %v", err, f.rds.Refused())
	}
	var user string
	var from netip.Prefix
	if err := c.QueryRow(t.Context(), "select current_user::text, inet_client_addr()").Scan(&user, &from); err != nil {
		t.Fatal(err)
	}
	if user != "writer" || from.Addr().String() != "127.0.0.2" {
		t.Errorf("PostgreSQL sees %s from %s", user, from.Addr())
	}
	if f.rds.Logins() != 1 || len(f.rds.Tokens()) != 1 || len(f.rds.Refused()) != 0 {
		t.Errorf("%d logins, %d tokens, refused %v", f.rds.Logins(), len(f.rds.Tokens()), f.rds.Refused())
	}

	// A cancel goes through to the statement it is for.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	time.AfterFunc(200*time.Millisecond, func() { _ = c.PgConn().CancelRequest(ctx) })
	_, err = c.Exec(ctx, "select pg_sleep(15)")
	if code := sqlState(err); code != "57014" {
		t.Errorf("a cancelled statement: %v", err)
	}
	if f.rds.Cancels() != 1 {
		t.Errorf("%d cancels", f.rds.Cancels())
	}
}

func TestRDSRefusals(t *testing.T) {
	t.Parallel()
	f := startRDS(t, nil)
	const pam = `PAM authentication failed for user "writer"`
	for _, tc := range []struct {
		name     string
		password func() string
		insecure bool
		refuse   int
		text     string
		reason   error // nil: no token was looked at
	}{
		{name: "a password", password: func() string { return "behind" }, text: pam, reason: ErrInvalidToken},
		{name: "a token for the address", password: func() string {
			return sdkToken(t, f.rds.Addr, "us-east-1", "writer", f.key)
		}, text: pam, reason: ErrInvalidToken},
		{name: "told to refuse", password: func() string { return f.token(t) }, refuse: 1, text: pam, reason: ErrNotAuthorized},
		{
			name: "plaintext", password: func() string { return f.token(t) }, insecure: true,
			text: `pg_hba.conf rejects connection for host "127.0.0.2", user "writer", database "app", no encryption`,
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before := len(f.rds.Refused())
			f.rds.RefuseNext(tc.refuse)
			_, err := f.login(t, "writer", tc.password(), tc.insecure)
			var pg *pgconn.PgError
			if !errors.As(err, &pg) || pg.Code != "28000" || pg.Severity != "FATAL" || pg.Message != tc.text {
				t.Fatalf("got %v, want FATAL 28000 %s", err, tc.text)
			}
			reasons := f.rds.Refused()[before:]
			if tc.reason == nil && len(reasons) != 0 {
				t.Errorf("a token was looked at: %v", reasons)
			}
			if tc.reason != nil && (len(reasons) != 1 || !errors.Is(reasons[0], tc.reason)) {
				t.Errorf("reasons %v, want %v", reasons, tc.reason)
			}
		})
	}
	if _, err := f.login(t, "writer", f.token(t), false); err != nil {
		t.Errorf("after all that a good token is refused: %v", err)
	}
}

func TestRDSHangsWhenTold(t *testing.T) {
	t.Parallel()
	f := startRDS(t, nil)
	f.rds.Hang(true)
	cfg, err := pgx.ParseConfig(ConnString("127.0.0.1", f.rds.Port(), "app", "writer", f.token(t), "sslmode=require"))
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if _, err := pgx.ConnectConfig(ctx, cfg); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v", err)
	}
	if len(f.rds.Tokens()) != 1 {
		t.Errorf("%d tokens came in", len(f.rds.Tokens()))
	}
}

func TestRDSSecurityGroup(t *testing.T) {
	t.Parallel()
	f := startRDS(t, func(o *RDSOptions) { o.From = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")} })
	if _, err := f.login(t, "writer", f.token(t), false); err != nil {
		t.Fatal(err)
	}
	c, err := net.Dial("tcp", f.rds.Addr)
	if err != nil {
		return // reset so soon that the dial itself saw it
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if n, err := c.Read(make([]byte, 1)); err == nil {
		t.Errorf("%d bytes for an address outside the security group", n)
	}
}

func sqlState(err error) string {
	var pg *pgconn.PgError
	if errors.As(err, &pg) {
		return pg.Code
	}
	return ""
}
