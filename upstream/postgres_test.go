package upstream

import (
	"cmp"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"pggateway/config"
	"pggateway/e2e/kit"
	"pggateway/scram"
	"pggateway/upstream/bastion"
	"pggateway/wire"
)

// atLeast reports whether a real server is of that major version or a later one.
func atLeast(t *testing.T, p *kit.Postgres, major int) bool {
	t.Helper()
	n, err := strconv.Atoi(p.Value("postgres", "select current_setting('server_version_num')"))
	if err != nil {
		t.Fatal(err)
	}
	return n >= major*10000
}

// ask runs a query that returns one text, over a connection that is logged in.
func ask(t *testing.T, c *Conn, sql string) string {
	t.Helper()
	stream := c.stream()
	_ = stream.SetReadDeadline(time.Now().Add(10 * time.Second))
	front := pgproto3.NewFrontend(stream, stream)
	front.Send(&pgproto3.Query{String: sql})
	if err := front.Flush(); err != nil {
		t.Fatal(err)
	}
	row := ""
	for {
		switch m, err := front.Receive(); m := m.(type) {
		case nil:
			t.Fatalf("%s: %v", sql, err)
		case *pgproto3.ErrorResponse:
			row = m.Code
		case *pgproto3.DataRow:
			row = string(m.Values[0])
		case *pgproto3.ReadyForQuery:
			return row
		}
	}
}

// TestPostgres is the real server: TLS in both ways of negotiation, SCRAM bound to
// it, and a cancel that ends a statement, straight and through a real sshd.
func TestPostgres(t *testing.T) {
	ca := kit.NewCA(t, "test")
	p := kit.StartPostgres(t, kit.PostgresOptions{
		TLS: ca.Issue(t, kit.CertRequest{Names: []string{host}}),
		HBA: []string{"hostssl all all 127.0.0.0/8 scram-sha-256"},
	})
	p.CreateLogin("sync_writer", "hunter22")
	p.CreateDatabase("orders", "sync_writer")
	key := kit.NewSSHKey(t)
	sshd := kit.StartSSHD(t, kit.SSHDOptions{AuthorizedKeys: []string{key.Public}})
	d := dependencies()
	d.Egress.SourceIP = netip.MustParseAddr("127.0.0.2")
	d.Bastions = bastion.NewSet(t.Context(), bastion.Options{Secrets: d.Secrets})
	defer d.Bastions.Close()
	direct := atLeast(t, p, 17)

	for _, negotiation := range []config.Negotiation{config.NegotiationPostgres, config.NegotiationDirect} {
		for _, way := range []string{"straight", "bastion"} {
			t.Run(string(negotiation)+" "+way, func(t *testing.T) {
				target := mustTarget(t, d, upstreamAt(p.Port, func(u *config.Upstream) {
					u.TLS = config.UpstreamTLS{
						Mode: config.TLSVerifyFull, CA: config.CAFile, CAFile: file(ca.File), Negotiation: negotiation,
					}
					u.Login.RequireAuth = config.RequireBinding
					if way == "bastion" {
						u.HostAddr = "127.0.0.1"
						u.Via.SSH = &config.Bastion{
							Host: sshd.Host, Port: uint16(sshd.Port), User: sshd.User,
							Identity: file(key.File), HostKeys: []string{sshd.HostKey.Public},
						}
					}
				}))
				c, err := target.Open(t.Context())
				if negotiation == config.NegotiationDirect && !direct {
					wantError(t, err, StageTLS, "The upstream closed the connection while TLS was set up.", "17")
					return
				}
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				want := ""
				if direct {
					want = alpn
				}
				if got := c.TLS.ConnectionState().NegotiatedProtocol; got != want {
					t.Errorf("ALPN %q, want %q", got, want)
				}
				if got, long := len(c.key.Secret), atLeast(t, p, 18); got != 4 && !long || got < 32 && long {
					t.Errorf("a cancel key of %d bytes", got)
				}
				cancels(t, p, c)
			})
		}
	}
}

