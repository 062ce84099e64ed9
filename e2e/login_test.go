package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"pggateway/e2e/kit"
)

// TestLoginRefusals reads the ErrorResponse of each login that the configuration
// does not allow. A good login before and after shows that nothing else is wrong.
func TestLoginRefusals(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	h.upstream("orders", "127.0.0.1", pg.Port, "tls: {mode: disable}", "aliases: [orders-prod]")
	h.upstream("secret", "127.0.0.1", pg.Port, "tls: {mode: disable}")
	cert := h.ca.Issue(t, kit.CertRequest{Names: []string{"127.0.0.1"}})
	listen := fmt.Sprintf("{address: 127.0.0.1:0, tls: {mode: allow, cert: file:%s, key: file:%s}}", cert.CertFile, cert.KeyFile)
	h.start(listen, `  confined:
    password: "literal:pw"
    from: [127.0.0.7/32, 10.0.0.0/8]
    upstreams: {orders: {grants: ALL}}
  elsewhere:
    password: "literal:pw"
    upstreams: {orders: {grants: ALL}}
  careful:
    password: "literal:pw"
    tls: require
    upstreams: {orders: {grants: ALL}}
`)
	h.dial("orders")
	h.dial("orders-prod")
	if c, err := h.tryFrom("127.0.0.7", "confined", "pw", "orders"); err != nil {
		t.Errorf("from the network allowed: %v", err)
	} else if got := ask(t, c, "select current_user::text"); got != role {
		t.Errorf("the database knows the writer as %s", got)
	}
	if _, err := h.try("careful", "pw", "orders", "sslmode=verify-full sslrootcert="+h.ca.File); err != nil {
		t.Errorf("over TLS: %v", err)
	}

	for _, tc := range []struct {
		name, user, password, database string
		code, contains                 string
	}{
		{"wrong password", writer, "guess", "orders", "28P01", `password authentication failed for user "orders-sync"`},
		{"empty password", writer, "", "orders", "28P01", `password authentication failed for user "orders-sync"`},
		{"unknown writer", "nobody", "guess", "orders", "28P01", `password authentication failed for user "nobody"`},
		{"the upstream's own login", role, rolePassword, "orders", "28P01", `password authentication failed for user "sync_writer"`},
		{"wrong password, unknown upstream", writer, "guess", "nowhere", "28P01", `password authentication failed`},
		{"upstream not granted", "elsewhere", "pw", "secret", "3D000", `database "secret" does not exist`},
		{"unknown upstream", writer, writerPassword, "nowhere", "3D000", `database "nowhere" does not exist`},
		{"TLS required of the writer", "careful", "pw", "orders", "28000", "TLS"},
		{"wrong network", "confined", "pw", "orders", "28000", "address"},
		{"wrong network and password", "confined", "guess", "orders", "28P01", "password authentication failed"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := h.try(tc.user, tc.password, tc.database)
			e := pgError(t, err)
			if e.Severity != "FATAL" || e.Code != tc.code || !strings.Contains(e.Message, tc.contains) {
				t.Errorf("got %s %s %q, want FATAL %s with %q", e.Severity, e.Code, e.Message, tc.code, tc.contains)
			}
			if strings.Contains(e.Message, rolePassword) || strings.Contains(e.Detail+e.Hint, "literal") {
				t.Errorf("a secret is in %+v", e)
			}
		})
	}

	t.Run("a wrong password and an unknown writer are told alike", func(t *testing.T) {
		fields := func(user string) pgconn.PgError {
			_, err := h.try(user, "guess", "orders")
			e := *pgError(t, err)
			e.Message = strings.ReplaceAll(e.Message, user, "?")
			return e
		}
		if a, b := fields(writer), fields("no-such-writer"); a != b {
			t.Errorf("%+v\n%+v", a, b)
		}
	})
	h.dial("orders")
}

// TestTLSRequiredByListener wants TLS before anything else is looked at: a
// plaintext login with the right password fares no better than one without.
func TestTLSRequiredByListener(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	h.upstream("orders", "127.0.0.1", pg.Port, "tls: {mode: disable}")
	cert := h.ca.Issue(t, kit.CertRequest{Names: []string{"127.0.0.1"}})
	h.start(fmt.Sprintf("{address: 127.0.0.1:0, tls: {mode: require, cert: file:%s, key: file:%s}}", cert.CertFile, cert.KeyFile))
	for _, password := range []string{writerPassword, "guess"} {
		_, err := h.try(writer, password, "orders", "sslmode=disable")
		if e := pgError(t, err); e.Severity != "FATAL" || e.Code != "28000" || !strings.Contains(e.Message, "TLS") {
			t.Errorf("%+v", e)
		}
	}
	c := h.dial("orders", "sslmode=verify-full sslrootcert="+h.ca.File)
	firstSync(t, c)
	cancelWorks(t, c)
}
