package e2e

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"pggateway/e2e/kit"
)

// psql runs one statement with psql as the usual writer. conn is added to the
// connection string, host and port but not password included. It returns what psql
// printed and, when it failed, what it said.
func (h *house) psql(conn, password, sql string) (out string, err error) {
	h.t.Helper()
	ctx, stop := context.WithTimeout(h.t.Context(), time.Minute)
	defer stop()
	info := fmt.Sprintf("hostaddr=127.0.0.1 port=%d user=%s %s", h.gateway.Port(), writer, conn)
	cmd := exec.CommandContext(ctx, kit.PostgresBinary(h.t, "psql"), "-XAtq", "-v", "ON_ERROR_STOP=1", "-d", info, "-c", sql)
	cmd.Env = append(os.Environ(), "PGPASSWORD="+password, "PGSSLCERT=/nonexistent", "PGSSLKEY=/nonexistent", "PGAPPNAME=test")
	var said bytes.Buffer
	cmd.Stderr = &said
	printed, runErr := cmd.Output()
	if runErr != nil {
		err = errors.New(strings.TrimSpace(said.String()))
	}
	return strings.TrimSpace(string(printed)), err
}

// psqlSays checks what psql prints, or what its refusal holds.
func (h *house) psqlSays(conn, password, sql, want, refusal string) {
	h.t.Helper()
	got, err := h.psql(conn, password, sql)
	switch {
	case refusal == "" && (err != nil || got != want):
		h.t.Errorf("%s: got %q, %v, want %q", conn, got, err, want)
	case refusal != "" && (err == nil || !strings.Contains(err.Error(), refusal)):
		h.t.Errorf("%s: got %q, %v, want a refusal with %q", conn, got, err, refusal)
	}
}

// tlsListener is a listener's YAML, with a certificate for the names given and
// more keys in its tls.
func (h *house) tlsListener(mode string, names []string, more ...string) string {
	h.t.Helper()
	cert := h.ca.Issue(h.t, kit.CertRequest{Names: names})
	keys := append([]string{"mode: " + mode, "cert: file:" + cert.CertFile, "key: file:" + cert.KeyFile}, more...)
	return fmt.Sprintf("{address: 127.0.0.1:0, tls: {%s}}", strings.Join(keys, ", "))
}

// TestPsqlBindsChannel logs in with libpq's own reading of channel binding.
func TestPsqlBindsChannel(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	h.upstream("orders", "127.0.0.1", pg.Port, "tls: {mode: disable}")
	h.start(h.tlsListener("allow", []string{"gw.example.com"}))
	verified := "host=gw.example.com dbname=orders sslmode=verify-full sslrootcert=" + h.ca.File
	for _, binding := range []string{"require", "prefer", "disable"} {
		h.psqlSays(verified+" channel_binding="+binding, writerPassword, "select current_user", role, "")
		h.psqlSays(verified+" channel_binding="+binding, "guess", "select current_user", "", `password authentication failed for user "orders-sync"`)
	}
	h.psqlSays("host=gw.example.com dbname=orders sslmode=disable", writerPassword, "select current_user", role, "")
	h.psqlSays("host=gw.example.com dbname=orders sslmode=disable channel_binding=require", writerPassword, "select 1", "", "channel binding required")
}

// TestPsqlAndEd25519: with a certificate whose signature has no hash function
// libpq cannot log in to PostgreSQL itself; here it can, unbound.
func TestPsqlAndEd25519(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	h.upstream("orders", "127.0.0.1", pg.Port, "tls: {mode: disable}")
	cert, key := selfSignedEd25519(t, h.dir)
	h.start(fmt.Sprintf("{address: 127.0.0.1:0, tls: {mode: require, cert: file:%s, key: file:%s}}", cert, key))
	h.psqlSays("host=gw dbname=orders sslmode=require", writerPassword, "select current_user", role, "")
	h.psqlSays("host=gw dbname=orders sslmode=require channel_binding=require", writerPassword, "select 1", "", "channel binding")
}

