package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"testing"
	"time"

	"go.uber.org/zap"

	"pggateway/config"
	"pggateway/scram"
	"pggateway/wire"
)

// script is a connection whose peer said everything at once and left.
type script struct {
	in  *bytes.Reader
	out bytes.Buffer
}

func (s *script) Read(p []byte) (int, error)  { return s.in.Read(p) }
func (s *script) Write(p []byte) (int, error) { return s.out.Write(p) }
func (s *script) Close() error                { return nil }
func (s *script) CloseWrite() error           { return nil }
func (s *script) LocalAddr() net.Addr         { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 5432} }

func (s *script) RemoteAddr() net.Addr             { return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 9999} }
func (s *script) SetDeadline(time.Time) error      { return nil }
func (s *script) SetReadDeadline(time.Time) error  { return nil }
func (s *script) SetWriteDeadline(time.Time) error { return nil }

// A client that is still sending when it is refused is not reset, or its kernel
// might drop the refusal.
func TestRefusalIsNotReset(t *testing.T) {
	td := openDoor(t, testConfig())
	p := td.dial(t, plain)
	p.send(packet(wire.MaxStartup + 1))
	p.next(wire.ErrorResponse)
	for range 5 { // a write to a closed socket succeeds, the one after it does not
		p.send(make([]byte, 1000))
		time.Sleep(10 * time.Millisecond)
	}
}

// The login's deadline is not the session's.
func TestDeadlineEndsWithLogin(t *testing.T) {
	conf := testConfig()
	conf.Limits.LoginTimeout = 400 * time.Millisecond
	td := openDoor(t, conf)
	p := td.dial(t, plain)
	p.login("sync", "orders")
	_ = p.conn.SetReadDeadline(time.Now().Add(600 * time.Millisecond))
	if _, _, err := p.r.Message(100); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an admitted client saw %v", err)
	}
}

const tlsAlertRecord = 0x15

// clientHello is how a client begins with TLS.
func clientHello(t testing.TB, protocols ...string) []byte {
	t.Helper()
	s := &script{in: bytes.NewReader(nil)}
	if err := tls.Client(s, &tls.Config{InsecureSkipVerify: true, NextProtos: protocols}).Handshake(); err == nil || s.out.Len() == 0 {
		t.Fatalf("a handshake with nobody: %v", err)
	}
	return s.out.Bytes()
}

// FuzzStartup feeds a login whatever anybody may send. It must end, admit
// nobody, give back what it counted, and have sent nothing but answers that a
// PostgreSQL client reads: one byte for each encryption request, then messages,
// of which an ErrorResponse is the last.
func FuzzStartup(f *testing.F) {
	good := startup(wire.Version30, "user", "sync", "database", "orders")
	first := wire.AppendSASLInitial(nil, scram.Mechanism, "n,,n=,r=abcdefghijklmnop")
	final := wire.AppendSASLResponse(nil, "c=biws,r=abcdefghijklmnop,p=AAAA")
	for _, seed := range [][]byte{
		nil, good, sslRequest, gssRequest, good[:9],
		append(bytes.Clone(sslRequest), good...),
		append(bytes.Clone(gssRequest), sslRequest...),
		append(append(bytes.Clone(good), first...), final...),
		append(bytes.Clone(good), "p\x00\x00\x00\x16SCRAM-SHA-256\x00\xff\xff\xff\xff"...),
		append(bytes.Clone(good), wire.AppendQuery(nil, "select 1")...),
		startup(3<<16|9999, "user", "sync", "_pq_.grease", "1"),
		wire.AppendCancelRequest(nil, wire.CancelKey{PID: 1, Secret: []byte{1, 2, 3, 4}}),
		[]byte("GET / HTTP/1.1\r\n\r\n"),
		packet(wire.MaxStartup + 1), packet(0), packet(8, 0, 3, 0, 0), packet(9, 0, 3, 0, 0, 0),
		clientHello(f, alpn), clientHello(f), clientHello(f, "http/1.1"), append(bytes.Clone(sslRequest), clientHello(f, alpn)...),
		append([]byte("PROXY TCP4 192.0.2.7 10.0.0.1 50000 5432\r\n"), good...), header2(0x21, 0x11, from192...),
	} {
		for _, secure := range []bool{false, true} {
			f.Add(seed, secure, false)
			f.Add(seed, secure, true)
		}
	}
	taken := make(chan struct{})
	close(taken) // a cancel request that is served at once
	conf := testConfig()
	conf.Listen = nil
	crt, key := selfSigned(f, time.Now().Add(time.Hour))
	pair, err := tls.X509KeyPair([]byte(crt), []byte(key))
	if err != nil {
		f.Fatal(err)
	}
	d, err := newDoor(f.Context(), doorParts{
		config: conf, log: zap.NewNop(), now: time.Now,
		secrets: fakeSecrets{"env:PW": password, "env:VERIFIER": verifier},
		admit:   func(*client) { panic("admitted") },
		cancel:  func(wire.CancelKey) <-chan struct{} { return taken },
	})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, in []byte, secure, balanced bool) {
		l := &listener{door: d, conf: config.Listen{TLS: config.ListenTLS{Mode: config.ListenTLSAllow}}}
		if secure {
			l.tls = &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12, NextProtos: []string{alpn}}
		}
		if balanced {
			l.conf.ProxyProtocol = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}
		}
		s := &script{in: bytes.NewReader(in)}
		if !d.admission.tryLogin() {
			t.Fatal("the last login is still counted")
		}
		newLogin(l, s).run()
		if n := d.admission.taken.Load(); n != 0 {
			t.Fatalf("%d seats are taken", n)
		}
		out := s.out.Bytes()
		if len(out) > 0 && (out[0] == tlsHandshakeRecord || out[0] == tlsAlertRecord) {
			if !secure {
				t.Fatalf("sent %q where there is no TLS", out)
			}
			return
		}
		for len(out) > 0 && (out[0] == 'N' || out[0] == 'S') {
			if out[0] == 'S' {
				return // what follows is TLS
			}
			out = out[1:]
		}
		r := wire.NewReader(bytes.NewReader(out))
		last := byte(0)
		for {
			typ, body, err := r.Message(1 << 16)
			if err == io.EOF {
				return
			}
			if err != nil || last == wire.ErrorResponse {
				t.Fatalf("sent %q: %v", out, err)
			}
			if fields, ok := wire.ParseFields(body); typ == wire.ErrorResponse && (!ok || len(fields.Code) != 5 || fields.Severity != "FATAL") {
				t.Fatalf("sent %q", out)
			}
			last = typ
		}
	})
}
