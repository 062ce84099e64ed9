package proxy

import (
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"pggateway/fault"
	"pggateway/sqlstate"
)

// checkHolder sees to it that a client of a verify-client listener shows a
// certificate that leads to client_ca, is meant for clients, and names the user it
// claims to be. The password is asked for all the same: this is PostgreSQL's
// clientcert=verify-full. It comes before the password, so that nobody can guess
// passwords without a certificate, and says the same whether the user exists or not.
//
// crypto/tls has made sure that the client has the certificate's private key, and
// leaves the rest to this function: a handshake that fails tells a person nothing.
func (l *login) checkHolder() error {
	roots := l.listener.roots
	if roots == nil {
		return nil
	}
	refused := fault.New(fault.Client, sqlstate.InvalidAuthorization, "")
	shown := l.tls.ConnectionState().PeerCertificates
	if len(shown) == 0 {
		refused.Message = "connection requires a valid client certificate"
		return refused.WithHint("Connect with sslcert and sslkey: a certificate for this user, from an authority that the gateway trusts.")
	}
	o := x509.VerifyOptions{
		Roots: roots, Intermediates: x509.NewCertPool(), CurrentTime: l.door.now(),
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	for _, c := range shown[1:] {
		o.Intermediates.AddCert(c)
	}
	leaf := shown[0]
	if _, err := leaf.Verify(o); err != nil {
		refused.Message = "the client certificate is not valid"
		return refused.WithDetail(whyInvalid(leaf, o.CurrentTime, err)).Because(err)
	}
	if names := holders(leaf); !slices.Contains(names, l.user) {
		refused.Message = fmt.Sprintf("the client certificate is not for user \"%s\"", l.user)
		return refused.WithDetail(itIsFor(names))
	}
	return nil
}

// holders are the names that a certificate is for: its common name, and the DNS
// names, e-mail addresses and URIs of its subject alternative names. A user has to
// be named exactly as one of them; no wildcard stands for anything.
func holders(c *x509.Certificate) []string {
	var names []string
	if c.Subject.CommonName != "" {
		names = append(names, c.Subject.CommonName)
	}
	names = append(append(names, c.DNSNames...), c.EmailAddresses...)
	for _, u := range c.URIs {
		names = append(names, u.String())
	}
	return names
}

// itIsFor lists the names of a certificate for the client that showed it.
func itIsFor(names []string) string {
	const most = 5
	var good []string
	for _, n := range names {
		if goodName(n) && !slices.Contains(good, n) {
			good = append(good, n)
		}
	}
	switch {
	case len(good) == 0:
		return "It names no user."
	case len(good) > most:
		return "It is for " + strings.Join(good[:most], ", ") + " and others."
	default:
		return "It is for " + strings.Join(good, ", ") + "."
	}
}

// whyInvalid says in plain words what is wrong with a certificate.
func whyInvalid(leaf *x509.Certificate, now time.Time, err error) string {
	var invalid x509.CertificateInvalidError
	var unknown x509.UnknownAuthorityError
	switch {
	case now.Before(leaf.NotBefore):
		return "It is not valid yet."
	case now.After(leaf.NotAfter):
		return "It has expired."
	case errors.As(err, &invalid) && invalid.Reason == x509.IncompatibleUsage:
		return "It may not be used by clients: its extended key usage does not hold clientAuth."
	case errors.As(err, &invalid) && invalid.Reason == x509.Expired:
		return "A certificate between it and the authority that the gateway trusts is not valid now."
	case errors.As(err, &unknown):
		return "It does not lead to an authority that the gateway trusts."
	default:
		return "It could not be verified."
	}
}
