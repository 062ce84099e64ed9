package netloop

import "testing"

// round is one round of Run's, for tests that count what a round does.
func (l *Loop) round() {
	for i := range l.wait() {
		ev := &l.events[i]
		if int(ev.Fd) < len(l.streams) && l.streams[ev.Fd] != nil {
			l.streams[ev.Fd].event(ev.Events)
		}
	}
	l.runAgain()
}

// counter counts what it reads.
type counter struct {
	loop   *Loop
	stream *Stream
	n      int
}

func (c *counter) Readable() {
	for c.stream.More() {
		n, err := c.stream.Read(c.loop.Buffer())
		if err != nil {
			panic(err)
		}
		c.n += n
	}
}

func (c *counter) Flushed() {}
func (c *counter) Hangup()  {}

// With both ends on one loop, a round trip is two records written and two read.
// crypto/tls itself allocates twice for each record it reads (the reader it puts
// around its connection, for header and body); beyond that there must be nothing.
func TestTLSAllocatesOnlyInCryptoTLS(t *testing.T) {
	for name, version := range versions {
		l, err := New()
		if err != nil {
			t.Fatal(err)
		}
		defer func() { l.Stop(); l.Run() }()
		raw, server := tcpPair(t)
		tr := NewTransport(raw)
		c, s := secure(t, tr, server, version, nil)
		e := &echo{loop: l, closed: make(chan error, 1)}
		if e.stream, err = l.Attach(s.transport, s.conn, e); err != nil {
			t.Fatal(err)
		}
		me := &counter{loop: l}
		if me.stream, err = l.Attach(tr, c, me); err != nil {
			t.Fatal(err)
		}
		ping := make([]byte, 100)
		allocs := testing.AllocsPerRun(1000, func() {
			if err := me.stream.Write(ping); err != nil {
				t.Fatal(err)
			}
			for me.n = 0; me.n < len(ping); {
				l.round()
			}
		})
		want := 4.0
		if raceDetector {
			want = 7 // crypto/tls takes its output buffers from a sync.Pool
		}
		if allocs > want {
			t.Errorf("%s: %.1f allocations for a round trip, want no more than %.0f", name, allocs, want)
		}
	}
}
