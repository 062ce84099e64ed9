package kit

import (
	"crypto/tls"
	"encoding/binary"
	"net"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Scripted is a server that does to each connection what a function says:
// the other end of every way in which a server can misbehave.
type Scripted struct {
	Addr string
	Host string
	Port int

	listener net.Listener
	wg       sync.WaitGroup

	mu    sync.Mutex
	conns map[net.Conn]struct{}
	done  bool
	seen  int
}

// StartScripted listens on 127.0.0.1 and runs f for each connection, on its own
// goroutine; the connection is closed when f returns, at the end at the latest.
func StartScripted(t T, f func(c *ScriptConn)) *Scripted {
	t.Helper()
	s := &Scripted{Host: "127.0.0.1", conns: map[net.Conn]struct{}{}}
	var err error
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatalf("%v", err)
	}
	s.Addr = s.listener.Addr().String()
	s.Port = s.listener.Addr().(*net.TCPAddr).Port
	s.wg.Add(1)
	go s.serve(f)
	t.Cleanup(s.Close)
	return s
}

func (s *Scripted) serve(f func(c *ScriptConn)) {
	defer s.wg.Done()
	for {
		c, err := s.listener.Accept()
		if err != nil {
			return // closed
		}
		s.mu.Lock()
		if s.done {
			s.mu.Unlock()
			c.Close()
			return
		}
		s.seen++
		n := s.seen
		s.conns[c] = struct{}{}
		s.wg.Add(1)
		s.mu.Unlock()
		go func() {
			defer s.wg.Done()
			f(&ScriptConn{Conn: c, N: n})
			c.Close()
			s.mu.Lock()
			defer s.mu.Unlock()
			delete(s.conns, c)
		}()
	}
}

// Seen returns the number of connections accepted so far.
func (s *Scripted) Seen() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.seen
}

// Close ends the server and every connection, and waits for the functions.
func (s *Scripted) Close() {
	s.listener.Close()
	s.mu.Lock()
	s.done = true
	for c := range s.conns {
		c.Close()
	}
	s.mu.Unlock()
	s.wg.Wait()
}

// ScriptConn is one connection to a Scripted server, with the steps that
// scripts are made of. A step that fails returns false, and the script ends.
type ScriptConn struct {
	net.Conn
	N int // the how-manieth connection it is, from 1
}

// Startup reads startup packets until a StartupMessage, and returns it. Before
// that it answers SSLRequest with 'N', or with TLS when a certificate is given,
// and GSSENCRequest with 'N'. A CancelRequest returns nil and false.
func (c *ScriptConn) Startup(cert *Cert) (*pgproto3.StartupMessage, bool) {
	for {
		packet, err := readStartup(c.Conn)
		if err != nil {
			return nil, false
		}
		switch binary.BigEndian.Uint32(packet[4:]) {
		case sslCode:
			if cert == nil {
				c.Send([]byte{'N'})
				continue
			}
			if !c.Send([]byte{'S'}) {
				return nil, false
			}
			secure := tls.Server(c.Conn, &tls.Config{Certificates: []tls.Certificate{cert.TLS}, MinVersion: tls.VersionTLS12})
			if err := secure.Handshake(); err != nil {
				return nil, false
			}
			c.Conn = secure
		case gssCode:
			c.Send([]byte{'N'})
		case cancelCode:
			return nil, false
		default:
			var m pgproto3.StartupMessage
			if err := m.Decode(packet[4:]); err != nil {
				return nil, false
			}
			return &m, true
		}
	}
}

// Send writes raw bytes.
func (c *ScriptConn) Send(b []byte) bool {
	_, err := c.Write(b)
	return err == nil
}

// Say writes well-formed messages.
func (c *ScriptConn) Say(messages ...pgproto3.BackendMessage) bool {
	var out []byte
	for _, m := range messages {
		out = append(out, encode(m)...)
	}
	return c.Send(out)
}

// Welcome accepts a login without a password.
func (c *ScriptConn) Welcome() bool {
	return c.Say(&pgproto3.AuthenticationOk{},
		&pgproto3.ParameterStatus{Name: "server_version", Value: "15.0"},
		&pgproto3.ParameterStatus{Name: "client_encoding", Value: "UTF8"},
		&pgproto3.BackendKeyData{ProcessID: uint32(c.N), SecretKey: []byte{1, 2, 3, 4}},
		&pgproto3.ReadyForQuery{TxStatus: 'I'})
}

// Silence reads and answers nothing until the other side goes away or the server is closed.
func (c *ScriptConn) Silence() {
	_ = c.SetDeadline(time.Time{})
	buf := make([]byte, 4096)
	for {
		if _, err := c.Read(buf); err != nil {
			return
		}
	}
}
