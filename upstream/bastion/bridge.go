package bastion

import (
	"io"
	"net"
	"os"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
)

const (
	// pumpSize is the largest data packet of an SSH channel in x/crypto/ssh and OpenSSH.
	pumpSize = 32 << 10
	// hangupCheck is how often a bridge looks whether the near end was closed. Only
	// reading would tell at once, and a pump that waits for the server does not read.
	hangupCheck = 5 * time.Second
	// drainTimeout is how long the near end may take to read what the server sent
	// before it closed.
	drainTimeout = time.Minute
)

// bridge joins an SSH channel with one end of a socket pair.
//
// Three goroutines: up (near → server) and down (server → near) each end when
// what they read from or write to ends; tend ends with the channel, and closes
// the far end, which ends the other two.
type bridge struct {
	link     *link
	far      *net.UnixConn
	channel  ssh.Channel
	requests <-chan *ssh.Request
	drained  chan struct{} // closed when down has ended
}

// bridge returns the near end.
func (l *link) bridge(g opened) (*net.UnixConn, error) {
	near, far, err := socketPair()
	if err != nil {
		_ = g.channel.Close()
		return nil, err
	}
	b := &bridge{link: l, far: far, channel: g.channel, requests: g.requests, drained: make(chan struct{})}
	s := l.hop.set
	if !s.spawn(b.tend) {
		_ = near.Close()
		_ = far.Close()
		_ = g.channel.Close()
		return nil, errClosed
	}
	return near, nil
}

// socketPair returns the two ends of a Unix stream.
func socketPair() (near, far *net.UnixConn, err error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		return nil, nil, os.NewSyscallError("socketpair", err)
	}
	var ends [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "ssh channel")
		c, e := net.FileConn(f) // has a descriptor of its own
		_ = f.Close()
		if e != nil {
			err = e
			continue
		}
		ends[i] = c.(*net.UnixConn)
	}
	if err != nil {
		for _, c := range ends {
			if c != nil {
				_ = c.Close()
			}
		}
		return nil, nil, err
	}
	return ends[0], ends[1], nil
}

// tend starts the pumps, and ends the bridge when the channel has ended, when
// the near end was closed for good, or with the Set.
func (b *bridge) tend() {
	s := b.link.hop.set
	defer func() { _ = b.far.Close() }()
	if !s.spawn(b.up) {
		_ = b.channel.Close()
		return
	}
	if !s.spawn(b.down) {
		_ = b.channel.Close()
		return
	}
	ticker := time.NewTicker(hangupCheck)
	defer ticker.Stop()
	for {
		select {
		case r, ok := <-b.requests:
			if !ok { // the channel is closed, by the server or with the connection
				b.drain()
				return
			}
			if r.WantReply {
				_ = r.Reply(false, nil)
			}
		case <-ticker.C:
			if hungUp(b.far) {
				_ = b.channel.Close() // the server's answer closes requests
			}
		case <-s.ctx.Done():
			return
		}
	}
}

// drain waits until the near end has read the last of what the server sent.
func (b *bridge) drain() {
	t := time.NewTimer(drainTimeout)
	defer t.Stop()
	select {
	case <-b.drained:
	case <-t.C:
	case <-b.link.hop.set.ctx.Done():
	}
}

// up sends the server what the near end writes. Its end of file is passed on.
func (b *bridge) up() {
	_, err := io.CopyBuffer(b.channel, onlyReader{b.far}, make([]byte, pumpSize))
	if err != nil || hungUp(b.far) {
		_ = b.channel.Close()
		return
	}
	_ = b.channel.CloseWrite()
}

// down gives the near end what the server sends. Its end of file is passed on.
func (b *bridge) down() {
	defer close(b.drained)
	if _, err := io.CopyBuffer(onlyWriter{b.far}, b.channel, make([]byte, pumpSize)); err != nil {
		_ = b.channel.Close()
		return
	}
	_ = b.far.CloseWrite()
}

// onlyReader and onlyWriter keep io.CopyBuffer from preferring other methods to
// the buffer that it is given.
type (
	onlyReader struct{ io.Reader }
	onlyWriter struct{ io.Writer }
)

// hungUp reports whether the other end of the pair is closed, and not just its
// sending half.
func hungUp(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return true
	}
	gone := true
	err = raw.Control(func(fd uintptr) {
		p := []unix.PollFd{{Fd: int32(fd)}}
		_, err := unix.Poll(p, 0)
		gone = err == nil && p[0].Revents&(unix.POLLHUP|unix.POLLERR) != 0
	})
	return err != nil || gone
}