// cancels has a connection's statement cancelled.
func cancels(t *testing.T, p *kit.Postgres, c *Conn) {
	t.Helper()
	pid := ask(t, c, "select pg_backend_pid()::text")
	done := make(chan struct{})
	go func() {
		defer close(done)
		if code := ask(t, c, "select pg_sleep(60)"); code != "57014" {
			t.Errorf("the statement ended with %q", code)
		}
	}()
	p.WaitFor("orders", "select count(*) from pg_stat_activity where query like '%pg_sleep(60)' and state = 'active' and pid = "+pid, "1")
	if err := c.Cancel(t.Context()); err != nil {
		t.Error(err)
	}
	<-done
}

// TestPostgresCert: the certificate proves the role, to a server that asks for it.
func TestPostgresCert(t *testing.T) {
	ca := kit.NewCA(t, "test")
	server := ca.Issue(t, kit.CertRequest{Names: []string{host}})
	role := ca.Issue(t, kit.CertRequest{Subject: "sync_writer", Client: true})
	other := ca.Issue(t, kit.CertRequest{Subject: "somebody", Client: true})
	stranger := kit.NewCA(t, "another").Issue(t, kit.CertRequest{Subject: "sync_writer", Client: true})
	asking := kit.StartPostgres(t, kit.PostgresOptions{
		TLS: server, ClientCA: ca.File, HBA: []string{"hostssl all all 127.0.0.0/8 cert"},
	})
	trusting := kit.StartPostgres(t, kit.PostgresOptions{TLS: server, HBA: []string{"hostssl all all 127.0.0.0/8 trust"}})
	for _, p := range []*kit.Postgres{asking, trusting} {
		p.CreateLogin("sync_writer", "hunter22")
		p.CreateDatabase("orders", "sync_writer")
	}
	open := func(p *kit.Postgres, cert *kit.Cert) (*Conn, error) {
		c, err := mustTarget(t, dependencies(), upstreamAt(p.Port, func(u *config.Upstream) {
			u.TLS = config.UpstreamTLS{
				Mode: config.TLSVerifyFull, CA: config.CAFile, CAFile: file(ca.File), Cert: file(cert.CertFile), Key: file(cert.KeyFile),
			}
			u.Login = config.Login{User: "sync_writer", Cert: true}
		})).Open(t.Context())
		if err == nil {
			t.Cleanup(func() { c.Close() })
		}
		return c, err
	}
	c, err := open(asking, role)
	if err != nil {
		t.Fatal(err)
	}
	cancels(t, asking, c)
	_, err = open(asking, other)
	wantError(t, err, StageLogin, "The upstream refused the gateway's login.", "28000")
	_, err = open(asking, stranger)
	wantError(t, err, StageLogin, refusedTLS)
	_, err = open(trusting, role)
	wantError(t, err, StageTLS, "The upstream does not ask for the gateway's certificate.", "tls.cert")
}

