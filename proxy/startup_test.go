package proxy

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"pggateway/scram"
	"pggateway/sqlstate"
	"pggateway/wire"
)

var sslRequest = wire.AppendSSLRequest(nil)

var gssRequest = []byte{0, 0, 0, 8, 0x04, 0xd2, 0x16, 0x30}

// packet is a startup packet with a length word of its own choice.
func packet(length uint32, rest ...byte) []byte {
	return append(binary.BigEndian.AppendUint32(nil, length), rest...)
}

func TestRefusedStartups(t *testing.T) {
	td := openDoor(t, testConfig())
	good := startup(wire.Version30, "user", "sync", "database", "orders")
	tests := []struct {
		name     string
		listener int
		send     []byte
		hangUp   bool // shut the sending half after it
		code     string
		message  string
		hint     string
	}{
		{name: "http", send: []byte("GET / HTTP/1.1\r\nHost: gateway\r\n\r\n"), code: sqlstate.ProtocolViolation, message: "invalid length of startup packet"},
		{name: "garbage", send: []byte("\xde\xad\xbe\xef\xde\xad\xbe\xef"), code: sqlstate.ProtocolViolation, message: "invalid length of startup packet"},
		{name: "length too small", send: packet(7, 0, 3, 0), code: sqlstate.ProtocolViolation, message: "invalid length of startup packet"},
		{name: "length zero", send: packet(0), code: sqlstate.ProtocolViolation, message: "invalid length of startup packet"},
		{name: "oversized, announced only", send: packet(wire.MaxStartup+1, 0, 3, 0, 0), code: sqlstate.ProgramLimitExceeded, message: "startup packet is longer than 10000 bytes"},
		{name: "oversized, all of it", send: startup(wire.Version30, "user", "sync", "options", strings.Repeat("x", 200000)), code: sqlstate.ProgramLimitExceeded, message: "startup packet is longer than 10000 bytes"},
		{name: "truncated length", send: []byte{0, 0}, hangUp: true, code: sqlstate.ProtocolViolation, message: "incomplete startup packet"},
		{name: "truncated", send: good[:len(good)-3], hangUp: true, code: sqlstate.ProtocolViolation, message: "incomplete startup packet"},
		{name: "no terminator", send: packet(18, append([]byte{0, 3, 0, 0}, "user\x00sync\x00"...)...), code: sqlstate.ProtocolViolation, message: "invalid startup packet layout: expected terminator as last byte"},
		{name: "bytes after the terminator", send: packet(20, append([]byte{0, 3, 0, 0}, "user\x00sync\x00\x00x"...)...), code: sqlstate.ProtocolViolation, message: "invalid startup packet layout: expected terminator as last byte"},
		{name: "protocol 2.0", send: startup(2<<16, "user", "sync"), code: sqlstate.FeatureNotSupported, message: "unsupported frontend protocol 2.0: server supports 3.0 to 3.2"},
		{name: "protocol 4.1", send: startup(4<<16|1, "user", "sync"), code: sqlstate.FeatureNotSupported, message: "unsupported frontend protocol 4.1: server supports 3.0 to 3.2"},
		{name: "no user", send: startup(wire.Version30, "database", "orders"), code: sqlstate.InvalidAuthorization, message: "no PostgreSQL user name specified in startup packet"},
		{name: "user with a line feed", send: startup(wire.Version30, "user", "sync\nfake"), code: sqlstate.InvalidAuthorization, message: "invalid user name in startup packet"},
		{name: "user of 64 bytes", send: startup(wire.Version30, "user", strings.Repeat("u", 64)), code: sqlstate.InvalidAuthorization, message: "invalid user name in startup packet"},
		{name: "user not UTF-8", send: startup(wire.Version30, "user", "\xff\xfe"), code: sqlstate.InvalidAuthorization, message: "invalid user name in startup packet"},
		{name: "database with an escape", send: startup(wire.Version30, "user", "sync", "database", "\x1b[2J"), code: sqlstate.InvalidCatalogName, message: "invalid database name in startup packet"},
		{name: "database of 64 bytes", send: startup(wire.Version30, "user", "sync", "database", strings.Repeat("d", 64)), code: sqlstate.InvalidCatalogName, message: "invalid database name in startup packet"},
		{name: "replication", send: startup(wire.Version30, "user", "sync", "replication", "maybe"), code: sqlstate.InvalidParameterValue, message: `invalid value for parameter "replication"`, hint: `Valid values are: "false", 0, "true", 1, "database".`},
		{name: "empty replication", send: startup(wire.Version30, "user", "sync", "replication", ""), code: sqlstate.InvalidParameterValue, message: `invalid value for parameter "replication"`, hint: `Valid values are: "false", 0, "true", 1, "database".`},
		{name: "plaintext where TLS is required", listener: require, send: good, code: sqlstate.InvalidAuthorization, message: "TLS is required to log in here", hint: "Connect with sslmode=require or stricter."},
		{name: "data after SSLRequest", listener: allow, send: append(bytes.Clone(sslRequest), good...), code: sqlstate.ProtocolViolation, message: "received unencrypted data after SSL request"},
		{name: "data after SSLRequest, no TLS", send: append(bytes.Clone(sslRequest), 0), code: sqlstate.ProtocolViolation, message: "received unencrypted data after SSL request"},
		{name: "data after GSSENCRequest", send: append(bytes.Clone(gssRequest), good...), code: sqlstate.ProtocolViolation, message: "received unencrypted data after GSSAPI encryption request"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := td.dial(t, tt.listener)
			p.send(tt.send)
			if tt.hangUp {
				_ = p.conn.(*net.TCPConn).CloseWrite()
			}
			f := p.fatal()
			if f.Code != tt.code || f.Message != tt.message || f.Hint != tt.hint {
				t.Errorf("refused with %+v, want %s %q, hint %q", f, tt.code, tt.message, tt.hint)
			}
		})
	}
}

