package proxy

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	xdg "github.com/xdg-go/scram"

	"pggateway/scram"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// signedBy makes a self-signed certificate with a key of the kind, as PEM.
func signedBy(t testing.TB, key crypto.Signer, kind x509.SignatureAlgorithm) (cert, private string) {
	t.Helper()
	tmpl := &x509.Certificate{
		SerialNumber: big.NewInt(1), SignatureAlgorithm: kind,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
	}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

// A driver that insists on channel binding gets in with each kind of certificate
// that has one, and with Ed25519 only one that does not insist.
func TestDriverBindsChannel(t *testing.T) {
	p384, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		name    string
		key     crypto.Signer
		kind    x509.SignatureAlgorithm
		binding string // the driver's channel_binding
		bound   bool
		refused string // the driver's own error
	}{
		{"SHA-256", p384, x509.ECDSAWithSHA256, "require", true, ""},
		{"SHA-384", p384, x509.ECDSAWithSHA384, "require", true, ""},
		{"SHA-512", p384, x509.ECDSAWithSHA512, "require", true, ""},
		{"by default", p384, x509.ECDSAWithSHA512, "prefer", true, ""},
		{"not wanted", p384, x509.ECDSAWithSHA512, "disable", false, ""},
		{"Ed25519", ed, x509.PureEd25519, "prefer", false, ""},
		{"Ed25519, insisted", ed, x509.PureEd25519, "require", false, "server does not support SCRAM-SHA-256-PLUS"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conf := testConfig()
			crt, key := signedBy(t, tt.key, tt.kind)
			td := openDoorWith(t, conf, fakeSecrets{"env:CRT": crt, "env:KEY": key})
			for _, negotiation := range []string{"postgres", "direct"} {
				ctx, stop := context.WithTimeout(t.Context(), patience)
				defer stop()
				conn, err := pgconn.Connect(ctx, fmt.Sprintf(
					"postgres://sync:%s@%s/orders?sslmode=require&channel_binding=%s&sslnegotiation=%s",
					strings.ReplaceAll(password, " ", "%20"), td.addresses()[require], tt.binding, negotiation))
				if tt.refused != "" {
					if err == nil || !strings.Contains(err.Error(), tt.refused) {
						t.Errorf("error %v, want %q", err, tt.refused)
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				_ = conn.Close(ctx)
			}
			said := td.logs.FilterMessageSnippet("allows no channel binding").Len()
			if want := tt.kind == x509.PureEd25519; (said > 0) != want {
				t.Errorf("the log says so %d times, the certificate has no binding: %v", said, want)
			}
		})
	}
}

// offered reads which mechanisms a client is offered.
func (p *peer) offered() []string {
	p.t.Helper()
	body := p.next(wire.Authentication)
	return strings.Split(strings.TrimRight(string(body[4:]), "\x00"), "\x00")
}

func TestMechanismsOffered(t *testing.T) {
	td := openDoor(t, testConfig())
	for _, user := range []string{"sync", "nobody"} {
		p := td.dial(t, allow)
		p.send(startup(wire.Version30, "user", user))
		if got := p.offered(); !slices.Equal(got, []string{"SCRAM-SHA-256"}) {
			t.Errorf("in plaintext: %q", got)
		}
		p = td.dial(t, allow)
		p.direct(alpn)
		p.send(startup(wire.Version30, "user", user))
		if got := p.offered(); !slices.Equal(got, []string{"SCRAM-SHA-256-PLUS", "SCRAM-SHA-256"}) {
			t.Errorf("over TLS: %q", got)
		}
	}
}

// What a client says of channel binding that does not fit is refused in
// PostgreSQL's words, for known and unknown writers alike.
func TestChannelBindingRefused(t *testing.T) {
	const (
		plus      = "SCRAM-SHA-256-PLUS"
		simple    = "SCRAM-SHA-256"
		malformed = "malformed SCRAM message"
		wrongName = "client selected an invalid SASL authentication mechanism"
	)
	for _, tt := range []struct {
		name, mechanism, gs2 string
		secured              bool
		code, message        string
	}{
		{"y although it was offered", simple, "y,,", true, sqlstate.InvalidAuthorization, "SCRAM channel binding negotiation error"},
		{"p without the mechanism", simple, "p=tls-server-end-point,,", true, sqlstate.ProtocolViolation, malformed},
		{"the mechanism without p", plus, "n,,", true, sqlstate.ProtocolViolation, malformed},
		{"the mechanism with y", plus, "y,,", true, sqlstate.ProtocolViolation, malformed},
		{"tls-unique", plus, "p=tls-unique,,", true, sqlstate.ProtocolViolation, malformed},
		{"the mechanism in plaintext", plus, "p=tls-server-end-point,,", false, sqlstate.ProtocolViolation, wrongName},
		{"p in plaintext", simple, "p=tls-server-end-point,,", false, sqlstate.ProtocolViolation, malformed},
		{"case", "scram-sha-256-plus", "p=tls-server-end-point,,", true, sqlstate.ProtocolViolation, wrongName},
	} {
		t.Run(tt.name, func(t *testing.T) {
			td := openDoor(t, testConfig())
			for _, user := range []string{"sync", "nobody"} {
				p := td.dial(t, allow)
				if tt.secured {
					p.direct(alpn)
				}
				p.send(startup(wire.Version30, "user", user, "database", "orders"))
				p.next(wire.Authentication)
				p.send(wire.AppendSASLInitial(nil, tt.mechanism, tt.gs2+"n=,r=abcdefghijklmnop"))
				if f := p.fatal(); f.Code != tt.code || f.Message != tt.message {
					t.Errorf("%s is refused with %+v, want %s %q", user, f, tt.code, tt.message)
				}
			}
		})
	}
}

// Somebody in between who has a certificate of his own cannot pass a proof on,
// though the password in it is right.
func TestProofBelongsToItsConnection(t *testing.T) {
	td := openDoor(t, testConfig())
	for _, user := range []string{"sync", "nobody"} {
		for _, honest := range []bool{true, false} {
			p := td.dial(t, require)
			p.direct(alpn)
			leaf := p.conn.(*tls.Conn).ConnectionState().PeerCertificates[0]
			if !honest {
				crt, _ := selfSigned(t, time.Now().Add(time.Hour))
				block, _ := pem.Decode([]byte(crt))
				var err error
				if leaf, err = x509.ParseCertificate(block.Bytes); err != nil {
					t.Fatal(err)
				}
			}
			binding, err := xdg.NewTLSServerEndpointBinding(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}})
			if err != nil {
				t.Fatal(err)
			}
			c, err := xdg.SHA256.NewClientUnprepped("", password, "")
			if err != nil {
				t.Fatal(err)
			}
			exchange := c.NewConversationWithChannelBinding(binding)
			p.send(startup(wire.Version30, "user", user, "database", "orders"))
			p.next(wire.Authentication)
			msg, _ := exchange.Step("")
			p.send(wire.AppendSASLInitial(nil, scram.MechanismPlus, msg))
			if msg, err = exchange.Step(string(p.next(wire.Authentication)[4:])); err != nil {
				t.Fatal(err)
			}
			p.send(wire.AppendSASLResponse(nil, msg))
			switch {
			case !honest:
				if f := p.fatal(); f.Code != sqlstate.InvalidAuthorization || f.Message != "SCRAM channel binding check failed" {
					t.Errorf("%s is refused with %+v", user, f)
				}
			case user == "nobody":
				if f := p.fatal(); f.Code != sqlstate.InvalidPassword {
					t.Errorf("%s is refused with %+v", user, f)
				}
			default:
				if _, err := exchange.Step(string(p.next(wire.Authentication)[4:])); err != nil || !exchange.Valid() {
					t.Errorf("the server's proof: %v", err)
				}
			}
		}
	}
}