// TestInBetween has somebody between us and the real server, who ends our TLS with
// a certificate of his own, which mode require does not look at, and passes on what
// is said. He does not get in, whether or not he takes the offer of channel binding
// away. Without channel binding he does, which shows that he passes it on well.
func TestInBetween(t *testing.T) {
	ca := kit.NewCA(t, "test")
	p := kit.StartPostgres(t, kit.PostgresOptions{
		TLS: ca.Issue(t, kit.CertRequest{Names: []string{host}}),
		HBA: []string{"host all all 127.0.0.0/8 scram-sha-256"},
	})
	p.CreateLogin("sync_writer", "hunter22")
	p.CreateDatabase("orders", "sync_writer")
	his := kit.NewCA(t, "his").Issue(t, kit.CertRequest{Names: []string{host}})

	edwards := ed25519Cert(t)
	for name, tt := range map[string]struct {
		cert    *kit.Cert // he shows; nil: an ordinary one
		offer   []string  // in place of the server's; nil: as it is
		plain   bool      // he reaches the server without TLS, where it offers no binding
		require config.RequireAuth
		public  string // "" lets us in
		text    string
	}{
		"passes it on":                    {public: "The upstream refused the gateway's login.", text: "channel binding check failed"},
		"takes the offer away":            {offer: []string{scram.Mechanism}, public: "The upstream refused the gateway's login.", text: "thinks the server does not"},
		"takes it away, required":         {offer: []string{scram.Mechanism}, require: config.RequireBinding, public: refusedMethod, text: "require_auth"},
		"has no binding":                  {cert: edwards, public: refusedMethod, text: "channel binding"},
		"has no binding nor offer":        {cert: edwards, offer: []string{scram.Mechanism}, public: "The upstream refused the gateway's login.", text: "thinks the server does not"},
		"the server's TLS away":           {plain: true},
		"the server's TLS away, required": {plain: true, require: config.RequireBinding, public: refusedMethod, text: "require_auth"},
		"asks for cleartext":              {offer: []string{"cleartext"}, public: refusedMethod, text: "cleartext"},
	} {
		t.Run(name, func(t *testing.T) {
			s := kit.StartScripted(t, func(c *kit.ScriptConn) { relay(c, p.Addr(), cmp.Or(tt.cert, his), tt.offer, tt.plain) })
			c, err := mustTarget(t, dependencies(), upstreamAt(s.Port, func(u *config.Upstream) {
				u.TLS.Mode, u.Login.RequireAuth = config.TLSRequire, tt.require
			})).Open(t.Context())
			if tt.public != "" {
				wantError(t, err, StageLogin, tt.public, tt.text)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		})
	}
}

const refusedMethod = "The upstream asks for a kind of login that the gateway's configuration does not allow."

// TestPostgresWithoutBinding: a real server offers SCRAM-SHA-256-PLUS with a
// certificate that has no channel binding, too. Verified, it is logged in to without.
func TestPostgresWithoutBinding(t *testing.T) {
	cert := ed25519Cert(t)
	p := kit.StartPostgres(t, kit.PostgresOptions{TLS: cert, HBA: []string{"hostssl all all 127.0.0.0/8 scram-sha-256"}})
	p.CreateLogin("sync_writer", "hunter22")
	p.CreateDatabase("orders", "sync_writer")
	mustOpen(t, mustTarget(t, dependencies(), upstreamAt(p.Port, func(u *config.Upstream) {
		u.TLS = config.UpstreamTLS{Mode: config.TLSVerifyFull, CA: config.CAFile, CAFile: file(cert.CertFile)}
	})))
	_, err := mustTarget(t, dependencies(), upstreamAt(p.Port, func(u *config.Upstream) { u.TLS.Mode = config.TLSRequire })).Open(t.Context())
	wantError(t, err, StageLogin, refusedMethod, "channel binding")
}

// ed25519Cert is a certificate that signs itself and has no channel binding.
func ed25519Cert(t *testing.T) *kit.Cert {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), DNSNames: []string{host}, NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	dir := kit.Dir(t)
	return &kit.Cert{
		CertFile: kit.WriteFile(t, dir, "self.crt", string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))),
		KeyFile:  kit.WriteFile(t, dir, "self.key", string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))),
		TLS:      tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key},
	}
}

// relay is somebody in between.
func relay(c *kit.ScriptConn, server string, cert *kit.Cert, offer []string, plain bool) {
	m, ok := c.Startup(cert)
	if !ok {
		return
	}
	var up net.Conn
	up, err := net.Dial("tcp", server)
	if err != nil {
		return
	}
	defer up.Close()
	if !plain {
		if requestTLS(up) != nil {
			return
		}
		up = tls.Client(up, &tls.Config{InsecureSkipVerify: true})
	}
	startup, err := m.Encode(nil)
	if err != nil {
		return
	}
	if _, err := up.Write(startup); err != nil {
		return
	}
	go func() { // until one of the two is closed
		_, _ = io.Copy(up, c.Conn)
		_ = up.Close()
	}()
	for r := wire.NewReader(up); ; {
		typ, body, err := r.Message(1 << 20)
		if err != nil {
			return
		}
		b := make([]byte, 0, 5+len(body))
		b = append(b, typ, 0, 0, 0, byte(4+len(body)))
		b[3] = byte((4 + len(body)) >> 8)
		b = append(b, body...)
		if typ == wire.Authentication && strings.Contains(string(body), scram.Mechanism) && offer != nil {
			if b = wire.AppendAuthenticationSASL(nil, offer...); slices.Equal(offer, []string{"cleartext"}) {
				b = wire.AppendAuthenticationCleartext(nil)
			}
		}
		if !c.Send(b) {
			return
		}
	}
}