func TestEncryptionRequests(t *testing.T) {
	td := openDoor(t, testConfig())
	const unsupportedSSL = "unsupported frontend protocol 1234.5679: server supports 3.0 to 3.2"
	const unsupportedGSS = "unsupported frontend protocol 1234.5680: server supports 3.0 to 3.2"
	tests := []struct {
		name     string
		listener int
		steps    string // s: SSLRequest, g: GSSENCRequest
		answers  string // one byte per step; E is a refusal
		refusal  string
	}{
		{"ssl refused, then plaintext", plain, "s", "N", ""},
		{"ssl granted", allow, "s", "S", ""},
		{"ssl granted where required", require, "s", "S", ""},
		{"gss, then plaintext", plain, "g", "N", ""},
		{"gss, then ssl", allow, "gs", "NS", ""},
		{"ssl, then gss, no TLS", plain, "sg", "NN", ""},
		{"gss, then ssl, no TLS", plain, "gs", "NN", ""},
		{"ssl twice, no TLS", plain, "ss", "NE", unsupportedSSL},
		{"ssl twice", allow, "ss", "SE", unsupportedSSL},
		{"gss twice", plain, "gg", "NE", unsupportedGSS},
		{"gss within TLS", allow, "sg", "SE", unsupportedGSS},
		{"gss, ssl, gss", plain, "gsg", "NNE", unsupportedGSS},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := td.dial(t, tt.listener)
			for i, step := range tt.steps {
				p.send(map[rune][]byte{'s': sslRequest, 'g': gssRequest}[step])
				want := tt.answers[i]
				if want == 'E' {
					if f := p.fatal(); f.Code != sqlstate.FeatureNotSupported || f.Message != tt.refusal {
						t.Fatalf("step %d: %+v, want %q", i, f, tt.refusal)
					}
					return
				}
				if got := p.answer(); got != want {
					t.Fatalf("step %d answered %c, want %c", i, got, want)
				}
				if want == 'S' {
					p.secure()
				}
			}
			p.login("sync", "orders")
		})
	}
}

