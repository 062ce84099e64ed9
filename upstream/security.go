package upstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"syscall"
	"time"

	"pggateway/config"
	"pggateway/secret"
	"pggateway/upstream/rdsca"
	"pggateway/wire"
)

// alpn is PostgreSQL's protocol name in TLS, needed for direct negotiation
// (PostgreSQL documentation, "SSL Session Encryption").
const alpn = "postgresql"

// security is the TLS side of a target.
type security struct {
	mode     config.UpstreamTLSMode
	direct   bool
	verified bool   // whoever passes is the server that was meant; see newSecurity
	roots    string // where they come from, for people
	config   *tls.Config
	own      *tls.Certificate // shown to servers that ask for one; nil: none
	mustAsk  bool             // the login is proved by it, so a server that does not ask is refused
}

// newSecurity reads an upstream's TLS settings; nil means plaintext.
//
// The modes are libpq's:
//   - require encrypts and verifies nothing: who sits in between can read along.
//   - verify-ca verifies that the certificate leads to the roots, under any name.
//     With roots of one's own that is enough to know the server; the roots of RDS
//     or of the public authorities vouch for anybody's server.
//   - verify-full verifies the name as well.
func newSecurity(ctx context.Context, secrets *secret.Resolver, u *config.Upstream, now func() time.Time) (*security, error) {
	if u.TLS.Mode == config.TLSDisable {
		return nil, nil //nolint:nilnil // plaintext is no security and no error
	}
	name := u.TLS.ServerName
	if name == "" {
		name = u.Host
	}
	s := &security{
		mode:   u.TLS.Mode,
		direct: u.TLS.Negotiation == config.NegotiationDirect,
		config: &tls.Config{
			ServerName: strings.TrimSuffix(name, "."),
			MinVersion: tls.VersionTLS12,
			// As libpq since PostgreSQL 17, with SSLRequest, too: who redirects us to a
			// server of another protocol that has the same certificate gets no further
			// (ALPACA). Servers that know no ALPN select nothing.
			NextProtos: []string{alpn},
			Time:       now,
			// A COPY is sent in full records from the first byte on.
			DynamicRecordSizingDisabled: true,
		},
	}
	if s.mode != config.TLSRequire {
		if err := s.readRoots(ctx, secrets, &u.TLS); err != nil {
			return nil, err
		}
	}
	switch s.mode {
	case config.TLSRequire:
		s.config.InsecureSkipVerify = true //nolint:gosec // what the mode says; see above
	case config.TLSVerifyCA:
		s.config.InsecureSkipVerify = true //nolint:gosec // replaced by verifyChain
		s.config.VerifyConnection = s.verifyChain
		s.verified = u.TLS.CA == config.CAFile
	case config.TLSVerifyFull:
		s.verified = true
	default:
		return nil, fmt.Errorf("mode %q is not known", s.mode)
	}
	if u.TLS.Cert.IsZero() {
		return s, nil
	}
	chain, err := secrets.Text(ctx, u.TLS.Cert)
	if err != nil {
		return nil, fmt.Errorf("cert: %w", err)
	}
	key, err := secrets.PrivateKey(ctx, u.TLS.Key)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	pair, err := tls.X509KeyPair([]byte(chain), key)
	if err != nil {
		return nil, fmt.Errorf("cert %s and key %s: %w", u.TLS.Cert, u.TLS.Key, err)
	}
	s.own = &pair
	return s, nil
}

func (s *security) readRoots(ctx context.Context, secrets *secret.Resolver, t *config.UpstreamTLS) error {
	switch t.CA {
	case config.CASystem:
		s.roots = "the system's authorities" // nil RootCAs
	case config.CARDS:
		s.roots, s.config.RootCAs = "the authorities of RDS", rdsca.Pool()
	case config.CAFile:
		text, err := secrets.Text(ctx, t.CAFile)
		if err != nil {
			return fmt.Errorf("ca: %w", err)
		}
		s.roots, s.config.RootCAs = "the authorities in "+t.CAFile.String(), x509.NewCertPool()
		if !s.config.RootCAs.AppendCertsFromPEM([]byte(text)) {
			return fmt.Errorf("ca: %s has no PEM certificate in it", t.CAFile)
		}
	default:
		return fmt.Errorf("ca %q is not known", t.CA)
	}
	return nil
}

