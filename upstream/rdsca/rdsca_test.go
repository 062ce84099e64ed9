package rdsca

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestRoots reads the bundle with its own loop: AppendCertsFromPEM passes over
// what it cannot parse, so its pool alone proves nothing.
func TestRoots(t *testing.T) {
	now := time.Now()
	rds, amazon := 0, 0
	seen := map[string]bool{}
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			if bytes.Contains(rest, []byte("BEGIN")) {
				t.Error("the bundle ends with something that is not PEM")
			}
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		name := c.Subject.CommonName
		if now.After(c.NotAfter) || now.Before(c.NotBefore) {
			t.Errorf("%s is valid from %s to %s", name, c.NotBefore, c.NotAfter)
		}
		if !c.IsCA || c.CheckSignatureFrom(c) != nil {
			t.Errorf("%s is not self-signed, or no CA", name)
		}
		if seen[string(c.Raw)] {
			t.Errorf("%s is there twice", name)
		}
		seen[string(c.Raw)] = true
		switch {
		case strings.HasPrefix(name, "Amazon RDS ") && strings.HasSuffix(name, " G1"):
			rds++
		case strings.HasPrefix(name, "Amazon Root CA "), strings.HasPrefix(name, "Starfield Services Root "):
			amazon++
		default:
			t.Errorf("%s is no root of Amazon's", name)
		}
	}
	// Three for each region (RSA 2048, RSA 4096, ECC 384), and what RDS Proxy's certificates lead to.
	if rds < 87 || rds%3 != 0 || amazon != 5 {
		t.Errorf("%d roots of RDS and %d of Amazon Trust Services", rds, amazon)
	}
	if want := fmt.Sprintf("%d roots", rds+amazon); !bytes.Contains(bundle, []byte(want)) {
		t.Errorf("the bundle's heading does not say %q", want)
	}
}

func TestPoolIsWhole(t *testing.T) {
	want := x509.NewCertPool()
	for rest := bundle; ; {
		var block *pem.Block
		if block, rest = pem.Decode(rest); block == nil {
			break
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			t.Fatal(err)
		}
		want.AddCert(c)
	}
	if !Pool().Equal(want) {
		t.Error("the pool lacks certificates of the bundle")
	}
	if first, second := Pool(), Pool(); first != second {
		t.Error("the pool is made more than once")
	}
}
