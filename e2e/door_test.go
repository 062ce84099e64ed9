package e2e

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pggateway/e2e/kit"
)

// selfSignedEd25519 makes a certificate for which no channel binding is defined.
func selfSignedEd25519(t *testing.T, dir string) (certFile, keyFile string) {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, public, private)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	certFile, keyFile = filepath.Join(dir, "ed25519.crt"), filepath.Join(dir, "ed25519.key")
	for file, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "PRIVATE KEY", Bytes: pkcs8}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return certFile, keyFile
}

// TestDirectTLS logs in without SSLRequest, works, copies and cancels.
func TestDirectTLS(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	h.upstream("orders", "127.0.0.1", pg.Port, "tls: {mode: disable}")
	h.start(h.tlsListener("require", []string{"127.0.0.1"}))
	secure := "sslmode=verify-full sslnegotiation=direct channel_binding=require sslrootcert=" + h.ca.File
	c := h.dial("orders", secure)
	firstSync(t, c)
	cancelWorks(t, c)
	_, err := h.try(writer, "guess", "orders", secure)
	if e := pgError(t, err); e.Severity != "FATAL" || e.Code != "28P01" {
		t.Errorf("with a wrong password: %+v", e)
	}
	bare, err := tls.Dial("tcp", h.gateway.Addrs[0], &tls.Config{InsecureSkipVerify: true})
	if err == nil {
		defer bare.Close()
		if _, err = io.ReadFull(bare, make([]byte, 1)); err == nil {
			t.Error("a client that does not name the protocol is answered")
		}
	}
}

// balancer passes connections on to the gateway, each behind a header.
func balancer(t *testing.T, header, address string) (port int) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer in.Close()
				out, err := net.Dial("tcp", address)
				if err != nil {
					return
				}
				defer out.Close()
				if _, err := io.WriteString(out, header); err != nil {
					return
				}
				go func() { _, _ = io.Copy(out, in); _ = out.(*net.TCPConn).CloseWrite() }()
				_, _ = io.Copy(in, out)
			}()
		}
	}()
	return l.Addr().(*net.TCPAddr).Port
}

// TestBehindBalancer: the address in the header is the one that counts and that is
// logged; health checks leave no trace; nobody else may send a header.
func TestBehindBalancer(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	h.upstream("orders", "127.0.0.1", pg.Port, "tls: {mode: disable}")
	cert := h.ca.Issue(t, kit.CertRequest{Names: []string{"127.0.0.1"}})
	h.start(fmt.Sprintf("{address: 127.0.0.1:0, proxy_protocol: [127.0.0.1/32], tls: {mode: require, cert: file:%s, key: file:%s}}", cert.CertFile, cert.KeyFile),
		"  confined:\n    password: \"literal:pw\"\n    from: [192.0.2.0/24]\n    upstreams: {orders: {grants: ALL}}\n")
	try := func(header string, more string) (*pgx.Conn, error) {
		return pgx.Connect(t.Context(), kit.ConnString("127.0.0.1", balancer(t, header, h.gateway.Addrs[0]), "orders", "confined", "pw",
			"sslmode=verify-full sslrootcert="+h.ca.File+more))
	}
	headers := []string{
		"PROXY TCP4 192.0.2.7 10.0.0.1 50000 5432\r\n",
		"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c\xc0\x00\x02\x07\x0a\x00\x00\x01\xc3\x50\x15\x38",
	}
	for i, header := range headers {
		for _, more := range []string{"", " sslnegotiation=direct"} {
			c, err := try(header, more)
			if err != nil {
				t.Fatalf("behind %q%s: %v", header, more, err)
			}
			if got := ask(t, c, "select current_user::text"); got != role {
				t.Errorf("the database knows the writer as %s", got)
			}
			cancelWorks(t, c) // its request goes through the balancer as well
			_ = c.Close(t.Context())
		}
		if line := h.gateway.WaitLine("login", 2*i+2); line["client"] != "192.0.2.7:50000" {
			t.Errorf("logged %v", line)
		}
	}
	_, err := try("PROXY TCP4 198.51.100.9 10.0.0.1 50000 5432\r\n", "")
	if e := pgError(t, err); e.Code != "28000" || !strings.Contains(e.Message, "198.51.100.9") {
		t.Errorf("from elsewhere: %+v", e)
	}
	_, err = pgx.Connect(t.Context(), h.gateway.ConnString(writer, writerPassword, "orders"))
	if e := pgError(t, err); e.Code != "08P01" || e.Message != "expected a PROXY protocol header" {
		t.Errorf("without a header: %+v", e)
	}
	h.gateway.WaitLine("login failed", 2)
	for _, check := range []string{"", "PROXY UNKNOWN\r\n", "\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00"} {
		c, err := net.Dial("tcp", h.gateway.Addrs[0])
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.WriteString(c, check)
		c.Close()
	}
	c, err := try(headers[0], "") // by now the checks are over, or have at least been accepted
	if err != nil {
		t.Fatal(err)
	}
	_ = c.Close(t.Context())
	h.gateway.WaitLine("logout", 5)
	if n := len(h.gateway.Lines("login failed")) + len(h.gateway.Lines("connection ended before login")); n != 2 {
		t.Errorf("health checks are noise in the log:\n%s", h.gateway.Logs())
	}
}

