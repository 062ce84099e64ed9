package proxy

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pggateway/config"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// authority issues certificates.
type authority struct {
	t    testing.TB
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
	pem  string
}

func newAuthority(t testing.TB, name string) *authority {
	t.Helper()
	a := &authority{t: t}
	a.cert, a.key = a.sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}, nil, nil)
	a.pem = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw}))
	return a
}

// sign makes a certificate; without a parent it is signed by itself.
func (a *authority) sign(c, parent *x509.Certificate, key *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey) {
	a.t.Helper()
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		a.t.Fatal(err)
	}
	c.SerialNumber = big.NewInt(time.Now().UnixNano())
	if c.NotBefore.IsZero() {
		c.NotBefore = time.Now().Add(-time.Hour)
	}
	if c.NotAfter.IsZero() {
		c.NotAfter = time.Now().Add(time.Hour)
	}
	if parent == nil {
		parent, key = c, own
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, &own.PublicKey, key)
	if err != nil {
		a.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return made, own
}

// client issues a client's certificate with its chain.
func (a *authority) client(c *x509.Certificate, between ...*authority) tls.Certificate {
	a.t.Helper()
	if c.ExtKeyUsage == nil {
		c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	made, key := a.sign(c, a.cert, a.key)
	chain := tls.Certificate{Certificate: [][]byte{made.Raw}, PrivateKey: key}
	for _, b := range between {
		chain.Certificate = append(chain.Certificate, b.cert.Raw)
	}
	return chain
}

// below makes an authority that this one vouches for.
func (a *authority) below(c *x509.Certificate) *authority {
	a.t.Helper()
	b := &authority{t: a.t}
	c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid, c.KeyUsage = "between", true, true, x509.KeyUsageCertSign
	b.cert, b.key = a.sign(c, a.cert, a.key)
	return b
}

func named(name string) *x509.Certificate {
	return &x509.Certificate{Subject: pkix.Name{CommonName: name}}
}

// verifyingDoor has one listener, which wants certificates of the authority.
func verifyingDoor(t testing.TB, a *authority) *testDoor {
	t.Helper()
	conf := testConfig()
	conf.Listen = []config.Listen{{Address: "127.0.0.1:0", TLS: config.ListenTLS{
		Mode: config.ListenTLSVerifyClient, Cert: env("CRT"), Key: env("KEY"), ClientCA: env("CA"),
	}}}
	conf.Writers = append(conf.Writers,
		&config.Writer{Name: "sync@example.com", Password: env("PW"), Upstreams: conf.Writers[0].Upstreams},
		&config.Writer{Name: "spiffe://example.com/sync", Password: env("PW"), Upstreams: conf.Writers[0].Upstreams},
		&config.Writer{Name: "sync.example.com", Password: env("PW"), Upstreams: conf.Writers[0].Upstreams})
	crt, key := selfSigned(t, time.Now().Add(time.Hour))
	return openDoorWith(t, conf, fakeSecrets{"env:CRT": crt, "env:KEY": key, "env:CA": a.pem})
}

// show does the TLS handshake and shows certificates, whatever the server asks for.
func (p *peer) show(direct bool, chain *tls.Certificate, most uint16) {
	p.t.Helper()
	if !direct {
		p.send(sslRequest)
		p.answer()
	}
	c := tls.Client(p.conn, &tls.Config{
		InsecureSkipVerify: true, NextProtos: []string{alpn}, MaxVersion: most,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			if chain == nil {
				return &tls.Certificate{}, nil
			}
			return chain, nil
		},
	})
	if err := c.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	p.conn = c
	p.r.Reset(c)
}

