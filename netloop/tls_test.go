package netloop

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"
)

// gate is a net.Conn whose writes can be held back, so that a test decides how
// records meet the wire.
type gate struct {
	net.Conn
	mu     sync.Mutex
	shut   bool
	behind []byte
}

func (g *gate) Write(p []byte) (int, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.shut {
		g.behind = append(g.behind, p...)
		return len(p), nil
	}
	return g.Conn.Write(p)
}

// hold begins to keep what is written, take ends it and returns that.
func (g *gate) hold() {
	g.mu.Lock()
	g.shut = true
	g.mu.Unlock()
}

func (g *gate) take() []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.behind
	g.shut, g.behind = false, nil
	return p
}

// secured is the end of a TLS connection that is to move to a loop.
type secured struct {
	transport *Transport
	conn      *tls.Conn
}

// secure makes a TLS connection and finishes its handshake.
func secure(t *testing.T, client net.Conn, server net.Conn, version uint16, keyLog io.Writer) (*tls.Conn, secured) {
	t.Helper()
	tr := NewTransport(server)
	_ = tr.SetDeadline(time.Now().Add(20 * time.Second))
	tc := tls.Server(tr, &tls.Config{
		Certificates: []tls.Certificate{certificate(t)}, MinVersion: version, MaxVersion: version,
		SessionTicketsDisabled: true,
	})
	shaken := make(chan error, 1)
	go func() { shaken <- tc.Handshake() }()
	c := tls.Client(client, &tls.Config{InsecureSkipVerify: true, KeyLogWriter: keyLog})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if g, ok := client.(*gate); ok && g.shut {
		t.Fatal("secure: the gate is shut")
	}
	if err := wait(t, shaken, "the handshake"); err != nil {
		t.Fatal(err)
	}
	return c, secured{tr, tc}
}

func tlsPair(t *testing.T, version uint16) (*tls.Conn, secured) {
	t.Helper()
	client, server := tcpPair(t)
	return secure(t, client, server, version, nil)
}

var versions = map[string]uint16{"TLS 1.2": tls.VersionTLS12, "TLS 1.3": tls.VersionTLS13}

// A record that comes in pieces is no error and no reason to spin, however long
// the silence between the pieces.
func TestPartialRecords(t *testing.T) {
	for name, version := range versions {
		t.Run(name, func(t *testing.T) {
			l := runLoop(t)
			raw, server := tcpPair(t)
			g := &gate{Conn: raw}
			c, s := secure(t, g, server, version, nil)
			e := attachEcho(t, l, s.transport, s.conn)
			turns := 0
			do(t, l, func() {
				e.stream.SetHandler(&spy{readable: func() { turns++; e.Readable() }, flushed: e.Flushed, hangup: e.Hangup})
			})
			got := make([]byte, 5)
			for cut := 1; ; cut++ {
				g.hold()
				c.Write([]byte("hello"))
				record := g.take()
				if cut == len(record) {
					send(t, raw, record)
					break
				}
				do(t, l, func() { turns = 0 })
				send(t, raw, record[:cut])
				was := 0
				until(t, l, "the first piece", func() bool { was = turns; return e.stream.rerr == nil && turns > 0 && !e.stream.undrained })
				do(t, l, func() {})
				do(t, l, func() {
					if turns != was || e.stream.More() {
						t.Errorf("cut at %d: %d calls of Readable during the silence", cut, turns-was)
					}
				})
				send(t, raw, record[cut:])
				if _, err := io.ReadFull(c, got); err != nil || string(got) != "hello" {
					t.Fatalf("cut at %d: echo %q, %v", cut, got, err)
				}
			}
			if _, err := io.ReadFull(c, got); err != nil {
				t.Fatal(err)
			}
			// Broken off in a record: not a clean end.
			g.hold()
			c.Write([]byte("hello"))
			record := g.take()
			send(t, raw, record[:len(record)-1])
			raw.Close()
			if err := wait(t, e.closed, "the end"); !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("closed with %v, want an unexpected EOF", err)
			}
		})
	}
}

// What came along with the end of the handshake lies in the tls.Conn, and no
// event will ever tell of it.
func TestDataSentWithTheHandshake(t *testing.T) {
	l := runLoop(t)
	raw, server := tcpPair(t)
	g := &gate{Conn: raw}
	tr := NewTransport(server)
	tc := tls.Server(tr, &tls.Config{Certificates: []tls.Certificate{certificate(t)}, SessionTicketsDisabled: true})
	shaken := make(chan error, 1)
	go func() { shaken <- tc.Handshake() }()
	c := tls.Client(g, &tls.Config{
		InsecureSkipVerify: true,
		// Called between the server's flight and the client's last one.
		VerifyConnection: func(tls.ConnectionState) error { g.hold(); return nil },
	})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	c.Write([]byte("early"))
	send(t, raw, g.take())
	if err := wait(t, shaken, "the handshake"); err != nil {
		t.Fatal(err)
	}
	e := attachEcho(t, l, tr, tc)
	got := make([]byte, 5)
	if _, err := io.ReadFull(c, got); err != nil || string(got) != "early" {
		t.Errorf("echo %q, %v", got, err)
	}
	c.Close()
	if err := wait(t, e.closed, "the end"); err != io.EOF {
		t.Errorf("closed with %v, want EOF", err)
	}
}

