package main

import (
	"fmt"
	"strings"
	"testing"

	"pggateway/e2e/kit"
)

// TestValidatePairs: a key that does not go with its certificate is shown where it
// was written, and so is a certificate that is none; pairs that match, or are not
// here, are no mistakes.
func TestValidatePairs(t *testing.T) {
	ca := kit.NewCA(t, "test")
	a, b := ca.Issue(t, kit.CertRequest{Names: []string{"a"}}), ca.Issue(t, kit.CertRequest{Names: []string{"b"}})
	text := func(listen, cert, key string) string {
		return strings.Replace(strings.Replace(oneRoute(5432, "env:W"), "tls: {mode: disable}", fmt.Sprintf("tls: {cert: file:%s, key: file:%s}", cert, key), 1),
			`{address: "127.0.0.1:0"}`, fmt.Sprintf(`{address: "127.0.0.1:0", tls: {mode: allow, cert: file:%s, key: file:%s}}`, a.CertFile, listen), 1)
	}
	for name, tt := range map[string]struct {
		text string
		want []string // in stderr; none: good
	}{
		"good":        {text(a.KeyFile, b.CertFile, b.KeyFile), nil},
		"not here":    {text("/nonexistent/a.key", "/nonexistent/b.crt", "/nonexistent/b.key"), nil},
		"upstream":    {text(a.KeyFile, b.CertFile, a.KeyFile), []string{":8:", "upstreams.orders.tls.key: file:" + a.KeyFile + " does not go with the certificate in file:" + b.CertFile}},
		"listener":    {text(b.KeyFile, b.CertFile, b.KeyFile), []string{":2:", "listen[0].tls.key: file:" + b.KeyFile + " does not go with"}},
		"both":        {text(b.KeyFile, b.CertFile, a.KeyFile), []string{"listen[0].tls.key:", "upstreams.orders.tls.key:"}},
		"a key twice": {text(a.KeyFile, b.KeyFile, b.KeyFile), []string{"upstreams.orders.tls.cert: file:" + b.KeyFile + ": no PEM certificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := gateway(t, "", "validate", "-c", write(t, "gateway.yaml", tt.text))
			if want := map[bool]int{true: exitOK, false: exitUsage}[len(tt.want) == 0]; r.code != want {
				t.Errorf("exit code %d, want %d: %s%s", r.code, want, r.stdout, r.stderr)
			}
			for _, want := range tt.want {
				if !strings.Contains(r.stderr, want) {
					t.Errorf("stderr does not say %q:\n%s", want, r.stderr)
				}
			}
		})
	}
}
