package e2e

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"github.com/xdg-go/scram"

	"pggateway/e2e/kit"
)

// offeredSASL begins a login and returns the mechanisms offered.
func offeredSASL(t *testing.T, address string, secured bool) (front *pgproto3.Frontend, leaf *x509.Certificate, offered []string) {
	t.Helper()
	conn, err := net.DialTimeout("tcp", address, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	_ = conn.SetDeadline(time.Now().Add(30 * time.Second))
	if secured {
		ask, _ := (&pgproto3.SSLRequest{}).Encode(nil)
		if _, err := conn.Write(ask); err != nil {
			t.Fatal(err)
		}
		var b [1]byte
		if _, err := io.ReadFull(conn, b[:]); err != nil || b[0] != 'S' {
			t.Fatalf("answered %q, %v", b, err)
		}
		c := tls.Client(conn, &tls.Config{InsecureSkipVerify: true})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		conn, leaf = c, c.ConnectionState().PeerCertificates[0]
	}
	front = pgproto3.NewFrontend(conn, conn)
	sasl, ok := exchange(t, front, &pgproto3.StartupMessage{
		ProtocolVersion: pgproto3.ProtocolVersion30, Parameters: map[string]string{"user": writer, "database": "app"},
	}).(*pgproto3.AuthenticationSASL)
	if !ok {
		t.Fatal("no mechanism is offered")
	}
	return front, leaf, sasl.AuthMechanisms
}

// exchange sends a message and returns what comes next.
func exchange(t *testing.T, front *pgproto3.Frontend, m pgproto3.FrontendMessage) pgproto3.BackendMessage {
	t.Helper()
	front.Send(m)
	if err := front.Flush(); err != nil {
		t.Fatal(err)
	}
	answer, err := front.Receive()
	if err != nil {
		t.Fatal(err)
	}
	return answer
}

// refusalIn is what an ErrorResponse says, or what came instead.
func refusalIn(m pgproto3.BackendMessage) string {
	if e, ok := m.(*pgproto3.ErrorResponse); ok {
		return fmt.Sprintf("%s %s %s", e.Severity, e.Code, e.Message)
	}
	return fmt.Sprintf("%T", m)
}

// TestChannelBindingLikePostgres has PostgreSQL and the gateway refuse what does
// not fit, and compares codes and words.
func TestChannelBindingLikePostgres(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	cert := h.ca.Issue(t, kit.CertRequest{Names: []string{"127.0.0.1"}})
	pg := h.postgres(kit.PostgresOptions{TLS: cert})
	pg.CreateLogin(writer, writerPassword)
	h.upstream("app", "127.0.0.1", pg.Port, "tls: {mode: disable}")
	h.start(fmt.Sprintf("{address: 127.0.0.1:0, tls: {mode: allow, cert: file:%s, key: file:%s}}", cert.CertFile, cert.KeyFile))
	const simple, plus, point = "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,"
	for _, tc := range []struct {
		name           string
		secured        bool
		mechanism, gs2 string
		code           string
	}{
		{"y though it was offered", true, simple, "y,,", "28000"},
		{"p without PLUS", true, simple, point, "08P01"},
		{"PLUS without p", true, plus, "n,,", "08P01"},
		{"PLUS with y", true, plus, "y,,", "08P01"},
		{"PLUS in plaintext", false, plus, point, "08P01"},
		{"p in plaintext", false, simple, point, "08P01"},
		{"no flag", true, plus, "x,,", "08P01"},
		{"no such mechanism", true, "SCRAM-SHA-1", "n,,", "08P01"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			refusal := func(address string) string {
				front, _, offered := offeredSASL(t, address, tc.secured)
				return fmt.Sprint(offered, refusalIn(exchange(t, front, &pgproto3.SASLInitialResponse{
					AuthMechanism: tc.mechanism, Data: []byte(tc.gs2 + "n=,r=abcdefghijklmnopqr"),
				})))
			}
			direct := refusal(pg.Addr())
			if through := refusal(h.gateway.Addrs[0]); through != direct || !strings.Contains(direct, "FATAL "+tc.code) {
				t.Errorf("got  %s\nwant %s, with %s", through, direct, tc.code)
			}
		})
	}

	// A whole exchange, bound to this certificate or to another, with either password.
	other := h.ca.Issue(t, kit.CertRequest{Names: []string{"127.0.0.1"}})
	foreign, err := x509.ParseCertificate(other.TLS.Certificate[0])
	if err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		name, password string
		foreign        bool
		want           string
	}{
		{"right", writerPassword, false, "*pgproto3.AuthenticationSASLFinal"},
		{"bound to another connection", writerPassword, true, "FATAL 28000 "},
		{"bound to another connection, wrong password", "guess", true, "FATAL 28000 "},
		{"wrong password", "guess", false, "FATAL 28P01 "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			outcome := func(address string) string {
				front, leaf, _ := offeredSASL(t, address, true)
				if tc.foreign {
					leaf = foreign
				}
				binding, err := scram.NewTLSServerEndpointBinding(&tls.ConnectionState{PeerCertificates: []*x509.Certificate{leaf}})
				if err != nil {
					t.Fatal(err)
				}
				client, err := scram.SHA256.NewClientUnprepped("", tc.password, "")
				if err != nil {
					t.Fatal(err)
				}
				talk := client.NewConversationWithChannelBinding(binding)
				msg, _ := talk.Step("")
				next, ok := exchange(t, front, &pgproto3.SASLInitialResponse{AuthMechanism: plus, Data: []byte(msg)}).(*pgproto3.AuthenticationSASLContinue)
				if !ok {
					t.Fatal("no challenge")
				}
				if msg, err = talk.Step(string(next.Data)); err != nil {
					t.Fatal(err)
				}
				return refusalIn(exchange(t, front, &pgproto3.SASLResponse{Data: []byte(msg)}))
			}
			direct := outcome(pg.Addr())
			if through := outcome(h.gateway.Addrs[0]); through != direct || !strings.HasPrefix(direct, tc.want) {
				t.Errorf("got  %s\nwant %s, which begins with %s", through, direct, tc.want)
			}
		})
	}
}
