package proxy

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"pggateway/config"
)

func TestServerTLS(t *testing.T) {
	crt, key := selfSigned(t, time.Now().Add(time.Hour))
	_, other := selfSigned(t, time.Now().Add(time.Hour))
	s := fakeSecrets{"env:CRT": crt, "env:KEY": key, "env:OTHER": other, "env:JUNK": "junk"}
	tests := []struct {
		name, cert, key string
		want            string // in the error
	}{
		{"good", "CRT", "KEY", ""},
		{"no certificate", "NONE", "KEY", "tls.cert: env:NONE"},
		{"no key", "CRT", "NONE", "tls.key: env:NONE"},
		{"another certificate's key", "CRT", "OTHER", "private key does not match"},
		{"not PEM", "JUNK", "KEY", "tls.cert: env:JUNK with the key env:KEY"},
		{"swapped", "KEY", "CRT", "tls.cert: env:KEY with the key env:CRT"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newServerTLS(t.Context(), config.ListenTLS{Mode: config.ListenTLSAllow, Cert: env(tt.cert), Key: env(tt.key)}, s)
			if tt.want == "" {
				if err != nil || len(c.Certificates) != 1 {
					t.Fatalf("config %v, error %v", c, err)
				}
				return
			}
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q in it", err, tt.want)
			}
			if strings.Contains(err.Error(), "PRIVATE KEY") || strings.Contains(err.Error(), "junk") {
				t.Errorf("the error gives a secret away: %v", err)
			}
		})
	}
	if c, err := newServerTLS(t.Context(), config.ListenTLS{Mode: config.ListenTLSDisable, Cert: env("NONE")}, s); c != nil || err != nil {
		t.Errorf("without TLS: %v, %v", c, err)
	}
}

func TestExpiredCertificateIsSaid(t *testing.T) {
	for _, valid := range []bool{true, false} {
		end := time.Now().Add(-time.Hour)
		if valid {
			end = time.Now().Add(time.Hour)
		}
		crt, key := selfSigned(t, end)
		c, err := newServerTLS(t.Context(), config.ListenTLS{Mode: config.ListenTLSAllow, Cert: env("C"), Key: env("K")},
			fakeSecrets{"env:C": crt, "env:K": key})
		if err != nil {
			t.Fatal(err)
		}
		core, logs := observer.New(zapcore.WarnLevel)
		warnExpired(zap.New(core), "127.0.0.1:5432", c, time.Now())
		if said := logs.Len() > 0; said == valid {
			t.Errorf("valid %v, said so %v", valid, said)
		}
	}
}

// Two starts with one key have one seed; another key has another, and so has
// every start without a key.
func TestMockSeed(t *testing.T) {
	listenerWith := func(crt, key string) *listener {
		c, err := newServerTLS(t.Context(), config.ListenTLS{Mode: config.ListenTLSAllow, Cert: env("C"), Key: env("K")},
			fakeSecrets{"env:C": crt, "env:K": key})
		if err != nil {
			t.Fatal(err)
		}
		return &listener{tls: c}
	}
	crt, key := selfSigned(t, time.Now().Add(time.Hour))
	one := mockSeed([]*listener{{}, listenerWith(crt, key)})
	again := mockSeed([]*listener{listenerWith(crt, key)})
	other := mockSeed([]*listener{listenerWith(selfSigned(t, time.Now().Add(time.Hour)))})
	if !bytes.Equal(one, again) || bytes.Equal(one, other) || len(one) != 32 {
		t.Errorf("seeds %x, %x, another key's %x", one, again, other)
	}
	if bytes.Equal(mockSeed(nil), mockSeed(nil)) {
		t.Error("without a key the seed can be known")
	}
}
