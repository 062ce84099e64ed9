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
	"errors"
	"io"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"pggateway/config"
	"pggateway/scram"
	"pggateway/wire"
)

// patience bounds every wait of these tests; it only runs out when a test fails.
const patience = 20 * time.Second

// fakeSecrets resolves references by their text.
type fakeSecrets map[string]string

func (f fakeSecrets) PrivateKey(ctx context.Context, s config.Secret) ([]byte, error) {
	text, err := f.Text(ctx, s)
	return []byte(text), err
}

func (f fakeSecrets) Text(_ context.Context, s config.Secret) (string, error) {
	text, ok := f[s.String()]
	if !ok {
		return "", errors.New(s.String() + ": not set")
	}
	return text, nil
}

func env(name string) config.Secret { return config.Secret{Scheme: config.SchemeEnv, Ref: name} }

// selfSigned makes a certificate for 127.0.0.1 and its key, both PEM.
func selfSigned(t testing.TB, notAfter time.Time) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "gateway"},
		NotBefore: notAfter.Add(-48 * time.Hour), NotAfter: notAfter,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// Indexes of the listeners of testConfig.
const (
	plain = iota
	allow
	require
)

func testConfig() *config.Config {
	withTLS := func(m config.ListenTLSMode) config.Listen {
		return config.Listen{Address: "127.0.0.1:0", TLS: config.ListenTLS{Mode: m, Cert: env("CRT"), Key: env("KEY")}}
	}
	all := config.Grants{All: true}
	lan := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	home := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("127.0.0.0/8")}
	orders := []*config.WriterUpstream{{Name: "orders", Grants: all}, {Name: "tenant_*", Grants: all}}
	return &config.Config{
		Listen: []config.Listen{
			{Address: "127.0.0.1:0", TLS: config.ListenTLS{Mode: config.ListenTLSDisable}},
			withTLS(config.ListenTLSAllow), withTLS(config.ListenTLSRequire),
		},
		Limits: config.Limits{MaxClients: 100, LoginTimeout: patience},
		Upstreams: []*config.Upstream{
			{Name: "orders", Aliases: []string{"orders-prod"}},
			{Name: "secret"},
			{Name: "tenant_*"},
		},
		Writers: []*config.Writer{
			{Name: "sync", Password: env("PW"), Upstreams: orders, From: home},
			{Name: "verified", Password: config.Secret{Scheme: config.SchemeVerifier, Ref: verifier}, Upstreams: orders},
			{Name: "ofver", Password: env("VERIFIER"), Upstreams: orders},
			{Name: "faraway", Password: env("PW"), Upstreams: orders, From: lan},
			{Name: "private", Password: env("PW"), Upstreams: orders, RequireTLS: true},
			{Name: "single", Password: env("PW"), Upstreams: orders, MaxClients: 1},
		},
	}
}

const password = "correct horse"

// verifier is one of password, computed with another implementation (Python's hashlib).
const verifier = "SCRAM-SHA-256$4096:Z2F0ZXdheS1zYWx0LTAxNg==$W18vvtRbDOcKVfjC3nSmbjN2DfJLdmkPSN5MdByB7dI=:VBS3Bq87alYQfxtCcyAGYvn3BouqQnqChokKCh5y5sg="

// testDoor is a door whose admitted clients are greeted and then wait until
// their peer leaves.
type testDoor struct {
	*door
	logs    *observer.ObservedLogs
	cancels chan wire.CancelKey
	served  chan struct{} // says that they are; closed from the beginning
	clients chan *client  // a copy of each admitted one
	admits  sync.WaitGroup
}

func openDoor(t testing.TB, conf *config.Config) *testDoor {
	t.Helper()
	crt, key := selfSigned(t, time.Now().Add(24*time.Hour))
	return openDoorWith(t, conf, fakeSecrets{"env:CRT": crt, "env:KEY": key})
}

// openDoorWith takes the listeners' certificate, and whatever else the
// configuration refers to beside the usual passwords.
func openDoorWith(t testing.TB, conf *config.Config, s fakeSecrets) *testDoor {
	t.Helper()
	s["env:PW"], s["env:VERIFIER"] = password, verifier
	core, logs := observer.New(zapcore.DebugLevel)
	td := &testDoor{logs: logs, cancels: make(chan wire.CancelKey, 8), served: make(chan struct{}), clients: make(chan *client, 1024)}
	close(td.served)
	d, err := newDoor(t.Context(), doorParts{
		config:  conf,
		secrets: s,
		log:     zap.New(core),
		now:     time.Now,
		admit:   td.admit,
		cancel:  func(k wire.CancelKey) <-chan struct{} { td.cancels <- k; return td.served },
	})
	if err != nil {
		t.Fatal(err)
	}
	td.door = d
	if err := d.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.serve()
	t.Cleanup(func() {
		if !d.closed() {
			d.close()
		}
		td.admits.Wait()
		if n := d.admission.taken.Load(); n != 0 {
			t.Errorf("%d seats are still taken after everybody left", n)
		}
		if n := len(d.admission.logins); n != 0 {
			t.Errorf("%d logins are still counted after everybody left", n)
		}
	})
	return td
}

