package netloop

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net"
	"testing"
	"time"
)

// echo writes back what it reads, as a session would: it stops reading while
// output is held back.
type echo struct {
	loop   *Loop
	stream *Stream
	closed chan error
}

func (e *echo) Readable() {
	for budget := 4; e.stream.More(); budget-- {
		if budget == 0 {
			e.stream.Yield()
			return
		}
		n, err := e.stream.Read(e.loop.Buffer())
		if err == nil && n > 0 {
			err = e.stream.Write(e.loop.Buffer()[:n])
		}
		if err != nil {
			e.stream.Close()
			e.closed <- err
			return
		}
		if e.stream.Held() > 0 {
			e.stream.Pause()
			return
		}
	}
}

func (e *echo) Flushed() { e.stream.Resume() }
func (e *echo) Hangup()  { e.stream.Close(); e.closed <- io.EOF }

func runLoop(t *testing.T) *Loop {
	t.Helper()
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	l.Linger = time.Millisecond
	done := make(chan struct{})
	go func() { defer close(done); l.Run() }()
	t.Cleanup(func() { l.Stop(); <-done })
	return l
}

func tcpPair(t *testing.T) (client, server net.Conn) {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	client, err = net.Dial("tcp", ln.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	server, err = ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close() })
	_ = client.SetDeadline(time.Now().Add(30 * time.Second))
	return client, server
}

func certificate(t *testing.T) tls.Certificate {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), DNSNames: []string{"x"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func attachEcho(t *testing.T, l *Loop, tr *Transport, tc *tls.Conn) *echo {
	t.Helper()
	e := &echo{loop: l, closed: make(chan error, 1)}
	attachOver(t, l, tr, tc, e, &e.stream)
	return e
}

// attachOver moves a socket to a running loop; the handler finds its stream in at.
func attachOver(t *testing.T, l *Loop, tr *Transport, tc *tls.Conn, h Handler, at **Stream) {
	t.Helper()
	errs := make(chan error)
	l.Post(func() {
		var err error
		*at, err = l.Attach(tr, tc, h)
		errs <- err
	})
	if err := <-errs; err != nil {
		t.Fatal(err)
	}
}

// exchange sends n bytes without reading at first, so that the echo runs into
// back-pressure, and expects the same bytes back.
func exchange(t *testing.T, c io.ReadWriter, n int) {
	t.Helper()
	sent := make([]byte, n)
	_, _ = rand.Read(sent)
	wrote := make(chan error, 1)
	go func() { _, err := c.Write(sent); wrote <- err }()
	got := make([]byte, n)
	if _, err := io.ReadFull(c, got); err != nil {
		t.Fatal(err)
	}
	if err := <-wrote; err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(sent, got) {
		t.Fatal("the echo differs")
	}
}

func TestStreamEchoes(t *testing.T) {
	for _, n := range []int{1, 100, BufferSize, 20 << 20} {
		l := runLoop(t)
		client, server := tcpPair(t)
		e := attachEcho(t, l, NewTransport(server), nil)
		exchange(t, client, n)
		client.Close()
		if err := <-e.closed; err != io.EOF {
			t.Errorf("%d bytes: closed with %v, want EOF", n, err)
		}
	}
}

func TestStreamEchoesOverTLS(t *testing.T) {
	for _, version := range []uint16{tls.VersionTLS12, tls.VersionTLS13} {
		l := runLoop(t)
		client, server := tcpPair(t)
		tr := NewTransport(server)
		tc := tls.Server(tr, &tls.Config{Certificates: []tls.Certificate{certificate(t)}, MinVersion: version, MaxVersion: version})
		shaken := make(chan error, 1)
		go func() { shaken <- tc.Handshake() }()
		c := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
		if err := c.Handshake(); err != nil {
			t.Fatal(err)
		}
		if err := <-shaken; err != nil {
			t.Fatal(err)
		}
		e := attachEcho(t, l, tr, tc)
		for _, n := range []int{1, 5000, 16 << 10, 8 << 20, 3} {
			exchange(t, c, n)
		}
		c.Close()
		if err := <-e.closed; err != io.EOF {
			t.Errorf("closed with %v, want EOF", err)
		}
	}
}

// A peer that never reads must not make the loop hold more than one buffer's worth.
func TestHeldOutputIsBounded(t *testing.T) {
	l := runLoop(t)
	client, server := tcpPair(t)
	e := attachEcho(t, l, NewTransport(server), nil)
	_ = client.SetWriteDeadline(time.Now().Add(500 * time.Millisecond))
	chunk := make([]byte, 1<<20)
	for {
		if _, err := client.Write(chunk); err != nil {
			break // the echo stopped reading
		}
	}
	held := make(chan int)
	l.Post(func() { held <- e.stream.Held() })
	if n := <-held; n == 0 || n > BufferSize {
		t.Errorf("%d bytes are held, want between 1 and %d", n, BufferSize)
	}
}

func TestHangupIsToldWhilePaused(t *testing.T) {
	l := runLoop(t)
	client, server := tcpPair(t)
	e := attachEcho(t, l, NewTransport(server), nil)
	l.Post(func() { e.stream.Pause() })
	client.Close()
	select {
	case <-e.closed:
	case <-time.After(5 * time.Second):
		t.Fatal("the hangup was not told")
	}
}

// The last message must arrive although the peer's own input was never read.
func TestFinishDeliversTheLastMessage(t *testing.T) {
	l := runLoop(t)
	client, server := tcpPair(t)
	e := attachEcho(t, l, NewTransport(server), nil)
	paused := make(chan struct{})
	l.Post(func() { e.stream.Pause(); close(paused) })
	<-paused
	if _, err := client.Write(make([]byte, 100<<10)); err != nil {
		t.Fatal(err)
	}
	l.Post(func() {
		_ = e.stream.Write([]byte("goodbye"))
		e.stream.Finish(5 * time.Second)
	})
	got, err := io.ReadAll(client)
	if err != nil || string(got) != "goodbye" {
		t.Errorf("read %d bytes, %v; want the last message and a clean end", len(got), err)
	}
}

func TestTimersFireInOrderAndCancel(t *testing.T) {
	l := runLoop(t)
	fired := make(chan int, 3)
	l.Post(func() {
		l.After(30*time.Millisecond, func() { fired <- 3 })
		gone := l.After(20*time.Millisecond, func() { fired <- 2 })
		l.After(10*time.Millisecond, func() { fired <- 1 })
		l.Cancel(gone)
		l.Cancel(gone)
	})
	if a, b := <-fired, <-fired; a != 1 || b != 3 {
		t.Errorf("fired %d, %d; want 1, 3", a, b)
	}
}

// The forwarding path must not allocate: this is its lower half.
func TestReadAndWriteDoNotAllocate(t *testing.T) {
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer func() { l.Stop(); l.Run() }()
	client, server := tcpPair(t)
	e := &echo{loop: l, closed: make(chan error, 1)}
	if e.stream, err = l.Attach(NewTransport(server), nil, e); err != nil {
		t.Fatal(err)
	}
	ping, pong := []byte("ping"), make([]byte, 4)
	allocs := testing.AllocsPerRun(1000, func() {
		_, _ = client.Write(ping)
		for range l.wait() {
			e.stream.event(l.events[0].Events)
		}
		_, _ = io.ReadFull(client, pong)
	})
	if string(pong) != "ping" {
		t.Fatal("no echo, so nothing was measured")
	}
	if allocs != 0 {
		t.Errorf("%.1f allocations for an echo, want none", allocs)
	}
}
