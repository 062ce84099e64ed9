package e2e

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgproto3"

	"pggateway/e2e/kit"
)

// TestHostileClients sends what is no startup. Each sender gets the error named,
// if any, and its connection closed; a client that is logged in, with a
// transaction open, notices nothing.
func TestHostileClients(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	h.upstream("up", "127.0.0.1", pg.Port, "tls: {mode: disable}")
	cert := h.ca.Issue(t, kit.CertRequest{Names: []string{"127.0.0.1"}})
	h.start(fmt.Sprintf("{address: 127.0.0.1:0, tls: {mode: allow, cert: file:%s, key: file:%s}}", cert.CertFile, cert.KeyFile))
	witness := newWitness(t, h.dial("up"))

	u32 := func(values ...uint32) []byte {
		var b []byte
		for _, v := range values {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		return b
	}
	packet := func(version uint32, body string) []byte {
		return append(u32(uint32(8+len(body)), version), body...)
	}
	login := packet(196608, "user\x00orders-sync\x00database\x00up\x00\x00")
	for _, tc := range []struct {
		name string
		send []byte
		skip int    // bytes of answer before the error
		code string // "": closed without a word
	}{
		{"HTTP", []byte("GET / HTTP/1.1\r\nHost: x\r\n\r\n"), 0, "08P01"},
		{"zeros", make([]byte, 64), 0, "08P01"},
		{"length 4", u32(4), 0, "08P01"},
		{"length of a megabyte", u32(1<<20, 196608), 0, "54000"},
		{"length of 2 GiB", u32(1<<31-1, 196608), 0, "08P01"},
		{"negative length", u32(0xffffffff, 196608), 0, "08P01"},
		{"truncated", login[:20], 0, "08P01"},
		{"nothing at all", nil, 0, ""},
		{"protocol 2.0", packet(131072, strings.Repeat("\x00", 288)), 0, "0A000"},
		{"no terminator", packet(196608, "user\x00orders-sync"), 0, "08P01"},
		{"odd number of strings", packet(196608, "user\x00\x00\x00"), 0, "28000"},
		{"no user", packet(196608, "database\x00up\x00\x00"), 0, "28000"},
		{"plaintext behind SSLRequest", append(u32(8, 80877103), login...), 0, "08P01"},
		{"plaintext behind GSSENCRequest", append(u32(8, 80877104), login...), 0, "08P01"},
		{"a cancel with a wrong key", u32(16, 80877102, 1234, 5678), 0, ""},
		{"a query instead of a password", append(append([]byte{}, login...), "Q\x00\x00\x00\x0dselect 1\x00"...), 24, "08P01"},
		{"a password message of a gigabyte", append(append([]byte{}, login...), append([]byte("p"), u32(1<<30)...)...), 24, "54000"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got := send(t, h.gateway.Addrs[0], tc.send, tc.skip)
			switch {
			case tc.code == "" && got != nil:
				t.Errorf("answered with %+v", got)
			case tc.code != "" && got == nil:
				t.Errorf("closed without a word, want %s", tc.code)
			case tc.code != "" && (got.Code != tc.code || got.Severity != "FATAL"):
				t.Errorf("got %s %s %q, want FATAL %s", got.Severity, got.Code, got.Message, tc.code)
			}
			witness.check(t)
		})
	}
}

// send writes bytes, half-closes, and reads the answer to its end: the first
// ErrorResponse in it, after the bytes to skip, or nil.
func send(t *testing.T, addr string, b []byte, skip int) *pgproto3.ErrorResponse {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := c.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	answer, err := io.ReadAll(c)
	var timeout net.Error
	if errors.As(err, &timeout) && timeout.Timeout() {
		t.Fatalf("the connection is still open after 10 s; so far %q", answer)
	}
	if len(answer) < skip {
		t.Fatalf("the answer is %q, want %d bytes and an error", answer, skip)
	}
	answer = answer[skip:]
	if len(answer) == 0 {
		return nil
	}
	if len(answer) < 5 || answer[0] != 'E' {
		t.Fatalf("the answer is %q, want an ErrorResponse", answer)
	}
	var e pgproto3.ErrorResponse
	if err := e.Decode(answer[5 : 1+binary.BigEndian.Uint32(answer[1:])]); err != nil {
		t.Fatal(err)
	}
	return &e
}

// witness is a client in the middle of a transaction, who is to notice nothing.
type witness struct {
	c   *pgx.Conn
	pid string
}

func newWitness(t *testing.T, c *pgx.Conn) *witness {
	t.Helper()
	run(t, c, "begin")
	return &witness{c, ask(t, c, "select pg_backend_pid()::text")}
}

func (w *witness) check(t *testing.T) {
	t.Helper()
	start := time.Now()
	if pid := ask(t, w.c, "select pg_backend_pid()::text"); pid != w.pid {
		t.Errorf("another client's transaction moved from backend %s to %s", w.pid, pid)
	}
	if d := time.Since(start); d > 5*time.Second {
		t.Errorf("another client waited %s", d)
	}
}