func TestVersionNegotiation(t *testing.T) {
	td := openDoor(t, testConfig())
	tests := []struct {
		name    string
		version uint32
		params  []string
		inForce uint32
		told    bool
		unknown []string
	}{
		{"3.0", wire.Version30, nil, wire.Version30, false, nil},
		{"3.1, which never was", 3<<16 | 1, nil, wire.Version30, false, nil},
		{"3.2", wire.Version32, nil, wire.Version32, false, nil},
		{"3.3", 3<<16 | 3, nil, wire.Version32, true, nil},
		{"grease", 3<<16 | 9999, []string{"_pq_.test_protocol_negotiation", ""}, wire.Version32, true, []string{"_pq_.test_protocol_negotiation"}},
		{"3.0 with extensions", wire.Version30, []string{"_pq_.a", "1", "_pq_.b", "2"}, wire.Version30, true, []string{"_pq_.a", "_pq_.b"}},
		{"3.2 with an extension", wire.Version32, []string{"_pq_.a", "1"}, wire.Version32, true, []string{"_pq_.a"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := td.dial(t, plain)
			p.send(startup(tt.version, append([]string{"user", "sync", "database", "orders"}, tt.params...)...))
			if tt.told {
				want := wire.AppendNegotiateProtocolVersion(nil, tt.inForce, tt.unknown)[wire.HeaderLen:]
				if got := p.next(wire.NegotiateProtocolVersion); !bytes.Equal(got, want) {
					t.Errorf("told %q, want %q", got, want)
				}
			}
			p.prove(password)
			p.next(wire.Authentication)
			if c := <-td.clients; c.startup.Version != tt.inForce {
				t.Errorf("version in force %s, want %s", wire.VersionString(c.startup.Version), wire.VersionString(tt.inForce))
			}
		})
	}
}

// A refusal does not overtake the NegotiateProtocolVersion that was due before it.
func TestNegotiateVersionBeforeRefusal(t *testing.T) {
	td := openDoor(t, testConfig())
	p := td.dial(t, plain)
	p.send(startup(3<<16|7, "database", "orders"))
	p.next(wire.NegotiateProtocolVersion)
	if f := p.fatal(); f.Code != sqlstate.InvalidAuthorization {
		t.Errorf("refused with %+v", f)
	}
}

func TestCancelRequests(t *testing.T) {
	td := openDoor(t, testConfig())
	for _, secret := range [][]byte{{1, 2, 3, 4}, bytes.Repeat([]byte{7}, wire.MaxSecret)} {
		key := wire.CancelKey{PID: 42, Secret: secret}
		for _, secured := range []bool{false, true} {
			p := td.dial(t, require) // old clients send it in plaintext wherever they are
			if secured {
				p.send(sslRequest)
				p.answer()
				p.secure()
			}
			p.send(wire.AppendCancelRequest(nil, key))
			if got := <-td.cancels; got.PID != key.PID || !bytes.Equal(got.Secret, key.Secret) {
				t.Errorf("cancelled %v, want %v", got, key)
			}
			p.closed()
		}
	}
	p := td.dial(t, plain)
	p.send(packet(8, 0x04, 0xd2, 0x16, 0x2e)) // neither pid nor secret
	p.closed()
	if n := len(td.cancels); n != 0 {
		t.Errorf("%d cancels of a malformed request", n)
	}
}

// libpq waits for the end of the connection before it goes on, so that the request
// does not hit what comes next.
func TestCancelRequestIsWaitedFor(t *testing.T) {
	td := openDoor(t, testConfig())
	td.served = make(chan struct{})
	p := td.dial(t, plain)
	p.send(wire.AppendCancelRequest(nil, wire.CancelKey{PID: 42, Secret: []byte{1, 2, 3, 4}}))
	<-td.cancels
	_ = p.conn.SetReadDeadline(time.Now().Add(moment))
	if _, err := p.conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("before the request was served: %v", err)
	}
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	close(td.served)
	p.closed()
}