func TestCloseNotify(t *testing.T) {
	for name, version := range versions {
		for _, data := range []string{"", "with the last of the data"} {
			t.Run(name+"/from the peer "+data, func(t *testing.T) {
				l := runLoop(t)
				raw, server := tcpPair(t)
				g := &gate{Conn: raw}
				c, s := secure(t, g, server, version, nil)
				e := attachEcho(t, l, s.transport, s.conn)
				exchange(t, c, 100)
				var read []byte
				do(t, l, func() {
					e.stream.SetHandler(&spy{readable: func() {
						for e.stream.More() {
							n, err := e.stream.Read(l.Buffer())
							read = append(read, l.Buffer()[:n]...)
							if err != nil {
								e.stream.Close()
								e.closed <- err
							}
						}
					}})
				})
				g.hold()
				c.Write([]byte(data))
				if err := c.CloseWrite(); err != nil { // the socket stays open
					t.Fatal(err)
				}
				_ = raw.SetWriteDeadline(time.Time{}) // CloseWrite lets it pass
				send(t, raw, g.take())
				if err := wait(t, e.closed, "the end"); err != io.EOF {
					t.Errorf("closed with %v, want EOF", err)
				}
				if string(read) != data {
					t.Errorf("read %q, want %q", read, data)
				}
			})
		}
		for how, end := range map[string]func(*Stream){
			"Close":  (*Stream).Close,
			"Finish": func(s *Stream) { s.Finish(time.Hour) },
		} {
			t.Run(name+"/by "+how, func(t *testing.T) {
				l := runLoop(t)
				raw, server := tcpPair(t)
				seen := &tap{Conn: raw}
				c, s := secure(t, seen, server, version, nil)
				e := attachEcho(t, l, s.transport, s.conn)
				seen.bytes = nil
				do(t, l, func() {
					if err := e.stream.Write([]byte("goodbye")); err != nil {
						t.Error(err)
					}
					end(e.stream)
				})
				got, err := io.ReadAll(c)
				if string(got) != "goodbye" || err != nil {
					t.Errorf("the peer reads %q, %v", got, err)
				}
				// crypto/tls takes the socket's own end for a clean one too, so the
				// records are counted: the message, and the alert.
				if n := seen.records(t); n != 2 {
					t.Errorf("%d records, want 2", n)
				}
				if how == "Finish" {
					c.Close()
					until(t, l, "the close", func() bool { return e.stream.closed })
				}
			})
		}
	}
}

// tap is a net.Conn that remembers what was read from it.
type tap struct {
	net.Conn
	bytes []byte
}

func (c *tap) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.bytes = append(c.bytes, p[:n]...)
	return n, err
}

// records is the number of TLS records among what was read.
func (c *tap) records(t *testing.T) (n int) {
	t.Helper()
	for b := c.bytes; len(b) > 0; n++ {
		size := 5 + int(b[3])<<8 + int(b[4])
		if len(b) < 5 || len(b) < size {
			t.Fatalf("half a record: % x", b)
		}
		b = b[size:]
	}
	return n
}

// What is not TLS ends the stream with an error, and the peer is told which.
func TestGarbageRecords(t *testing.T) {
	garbage := map[string]struct {
		record []byte
		alert  string
	}{
		"a forged record":      {append([]byte{23, 3, 3, 0, 32}, make([]byte, 32)...), "remote error: tls: bad record MAC"},
		"too long a record":    {[]byte{23, 3, 3, 0xff, 0xff}, "remote error: tls: record overflow"},
		"plaintext PostgreSQL": {[]byte("Q\x00\x00\x00\x0dSELECT 1\x00"), "remote error: tls: protocol version not supported"},
	}
	for name, version := range versions {
		for what, g := range garbage {
			t.Run(name+"/"+what, func(t *testing.T) {
				l := runLoop(t)
				raw, server := tcpPair(t)
				c, s := secure(t, raw, server, version, nil)
				e := attachEcho(t, l, s.transport, s.conn)
				exchange(t, c, 100)
				send(t, raw, g.record)
				if err := wait(t, e.closed, "the end"); err == nil || err == io.EOF {
					t.Errorf("closed with %v, want an error", err)
				}
				if _, err := c.Read(make([]byte, 1)); err == nil || err.Error() != g.alert {
					t.Errorf("the peer is told %q, want %q", err, g.alert)
				}
			})
		}
	}
}

// Held-back output of a TLS stream is records: none may be cut, repeated or lost.
func TestHeldOutputOverTLS(t *testing.T) {
	const size = 100_000 // several records, none of them full
	for name, version := range versions {
		l := runLoop(t)
		c, s := tlsPair(t, version)
		e := attachEcho(t, l, s.transport, s.conn)
		writes := 0
		do(t, l, func() {
			p := make([]byte, size)
			for ; e.stream.Held() < 3*size; writes++ {
				p[0], p[size-1] = byte(writes), ^byte(writes)
				if err := e.stream.Write(p); err != nil {
					t.Error(err)
					return
				}
			}
			e.stream.Finish(time.Hour)
		})
		got := make([]byte, size)
		for i := range writes {
			if _, err := io.ReadFull(c, got); err != nil || got[0] != byte(i) || got[size-1] != ^byte(i) {
				t.Fatalf("%s: write %d of %d is read as %d … %d, %v", name, i, writes, got[0], got[size-1], err)
			}
		}
		if n, err := c.Read(got); n != 0 || err != io.EOF {
			t.Errorf("%s: after the last write %d bytes, %v; want the end", name, n, err)
		}
	}
}
