package upstream

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"pggateway/config"
	"pggateway/e2e/kit"
	"pggateway/upstream/bastion"
	"pggateway/upstream/login"
	"pggateway/wire"
)

func TestOpen(t *testing.T) {
	noLeaks(t)
	startups := make(chan *pgproto3.StartupMessage, 1)
	s := kit.StartScripted(t, func(c *kit.ScriptConn) {
		m, ok := c.Startup(nil)
		if !ok {
			return
		}
		startups <- m
		c.Welcome()
		c.Silence()
	})
	d := impatient()
	d.Egress.SourceIP = netip.MustParseAddr("127.0.0.2")
	c := mustOpen(t, mustTarget(t, d, upstreamAt(s.Port, nil)))
	m := <-startups
	want := map[string]string{"user": "sync_writer", "database": "orders", "application_name": "gateway"}
	if len(m.Parameters) != len(want) || m.ProtocolVersion != wire.Version32 {
		t.Errorf("startup %v, version %d", m.Parameters, m.ProtocolVersion)
	}
	for name, value := range want {
		if m.Parameters[name] != value {
			t.Errorf("startup parameter %s is %q, want %q", name, m.Parameters[name], value)
		}
	}
	if c.TLS != nil || len(c.Leftover) != 0 || len(c.Parameters) != 2 || c.Parameters[0].Name != "server_version" {
		t.Errorf("connection %+v", c)
	}
	if local := c.Transport.LocalAddr().(*net.TCPAddr).IP.String(); local != "127.0.0.2" {
		t.Errorf("connected from %s", local)
	}
	// No deadline of a stage is left behind.
	time.Sleep(700 * time.Millisecond)
	_ = c.Transport.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	began := time.Now()
	if _, err := c.Transport.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) || time.Since(began) < 10*time.Millisecond {
		t.Errorf("read: %v after %s", err, time.Since(began))
	}
}

func TestHostAddr(t *testing.T) {
	s := kit.StartScripted(t, func(c *kit.ScriptConn) {
		if _, ok := c.Startup(nil); ok {
			c.Welcome()
			c.Silence()
		}
	})
	d := dependencies()
	d.Resolver = names{}
	mustOpen(t, mustTarget(t, d, upstreamAt(s.Port, func(u *config.Upstream) { u.HostAddr = "127.0.0.1" })))
}

func TestLeftover(t *testing.T) {
	s := kit.StartScripted(t, func(c *kit.ScriptConn) {
		if _, ok := c.Startup(nil); !ok {
			return
		}
		c.Say(&pgproto3.AuthenticationOk{}, &pgproto3.BackendKeyData{ProcessID: 1, SecretKey: []byte{1, 2, 3, 4}},
			&pgproto3.ReadyForQuery{TxStatus: 'I'}, &pgproto3.NoticeResponse{Message: "unasked"})
		c.Silence()
	})
	c := mustOpen(t, mustTarget(t, dependencies(), upstreamAt(s.Port, nil)))
	if len(c.Leftover) == 0 || c.Leftover[0] != 'N' {
		t.Errorf("leftover %q", c.Leftover)
	}
}