// What no PostgreSQL client sends gets no PostgreSQL answer.
func TestUnanswered(t *testing.T) {
	td := openDoor(t, testConfig())
	t.Run("nothing", func(t *testing.T) {
		p := td.dial(t, plain)
		_ = p.conn.(*net.TCPConn).CloseWrite()
		p.closed()
	})
	t.Run("no TLS after S", func(t *testing.T) {
		p := td.dial(t, allow)
		p.send(sslRequest)
		p.answer()
		p.send(startup(wire.Version30, "user", "sync"))
		if got, _ := io.ReadAll(p.conn); bytes.Contains(got, []byte("FATAL")) {
			t.Errorf("plaintext %q in the middle of a handshake", got)
		}
	})
	t.Run("TLS 1.1", func(t *testing.T) {
		p := td.dial(t, allow)
		p.send(sslRequest)
		p.answer()
		c := tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true, MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS11})
		if err := c.Handshake(); err == nil {
			t.Error("TLS 1.1 was accepted")
		}
	})
	t.Run("another ALPN name", func(t *testing.T) {
		p := td.dial(t, allow)
		p.send(sslRequest)
		p.answer()
		c := tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
		if err := c.Handshake(); err == nil {
			t.Error("http/1.1 was accepted")
		}
	})
}

// A client that sends a byte now and then does not get more time than one that
// sends nothing: the deadline counts from accept.
func TestLoginDeadline(t *testing.T) {
	conf := testConfig()
	conf.Limits.LoginTimeout = 300 * time.Millisecond
	td := openDoor(t, conf)
	tests := []struct {
		name string
		up   func(p *peer)
		drip []byte
		told bool
	}{
		{"nothing", func(*peer) {}, nil, true},
		{"in the startup packet", func(*peer) {}, startup(wire.Version30, "user", strings.Repeat("u", 60), "database", strings.Repeat("d", 60)), true},
		{"in the SASL exchange", func(p *peer) {
			p.send(startup(wire.Version30, "user", "sync"))
			p.next(wire.Authentication)
		}, wire.AppendSASLInitial(nil, scram.Mechanism, strings.Repeat("x", 500)), true},
		{"in the TLS handshake", func(p *peer) {
			p.send(sslRequest)
			p.answer()
		}, append([]byte{0x16, 3, 1, 2, 0}, make([]byte, 512)...), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			p := td.dial(t, allow)
			tt.up(p)
			stop := make(chan struct{})
			dripped := make(chan struct{})
			go func() {
				defer close(dripped)
				for i := range tt.drip {
					select {
					case <-stop:
						return
					case <-time.After(20 * time.Millisecond):
						_, _ = p.conn.Write(tt.drip[i : i+1])
					}
				}
			}()
			defer func() { close(stop); <-dripped }()
			if !tt.told {
				_, _ = io.Copy(io.Discard, p.conn)
				return
			}
			f, _ := wire.ParseFields(p.next(wire.ErrorResponse))
			if f.Code != sqlstate.QueryCanceled || f.Message != "canceling authentication due to timeout" {
				t.Errorf("refused with %+v", f)
			}
		})
	}
}

func TestNames(t *testing.T) {
	for name, want := range map[string]bool{
		"sync": true, "Größe": true, "with space": true, "tenant-1.eu": true, strings.Repeat("n", 63): true,
		strings.Repeat("n", 64): false, "a\tb": false, "\x7f": false, "\u0085": false, "\xc3": false,
	} {
		if got := goodName(name); got != want {
			t.Errorf("goodName(%q) = %v", name, got)
		}
	}
	for text, want := range map[string]bool{
		"false": true, "F": true, "no": true, "n": true, "off": true, "of": true, "0": true, "FALSE": true,
		"o": false, "on": false, "1": false, "true": false, "database": false, "falsee": false, "nope": false,
	} {
		if got := isFalse(text); got != want {
			t.Errorf("isFalse(%q) = %v", text, got)
		}
	}
}
