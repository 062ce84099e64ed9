package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/jackc/pgx/v5/pgproto3"

	"pggateway/cloud"
	"pggateway/config"
	"pggateway/e2e/kit"
	"pggateway/upstream/iam"
	"pggateway/wire"
)

// TestCancelGoesToTheSameAddress: a name that stands for several servers gives
// another one at each lookup.
func TestCancelGoesToTheSameAddress(t *testing.T) {
	noLeaks(t)
	listeners := map[string]net.Listener{}
	cancels := make(chan string, 4)
	port := 0
	for _, ip := range []string{"127.0.0.1", "127.0.0.3"} {
		l, err := net.Listen("tcp", net.JoinHostPort(ip, itoa(port)))
		if err != nil {
			t.Fatal(err)
		}
		port = l.Addr().(*net.TCPAddr).Port
		listeners[ip] = l
	}
	var all sync.WaitGroup
	for ip, l := range listeners {
		all.Go(func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				all.Go(func() {
					defer c.Close()
					k := &kit.ScriptConn{Conn: c, N: 7}
					var head [16]byte
					if _, err := io.ReadFull(c, head[:]); err != nil {
						return
					}
					if binary.BigEndian.Uint32(head[4:]) == 80877102 {
						if binary.BigEndian.Uint32(head[8:]) == 7 && binary.BigEndian.Uint32(head[12:]) == 0x01020304 {
							cancels <- ip
						}
						return
					}
					k.Welcome()
					k.Silence()
				})
			}
		})
	}
	t.Cleanup(func() {
		for _, l := range listeners {
			l.Close()
		}
		all.Wait()
	})
	d := dependencies()
	n := names{host: {netip.MustParseAddr("127.0.0.3")}}
	d.Resolver = n
	c := mustOpen(t, mustTarget(t, d, upstreamAt(port, nil)))
	n[host] = []netip.Addr{netip.MustParseAddr("127.0.0.1")}
	if err := c.Cancel(t.Context()); err != nil {
		t.Fatal(err)
	}
	select {
	case ip := <-cancels:
		if ip != "127.0.0.3" {
			t.Errorf("the cancel request went to %s", ip)
		}
	default:
		t.Error("Cancel returned before the server had the request")
	}
	c.Close()
}

func itoa(port int) string {
	if port == 0 {
		return "0"
	}
	return netip.AddrPortFrom(netip.IPv4Unspecified(), uint16(port)).String()[len("0.0.0.0:"):]
}

func TestCancelIsBounded(t *testing.T) {
	noLeaks(t)
	s := kit.StartScripted(t, func(c *kit.ScriptConn) {
		if c.N > 1 {
			c.Silence()
			return
		}
		if _, ok := c.Startup(nil); ok {
			c.Welcome()
			c.Silence()
		}
	})
	d := dependencies()
	d.Timeouts.Login = 500 * time.Millisecond
	c := mustOpen(t, mustTarget(t, d, upstreamAt(s.Port, nil)))
	wantError(t, c.Cancel(t.Context()), StageLogin, "The upstream did not take the cancel request.", "500ms")
	ctx, stop := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer stop()
	began := time.Now()
	if err := c.Cancel(ctx); !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 400*time.Millisecond {
		t.Errorf("%v after %s", err, time.Since(began))
	}
}

func TestNoCancelKey(t *testing.T) {
	s := kit.StartScripted(t, func(c *kit.ScriptConn) {
		if _, ok := c.Startup(nil); ok {
			c.Say(&pgproto3.AuthenticationOk{}, &pgproto3.ReadyForQuery{TxStatus: 'I'})
			c.Silence()
		}
	})
	c := mustOpen(t, mustTarget(t, dependencies(), upstreamAt(s.Port, nil)))
	if err := c.Cancel(t.Context()); !errors.Is(err, ErrNoCancel) {
		t.Errorf("cancel: %v", err)
	}
	if n := s.Seen(); n != 1 {
		t.Errorf("%d connections", n)
	}
}

// keys counts how often credentials are asked for: once for each token minted.
type keys struct {
	mu sync.Mutex
	n  int
}

func (k *keys) Credentials(cloud.Role, string) aws.CredentialsProvider { return k }

func (k *keys) Retrieve(context.Context) (aws.Credentials, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.n++
	return aws.Credentials{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "secret"}, nil
}

func (k *keys) minted() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.n
}

func tokens(k *keys) *iam.Tokens {
	if k == nil {
		k = &keys{}
	}
	return iam.NewTokens(k, time.Now)
}

