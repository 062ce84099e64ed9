package netloop

import (
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Transport is a socket that begins as a blocking net.Conn and may later move
// to a Loop. TLS that is to run on the loop is made over the Transport and its
// handshake finished before the move, because a tls.Conn cannot change what
// lies under it.
//
// Before the move it is used like any net.Conn. After it, only the Stream's own
// tls.Conn may call it, from the loop's goroutine.
type Transport struct {
	conn   net.Conn // nil once attached
	stream *Stream  // nil until attached
	local  net.Addr
	remote net.Addr
}

// NewTransport wraps a *net.TCPConn or *net.UnixConn, and owns it from then on.
func NewTransport(c net.Conn) *Transport {
	return &Transport{conn: c, local: c.LocalAddr(), remote: c.RemoteAddr()}
}

// errAgain is what a Transport on a loop answers when the socket is drained. It
// is a temporary net.Error because crypto/tls keeps a partial record and stays
// usable after one of those, and after no other error.
var errAgain net.Error = again{}

type again struct{}

func (again) Error() string   { return "netloop: nothing to read yet" }
func (again) Timeout() bool   { return true }
func (again) Temporary() bool { return true }

func (t *Transport) Read(p []byte) (int, error) {
	if s := t.stream; s != nil {
		return s.receive(p)
	}
	return t.conn.Read(p)
}

func (t *Transport) Write(p []byte) (int, error) {
	if s := t.stream; s != nil {
		s.loop.sealed = append(s.loop.sealed, p...)
		return len(p), nil
	}
	return t.conn.Write(p)
}

// Close closes the socket unless it moved to a loop: there its Stream closes it.
func (t *Transport) Close() error {
	if t.conn == nil {
		return nil
	}
	return t.conn.Close()
}

// LocalAddr returns the socket's own address, also after the move.
func (t *Transport) LocalAddr() net.Addr { return t.local }

// RemoteAddr returns the peer's address, also after the move.
func (t *Transport) RemoteAddr() net.Addr { return t.remote }

// SetDeadline does nothing once the Transport is on a loop: time is the loop's there.
func (t *Transport) SetDeadline(d time.Time) error {
	if t.conn == nil {
		return nil
	}
	return t.conn.SetDeadline(d)
}

// SetReadDeadline is like SetDeadline.
func (t *Transport) SetReadDeadline(d time.Time) error {
	if t.conn == nil {
		return nil
	}
	return t.conn.SetReadDeadline(d)
}

// SetWriteDeadline is like SetDeadline.
func (t *Transport) SetWriteDeadline(d time.Time) error {
	if t.conn == nil {
		return nil
	}
	return t.conn.SetWriteDeadline(d)
}

// CloseWrite ends the sending half, so that a last message arrives before the close.
func (t *Transport) CloseWrite() error {
	if c, ok := t.conn.(interface{ CloseWrite() error }); ok {
		return c.CloseWrite()
	}
	return errors.ErrUnsupported
}

// detach takes the socket out of the Go runtime's poller: a duplicate of the
// descriptor goes on, the net.Conn is closed. A descriptor left in both pollers
// would wake both. Closing the net.Conn does not end the connection, since the
// duplicate refers to the same socket.
func (t *Transport) detach() (fd int, err error) {
	sc, ok := t.conn.(syscall.Conn)
	if !ok {
		return -1, errors.ErrUnsupported
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return -1, err
	}
	fd = -1
	var dupErr error
	if err := raw.Control(func(from uintptr) {
		fd, dupErr = unix.FcntlInt(from, unix.F_DUPFD_CLOEXEC, 0)
	}); err != nil {
		return -1, err
	}
	if dupErr != nil {
		return -1, os.NewSyscallError("fcntl", dupErr)
	}
	if err := t.conn.Close(); err != nil {
		_ = unix.Close(fd)
		return -1, err
	}
	t.conn = nil
	if err := unix.SetNonblock(fd, true); err != nil {
		_ = unix.Close(fd)
		return -1, os.NewSyscallError("fcntl", err)
	}
	return fd, nil
}
