package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pggateway/sqlstate"
	"pggateway/wire"
)

// direct begins with TLS at once.
func (p *peer) direct(protocols ...string) {
	p.t.Helper()
	c := tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
	if err := c.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	p.conn = c
	p.r.Reset(c)
}

// dripping sends each byte on its own.
type dripping struct{ net.Conn }

func (d dripping) Write(b []byte) (int, error) {
	for i := range b {
		if n, err := d.Conn.Write(b[i : i+1]); err != nil {
			return i + n, err
		}
	}
	return len(b), nil
}

func TestDriverBeginsWithTLS(t *testing.T) {
	td := openDoor(t, testConfig())
	for _, listener := range []int{allow, require} {
		ctx, stop := context.WithTimeout(t.Context(), patience)
		defer stop()
		conn, err := pgconn.Connect(ctx, fmt.Sprintf("postgres://sync:%s@%s/orders?sslmode=require&sslnegotiation=direct",
			strings.ReplaceAll(password, " ", "%20"), td.addresses()[listener]))
		if err != nil {
			t.Fatal(err)
		}
		if c := <-td.clients; c.tls == nil || c.tls.ConnectionState().NegotiatedProtocol != alpn {
			t.Errorf("listener %d: the connection is not what was asked for", listener)
		}
		_ = conn.Close(ctx)
	}
}

// Within TLS that began at once everything is as it is after SSLRequest, and a
// request for encryption is told that there is none to be had.
func TestDirectTLS(t *testing.T) {
	td := openDoor(t, testConfig())
	t.Run("other protocols beside ours", func(t *testing.T) {
		p := td.dial(t, require)
		p.direct("http/1.1", alpn)
		p.login("sync", "orders")
	})
	t.Run("requests within", func(t *testing.T) {
		p := td.dial(t, allow)
		p.direct(alpn)
		for _, request := range [][]byte{sslRequest, gssRequest} {
			p.send(request)
			if got := p.answer(); got != 'N' {
				t.Errorf("answered %c", got)
			}
		}
		p.login("sync", "orders")
	})
	t.Run("TLS within TLS", func(t *testing.T) {
		p := td.dial(t, allow)
		p.direct(alpn)
		p.send([]byte{tlsHandshakeRecord, 3, 1, 2, 0, 1, 2, 3})
		p.closed()
	})
	t.Run("byte by byte", func(t *testing.T) {
		p := td.dial(t, allow)
		p.conn = dripping{p.conn}
		p.direct(alpn)
		p.login("sync", "orders")
	})
	t.Run("refused within", func(t *testing.T) {
		p := td.dial(t, require)
		p.direct(alpn)
		p.send(startup(wire.Version30, "database", "orders"))
		if f := p.fatal(); f.Code != sqlstate.InvalidAuthorization || f.Message != "no PostgreSQL user name specified in startup packet" {
			t.Errorf("refused with %+v", f)
		}
	})
	t.Run("cancel within", func(t *testing.T) {
		p := td.dial(t, require)
		p.direct(alpn)
		p.send(wire.AppendCancelRequest(nil, wire.CancelKey{PID: 1, Secret: []byte{1, 2, 3, 4}}))
		<-td.cancels
		p.closed()
	})
}

// Who begins with TLS and is refused gets TLS's alert or an end, and never a byte
// of PostgreSQL's protocol in plaintext.
func TestDirectTLSRefused(t *testing.T) {
	hello := func(p *peer, protocols ...string) error {
		c := tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols})
		if err := c.Handshake(); err != nil {
			return err
		}
		_, err := c.Read(make([]byte, 1))
		return err
	}
	var alert tls.AlertError
	for _, tt := range []struct {
		name     string
		listener int
		ask      func(p *peer) error
		want     func(error) bool
		reason   string // in the log
	}{
		{
			"no ALPN", allow, func(p *peer) error { return hello(p) },
			func(err error) bool { return err == io.EOF }, `did not offer the ALPN protocol "postgresql"`,
		},
		{
			"another protocol", allow, func(p *peer) error { return hello(p, "http/1.1", "h2") },
			func(err error) bool { return strings.Contains(err.Error(), "no application protocol") }, "TLS handshake: ",
		},
		{
			"another protocol after SSLRequest", allow, func(p *peer) error {
				p.send(sslRequest)
				p.answer()
				return hello(p, "http/1.1")
			},
			func(err error) bool { return strings.Contains(err.Error(), "no application protocol") }, "TLS handshake: ",
		},
		{
			"no TLS there", plain, func(p *peer) error { return hello(p, alpn) },
			func(err error) bool { return err == io.EOF }, "began with TLS, which this listener does not have",
		},
		{
			"not TLS after all", allow, func(p *peer) error {
				p.send(append([]byte{tlsHandshakeRecord}, "NOT A CLIENT HELLO AT ALL"...))
				got, err := io.ReadAll(p.conn)
				if len(got) > 0 && got[0] != 0x15 {
					t.Errorf("answered %q", got)
				}
				return err
			},
			func(error) bool { return true }, "TLS handshake: ",
		},
		{
			"after a refused GSSENCRequest", allow, func(p *peer) error {
				p.send(gssRequest)
				p.answer()
				return hello(p, alpn)
			},
			func(err error) bool { return !errors.As(err, &alert) }, "TLS where a startup packet must be",
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			td := openDoor(t, testConfig())
			p := td.dial(t, tt.listener)
			if err := tt.ask(p); err == nil && tt.name != "not TLS after all" || err != nil && !tt.want(err) {
				t.Errorf("the client sees %v", err)
			}
			eventually(t, "the end is logged", func() bool { return td.logs.FilterMessage("login failed").Len() == 1 })
			if reason := td.logs.FilterMessage("login failed").All()[0].ContextMap()["reason"].(string); !strings.Contains(reason, tt.reason) {
				t.Errorf("reason %q, want %q in it", reason, tt.reason)
			}
		})
	}
}

// A client over TLS is told in words that it took too long, and one that is still
// in the handshake is not told in plaintext.
func TestDirectTLSDeadline(t *testing.T) {
	conf := testConfig()
	conf.Limits.LoginTimeout = 300 * time.Millisecond
	td := openDoor(t, conf)
	p := td.dial(t, allow)
	p.direct(alpn)
	if f := p.fatal(); f.Code != sqlstate.QueryCanceled {
		t.Errorf("refused with %+v", f)
	}
	p = td.dial(t, allow)
	p.send([]byte{tlsHandshakeRecord, 3, 1, 2, 0, 1})
	if got, _ := io.ReadAll(p.conn); bytes.Contains(got, []byte("FATAL")) {
		t.Errorf("plaintext %q in the middle of a handshake", got)
	}
}