// TestToken logs in with IAM at a server that refuses the first so many logins.
func TestToken(t *testing.T) {
	const endpoint = "acme.c9akciq32.us-east-1.rds.amazonaws.com"
	ca := kit.NewCA(t, "test")
	cert := ca.Issue(t, kit.CertRequest{Names: []string{endpoint}})
	for name, tt := range map[string]struct {
		refuse      int
		code        string
		fails       bool
		connections int
		minted      int
	}{
		"accepted":      {0, "28000", false, 1, 1},
		"refused once":  {1, "28000", false, 2, 2},
		"refused, 28P0": {1, "28P01", false, 2, 2},
		"refused twice": {2, "28000", true, 2, 2},
		"other error":   {1, "53300", true, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			passwords := make(chan string, 4)
			s := kit.StartScripted(t, func(c *kit.ScriptConn) {
				if _, ok := c.Startup(cert); !ok {
					return
				}
				c.Say(&pgproto3.AuthenticationCleartextPassword{})
				head := make([]byte, 5)
				if _, err := io.ReadFull(c.Conn, head); err != nil {
					return
				}
				body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
				if _, err := io.ReadFull(c.Conn, body); err != nil {
					return
				}
				passwords <- string(body[:len(body)-1])
				if c.N <= tt.refuse {
					c.Say(&pgproto3.ErrorResponse{
						Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: tt.code,
						Message: `PAM authentication failed for user "sync_writer"`,
					})
					return
				}
				c.Welcome()
				c.Silence()
			})
			d := dependencies()
			k := &keys{}
			d.Tokens = tokens(k)
			target := mustTarget(t, d, upstreamAt(s.Port, func(u *config.Upstream) {
				u.Kind, u.Host, u.HostAddr = config.KindRDS, endpoint, "127.0.0.1"
				u.TLS = config.UpstreamTLS{Mode: config.TLSVerifyFull, CA: config.CAFile, CAFile: file(ca.File)}
				u.Login = config.Login{User: "sync_writer", IAM: &config.IAM{}}
			}))
			c, err := target.Open(t.Context())
			if tt.fails {
				want := "The upstream refused the gateway's login."
				if tt.code == "53300" {
					want = "The upstream has no connection left."
				}
				wantError(t, err, StageLogin, want)
			} else {
				if err != nil {
					t.Fatal(err)
				}
				defer c.Close()
				second, err := target.Open(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				defer second.Close()
				tt.connections++ // with the token that is kept
			}
			if n := s.Seen(); n != tt.connections {
				t.Errorf("%d connections, want %d", n, tt.connections)
			}
			if n := k.minted(); n != tt.minted {
				t.Errorf("%d tokens minted, want %d", n, tt.minted)
			}
			want := endpoint + ":" + itoa(s.Port) + "?Action=connect&DBUser=sync_writer"
			for range tt.connections {
				if p := <-passwords; len(p) < len(want) || p[:len(want)] != want {
					t.Errorf("password %.60s…", p)
				}
			}
		})
	}
}

// TestCancelOverTLS: the request goes over TLS where the connection does, begun in
// the same way.
func TestCancelOverTLS(t *testing.T) {
	noLeaks(t)
	ca := kit.NewCA(t, "test")
	cert := ca.Issue(t, kit.CertRequest{Names: []string{host}})
	for _, negotiation := range []config.Negotiation{config.NegotiationPostgres, config.NegotiationDirect} {
		t.Run(string(negotiation), func(t *testing.T) {
			got := make(chan []byte, 1)
			s := kit.StartScripted(t, func(c *kit.ScriptConn) {
				if negotiation == config.NegotiationPostgres {
					var request [8]byte
					if _, err := io.ReadFull(c.Conn, request[:]); err != nil || !c.Send([]byte("S")) {
						return
					}
				}
				secure := tls.Server(c.Conn, &tls.Config{Certificates: []tls.Certificate{cert.TLS}, NextProtos: []string{alpn}})
				if secure.Handshake() != nil {
					return
				}
				c.Conn = secure
				if c.N > 1 {
					b := make([]byte, 512)
					n, _ := io.ReadAtLeast(c, b, 12+wire.MaxSecret)
					got <- b[:n]
					return
				}
				if _, ok := c.Startup(nil); ok {
					c.Say(&pgproto3.AuthenticationOk{},
						&pgproto3.BackendKeyData{ProcessID: 7, SecretKey: bytes.Repeat([]byte("k"), wire.MaxSecret)},
						&pgproto3.ReadyForQuery{TxStatus: 'I'})
					c.Silence()
				}
			})
			c := mustOpen(t, mustTarget(t, dependencies(), upstreamAt(s.Port, func(u *config.Upstream) {
				u.TLS = config.UpstreamTLS{Mode: config.TLSVerifyFull, CA: config.CAFile, CAFile: file(ca.File), Negotiation: negotiation}
			})))
			if err := c.Cancel(t.Context()); err != nil {
				t.Fatal(err)
			}
			want := wire.AppendCancelRequest(nil, wire.CancelKey{PID: 7, Secret: bytes.Repeat([]byte("k"), wire.MaxSecret)})
			if b := <-got; !bytes.Equal(b, want) {
				t.Errorf("the server got %d bytes, %.40q…; want %d", len(b), b, len(want))
			}
		})
	}
}
