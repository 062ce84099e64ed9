package netloop

import (
	"crypto/tls"
	"io"
	"os"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Handler is what a Stream tells about itself. Every call comes on the loop and
// must not block; the stream may be closed in any of them.
type Handler interface {
	// Readable says that Read may have something: bytes, the end or an error.
	// It is not called while reading is paused.
	Readable()
	// Flushed says that all output that had been held back is out.
	Flushed()
	// Hangup says that the peer has gone while reading is paused, so that
	// nothing is learnt of it by reading.
	Hangup()
}

// Stream is one socket on a loop. All methods belong to the loop's goroutine.
type Stream struct {
	loop    *Loop
	handler Handler
	tls     *tls.Conn // nil in plaintext
	rerr    error     // final; what Read answers from then on
	werr    error     // final; what Write answers from then on
	out     []byte    // held-back output: a chunk, out[sent:] is still to go
	sent    int
	fd      int32
	turn    uint32

	more      bool // Read may have something
	undrained bool // the socket may have something (TLS has its own buffer above it)
	hungup    bool // the peer ended its half, or the connection broke
	paused    bool // the handler does not want to read
	waiting   bool // in loop.again
	closed    bool
	finishing bool // Finish: output goes out, input is thrown away

	pace pace
}

// Attach moves the transport's socket, and the TLS that runs over it (nil in
// plaintext), to the loop. The handler's first call may be Readable. On error
// the transport is closed.
func (l *Loop) Attach(t *Transport, tc *tls.Conn, h Handler) (*Stream, error) {
	fd, err := t.detach()
	if err != nil {
		_ = t.Close()
		return nil, err
	}
	l.turn++
	s := &Stream{loop: l, handler: h, tls: tc, fd: int32(fd), turn: l.turn}
	ev := unix.EpollEvent{Events: allEvents & 0xffffffff, Fd: int32(fd), Pad: int32(s.turn)}
	if err := unix.EpollCtl(l.epfd, unix.EPOLL_CTL_ADD, fd, &ev); err != nil {
		_ = unix.Close(fd)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	for len(l.streams) <= fd {
		l.streams = append(l.streams, nil)
	}
	l.streams[fd] = s
	t.stream = s
	if tc != nil {
		s.more = true // the handshake may have read beyond itself
		s.yield()
	}
	return s, nil
}

// SetHandler changes who is told from now on.
func (s *Stream) SetHandler(h Handler) { s.handler = h }

// event takes what epoll says of the socket.
func (s *Stream) event(mask uint32) {
	if mask&gone != 0 {
		s.hungup = true
	}
	if mask&(unix.EPOLLIN|gone) != 0 {
		s.more, s.undrained = true, true
	}
	if mask&(unix.EPOLLOUT|unix.EPOLLHUP|unix.EPOLLERR) != 0 && len(s.out) > 0 {
		if s.flush(); s.werr != nil {
			s.more = true
		} else if len(s.out) == 0 {
			if s.finishing {
				_ = unix.Shutdown(int(s.fd), unix.SHUT_WR)
			}
			s.handler.Flushed()
		}
	}
	switch {
	case s.closed:
	case s.paused: // also while it waits for another turn, which it will not use
		if mask&gone != 0 {
			s.handler.Hangup()
		}
	case s.more && !s.waiting:
		s.handler.Readable()
	}
}

func (s *Stream) readable() {
	if s.more && !s.paused && !s.closed {
		s.handler.Readable()
	}
}

// Pause stops calls of Readable. What arrives stays in the socket, which makes
// the peer wait.
func (s *Stream) Pause() { s.paused = true }

// Resume undoes Pause. If something is there already, Readable is called later
// in this turn, never from within Resume.
func (s *Stream) Resume() {
	if s.paused {
		s.paused = false
		if s.more {
			s.yield()
		}
	}
}

// More reports whether Read may have something right now.
func (s *Stream) More() bool { return s.more }

// yield has Readable called once more after the others had their turn.
func (s *Stream) yield() {
	if !s.waiting {
		s.waiting = true
		s.loop.again = append(s.loop.again, s)
	}
}

// Yield has Readable called again after the loop's other streams had their
// turn. A handler that stops reading before More is false calls it, so that one
// busy stream does not starve the rest.
func (s *Stream) Yield() {
	if s.more && !s.paused {
		s.yield()
	}
}

// Read reads into p, which must not be empty. It returns 0, nil when nothing is
// there yet; io.EOF or another error is final. More is false once the socket is
// known to be drained: a read that returns less than it asked for has emptied
// it, so no second call is spent on finding that out.
func (s *Stream) Read(p []byte) (int, error) {
	if s.rerr != nil {
		return s.over()
	}
	var n int
	var err error
	if s.tls == nil {
		n, err = s.receive(p)
		s.more = s.undrained
	} else {
		n, err = s.decrypt(p)
	}
	if err == nil || err == errAgain { //nolint:errorlint // this very value, never wrapped
		s.keepPace(n)
		return n, nil
	}
	s.rerr = err
	if s.more = n > 0; s.more {
		return n, nil // the error is next
	}
	return s.over()
}

// over answers a Read after the last: whoever has been told so has no use for
// writing any more.
func (s *Stream) over() (int, error) {
	s.more = false
	if s.werr == nil {
		s.werr = s.rerr
	}
	return 0, s.rerr
}

// decrypt fills p from as many records as are there.
func (s *Stream) decrypt(p []byte) (n int, err error) {
	for n < len(p) {
		var m int
		m, err = s.tls.Read(p[n:])
		n += m
		if err != nil {
			s.more = false
			break
		}
	}
	s.sendSealed() // crypto/tls answers a KeyUpdate, or complains, from within Read
	return n, err
}

// receive reads the socket once, without blocking.
func (s *Stream) receive(p []byte) (int, error) {
	if !s.undrained {
		return 0, errAgain
	}
	for {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_RECVFROM, uintptr(s.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(p))), uintptr(len(p)), 0, 0, 0)
		switch {
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			s.undrained = false
			return 0, errAgain
		case errno != 0:
			return 0, os.NewSyscallError("recv", errno)
		case n == 0:
			return 0, io.EOF
		default:
			if int(n) < len(p) && !s.hungup {
				s.undrained = false
			}
			return int(n), nil
		}
	}
}

