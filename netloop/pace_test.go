package netloop

import (
	"crypto/tls"
	"io"
	"net"
	"testing"
	"time"
)

// sink counts what it reads and notes whether its stream was ever paced.
type sink struct {
	loop   *Loop
	stream *Stream
	n      int
	reads  int
	paced  bool
	grew   chan int
	ended  chan error
}

func (k *sink) Readable() {
	for k.stream.More() {
		n, err := k.stream.Read(k.loop.Buffer())
		if err != nil {
			k.stream.Close()
			k.ended <- err
			return
		}
		k.n += n
		k.reads++
		k.paced = k.paced || k.stream.pace.on
	}
	select {
	case <-k.grew:
	default:
	}
	k.grew <- k.n
}

func (k *sink) Flushed() {}
func (k *sink) Hangup()  { k.ended <- io.ErrNoProgress }

func (k *sink) await(t *testing.T, n int) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for got := 0; got < n; {
		select {
		case got = <-k.grew:
		case <-deadline:
			t.Fatalf("%d bytes did not arrive, %d did", n, got)
		}
	}
}

// pour sends n bytes in PostgreSQL's pieces of 8 KiB, at some 100 MB/s.
func pour(t *testing.T, c net.Conn, n int) {
	t.Helper()
	piece := make([]byte, 8<<10)
	for begun, sent := time.Now(), 0; sent < n; sent += len(piece) {
		if _, err := c.Write(piece); err != nil {
			t.Fatal(err)
		}
		for time.Since(begun) < time.Duration(sent)*10*time.Nanosecond {
		}
	}
}

func attachSink(t *testing.T, l *Loop, tr *Transport, tc *tls.Conn) *sink {
	t.Helper()
	k := &sink{loop: l, grew: make(chan int, 1), ended: make(chan error, 1)}
	attachOver(t, l, tr, tc, k, &k.stream)
	return k
}

// ask has the loop answer, to whom the sink's fields belong.
func ask[T any](k *sink, question func() T) T {
	answer := make(chan T)
	k.loop.Post(func() { answer <- question() })
	return <-answer
}

// What a pouring stream brings must arrive in full, in few reads, and a stream
// that has stopped pouring must tell of every byte again, its end included.
func TestPouringStreamIsPaced(t *testing.T) {
	const much = 8 << 20
	l := runLoop(t)
	client, server := tcpPair(t)
	k := attachSink(t, l, NewTransport(server), nil)
	pour(t, client, much)
	k.await(t, much)
	if !ask(k, func() bool { return k.paced }) {
		t.Fatal("the stream was never paced")
	}
	if reads, most := ask(k, func() int { return k.reads }), much/(8<<10)*3/4; reads > most {
		t.Errorf("%d reads, want at most %d", reads, most)
	}
	for i := range 3 {
		if _, err := client.Write([]byte{'.'}); err != nil {
			t.Fatal(err)
		}
		k.await(t, much+i+1)
		if ask(k, func() bool { return k.stream.pace.on }) {
			t.Error("a stream that trickles is still paced")
		}
	}
	pour(t, client, much)
	client.Close()
	if err := <-k.ended; err != io.EOF {
		t.Errorf("ended with %v, want EOF", err)
	}
	if n := ask(k, func() int { return k.n }); n != 2*much+3 {
		t.Errorf("%d bytes arrived, want %d", n, 2*much+3)
	}
}

func TestPacedStreamPausesAndResumes(t *testing.T) {
	const much = 2 << 20
	l := runLoop(t)
	client, server := tcpPair(t)
	k := attachSink(t, l, NewTransport(server), nil)
	pour(t, client, much)
	k.await(t, much)
	ask(k, func() bool { k.stream.Pause(); return true })
	if _, err := client.Write(make([]byte, 64<<10)); err != nil {
		t.Fatal(err)
	}
	paused := make(chan int)
	l.Post(func() { l.After(5*paceMax, func() { paused <- k.n }) })
	if n := <-paused; n != much {
		t.Errorf("%d bytes were read, want %d and no more while paused", n, much)
	}
	l.Post(func() { k.stream.Resume() })
	k.await(t, much+64<<10)
}

func TestPouringTLSStreamIsPaced(t *testing.T) {
	const much = 8 << 20
	l := runLoop(t)
	client, server := tcpPair(t)
	tr := NewTransport(server)
	tc := tls.Server(tr, &tls.Config{Certificates: []tls.Certificate{certificate(t)}})
	shaken := make(chan error, 1)
	go func() { shaken <- tc.Handshake() }()
	c := tls.Client(client, &tls.Config{InsecureSkipVerify: true})
	if err := c.Handshake(); err != nil {
		t.Fatal(err)
	}
	if err := <-shaken; err != nil {
		t.Fatal(err)
	}
	k := attachSink(t, l, tr, tc)
	pour(t, c, much)
	k.await(t, much)
	if !ask(k, func() bool { return k.paced }) {
		t.Error("the stream was never paced")
	}
	if _, err := c.Write([]byte{'.'}); err != nil {
		t.Fatal(err)
	}
	k.await(t, much+1)
}