func (td *testDoor) admit(c *client) {
	td.clients <- c
	td.admits.Go(func() {
		defer c.seat.leave()
		defer c.transport.Close()
		var conn net.Conn = c.transport
		if c.tls != nil {
			conn = c.tls
		}
		b := wire.AppendAuthenticationOK(c.greeting)
		b = wire.AppendParameterStatus(b, wire.Parameter{Name: "server_version", Value: "15.0"})
		b = wire.AppendReadyForQuery(b, wire.TxIdle)
		if _, err := conn.Write(b); err == nil {
			_, _ = io.Copy(io.Discard, conn)
		}
	})
}

// peer is a scripted client.
type peer struct {
	t    testing.TB
	conn net.Conn
	r    *wire.Reader
}

func (td *testDoor) dial(t testing.TB, listener int) *peer {
	t.Helper()
	conn, err := net.DialTimeout("tcp", td.addresses()[listener].String(), patience)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(patience))
	return &peer{t, conn, wire.NewReader(conn)}
}

func (p *peer) send(b []byte) {
	p.t.Helper()
	if _, err := p.conn.Write(b); err != nil {
		p.t.Fatal(err)
	}
}

// answer reads the one byte that answers SSLRequest and GSSENCRequest.
func (p *peer) answer() byte {
	p.t.Helper()
	var b [1]byte
	if _, err := io.ReadFull(p.conn, b[:]); err != nil {
		p.t.Fatal(err)
	}
	return b[0]
}

// secure does the TLS handshake after an answer S.
func (p *peer) secure() {
	p.t.Helper()
	c := tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}})
	if err := c.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	p.conn = c
	p.r.Reset(c)
}

// next reads a message of the given type.
func (p *peer) next(want byte) []byte {
	p.t.Helper()
	typ, body, err := p.r.Message(1 << 16)
	if err != nil {
		p.t.Fatalf("reading a %c: %v", want, err)
	}
	if typ != want {
		f, _ := wire.ParseFields(body)
		p.t.Fatalf("got message %c %+v, want %c", typ, f, want)
	}
	return body
}

// fatal reads the refusal, and that nothing follows but an orderly close.
func (p *peer) fatal() wire.Fields {
	p.t.Helper()
	f, ok := wire.ParseFields(p.next(wire.ErrorResponse))
	if !ok || f.Severity != "FATAL" {
		p.t.Fatalf("refusal %+v, whole %v", f, ok)
	}
	p.closed()
	return f
}

// closed checks that the other side closes without another byte and without a reset.
func (p *peer) closed() {
	p.t.Helper()
	if typ, _, err := p.r.Message(1 << 16); err != io.EOF {
		p.t.Fatalf("after the end: message %q, error %v, want EOF", typ, err)
	}
}

func startup(version uint32, params ...string) []byte {
	s := &wire.Startup{Version: version}
	for i := 0; i+1 < len(params); i += 2 {
		s.Parameters = append(s.Parameters, wire.Parameter{Name: params[i], Value: params[i+1]})
	}
	return wire.AppendStartup(nil, s)
}

// prove runs the SCRAM exchange up to and including the client's proof.
func (p *peer) prove(password string) {
	p.t.Helper()
	c, err := scram.NewClient("", password)
	if err != nil {
		p.t.Fatal(err)
	}
	p.next(wire.Authentication)
	msg, err := c.Step("")
	if err != nil {
		p.t.Fatal(err)
	}
	p.send(wire.AppendSASLInitial(nil, scram.Mechanism, msg))
	body := p.next(wire.Authentication)
	if msg, err = c.Step(string(body[4:])); err != nil {
		p.t.Fatal(err)
	}
	p.send(wire.AppendSASLResponse(nil, msg))
}

// login goes as far as ReadyForQuery.
func (p *peer) login(user, database string) {
	p.t.Helper()
	p.send(startup(wire.Version30, "user", user, "database", database))
	p.prove(password)
	p.next(wire.Authentication)
	p.next(wire.Authentication)
	p.next(wire.ParameterStatus)
	p.next(wire.ReadyForQuery)
}

// eventually waits for what happens soon on another goroutine.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !ok(); time.Sleep(time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("never happened: " + what)
		}
	}
}