// TestClientCertificates goes through what a client may show. What is accepted
// needs the password besides.
func TestClientCertificates(t *testing.T) {
	ours, theirs := newAuthority(t, "ours"), newAuthority(t, "theirs")
	between := ours.below(&x509.Certificate{})
	outdated := ours.below(&x509.Certificate{NotAfter: time.Now().Add(-time.Minute)})
	servers := ours.below(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}})
	leaf, leafKey := ours.sign(named("leaf"), ours.cert, ours.key)
	noAuthority := &authority{t: t, cert: leaf, key: leafKey}
	uri := func(s string) []*url.URL {
		u, err := url.Parse(s)
		if err != nil {
			t.Fatal(err)
		}
		return []*url.URL{u}
	}
	td := verifyingDoor(t, ours)
	const (
		invalid = "the client certificate is not valid"
		notFor  = `the client certificate is not for user "sync"`
		unknown = "It does not lead to an authority that the gateway trusts."
	)
	alien := named("sync")
	alien.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	for _, tt := range []struct {
		name            string
		user            string
		chain           tls.Certificate
		message, detail string
	}{
		{"common name", "sync", ours.client(named("sync")), "", ""},
		{"DNS name", "sync.example.com", ours.client(&x509.Certificate{DNSNames: []string{"other", "sync.example.com"}}), "", ""},
		{"DNS name beside another common name", "sync", ours.client(&x509.Certificate{Subject: pkix.Name{CommonName: "x"}, DNSNames: []string{"sync"}}), "", ""},
		{"e-mail address", "sync@example.com", ours.client(&x509.Certificate{EmailAddresses: []string{"sync@example.com"}}), "", ""},
		{"URI", "spiffe://example.com/sync", ours.client(&x509.Certificate{URIs: uri("spiffe://example.com/sync")}), "", ""},
		{"chain", "sync", between.client(named("sync"), between), "", ""},
		{"any usage", "sync", ours.client(&x509.Certificate{Subject: pkix.Name{CommonName: "sync"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}}), "", ""},

		{"another's", "sync", ours.client(named("verified")), notFor, "It is for verified."},
		{"another case", "sync", ours.client(named("Sync")), notFor, "It is for Sync."},
		{"a name that begins like it", "sync", ours.client(named("sync.example.com")), notFor, "It is for sync.example.com."},
		{"a wildcard", "sync", ours.client(&x509.Certificate{DNSNames: []string{"*", "s*"}}), notFor, "It is for *, s*."},
		{"no name", "sync", ours.client(&x509.Certificate{Subject: pkix.Name{Organization: []string{"sync"}}}), notFor, "It names no user."},
		{"a name with a line feed", "sync", ours.client(named("sync\nx")), notFor, "It names no user."},
		{"many names", "sync", ours.client(&x509.Certificate{DNSNames: []string{"a", "b", "c", "d", "e", "f"}}), notFor, "It is for a, b, c, d, e and others."},
		{"nobody's", "nobody", ours.client(named("sync")), `the client certificate is not for user "nobody"`, "It is for sync."},

		{"another authority", "sync", theirs.client(named("sync")), invalid, unknown},
		{"its own authority", "sync", theirs.client(named("sync"), theirs), invalid, unknown},
		{"chain not shown", "sync", between.client(named("sync")), invalid, unknown},
		{"signed by no authority", "sync", noAuthority.client(named("sync"), noAuthority), invalid, ""},
		{"expired", "sync", ours.client(&x509.Certificate{Subject: pkix.Name{CommonName: "sync"}, NotAfter: time.Now().Add(-time.Second)}), invalid, "It has expired."},
		{"not valid yet", "sync", ours.client(&x509.Certificate{Subject: pkix.Name{CommonName: "sync"}, NotBefore: time.Now().Add(time.Minute)}), invalid, "It is not valid yet."},
		{"outdated chain", "sync", outdated.client(named("sync"), outdated), invalid, "A certificate between it and the authority that the gateway trusts is not valid now."},
		{"a server's", "sync", ours.client(alien), invalid, "It may not be used by clients: its extended key usage does not hold clientAuth."},
		{"an authority's for servers", "sync", servers.client(named("sync"), servers), invalid, "It may not be used by clients: its extended key usage does not hold clientAuth."},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, direct := range []bool{false, true} {
				for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
					p := td.dial(t, 0)
					p.show(direct, &tt.chain, version)
					if tt.message == "" {
						p.login(tt.user, "orders")
						if c := <-td.clients; c.writer.Name != tt.user {
							t.Errorf("admitted as %s", c.writer.Name)
						}
						p = td.dial(t, 0)
						p.show(direct, &tt.chain, version)
						p.send(startup(wire.Version30, "user", tt.user))
						p.prove("wrong")
						if f := p.fatal(); f.Code != sqlstate.InvalidPassword {
							t.Errorf("with a wrong password refused with %+v", f)
						}
						continue
					}
					p.send(startup(wire.Version30, "user", tt.user, "database", "orders"))
					f := p.fatal()
					if f.Code != sqlstate.InvalidAuthorization || f.Message != tt.message || tt.detail != "" && f.Detail != tt.detail || f.Detail == "" {
						t.Errorf("refused with %+v, want %q, detail %q", f, tt.message, tt.detail)
					}
				}
			}
		})
	}
}

