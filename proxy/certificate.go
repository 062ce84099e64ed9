package proxy

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"time"

	"go.uber.org/zap"

	"pggateway/config"
	"pggateway/scram"
)

// alpn is PostgreSQL's registered protocol name. A client that offers only other
// names is refused, which is what keeps a browser's request from being replayed
// here under the same certificate (ALPACA).
const alpn = "postgresql"

// newServerTLS is the TLS side of a listener; nil for one without TLS.
//
// Session tickets are off, as in PostgreSQL 18: libpq and pgx never resume, so
// that tickets would cost every TLS 1.3 login a record and win nothing. Records
// are not grown step by step from a small first one, because what follows a login
// is short answers or a long COPY, both best in as few records as possible.
func newServerTLS(ctx context.Context, l config.ListenTLS, s secrets) (*tls.Config, error) {
	if l.Mode == config.ListenTLSDisable || l.Mode == "" {
		return nil, nil
	}
	chain, err := s.Text(ctx, l.Cert)
	if err != nil {
		return nil, fmt.Errorf("tls.cert: %w", err)
	}
	key, err := s.PrivateKey(ctx, l.Key)
	if err != nil {
		return nil, fmt.Errorf("tls.key: %w", err)
	}
	pair, err := tls.X509KeyPair([]byte(chain), key)
	if err != nil {
		return nil, fmt.Errorf("tls.cert: %v with the key %v: %w", l.Cert, l.Key, err)
	}
	c := &tls.Config{
		Certificates:                []tls.Certificate{pair},
		MinVersion:                  tls.VersionTLS12,
		NextProtos:                  []string{alpn},
		SessionTicketsDisabled:      true,
		DynamicRecordSizingDisabled: true,
	}
	if l.Mode == config.ListenTLSVerifyClient {
		// Only asked for: login.checkHolder verifies it, and can say what is wrong.
		c.ClientAuth = tls.RequestClientCert
		if c.ClientCAs, err = clientRoots(ctx, l.ClientCA, s); err != nil {
			return nil, fmt.Errorf("tls.client_ca: %w", err)
		}
	}
	return c, nil
}

// clientRoots reads the authorities of clients' certificates.
func clientRoots(ctx context.Context, ref config.Secret, s secrets) (*x509.CertPool, error) {
	text, err := s.Text(ctx, ref)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM([]byte(text)) {
		return nil, fmt.Errorf("%v has no PEM certificate in it", ref)
	}
	return roots, nil
}

// warnExpired says so in the log when a listener's certificate is not valid now.
// It is no error: clients with sslmode=require, the most common, do not mind.
func warnExpired(log *zap.Logger, address string, c *tls.Config, now time.Time) {
	leaf := c.Certificates[0].Leaf
	if now.Before(leaf.NotBefore) || now.After(leaf.NotAfter) {
		log.Warn("the listener's certificate is not valid now", zap.String("listen", address),
			zap.Time("not_before", leaf.NotBefore), zap.Time("not_after", leaf.NotAfter))
	}
}

// endPoint is what SCRAM exchanges on the listener's TLS connections are bound to.
// A certificate that has no such thing costs clients nothing but that protection,
// and those that insist on it the login; the log says so.
func endPoint(log *zap.Logger, address string, c *tls.Config) scram.Binding {
	b, err := scram.ServerEndPoint(c.Certificates[0].Leaf)
	if err != nil {
		log.Warn("the listener's certificate allows no channel binding: clients with channel_binding=require cannot log in",
			zap.String("listen", address), zap.Error(err))
	}
	return b
}

// mockSeed is the secret that mock verifiers are made from. The salts of unknown
// writers must not change from one start, or one of several gateways, to the next
// where those of known writers do not, or asking twice would tell them apart. A
// TLS key is the one thing that stays, is secret and cannot be guessed. Two things
// remain to be learned from restarts: without TLS the seed is random, and a writer
// given by a password instead of a verifier has a fresh salt after each.
func mockSeed(listeners []*listener) []byte {
	for _, l := range listeners {
		if l.tls == nil {
			continue
		}
		der, err := x509.MarshalPKCS8PrivateKey(l.tls.Certificates[0].PrivateKey)
		if err != nil {
			continue
		}
		mac := hmac.New(sha256.New, der)
		mac.Write([]byte("pggateway mock verifiers"))
		return mac.Sum(nil)
	}
	seed := make([]byte, 32)
	_, _ = rand.Read(seed) // never fails
	return seed
}