// TestPsqlServerName finds upstreams by the host name that psql connects to.
func TestPsqlServerName(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	pg.CreateDatabase("other", role)
	h.upstream("orders", "127.0.0.1", pg.Port, "tls: {mode: disable}", "sni: [orders.gw.example.com]")
	h.upstream("stock", "127.0.0.1", pg.Port, "tls: {mode: disable}", "sni: [stock.gw.example.com]", "database: other")
	h.start(h.tlsListener("require", []string{"*.gw.example.com", "gw.example.com"}))
	const question = "select current_database()"
	for _, tc := range []struct{ host, database, want, refusal string }{
		{"orders.gw.example.com", "orders", "app", ""},
		{"orders.gw.example.com", "whatever", "app", ""},
		{"orders.gw.example.com", "", "app", ""}, // libpq asks for the user's name
		{"stock.gw.example.com", "", "other", ""},
		{"gw.example.com", "stock", "other", ""},
		{"gw.example.com", "", "", `database "orders-sync" does not exist`},
		{"orders.gw.example.com", "stock", "", `database "stock" is not the one at server name "orders.gw.example.com"`},
	} {
		conn := fmt.Sprintf("host=%s sslmode=verify-full sslrootcert=%s", tc.host, h.ca.File)
		if tc.database != "" {
			conn += " dbname=" + tc.database
		}
		h.psqlSays(conn, writerPassword, question, tc.want, tc.refusal)
	}
	h.psqlSays("host=orders.gw.example.com dbname=whatever sslmode=require sslsni=0", writerPassword, question, "", `database "whatever" does not exist`)
}

// TestPsqlShowsCertificate needs both the certificate and the password.
func TestPsqlShowsCertificate(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	h.upstream("orders", "127.0.0.1", pg.Port, "tls: {mode: disable}")
	clients := kit.NewCA(t, "clients")
	h.start(h.tlsListener("verify-client", []string{"gw.example.com"}, "client_ca: file:"+clients.File))
	verified := "host=gw.example.com dbname=orders sslmode=verify-full sslrootcert=" + h.ca.File
	with := func(c *kit.Cert) string {
		return fmt.Sprintf("%s sslcert=%s sslkey=%s", verified, c.CertFile, c.KeyFile)
	}
	own := clients.Issue(t, kit.CertRequest{Subject: writer, Client: true})
	h.psqlSays(with(own), writerPassword, "select current_user", role, "")
	h.psqlSays(with(own)+" channel_binding=require", writerPassword, "select current_user", role, "")
	h.psqlSays(with(clients.Issue(t, kit.CertRequest{Names: []string{writer}, Subject: "x", Client: true})), writerPassword, "select current_user", role, "")
	h.psqlSays(with(own), "guess", "select 1", "", `password authentication failed for user "orders-sync"`)
	h.psqlSays(verified, writerPassword, "select 1", "", "connection requires a valid client certificate")
	h.psqlSays(with(clients.Issue(t, kit.CertRequest{Subject: "billing-sync", Client: true})), writerPassword, "select 1", "",
		`the client certificate is not for user "orders-sync"`)
	h.psqlSays(with(clients.Issue(t, kit.CertRequest{Subject: writer})), writerPassword, "select 1", "", "the client certificate is not valid")
	h.psqlSays(with(h.ca.Issue(t, kit.CertRequest{Subject: writer, Client: true})), writerPassword, "select 1", "", "the client certificate is not valid")
	h.psqlSays(with(clients.Issue(t, kit.CertRequest{Subject: writer, Client: true, NotAfter: time.Now().Add(-time.Minute)})), writerPassword, "select 1", "",
		"It has expired.")
	h.psqlSays("host=gw.example.com dbname=orders sslmode=disable", writerPassword, "select 1", "", "TLS is required to log in here")
}