// verifyChain is crypto/tls's own verification less the name.
func (s *security) verifyChain(state tls.ConnectionState) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server showed no certificate")
	}
	o := x509.VerifyOptions{
		Roots: s.config.RootCAs, Intermediates: x509.NewCertPool(), CurrentTime: s.config.Time(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, c := range state.PeerCertificates[1:] {
		o.Intermediates.AddCert(c)
	}
	if _, err := state.PeerCertificates[0].Verify(o); err != nil {
		return &tls.CertificateVerificationError{UnverifiedCertificates: state.PeerCertificates, Err: err}
	}
	return nil
}

const refusedTLS = "The upstream refused the TLS connection."

// ErrNoTLS says that the server takes plaintext only.
var ErrNoTLS = errors.New("the server answered SSLRequest with N: it does not take TLS")

// Errors of the negotiation before TLS.
var (
	errNotAsked = errors.New("the server answered SSLRequest with something other than S and N")
	errNoALPN   = errors.New("the server took direct TLS without the protocol postgresql: it does not know direct negotiation")
	errNoAsking = errors.New("the server did not ask for the certificate (tls.cert) that proves the login")
)

// start begins TLS on a fresh connection and completes the handshake. conn's
// waits are its caller's to cut.
func (s *security) start(ctx context.Context, conn net.Conn) (*tls.Conn, error) {
	if !s.direct {
		if err := requestTLS(conn); err != nil {
			return nil, err
		}
	}
	config, asked := s.config, false
	if s.own != nil {
		config = config.Clone()
		config.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			asked = true
			return s.own, nil // whatever authorities the server names: it says best itself what it misses
		}
	}
	c := tls.Client(conn, config)
	if err := c.HandshakeContext(ctx); err != nil {
		return nil, err
	}
	switch {
	case s.direct && c.ConnectionState().NegotiatedProtocol != alpn:
		return nil, errNoALPN
	case s.mustAsk && !asked:
		return nil, errNoAsking
	}
	return c, nil
}

// requestTLS asks the server for TLS. Exactly one byte is read of the answer:
// what somebody in between appended to it in plaintext is then read as TLS, and
// fails (CVE-2021-23222 was a client that took it for the server's). An error
// message, which begins with E, is not read at all: nobody has proved who sent it.
func requestTLS(conn net.Conn) error {
	if _, err := conn.Write(wire.AppendSSLRequest(nil)); err != nil {
		return err
	}
	var answer [1]byte
	if _, err := io.ReadFull(conn, answer[:]); err != nil {
		return err
	}
	switch answer[0] {
	case 'S':
		return nil
	case 'N':
		return ErrNoTLS
	}
	return fmt.Errorf("%w: %q", errNotAsked, answer[0])
}

// explain words why there is no TLS.
func (s *security) explain(err error) *Error {
	say := func(public, format string, args ...any) *Error {
		return &Error{StageTLS, fmt.Errorf(format+": %w", append(args, err)...), public}
	}
	var invalid x509.CertificateInvalidError
	var name x509.HostnameError
	var record tls.RecordHeaderError
	switch {
	case timedOut(err):
		return say("The upstream stopped answering while TLS was set up.", "TLS was not set up in time")
	case errors.Is(err, ErrNoTLS):
		return &Error{StageTLS, err, "The upstream does not take TLS connections."}
	case errors.Is(err, errNotAsked), errors.As(err, &record):
		return say("The upstream does not answer as a PostgreSQL server with TLS does.", "not TLS")
	case errors.Is(err, errNoALPN):
		return &Error{StageTLS, err, "The upstream does not take direct TLS connections."}
	case errors.Is(err, errNoAsking):
		return &Error{StageTLS, err, "The upstream does not ask for the gateway's certificate."}
	case errors.As(err, &name):
		return say("The upstream's certificate is for another host name.",
			"the server's certificate is for %s, not for %s (tls.server_name, or host)", namesOf(name.Certificate), name.Host)
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		c := invalid.Cert
		if now := s.config.Time(); now.Before(c.NotBefore) {
			return say("The upstream's certificate is not valid yet.",
				"the certificate of %s is valid from %s", c.Subject, c.NotBefore.UTC().Format(time.RFC3339))
		}
		return say("The upstream's certificate has expired.",
			"the certificate of %s expired at %s", c.Subject, c.NotAfter.UTC().Format(time.RFC3339))
	case errors.As(err, new(x509.UnknownAuthorityError)):
		return say("The upstream's certificate is not signed by a trusted authority.",
			"the server's certificate does not lead to %s (tls.ca)", s.roots)
	case errors.As(err, new(*tls.CertificateVerificationError)):
		return say("The upstream's certificate is not valid.", "the server's certificate was not accepted")
	case remote(err):
		return say(refusedTLS, "the server refused TLS (its versions, ciphers, or our certificate)")
	case s.direct && ended(err):
		return say("The upstream closed the connection while TLS was set up.",
			"the server closed the connection (direct TLS takes PostgreSQL 17 or later: tls.negotiation)")
	case ended(err):
		return say("The upstream closed the connection while TLS was set up.", "the server closed the connection")
	}
	return &Error{StageTLS, err, "TLS with the upstream failed."}
}

// ended reports whether the peer closed the connection, orderly or not.
func ended(err error) bool {
	return errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, syscall.ECONNRESET)
}

// remote reports whether the error is an alert that the peer sent: crypto/tls
// gives those the operation "remote error".
func remote(err error) bool {
	var op *net.OpError
	return errors.As(err, &op) && op.Op == "remote error"
}

// namesOf lists what a certificate is for.
func namesOf(c *x509.Certificate) string {
	all := append([]string{}, c.DNSNames...)
	for _, ip := range c.IPAddresses {
		all = append(all, ip.String())
	}
	switch {
	case len(all) == 0:
		return "no host name (subject " + c.Subject.String() + ")"
	case len(all) > 5:
		return strings.Join(all[:5], ", ") + ", …"
	}
	return strings.Join(all, ", ")
}
