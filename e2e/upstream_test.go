package e2e

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"pggateway/e2e/kit"
)

// TestUpstreamDirectTLS begins with TLS at once, straight and through a bastion, up to a
// cancel that goes the same way. A server that is too old for it is told apart in
// the log.
func TestUpstreamDirectTLS(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{
		HBA: []string{"hostssl app " + role + " 127.0.0.0/8 scram-sha-256"},
		TLS: h.ca.Issue(t, kit.CertRequest{Names: []string{"db.example.com"}}),
	})
	version, err := strconv.Atoi(pg.Value("postgres", "select current_setting('server_version_num')"))
	if err != nil {
		t.Fatal(err)
	}
	_, way := h.bastion(kit.SSHDOptions{})
	secure := "tls: {ca: file:" + h.ca.File + ", negotiation: direct}"
	login := "login: {user: " + role + ", password: env:ROLE_PW, require_auth: scram-sha-256-plus}"
	h.upstream("straight", "db.example.com", pg.Port, "hostaddr: 127.0.0.1", secure, login)
	h.upstream("through", "db.example.com", pg.Port, "hostaddr: 127.0.0.1", secure, login, way)
	h.start("")
	for _, name := range h.names {
		if version < 170000 {
			_, err := h.try(writer, writerPassword, name)
			if e := pgError(t, err); e.Severity != "FATAL" || e.Code != "08001" || !strings.Contains(e.Detail, "closed the connection") {
				t.Errorf("%s: %+v", name, e)
			}
			continue
		}
		c := h.dial(name)
		if got := ask(t, c, "select version from pg_stat_ssl where pid = pg_backend_pid() and ssl"); !strings.HasPrefix(got, "TLSv1.") {
			t.Errorf("%s: TLS version %q", name, got)
		}
		cancelWorks(t, c)
	}
	if version < 170000 {
		if line := h.gateway.WaitLine("could not open a server connection", 2); !strings.Contains(fmt.Sprint(line["error"]), "PostgreSQL 17") {
			t.Errorf("the log says %v", line["error"])
		}
	}
}

// TestUpstreamDowngrade logs in to servers that ask for less than they should with what is
// known of them. The client is told 08001, the log says what was asked for, and
// nothing of the password was sent; that scripts can let a login pass is shown by
// the last upstream, the same server without TLS.
func TestUpstreamDowngrade(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	cert := h.ca.Issue(t, kit.CertRequest{Names: []string{"db.example.com"}})
	var heard recorder
	server := func(ask pgproto3.BackendMessage) int {
		return kit.StartScripted(t, func(c *kit.ScriptConn) {
			_, ok := c.Startup(cert)
			c.Conn = heard.record(c.Conn)
			if ok && c.Say(ask, &pgproto3.ReadyForQuery{TxStatus: 'I'}) {
				_, _ = c.Read(make([]byte, 1024)) // an answer, or the end
			}
		}).Port
	}
	trust := server(&pgproto3.AuthenticationOk{})
	cleartext := server(&pgproto3.AuthenticationCleartextPassword{})
	md5 := server(&pgproto3.AuthenticationMD5Password{Salt: [4]byte{1, 2, 3, 4}})
	scram := server(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}})
	bound := server(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}})

	unverified, verified, plain := "tls: {mode: require}", "tls: {ca: file:"+h.ca.File+"}", "tls: {mode: disable}"
	login := func(rest string) string { return "login: {user: " + role + ", " + rest + "}" }
	password := login("password: env:ROLE_PW")
	own := h.ca.Issue(t, kit.CertRequest{Subject: role, Client: true})
	certified := "tls: {ca: file:" + h.ca.File + ", cert: file:" + own.CertFile + ", key: file:" + own.KeyFile + "}"
	cases := []struct {
		name       string
		port       int
		tls, login string
		log        string
	}{
		{"trust-unverified", trust, unverified, password, "asks for nothing"},
		{"cleartext-unverified", cleartext, unverified, password, "asks for a cleartext password"},
		{"md5-unverified", md5, unverified, password, "asks for an MD5 hash"},
		{"cleartext-plain", cleartext, plain, password, "cleartext password on an unencrypted connection"},
		{"md5-required-scram", md5, verified, login("password: env:ROLE_PW, require_auth: scram-sha-256"), "login.require_auth"},
		{"trust-required-scram", trust, plain, login("password: env:ROLE_PW, require_auth: scram-sha-256"), "login.require_auth"},
		{"scram-required-bound", scram, verified, login("password: env:ROLE_PW, require_auth: scram-sha-256-plus"), "login.require_auth"},
		{"bound-without-tls", bound, plain, password, "took TLS away"},
		{"password-for-cert", md5, certified, login("cert: true"), "did not ask for the certificate"},
		{"trust-for-cert", trust, certified, login("cert: true"), "did not ask for the certificate"},
	}
	for _, tc := range cases {
		h.upstream(tc.name, "db.example.com", tc.port, "hostaddr: 127.0.0.1", tc.tls, tc.login)
	}
	h.upstream("passes", "127.0.0.1", trust, plain, password)
	h.start("")
	for i, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			_, err := h.try(writer, writerPassword, tc.name)
			e := pgError(t, err)
			if e.Severity != "FATAL" || e.Code != "08001" || !strings.Contains(e.Message, tc.name) || e.Detail == "" {
				t.Errorf("got %s %s %q (%s), want FATAL 08001 with a detail", e.Severity, e.Code, e.Message, e.Detail)
			}
			discreet(t, e, role)
			line := h.gateway.WaitLine("could not open a server connection", i+1)
			if line["upstream"] != tc.name || !strings.Contains(fmt.Sprint(line["error"]), tc.log) {
				t.Errorf("the log says of %v: %v; want %q", line["upstream"], line["error"], tc.log)
			}
		})
	}
	if text := heard.String(); text != "" {
		t.Errorf("a server was told something: %q", text)
	}
	h.dial("passes")
	if strings.Contains(h.gateway.Logs(), rolePassword) {
		t.Error("the password is in the log")
	}
}
