package scram

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"strings"

	"github.com/xdg-go/scram"
)

// MechanismPlus is Mechanism with channel binding: the proof is good on one TLS
// connection only, and whoever stands in between with a certificate of his own
// cannot pass it on.
const MechanismPlus = Mechanism + "-PLUS"

// Binding is what ties an exchange to its TLS connection, and the same on both
// sides of it: tls-server-end-point (RFC 5929, section 4), the only type that
// PostgreSQL knows. The zero Binding is none.
type Binding struct{ channel scram.ChannelBinding }

// ServerEndPoint is the binding to a server with this certificate: its hash by the
// hash function of its signature, SHA-256 standing in for MD5 and SHA-1. A
// signature that has no hash function of its own, such as Ed25519, leaves it
// undefined, and the error says so. PostgreSQL offers SCRAM-SHA-256-PLUS with such
// a certificate all the same, and libpq then fails ("could not find digest for
// NID UNDEF"); not to offer it lets everybody in who does not insist on it.
func ServerEndPoint(leaf *x509.Certificate) (Binding, error) {
	if leaf == nil {
		return Binding{}, errors.New("no certificate")
	}
	b, err := scram.NewTLSServerEndpointBinding(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}})
	return Binding{b}, err
}

// IsZero reports whether there is nothing to bind to.
func (b Binding) IsZero() bool { return !b.channel.IsSupported() }

// Errors of channel binding, which are worth telling from malformed messages.
var (
	// ErrDowngrade: the client would have bound the exchange, and saw no offer to:
	// somebody in between took it out, or the client is wrong.
	ErrDowngrade = errors.New("the client supports channel binding and believes that it was not offered, though it was")
	// ErrBinding: the client is connected by TLS to somebody else.
	ErrBinding = errors.New("the client's channel binding is not this connection's")
)

// flag checks the channel-binding flag that a client-first-message begins with, as
// PostgreSQL does: "p" belongs to MechanismPlus and to nothing else, "n" and "y" to
// Mechanism, and "y" only where MechanismPlus was not offered (RFC 5802, section 6).
func (s *Server) flag(first string) error {
	flag, _, _ := strings.Cut(first, ",")
	bound := strings.HasPrefix(flag, "p=")
	switch {
	case s.plus && !s.offered:
		return errors.New(MechanismPlus + " was not offered")
	case s.plus && !bound:
		return errors.New("client-first-message: " + MechanismPlus + " without channel-binding data")
	case !s.plus && bound:
		return errors.New("client-first-message: channel-binding data without " + MechanismPlus)
	case s.offered && flag == "y":
		return ErrDowngrade
	}
	return nil
}
