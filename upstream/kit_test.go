package upstream

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"pggateway/config"
	"pggateway/secret"
)

// names is a resolver whose answers the test changes.
type names map[string][]netip.Addr

func (n names) LookupNetIP(_ context.Context, _, host string) ([]netip.Addr, error) {
	if a := n[host]; len(a) > 0 {
		return a, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
}

const host = "db.example"

func file(path string) config.Secret { return config.Secret{Scheme: config.SchemeFile, Ref: path} }

func literal(text string) config.Secret {
	return config.Secret{Scheme: config.SchemeLiteral, Ref: text}
}

// dependencies resolve db.example to 127.0.0.1.
func dependencies() Dependencies {
	return Dependencies{
		Secrets:  secret.NewResolver(os.Getenv, os.ReadFile),
		Log:      zap.NewNop(),
		Now:      time.Now,
		Resolver: names{host: {netip.MustParseAddr("127.0.0.1")}},
	}
}

// impatient wait half a second at most.
func impatient() Dependencies {
	const half = 500 * time.Millisecond
	d := dependencies()
	d.Timeouts = Timeouts{Dial: half, SSH: half, TLS: half, Login: half}
	return d
}

func upstreamAt(port int, change func(*config.Upstream)) *config.Upstream {
	u := &config.Upstream{
		Name: "orders", Kind: config.KindPostgres, Host: host, Port: uint16(port),
		TLS:   config.UpstreamTLS{Mode: config.TLSDisable, CA: config.CASystem, Negotiation: config.NegotiationPostgres},
		Login: config.Login{User: "sync_writer", Password: literal("hunter22")},
	}
	if change != nil {
		change(u)
	}
	return u
}

func mustTarget(t *testing.T, d Dependencies, u *config.Upstream) *Target {
	t.Helper()
	target, err := NewTarget(t.Context(), d, u, &u.Login, "orders")
	if err != nil {
		t.Fatal(err)
	}
	return target
}

func mustOpen(t *testing.T, target *Target) *Conn {
	t.Helper()
	c, err := target.Open(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

// wantError checks an error's stage and texts, and that its public text says the
// one thing and gives nothing away.
func wantError(t *testing.T, err error, stage Stage, public string, texts ...string) {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("error %v is no *Error", err)
	}
	if e.Stage != stage {
		t.Errorf("stage %s, want %s: %v", e.Stage, stage, err)
	}
	if e.Public() != public {
		t.Errorf("public %q, want %q: %v", e.Public(), public, err)
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("error %q does not say %q", err, text)
		}
	}
	for _, secret := range []string{host, "127.0.0", "sync_writer", "hunter22"} {
		if strings.Contains(e.Public(), secret) {
			t.Errorf("public text %q names %q", e.Public(), secret)
		}
	}
	if strings.Contains(err.Error(), "hunter22") {
		t.Errorf("error %q has the password in it", err)
	}
}

// noLeaks fails the test when it leaves goroutines behind. Call it first.
func noLeaks(t *testing.T) {
	t.Helper()
	before := runtime.NumGoroutine()
	t.Cleanup(func() {
		for range 200 {
			if runtime.NumGoroutine() <= before {
				return
			}
			time.Sleep(10 * time.Millisecond)
		}
		buf := make([]byte, 1<<20)
		t.Errorf("%d goroutines before, %d after:\n%s", before, runtime.NumGoroutine(), buf[:runtime.Stack(buf, true)])
	})
}
