package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"os"

	"pggateway/config"
	"pggateway/secret"
)

// badPairs finds certificates and keys that do not belong together. Only what is in
// files that can be read here is looked at: a configuration may be validated
// elsewhere than where it is used.
func badPairs(ctx context.Context, conf *config.Config) []config.Fault {
	secrets := secret.NewResolver(os.Getenv, os.ReadFile)
	var faults []config.Fault
	check := func(cert, key config.Secret, parts ...any) {
		if cert.Scheme != config.SchemeFile || key.Scheme != config.SchemeFile {
			return
		}
		chain, err := secrets.Text(ctx, cert)
		if err != nil {
			return
		}
		private, err := secrets.PrivateKey(ctx, key)
		if err != nil {
			return
		}
		if err := parseLeaf([]byte(chain)); err != nil {
			faults = append(faults, config.Fault{Path: config.Path(append(parts, "cert")...), Message: fmt.Sprintf("%v: %v", cert, err)})
			return
		}
		if _, err := tls.X509KeyPair([]byte(chain), private); err != nil {
			faults = append(faults, config.Fault{Path: config.Path(append(parts, "key")...), Message: fmt.Sprintf("%v does not go with the certificate in %v: %v", key, cert, err)})
		}
	}
	for i, l := range conf.Listen {
		check(l.TLS.Cert, l.TLS.Key, "listen", i, "tls")
	}
	for _, u := range conf.Upstreams {
		check(u.TLS.Cert, u.TLS.Key, "upstreams", u.Name, "tls")
	}
	return faults
}

// parseLeaf reads the first certificate of a chain.
func parseLeaf(chain []byte) error {
	for block, rest := pem.Decode(chain); block != nil; block, rest = pem.Decode(rest) {
		if block.Type == "CERTIFICATE" {
			_, err := x509.ParseCertificate(block.Bytes)
			return err
		}
	}
	return errors.New("no PEM certificate in it")
}