// TestWritersOwnLogin: a writer may have a role of its own on an upstream, with a
// pool of its own: neither waits for the other's connections.
func TestWritersOwnLogin(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	pg.CreateLogin("billing_role", "the other role's password")
	pg.Exec("postgres", "grant connect on database app to billing_role")
	h.env = append(h.env, "BILLING_PW=the other role's password")
	h.upstream("orders", "127.0.0.1", pg.Port, "tls: {mode: disable}", "pool: {size: 1, wait_timeout: 1s}")
	h.start("", `  billing:
    password: "literal:pw"
    max_clients: 2
    upstreams:
      orders: {grants: ALL, login: {user: billing_role, password: env:BILLING_PW}}
  broken:
    password: "literal:pw"
    upstreams:
      orders: {grants: ALL, login: {user: billing_role, password: "literal:wrong"}}
`)
	dial := func() *pgx.Conn {
		c, err := h.try("billing", "pw", "orders")
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	ours, theirs := h.dial("orders"), dial()
	for _, c := range []*pgx.Conn{ours, theirs} { // each has its pool's only connection
		run(t, c, "begin")
	}
	if got := ask(t, ours, "select current_user::text", pgx.QueryExecModeSimpleProtocol); got != role {
		t.Errorf("the usual writer is %s", got)
	}
	if got := ask(t, theirs, "select current_user::text", pgx.QueryExecModeSimpleProtocol); got != "billing_role" {
		t.Errorf("the writer with a role of its own is %s", got)
	}
	second := dial()
	_, err := second.Exec(t.Context(), "select 1") // which shares its pool
	if e := pgError(t, err); e.Code != "53300" {
		t.Errorf("in a full pool: %+v", e)
	}
	for _, c := range []*pgx.Conn{ours, theirs} {
		run(t, c, "commit")
	}
	if got := ask(t, second, "select current_user::text"); got != "billing_role" {
		t.Errorf("the next one is %s", got)
	}
	_, err = h.try("billing", "pw", "orders")
	if e := pgError(t, err); e.Severity != "FATAL" || e.Code != "53300" || e.Message != `too many connections for role "billing"` {
		t.Errorf("one more than max_clients: %+v", e)
	}
	_, err = h.try("broken", "pw", "orders")
	e := pgError(t, err)
	if e.Severity != "FATAL" || e.Code != "08001" {
		t.Errorf("with a role whose password is wrong: %+v", e)
	}
	discreet(t, e, "billing_role", "wrong")
}
