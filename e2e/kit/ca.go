package kit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// CA is a certificate authority of ECDSA P-256 keys.
type CA struct {
	File string // its certificate, PEM
	Cert *x509.Certificate

	key *ecdsa.PrivateKey
	dir string
}

// Cert is a certificate that a CA issued, on disk.
type Cert struct {
	CertFile string // PEM: the certificate
	KeyFile  string // PEM: PKCS #8, mode 0600
	TLS      tls.Certificate
}

// CertRequest is what a certificate is to say. The zero value of each field
// has a sensible meaning.
type CertRequest struct {
	Names     []string  // host names and IP addresses; none: none
	Subject   string    // common name; empty: the first of Names
	NotBefore time.Time // zero: an hour ago
	NotAfter  time.Time // zero: in a day
	Client    bool      // for a client's side, not a server's
}

// NewCA makes a root that is valid for a day.
func NewCA(t T, name string) *CA {
	t.Helper()
	ca := &CA{dir: Dir(t)}
	template := &x509.Certificate{
		SerialNumber:          serial(t),
		Subject:               pkix.Name{CommonName: name},
		NotBefore:             time.Now().Add(-24 * time.Hour),
		NotAfter:              time.Now().Add(48 * time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}
	ca.key = newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, template, &ca.key.PublicKey, ca.key)
	if err != nil {
		t.Fatalf("make a root certificate: %v", err)
	}
	if ca.Cert, err = x509.ParseCertificate(der); err != nil {
		t.Fatalf("%v", err)
	}
	ca.File = filepath.Join(ca.dir, "root.pem")
	writePEM(t, ca.File, "CERTIFICATE", der, 0o644)
	return ca
}

// Pool returns a pool of this root alone.
func (ca *CA) Pool() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AddCert(ca.Cert)
	return pool
}

// Issue makes a certificate.
func (ca *CA) Issue(t T, r CertRequest) *Cert {
	t.Helper()
	template := &x509.Certificate{
		SerialNumber: serial(t),
		Subject:      pkix.Name{CommonName: r.Subject},
		NotBefore:    r.NotBefore,
		NotAfter:     r.NotAfter,
		KeyUsage:     x509.KeyUsageDigitalSignature,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if r.Client {
		template.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
	}
	if r.Subject == "" && len(r.Names) > 0 && len(r.Names[0]) <= 64 { // ub-common-name, RFC 5280 A.1
		template.Subject.CommonName = r.Names[0]
	}
	if r.NotBefore.IsZero() {
		template.NotBefore = time.Now().Add(-time.Hour)
	}
	if r.NotAfter.IsZero() {
		template.NotAfter = time.Now().Add(24 * time.Hour)
	}
	for _, name := range r.Names {
		if ip := net.ParseIP(name); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, name)
		}
	}
	key := newKey(t)
	der, err := x509.CreateCertificate(rand.Reader, template, ca.Cert, &key.PublicKey, ca.key)
	if err != nil {
		t.Fatalf("issue a certificate: %v", err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatalf("%v", err)
	}
	base := filepath.Join(ca.dir, template.SerialNumber.Text(36))
	c := &Cert{CertFile: base + ".crt", KeyFile: base + ".key"}
	writePEM(t, c.CertFile, "CERTIFICATE", der, 0o644)
	writePEM(t, c.KeyFile, "PRIVATE KEY", pkcs8, 0o600)
	c.TLS = tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	return c
}

func newKey(t T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return key
}

func serial(t T) *big.Int {
	t.Helper()
	n, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 96))
	if err != nil {
		t.Fatalf("%v", err)
	}
	return n
}

func writePEM(t T, path, kind string, der []byte, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), mode); err != nil {
		t.Fatalf("%v", err)
	}
}