func TestClientCertificateIsRequired(t *testing.T) {
	td := verifyingDoor(t, newAuthority(t, "ours"))
	for _, user := range []string{"sync", "nobody"} {
		p := td.dial(t, 0)
		p.show(true, nil, 0)
		p.send(startup(wire.Version30, "user", user, "database", "orders"))
		if f := p.fatal(); f.Code != sqlstate.InvalidAuthorization || f.Message != "connection requires a valid client certificate" || f.Hint == "" {
			t.Errorf("without a certificate refused with %+v", f)
		}
		p = td.dial(t, 0)
		p.send(startup(wire.Version30, "user", user, "database", "orders"))
		if f := p.fatal(); f.Code != sqlstate.InvalidAuthorization || f.Message != "TLS is required to log in here" {
			t.Errorf("in plaintext refused with %+v", f)
		}
	}
	// Cancel requests come without certificates from some clients, and prove themselves.
	p := td.dial(t, 0)
	p.send(wire.AppendCancelRequest(nil, wire.CancelKey{PID: 1, Secret: []byte{1, 2, 3, 4}}))
	<-td.cancels
}

// A certificate shown without its key ends the handshake.
func TestClientCertificateWithoutItsKey(t *testing.T) {
	ours := newAuthority(t, "ours")
	td := verifyingDoor(t, ours)
	chain := ours.client(named("sync"))
	_, chain.PrivateKey = ours.sign(named("other"), ours.cert, ours.key)
	p := td.dial(t, 0)
	c := tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}, Certificates: []tls.Certificate{chain}})
	err := c.Handshake()
	if err == nil {
		_, err = c.Read(make([]byte, 1))
	}
	if err == nil {
		t.Error("answered")
	}
	eventually(t, "the end is logged", func() bool { return td.logs.FilterMessage("login failed").Len() == 1 })
	if reason := td.logs.FilterMessage("login failed").All()[0].ContextMap()["reason"].(string); !strings.Contains(reason, "TLS handshake: ") {
		t.Errorf("reason %q", reason)
	}
}

func TestDriverShowsCertificate(t *testing.T) {
	ours := newAuthority(t, "ours")
	td := verifyingDoor(t, ours)
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	conf, err := pgconn.ParseConfig(fmt.Sprintf("postgres://sync@%s/orders?sslmode=require&channel_binding=require", td.addresses()[0]))
	if err != nil {
		t.Fatal(err)
	}
	conf.Password = password
	conf.TLSConfig.Certificates = []tls.Certificate{ours.client(named("sync"))}
	conn, err := pgconn.ConnectConfig(ctx, conf)
	if err != nil {
		t.Fatal(err)
	}
	_ = conn.Close(ctx)
}
