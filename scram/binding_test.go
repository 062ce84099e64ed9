package scram

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/pbkdf2"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/sha512"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"hash"
	"math/big"
	"strings"
	"testing"
	"time"

	"github.com/xdg-go/scram"
)

// certificate makes a self-signed certificate with a signature of the kind.
func certificate(t testing.TB, key crypto.Signer, kind x509.SignatureAlgorithm) *x509.Certificate {
	t.Helper()
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), SignatureAlgorithm: kind}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	c, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestServerEndPoint(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	_, edKey, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		kind x509.SignatureAlgorithm
		key  crypto.Signer
		hash func() hash.Hash // nil: undefined
	}{
		{x509.SHA256WithRSA, rsaKey, sha256.New},
		{x509.SHA384WithRSA, rsaKey, sha512.New384},
		{x509.SHA512WithRSA, rsaKey, sha512.New},
		{x509.SHA256WithRSAPSS, rsaKey, sha256.New},
		{x509.SHA512WithRSAPSS, rsaKey, sha512.New},
		{x509.ECDSAWithSHA256, ecKey, sha256.New},
		{x509.ECDSAWithSHA384, ecKey, sha512.New384},
		{x509.ECDSAWithSHA512, ecKey, sha512.New},
		{x509.PureEd25519, edKey, nil},
	} {
		t.Run(tt.kind.String(), func(t *testing.T) {
			c := certificate(t, tt.key, tt.kind)
			b, err := ServerEndPoint(c)
			if tt.hash == nil {
				if err == nil || !b.IsZero() || !strings.Contains(err.Error(), "Ed25519") {
					t.Fatalf("binding %v, error %v", b, err)
				}
				return
			}
			h := tt.hash()
			h.Write(c.Raw)
			if err != nil || b.IsZero() || string(b.channel.Data) != string(h.Sum(nil)) {
				t.Errorf("binding %x, error %v, want %x", b.channel.Data, err, h.Sum(nil))
			}
		})
	}
	// Nobody can make certificates with these any more: the hash stands in for them.
	for _, kind := range []x509.SignatureAlgorithm{x509.MD5WithRSA, x509.SHA1WithRSA, x509.ECDSAWithSHA1} {
		want := sha256.Sum256([]byte("certificate"))
		b, err := ServerEndPoint(&x509.Certificate{Raw: []byte("certificate"), SignatureAlgorithm: kind})
		if err != nil || string(b.channel.Data) != string(want[:]) {
			t.Errorf("%s: binding %x, error %v", kind, b.channel.Data, err)
		}
	}
	if b, err := ServerEndPoint(nil); err == nil || !b.IsZero() {
		t.Error("a binding to no certificate")
	}
}

func testBinding(text string) Binding {
	return Binding{scram.ChannelBinding{Type: scram.ChannelBindingTLSServerEndpoint, Data: []byte(text)}}
}

// TestFlags goes through what a client may say of channel binding, by what was
// offered and selected. The proof is right each time, so that nothing else is
// wrong with the messages.
func TestFlags(t *testing.T) {
	anyError := errors.New("any")
	const point = "p=tls-server-end-point,,"
	for _, tt := range []struct {
		name          string
		offered, plus bool
		gs2, data     string // the header in client-first, and the data after it in client-final
		want          error
	}{
		{"not offered, not supported", false, false, "n,,", "", nil},
		{"not offered, supported", false, false, "y,,", "", nil},
		{"not offered, used", false, false, point, "endpoint", anyError},
		{"not offered, selected", false, true, point, "endpoint", anyError},
		{"offered, not supported", true, false, "n,,", "", nil},
		{"offered, supported, not seen", true, false, "y,,", "", ErrDowngrade},
		{"offered, used without selecting it", true, false, point, "endpoint", anyError},
		{"selected", true, true, point, "endpoint", nil},
		{"selected, other end", true, true, point, "another!", ErrBinding},
		{"selected, shorter", true, true, point, "endpoin", ErrBinding},
		{"selected, no data", true, true, point, "", ErrBinding},
		{"selected, n", true, true, "n,,", "", anyError},
		{"selected, y", true, true, "y,,", "", anyError},
		{"selected, another type", true, true, "p=tls-unique,,", "endpoint", anyError},
		{"selected, unknown type", true, true, "p=tls-server-end-points,,", "endpoint", anyError},
		{"selected, no type", true, true, "p=,,", "endpoint", anyError},
		{"selected, authorization identity", true, true, "p=tls-server-end-point,a=x,", "endpoint", anyError},
		{"not selected, data after all", true, false, "n,,", "endpoint", anyError},
	} {
		t.Run(tt.name, func(t *testing.T) {
			var b Binding
			if tt.offered {
				b = testBinding("endpoint")
			}
			s := newBoundServer(rfcVerifier(t), b, tt.plus, sha256.New, func() string { return rfcServerNonce })
			err := talk(t, s, tt.gs2, tt.data)
			switch {
			case tt.want == anyError && (err == nil || errors.Is(err, ErrProof) || errors.Is(err, ErrBinding)):
				t.Errorf("got %v, want a refusal of the message", err)
			case tt.want != anyError && !errors.Is(err, tt.want):
				t.Errorf("got %v, want %v", err, tt.want)
			}
		})
	}
}

// talk is a client that knows the password "pencil", whatever it says of channel binding.
func talk(t testing.TB, s *Server, gs2, data string) error {
	bare := "n=,r=" + rfcClientNonce
	first, _, err := s.Step(gs2 + bare)
	if err != nil {
		return err
	}
	nonce := rfcClientNonce + rfcServerNonce
	without := "c=" + base64.StdEncoding.EncodeToString([]byte(gs2+data)) + ",r=" + nonce
	salt, err := base64.StdEncoding.DecodeString(rfcSalt)
	if err != nil {
		return err
	}
	_, done, err := s.Step(without + ",p=" + proof(t, "pencil", salt, bare+","+first+","+without))
	if err == nil && !done {
		return errors.New("not done")
	}
	return err
}

// A bound exchange with a mock verifier ends as one with a wrong password does.
func TestBoundMock(t *testing.T) {
	s := newBoundServer(Mock([]byte("seed"), "nobody"), testBinding("endpoint"), true, sha256.New, func() string { return rfcServerNonce })
	if err := talk(t, s, "p=tls-server-end-point,,", "endpoint"); !errors.Is(err, ErrProof) {
		t.Errorf("got %v, want %v", err, ErrProof)
	}
}

// proof is a ClientProof (RFC 5802, section 3), computed without the library.
func proof(t testing.TB, password string, salt []byte, message string) string {
	t.Helper()
	salted, err := pbkdf2.Key(sha256.New, password, salt, 4096, sha256.Size)
	if err != nil {
		t.Fatal(err)
	}
	mac := func(key []byte, text string) []byte {
		m := hmac.New(sha256.New, key)
		m.Write([]byte(text))
		return m.Sum(nil)
	}
	clientKey := mac(salted, "Client Key")
	stored := sha256.Sum256(clientKey)
	signature := mac(stored[:], message)
	for i := range clientKey {
		clientKey[i] ^= signature[i]
	}
	return base64.StdEncoding.EncodeToString(clientKey)
}