func TestNewTargetRefuses(t *testing.T) {
	ca := kit.NewCA(t, "test")
	pair := ca.Issue(t, kit.CertRequest{Names: []string{"gateway"}, Client: true})
	loose := kit.WriteFile(t, kit.Dir(t), "loose.key", "x")
	if err := os.Chmod(loose, 0o644); err != nil {
		t.Fatal(err)
	}
	iam := func(u *config.Upstream) {
		u.Kind, u.Host = config.KindRDS, "acme.c9akciq32.us-east-1.rds.amazonaws.com"
		u.Login = config.Login{User: "w", IAM: &config.IAM{}}
		u.TLS = config.UpstreamTLS{Mode: config.TLSVerifyFull, CA: config.CARDS}
	}
	for name, tt := range map[string]struct {
		change func(*config.Upstream)
		want   string
	}{
		"dsql":        {func(u *config.Upstream) { u.Kind = config.KindDSQL }, "not supported yet"},
		"privatelink": {func(u *config.Upstream) { u.Via.PrivateLink = &config.PrivateLink{} }, "not supported yet"},
		"no login":    {func(u *config.Upstream) { u.Login = config.Login{User: "w"} }, "none of"},
		"cert without one": {func(u *config.Upstream) {
			u.Login = config.Login{User: "w", Cert: true}
			u.TLS.Mode = config.TLSRequire
		}, "tls.cert"},
		"ca file missing": {func(u *config.Upstream) {
			u.TLS = config.UpstreamTLS{Mode: config.TLSVerifyFull, CA: config.CAFile, CAFile: file("/nonexistent.pem")}
		}, "tls.ca: file:"},
		"ca file empty": {func(u *config.Upstream) {
			u.TLS = config.UpstreamTLS{Mode: config.TLSVerifyFull, CA: config.CAFile, CAFile: file(pair.KeyFile)}
		}, "no PEM certificate"},
		"key readable by all": {func(u *config.Upstream) {
			u.TLS = config.UpstreamTLS{Mode: config.TLSRequire, Cert: file(pair.CertFile), Key: file(loose)}
		}, "tls.key: file:"},
		"iam without verification": {func(u *config.Upstream) { iam(u); u.TLS.Mode = config.TLSRequire }, "verify-full"},
		"iam with the roots of all": {func(u *config.Upstream) {
			iam(u)
			u.TLS.Mode = config.TLSVerifyCA
		}, "verify-full"},
		"iam without a region": {func(u *config.Upstream) { iam(u); u.Host = host }, "region"},
	} {
		t.Run(name, func(t *testing.T) {
			u := upstreamAt(5432, tt.change)
			d := dependencies()
			d.Tokens = tokens(nil)
			target, err := NewTarget(t.Context(), d, u, &u.Login, "orders")
			if target != nil || err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
	u := upstreamAt(5432, iam)
	d := dependencies()
	d.Tokens = tokens(nil)
	u.HostAddr = "10.0.3.17"
	target := mustTarget(t, d, u)
	if want := "acme.c9akciq32.us-east-1.rds.amazonaws.com:5432"; target.token.HostPort != want || target.token.Region != "us-east-1" || target.method != login.Token {
		t.Errorf("token is for %+v, want %s", target.token, want)
	}
}

// TestBastion goes through a real sshd, with TLS to the name that only the bastion
// could resolve, and cancels by the same way.
func TestBastion(t *testing.T) {
	noLeaks(t)
	ca := kit.NewCA(t, "test")
	cert := ca.Issue(t, kit.CertRequest{Names: []string{host}})
	cancelled := make(chan struct{}, 1)
	s := kit.StartScripted(t, func(c *kit.ScriptConn) {
		m, ok := c.Startup(cert)
		if !ok {
			select {
			case cancelled <- struct{}{}:
			default:
			}
			return
		}
		if m.Parameters["database"] != "orders" {
			return
		}
		c.Welcome()
		c.Silence()
	})
	key := kit.NewSSHKey(t)
	sshd := kit.StartSSHD(t, kit.SSHDOptions{AuthorizedKeys: []string{key.Public}})
	d := dependencies()
	d.Resolver = names{} // nothing is resolved on this side
	d.Bastions = bastion.NewSet(t.Context(), bastion.Options{Secrets: d.Secrets})
	defer d.Bastions.Close()
	via := func(u *config.Upstream) {
		u.HostAddr = "localhost"
		u.TLS = config.UpstreamTLS{Mode: config.TLSVerifyFull, CA: config.CAFile, CAFile: file(ca.File)}
		u.Via.SSH = &config.Bastion{
			Host: sshd.Host, Port: uint16(sshd.Port), User: sshd.User,
			Identity: file(key.File), HostKeys: []string{sshd.HostKey.Public},
		}
	}
	c := mustOpen(t, mustTarget(t, d, upstreamAt(s.Port, via)))
	if c.TLS == nil {
		t.Fatal("no TLS")
	}
	_ = c.TLS.SetReadDeadline(time.Now().Add(20 * time.Millisecond))
	if _, err := c.TLS.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("read through the bastion: %v", err)
	}
	if err := c.Cancel(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case <-cancelled:
	case <-time.After(5 * time.Second):
		t.Error("no cancel request came")
	}
	_, err := mustTarget(t, d, upstreamAt(s.Port, func(u *config.Upstream) { via(u); u.HostAddr = "no.invalid" })).Open(t.Context())
	wantError(t, err, StageSSH, "The bastion could not connect to the database.", "no.invalid:"+strconv.Itoa(s.Port))
	_, err = mustTarget(t, d, upstreamAt(s.Port, func(u *config.Upstream) {
		via(u)
		u.Via.SSH.HostKeys = []string{key.Public}
	})).Open(t.Context())
	wantError(t, err, StageSSH, "The bastion's host key is not the one that is pinned.", "host key mismatch")
	var b *bastion.Error
	if !errors.As(err, &b) || b.Kind != bastion.HostKey {
		t.Errorf("error %v is no bastion.Error", err)
	}
	sshd.Kill()
	if _, err := c.Transport.Read(make([]byte, 1)); err != nil && !errors.Is(err, io.EOF) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Logf("after the bastion's end: %v", err)
	}
}