// TestBadUpstreams logs in to upstreams that cannot be reached as configured.
// The client is told 08001 in words that give nothing away; the log says why; a
// client of a good upstream notices nothing; and no bad server ever sees a
// password that it should not.
func TestBadUpstreams(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	good := h.postgres(kit.PostgresOptions{})
	h.upstream("good", "127.0.0.1", good.Port, "tls: {mode: disable}")

	roots := "tls: {ca: file:" + h.ca.File + "}"
	secure := func(r kit.CertRequest) *kit.Postgres {
		return h.postgres(kit.PostgresOptions{TLS: h.ca.Issue(t, r)})
	}
	expired := secure(kit.CertRequest{Names: []string{"db.example.com"}, NotAfter: time.Now().Add(-time.Minute)})
	h.upstream("expired", "db.example.com", expired.Port, "hostaddr: 127.0.0.1", roots)
	other := secure(kit.CertRequest{Names: []string{"other.example.com"}})
	h.upstream("wrongname", "db.example.com", other.Port, "hostaddr: 127.0.0.1", roots)
	h.upstream("wrongroot", "other.example.com", other.Port, "hostaddr: 127.0.0.1", "tls: {ca: file:"+kit.NewCA(t, "another root").File+"}")
	h.upstream("down", "127.0.0.1", kit.FreePort(t), "tls: {mode: disable}")
	h.upstream("noname", "no-such-host.invalid", 5432, "tls: {mode: disable}")
	h.upstream("wrongpassword", "127.0.0.1", good.Port, "tls: {mode: disable}", "login: {user: "+role+", password: \"literal:stale\"}")
	h.upstream("nodatabase", "127.0.0.1", good.Port, "tls: {mode: disable}", "database: nowhere")

	stranger := kit.StartSSHD(t, kit.SSHDOptions{})
	h.upstream("badkey", "127.0.0.1", good.Port, "tls: {mode: disable}", via(stranger, stranger.HostKey.Public))
	changed, _ := h.bastion(kit.SSHDOptions{})
	h.upstream("hostkey", "127.0.0.1", good.Port, "tls: {mode: disable}", via(changed, kit.NewSSHKey(t).Public))
	_, forbidden := h.bastion(kit.SSHDOptions{Config: []string{"PermitOpen 127.0.0.1:1"}})
	h.upstream("permitopen", "127.0.0.1", good.Port, "tls: {mode: disable}", forbidden)
	_, through := h.bastion(kit.SSHDOptions{})
	h.upstream("behind", "127.0.0.1", kit.FreePort(t), "tls: {mode: disable}", through)

	// Servers that follow a script. What they were sent is kept: no password may be in it.
	var heard recorder
	script := func(name string, tls string, f func(c *kit.ScriptConn)) {
		s := kit.StartScripted(t, func(c *kit.ScriptConn) { c.Conn = heard.record(c.Conn); f(c) })
		h.upstream(name, "127.0.0.1", s.Port, tls)
	}
	plain := "tls: {mode: disable}"
	after := func(b ...byte) func(c *kit.ScriptConn) {
		return func(c *kit.ScriptConn) {
			if _, ok := c.Startup(nil); ok && c.Send(b) {
				c.Silence()
			}
		}
	}
	script("nossl", roots, func(c *kit.ScriptConn) { c.Startup(nil) })
	script("sslgarbage", roots, func(c *kit.ScriptConn) { c.Send([]byte("E\x00\x00\x00\x06S\x00")) })
	script("closes", plain, func(c *kit.ScriptConn) { c.Startup(nil) })
	script("garbage", plain, after([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")...))
	script("oversized", plain, after('R', 0x7f, 0xff, 0xff, 0xff, 0, 0, 0, 0))
	script("negative", plain, after('R', 0xff, 0xff, 0xff, 0xff))
	script("short", plain, after('R', 0, 0, 0, 6, 0, 0))
	script("unknownauth", plain, after('R', 0, 0, 0, 8, 0, 0, 0, 99))
	script("cleartext", plain, after('R', 0, 0, 0, 8, 0, 0, 0, 3))
	script("endless", plain, func(c *kit.ScriptConn) {
		if _, ok := c.Startup(nil); !ok || !c.Say(&pgproto3.AuthenticationOk{}) {
			return
		}
		for c.Say(&pgproto3.ParameterStatus{Name: "x", Value: strings.Repeat("y", 8000)}) {
		}
	})
	script("hugescram", plain, func(c *kit.ScriptConn) {
		if _, ok := c.Startup(nil); !ok || !c.Say(&pgproto3.AuthenticationSASL{AuthMechanisms: []string{"SCRAM-SHA-256"}}) {
			return
		}
		nonce, ok := clientNonce(c)
		if !ok {
			return
		}
		c.Say(&pgproto3.AuthenticationSASLContinue{Data: []byte("r=" + nonce + "x,s=c2FsdHNhbHQ=,i=2000000000")})
		c.Silence()
	})

	h.start("")
	w := newWitness(t, h.dial("good"))
	for _, name := range h.names {
		if name == "good" {
			continue
		}
		t.Run(name, func(t *testing.T) {
			_, err := h.try(writer, writerPassword, name)
			e := pgError(t, err)
			if e.Severity != "FATAL" || e.Code != "08001" || !strings.Contains(e.Message, name) {
				t.Errorf("got %s %s %q (%s), want FATAL 08001 that names the upstream", e.Severity, e.Code, e.Message, e.Detail)
			}
			discreet(t, e)
			w.check(t)
		})
	}
	if text := heard.String(); strings.Contains(text, rolePassword) || !strings.Contains(text, role) {
		t.Errorf("a bad server heard the password, or nothing at all:\n%q", text)
	}
}