// Write sends p. What the socket does not take now is kept and sent when it
// does; Held tells how much that is, and whoever produces should stop until
// Flushed. p is not referred to afterwards. The error is final, for writing:
// what the peer said before it went can still be read.
func (s *Stream) Write(p []byte) error {
	switch {
	case s.werr != nil:
	case s.tls == nil:
		s.send(p)
	default:
		if _, err := s.tls.Write(p); err != nil {
			s.werr = err
		}
		s.sendSealed()
	}
	return s.werr
}

// Held is the number of bytes that wait for the socket.
func (s *Stream) Held() int { return len(s.out) - s.sent }

func (s *Stream) sendSealed() {
	if len(s.loop.sealed) == 0 {
		return
	}
	s.send(s.loop.sealed)
	s.loop.sealed = s.loop.sealed[:0]
}

func (s *Stream) send(p []byte) {
	if len(s.out) == 0 {
		p = p[s.transmit(p):]
	}
	if len(p) > 0 && s.werr == nil {
		s.out = s.loop.Extend(s.out, p)
	}
}

func (s *Stream) flush() {
	s.sent += s.transmit(s.out[s.sent:])
	if s.sent == len(s.out) || s.werr != nil {
		s.drop()
	}
}

func (s *Stream) drop() {
	if s.out != nil {
		s.loop.Recycle(s.out)
		s.out, s.sent = nil, 0
	}
}

// transmit sends what the socket takes and returns how much that was.
func (s *Stream) transmit(p []byte) int {
	done := 0
	for done < len(p) {
		n, _, errno := syscall.RawSyscall6(syscall.SYS_SENDTO, uintptr(s.fd),
			uintptr(unsafe.Pointer(unsafe.SliceData(p[done:]))), uintptr(len(p)-done), syscall.MSG_NOSIGNAL, 0, 0)
		switch {
		case errno == syscall.EINTR:
		case errno == syscall.EAGAIN:
			return done
		case errno != 0:
			s.werr = os.NewSyscallError("send", errno)
			return done
		default:
			done += int(n)
		}
	}
	return done
}

// Close closes the socket at once; held-back output is lost. The handler is not
// called again. Closing twice does nothing.
func (s *Stream) Close() {
	if s.closed {
		return
	}
	s.closed = true
	s.loop.Cancel(s.pace.timer)
	if s.tls != nil && s.werr == nil {
		_ = s.tls.CloseWrite()
		s.sendSealed()
	}
	s.rerr, s.werr = io.ErrClosedPipe, io.ErrClosedPipe
	s.drop()
	s.more = false
	s.loop.streams[s.fd] = nil
	_ = unix.Close(int(s.fd)) // the last descriptor of the socket: epoll forgets it
}

// Finish sends what is held back, ends the sending half, throws away what still
// comes and closes when the peer does, or after the grace at the latest. Closing
// at once instead would answer unread input with a reset, and a reset can
// overtake the last message, which is the one that says why.
func (s *Stream) Finish(grace time.Duration) {
	if s.closed || s.finishing {
		return
	}
	s.finishing = true
	s.paused = false
	s.hurry()
	s.handler = (*finisher)(s)
	if s.tls != nil && s.werr == nil {
		_ = s.tls.CloseWrite()
		s.sendSealed()
	}
	if s.Held() == 0 {
		_ = unix.Shutdown(int(s.fd), unix.SHUT_WR)
	}
	s.loop.After(grace, s.Close)
	s.more, s.undrained = true, true
	s.yield()
}

// finisher reads and forgets until the peer is gone.
type finisher Stream

func (f *finisher) Readable() {
	s := (*Stream)(f)
	for range 4 {
		n, err := s.receive(s.loop.buffer)
		if err == errAgain { //nolint:errorlint // this very value, never wrapped
			s.more = false
			return
		}
		if err != nil || n == 0 {
			s.Close()
			return
		}
	}
	s.yield()
}

func (f *finisher) Flushed() {}
func (f *finisher) Hangup()  { (*Stream)(f).Close() }
