package bastion

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

// maxOpening bounds the channels of one bastion that are asked for and not yet
// answered. sshd takes some two minutes to give up on a destination that does
// not answer, and the request cannot be taken back.
const maxOpening = 1024

// link is one live SSH connection.
type link struct {
	hop    *hop
	conn   *watchedConn
	client *ssh.Client
	since  time.Time
	dead   chan struct{} // closed when the SSH connection has ended and its hop knows

	opening atomic.Int64
	silent  atomic.Bool // given up because it did not answer
}

func newLink(h *hop, conn *watchedConn, client *ssh.Client) *link {
	return &link{hop: h, conn: conn, client: client, since: h.set.o.Now(), dead: make(chan struct{})}
}

// watchedConn counts what is received: whatever comes proves that the peer lives,
// even while the answer to a keepalive is queued behind a COPY.
//
// It also acknowledges at once. sshd turns TCP_NODELAY on for interactive
// sessions only, so that the last, small segment of a database's answer waits in
// the bastion until what came before it is acknowledged, which Linux by default
// puts off for 40 ms: a small COPY then runs at 5 MB/s instead of 25.
type watchedConn struct {
	net.Conn
	raw      syscall.RawConn // of a TCP socket; nil on the way through another bastion
	received atomic.Int64
}

func newWatchedConn(conn net.Conn) *watchedConn {
	c := &watchedConn{Conn: conn}
	if tcp, ok := conn.(*net.TCPConn); ok {
		c.raw, _ = tcp.SyscallConn()
	}
	return c
}

func (c *watchedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	c.received.Add(int64(n))
	if c.raw != nil && err == nil {
		_ = c.raw.Control(quickAck) // the kernel forgets it again, so after each read
	}
	return n, err
}

func quickAck(fd uintptr) { _ = unix.SetsockoptInt(int(fd), unix.IPPROTO_TCP, unix.TCP_QUICKACK, 1) }

// run watches over the connection until it ends, on the goroutine of the attempt
// that made it. The keepalive goroutine ends with it.
func (l *link) run() {
	s := l.hop.set
	stop := context.AfterFunc(s.ctx, l.cut)
	s.spawn(l.keepalive)
	err := l.client.Wait() // an error in any case, io.EOF when the server just closed
	stop()
	l.cut()
	e := &Error{l.hop.name, Lost, fmt.Errorf("connection lost: %w", err)}
	if l.silent.Load() {
		e = l.hop.errorf(Unanswered, "keepalive unanswered for %s", s.o.KeepaliveTimeout)
	}
	l.hop.ended(l, e)
	close(l.dead)
}

// cut closes the socket, without a word to the peer, which may not take any: all
// channels end, and so does run.
func (l *link) cut() { _ = l.conn.Close() }

// keepalive asks the server for a sign of life at intervals.
func (l *link) keepalive() {
	o := &l.hop.set.o
	ticker := time.NewTicker(o.KeepaliveInterval)
	defer ticker.Stop()
	for {
		select {
		case <-l.dead:
			return
		case <-ticker.C:
		}
		stop := l.watch(o.KeepaliveTimeout)
		// Any answer will do; OpenSSH's is that it does not know the request.
		_, _, err := l.client.SendRequest("keepalive@openssh.com", true, nil)
		stop()
		if err != nil {
			l.cut()
			return
		}
	}
}

// watch gives the connection up when nothing is received for d, until stopped.
func (l *link) watch(d time.Duration) (stop func()) {
	done := make(chan struct{})
	seen := l.conn.received.Load()
	if !l.hop.set.spawn(func() {
		t := time.NewTimer(d)
		defer t.Stop()
		for {
			select {
			case <-done:
				return
			case <-t.C:
			}
			now := l.conn.received.Load()
			if now == seen {
				l.silent.Store(true)
				l.cut()
				return
			}
			seen = now
			t.Reset(d)
		}
	}) {
		l.cut()
	}
	return func() { close(done) }
}

// channelOpenDirect is the payload of a direct-tcpip channel (RFC 4254, section 7.2).
type channelOpenDirect struct {
	Host       string
	Port       uint32
	OriginHost string
	OriginPort uint32
}

// opened is a channel that the server granted, or its refusal.
type opened struct {
	channel  ssh.Channel
	requests <-chan *ssh.Request
	err      error
}

// open opens a channel to addr and returns the near end of the socket pair that
// it is bridged to.
func (l *link) open(ctx context.Context, addr string) (net.Conn, *Error) {
	h := l.hop
	host, portText, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, &Error{h.name, Destination, err}
	}
	port, err := strconv.ParseUint(portText, 10, 16)
	if err != nil {
		return nil, &Error{h.name, Destination, err}
	}
	if l.opening.Add(1) > maxOpening {
		l.opening.Add(-1)
		return nil, h.errorf(Destination, "%d connections wait for an answer already", maxOpening)
	}
	granted := make(chan opened)
	if !h.set.spawn(func() {
		defer l.opening.Add(-1)
		l.request(ctx, host, uint32(port), granted)
	}) {
		l.opening.Add(-1)
		return nil, &Error{h.name, Closed, errClosed}
	}
	select {
	case g := <-granted:
		if g.err != nil {
			kind, err := openKind(addr, g.err)
			if kind == Lost {
				l.cut()
				<-l.dead // soon, since the socket is closed
			}
			return nil, &Error{h.name, kind, err}
		}
		conn, err := l.bridge(g)
		if err != nil {
			return nil, &Error{h.name, Handshake, err}
		}
		return conn, nil
	case <-ctx.Done():
		if timedOut(ctx.Err()) {
			return nil, h.errorf(Destination, "no connection to %s in time: %w", addr, context.Cause(ctx))
		}
		return nil, &Error{h.name, Destination, context.Cause(ctx)}
	}
}

// request asks for a channel and hands it over. When nobody waits for it any
// more it is closed. It ends with the server's answer, or with the connection.
func (l *link) request(ctx context.Context, host string, port uint32, granted chan<- opened) {
	var g opened
	g.channel, g.requests, g.err = l.client.OpenChannel("direct-tcpip",
		ssh.Marshal(&channelOpenDirect{host, port, net.IPv4zero.String(), 0}))
	select {
	case granted <- g:
	case <-ctx.Done():
		if g.err == nil {
			_ = g.channel.Close()
			ssh.DiscardRequests(g.requests)
		}
	}
}
