package netloop

import (
	"io"
	"net"
	"os"
	"slices"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// spy is a Handler made of functions; a nil one does nothing.
type spy struct {
	readable, flushed, hangup func()
}

func call(fn func()) {
	if fn != nil {
		fn()
	}
}

func (s *spy) Readable() { call(s.readable) }
func (s *spy) Flushed()  { call(s.flushed) }
func (s *spy) Hangup()   { call(s.hangup) }

// do runs fn on the loop and waits for it.
func do(t *testing.T, l *Loop, fn func()) {
	t.Helper()
	done := make(chan struct{})
	l.Post(func() { defer close(done); fn() })
	wait(t, done, "a posted function")
}

func wait[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(20 * time.Second):
		t.Fatalf("%s did not come", what)
	}
	return v
}

// until asks on the loop, turn after turn, until the condition holds.
func until(t *testing.T, l *Loop, what string, condition func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); ; {
		var ok bool
		if do(t, l, func() { ok = condition() }); ok {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s: never", what)
		}
		time.Sleep(50 * time.Microsecond)
	}
}

// attach moves a plain socket to a loop that may already run.
func attach(t *testing.T, l *Loop, c net.Conn, h Handler) *Stream {
	t.Helper()
	var s *Stream
	attachAs(t, l, c, &s, h)
	return s
}

// attachAs is attach for a handler that refers to its own stream: s is set on
// the loop, before the first callback.
func attachAs(t *testing.T, l *Loop, c net.Conn, s **Stream, h Handler) {
	t.Helper()
	attachOver(t, l, NewTransport(c), nil, h, s)
}

// send writes all of p.
func send(t *testing.T, c net.Conn, p []byte) {
	t.Helper()
	if _, err := c.Write(p); err != nil {
		t.Fatal(err)
	}
}

func unixPair(t *testing.T) (peer, ours net.Conn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	var list [2]net.Conn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "socketpair")
		if list[i], err = net.FileConn(f); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	t.Cleanup(func() { list[0].Close() })
	_ = list[0].SetDeadline(time.Now().Add(30 * time.Second))
	return list[0], list[1]
}

// pairs are the kinds of socket that a stream may be.
var pairs = map[string]func(*testing.T) (peer, ours net.Conn){"tcp": tcpPair, "unix": unixPair}

// reset ends a TCP connection with RST.
func reset(t *testing.T, c net.Conn) {
	t.Helper()
	if err := c.(*net.TCPConn).SetLinger(0); err != nil {
		t.Fatal(err)
	}
	c.Close()
}

// stuff writes to the stream until the socket takes no more and output is held.
func stuff(t *testing.T, l *Loop, s *Stream) {
	t.Helper()
	do(t, l, func() {
		for s.Held() == 0 {
			if err := s.Write(make([]byte, BufferSize)); err != nil {
				t.Error(err)
				return
			}
		}
	})
}

func openFiles(t *testing.T) []string {
	t.Helper()
	entries, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Skip(err)
	}
	var list []string
	for _, e := range entries {
		if to, err := os.Readlink("/proc/self/fd/" + e.Name()); err == nil && to != "/proc/"+e.Name() {
			list = append(list, e.Name()+" "+to)
		}
	}
	return list
}

func TestUnixSocketsEcho(t *testing.T) {
	for _, n := range []int{1, BufferSize, 4 << 20} {
		l := runLoop(t)
		peer, ours := unixPair(t)
		e := attachEcho(t, l, NewTransport(ours), nil)
		exchange(t, peer, n)
		peer.Close()
		if err := wait(t, e.closed, "the end"); err != io.EOF {
			t.Errorf("%d bytes: closed with %v, want EOF", n, err)
		}
	}
}

// Each way a peer may leave, met in each state that a stream may be in: the
// handler must learn of it, by reading or by Hangup, and by nothing else.
func TestThePeerLeaves(t *testing.T) {
	leave := map[string]func(*testing.T, net.Conn){
		"closes":            func(_ *testing.T, c net.Conn) { c.Close() },
		"resets":            reset,
		"closes with input": func(_ *testing.T, c net.Conn) { c.Write([]byte("bye")); c.Close() },
	}
	states := []struct {
		name         string
		held, paused bool
	}{
		{"reading", false, false},
		{"reading with output held", true, false},
		{"paused", false, true},
		{"paused with output held", true, true},
	}
	for how, leave := range leave {
		for kind, pair := range pairs {
			if kind == "unix" && how == "resets" {
				continue // there is no such thing
			}
			for _, state := range states {
				t.Run(how+"/"+kind+"/"+state.name, func(t *testing.T) {
					l := runLoop(t)
					peer, ours := pair(t)
					var s *Stream
					told := make(chan string, 10)
					attachAs(t, l, ours, &s, &spy{
						readable: func() {
							for s.More() {
								if _, err := s.Read(l.Buffer()); err != nil {
									s.Close()
									told <- "read"
								}
							}
						},
						hangup: func() { s.Close(); told <- "hangup" },
					})
					if state.held {
						stuff(t, l, s)
					}
					if state.paused {
						do(t, l, func() { s.Pause() })
					}
					leave(t, peer)
					want := "read"
					if state.paused {
						want = "hangup"
					}
					if got := wait(t, told, "news of the peer's end"); got != want {
						t.Errorf("told by %s, want %s", got, want)
					}
					do(t, l, func() {
						if s.Held() != 0 || s.out != nil {
							t.Errorf("%d bytes are held for who has gone", s.Held())
						}
					})
					select {
					case again := <-told:
						t.Errorf("told once more, by %s", again)
					default:
					}
				})
			}
		}
	}
}

// A stream that has been given another turn and is then paused must still hear
// that the peer has gone.
func TestHangupIsToldBetweenYieldAndItsTurn(t *testing.T) {
	l := runLoop(t)
	peer, ours := tcpPair(t)
	var s *Stream
	var turns atomic.Int32
	gone := make(chan struct{}, 1)
	attachAs(t, l, ours, &s, &spy{
		readable: func() { turns.Add(1); s.Yield() }, // never reads: always has more
		hangup:   func() { s.Close(); gone <- struct{}{} },
	})
	send(t, peer, []byte("x"))
	until(t, l, "another turn", func() bool { return turns.Load() > 2 })
	do(t, l, func() {
		if !s.waiting {
			t.Error("the stream is not waiting for its turn, so nothing is tested")
		}
		s.Pause()
		peer.Close()
	})
	wait(t, gone, "the hangup")
}

func TestErrorsAreFinal(t *testing.T) {
	l := runLoop(t)
	peer, ours := tcpPair(t)
	var s *Stream
	ended := make(chan struct{})
	attachAs(t, l, ours, &s, &spy{readable: func() {
		_, err := s.Read(l.Buffer())
		if err == nil {
			t.Error("no error from a reset")
		}
		if s.More() {
			t.Error("More after an error")
		}
		if _, again := s.Read(l.Buffer()); again != err {
			t.Errorf("Read says %v after %v", again, err)
		}
		if again := s.Write([]byte("x")); again != err {
			t.Errorf("Write says %v after %v", again, err)
		}
		s.Close()
		s.Close()
		s.Finish(time.Hour) // nothing left to finish
		if len(l.timers) > 0 {
			t.Error("Finish after Close set a timer")
		}
		close(ended)
	}})
	reset(t, peer)
	wait(t, ended, "the error")
}

func TestClosedStreamsAnswer(t *testing.T) {
	l := runLoop(t)
	_, ours := tcpPair(t)
	s := attach(t, l, ours, &spy{})
	do(t, l, func() {
		s.Close()
		if _, err := s.Read(l.Buffer()); err != io.ErrClosedPipe {
			t.Errorf("Read says %v, want ErrClosedPipe", err)
		}
		if err := s.Write([]byte("x")); err != io.ErrClosedPipe {
			t.Errorf("Write says %v, want ErrClosedPipe", err)
		}
		if s.More() || s.Held() != 0 {
			t.Error("a closed stream has something left")
		}
		s.Resume()
		s.Yield()
	})
}

// A handler may close its stream in any callback, and is not called again.
func TestClosingWithinCallbacks(t *testing.T) {
	for _, in := range []string{"readable", "flushed", "hangup"} {
		l := runLoop(t)
		peer, ours := tcpPair(t)
		var s *Stream
		calls := make(chan string, 10)
		closes := func(name string) func() {
			return func() {
				calls <- name
				if name == in {
					s.Close()
				}
			}
		}
		attachAs(t, l, ours, &s, &spy{readable: closes("readable"), flushed: closes("flushed"), hangup: closes("hangup")})
		switch in {
		case "readable":
			send(t, peer, []byte("x"))
		case "flushed":
			stuff(t, l, s)
			// The last bytes of the answer come with the room for the output.
			go io.Copy(io.Discard, peer)
		case "hangup":
			do(t, l, func() { s.Pause() })
			peer.Close()
		}
		for last := ""; last != in; {
			last = wait(t, calls, in)
		}
		peer.Close()
		for range 3 {
			do(t, l, func() {})
		}
		select {
		case got := <-calls:
			t.Errorf("closed in %s, and then called: %s", in, got)
		default:
		}
	}
}

func TestFlushedIsToldOnceAllIsOut(t *testing.T) {
	for kind, pair := range pairs {
		l := runLoop(t)
		peer, ours := pair(t)
		// A small socket buffer, so that it takes many flushes.
		if err := ours.(interface{ SetWriteBuffer(int) error }).SetWriteBuffer(16 << 10); err != nil {
			t.Fatal(err)
		}
		var s *Stream
		sent := 0
		flushed := make(chan int, 10)
		attachAs(t, l, ours, &s, &spy{flushed: func() { flushed <- s.Held() }})
		do(t, l, func() {
			for s.Held() < 20*BufferSize { // more than the largest chunk
				sent += BufferSize
				if err := s.Write(slices.Repeat([]byte{byte(sent / BufferSize)}, BufferSize)); err != nil {
					t.Error(err)
					return
				}
			}
		})
		got := make([]byte, sent)
		if _, err := io.ReadFull(peer, got); err != nil {
			t.Fatal(err)
		}
		for i, b := range got {
			if want := byte(i/BufferSize + 1); b != want {
				t.Fatalf("%s: byte %d is %d, want %d", kind, i, b, want)
			}
		}
		if held := wait(t, flushed, "Flushed"); held != 0 {
			t.Errorf("%s: %d bytes held when told that all is out", kind, held)
		}
		do(t, l, func() {
			if s.out != nil {
				t.Error("an idle stream holds a chunk")
			}
		})
		if len(flushed) > 0 {
			t.Errorf("%s: told twice", kind)
		}
	}
}

func TestPauseAndResume(t *testing.T) {
	l := runLoop(t)
	peer, ours := tcpPair(t)
	var s *Stream
	within := false
	reads := make(chan string, 10)
	attachAs(t, l, ours, &s, &spy{readable: func() {
		if within {
			t.Error("Readable is called within Resume")
		}
		for s.More() {
			if n, err := s.Read(l.Buffer()); err == nil && n > 0 {
				reads <- string(l.Buffer()[:n])
			}
		}
	}})
	resume := func() {
		within = true
		s.Resume()
		s.Resume() // twice is once
		within = false
	}
	do(t, l, func() { s.Pause() })
	send(t, peer, []byte("one"))
	until(t, l, "input", func() bool { return s.More() })
	if len(reads) > 0 {
		t.Error("a paused stream was told to read")
	}
	do(t, l, resume)
	if got := wait(t, reads, "what came while paused"); got != "one" {
		t.Errorf("read %q", got)
	}
	do(t, l, func() { s.Pause() })
	do(t, l, resume) // nothing has come
	do(t, l, func() { s.Pause(); resume(); s.Pause() })
	send(t, peer, []byte("two"))
	until(t, l, "input", func() bool { return s.More() })
	if len(reads) > 0 {
		t.Error("paused again, and told to read")
	}
	do(t, l, resume)
	if got := wait(t, reads, "what came while paused"); got != "two" {
		t.Errorf("read %q", got)
	}
}

// Input that fills the buffer exactly is the case in which only the next read
// tells that nothing is left.
func TestReadOfExactlyWhatIsThere(t *testing.T) {
	for kind, pair := range pairs {
		l := runLoop(t)
		peer, ours := pair(t)
		var s *Stream
		got := make(chan int, 100)
		p := make([]byte, 10)
		attachAs(t, l, ours, &s, &spy{readable: func() {
			for s.More() {
				n, err := s.Read(p)
				if err != nil {
					s.Close()
					n = -1
				}
				got <- n
			}
		}})
		send(t, peer, make([]byte, 20))
		for _, want := range []int{10, 10, 0} {
			if n := wait(t, got, "a read"); n != want {
				t.Errorf("%s: read %d, want %d", kind, n, want)
			}
		}
		peer.Write(make([]byte, 3)) // less than the buffer: no second read to find out
		if n := wait(t, got, "a read"); n != 3 {
			t.Errorf("%s: read %d, want 3", kind, n)
		}
		do(t, l, func() {})
		if len(got) > 0 {
			t.Errorf("%s: a needless read", kind)
		}
		send(t, peer, make([]byte, 10))
		peer.Close()
		sum := 0
		for n := 0; n >= 0; n = wait(t, got, "the end") {
			sum += n
		}
		if sum != 10 {
			t.Errorf("%s: %d bytes before the end, want 10", kind, sum)
		}
	}
}

func TestFinish(t *testing.T) {
	for kind, pair := range pairs {
		t.Run(kind+"/held output goes out first", func(t *testing.T) {
			l := runLoop(t)
			peer, ours := pair(t)
			s := attach(t, l, ours, &spy{
				readable: func() { t.Error("Readable after Finish") },
				flushed:  func() { t.Error("Flushed after Finish") },
				hangup:   func() { t.Error("Hangup after Finish") },
			})
			stuff(t, l, s)
			do(t, l, func() { s.Finish(time.Hour) })
			n, err := io.Copy(io.Discard, peer)
			if err != nil || n < BufferSize {
				t.Errorf("the peer reads %d bytes, %v", n, err)
			}
			peer.Close()
			until(t, l, "the close", func() bool { return s.closed })
		})
		t.Run(kind+"/what still comes is read", func(t *testing.T) {
			l := runLoop(t)
			peer, ours := pair(t)
			s := attach(t, l, ours, &spy{})
			do(t, l, func() { s.Pause(); s.Finish(time.Hour) })
			// More than the sockets' buffers hold: who writes first and reads then
			// must get to reading.
			if _, err := peer.Write(make([]byte, 16<<20)); err != nil {
				t.Error(err)
			}
			if n, err := io.Copy(io.Discard, peer); n != 0 || err != nil {
				t.Errorf("the peer reads %d bytes, %v; want the end", n, err)
			}
			peer.Close()
			until(t, l, "the close", func() bool { return s.closed })
		})
		t.Run(kind+"/the grace ends it", func(t *testing.T) {
			l := runLoop(t)
			peer, ours := pair(t)
			s := attach(t, l, ours, &spy{})
			do(t, l, func() { s.Finish(5 * time.Millisecond) })
			if n, err := io.Copy(io.Discard, peer); n != 0 || err != nil {
				t.Errorf("the peer reads %d bytes, %v; want the end at once", n, err)
			}
			until(t, l, "the close", func() bool { return s.closed })
		})
		t.Run(kind+"/a peer that floods", func(t *testing.T) {
			l := runLoop(t)
			peer, ours := pair(t)
			s := attach(t, l, ours, &spy{})
			flood := make(chan error, 1)
			go func() {
				for {
					if _, err := peer.Write(make([]byte, BufferSize)); err != nil {
						flood <- err
						return
					}
				}
			}()
			do(t, l, func() { s.Finish(5 * time.Millisecond) })
			if err := wait(t, flood, "the end of the flood"); os.IsTimeout(err) {
				t.Error(err)
			}
			until(t, l, "the close", func() bool { return s.closed })
		})
	}
	t.Run("a peer that has gone", func(t *testing.T) {
		l := runLoop(t)
		peer, ours := tcpPair(t)
		s := attach(t, l, ours, &spy{})
		do(t, l, func() { s.Pause() })
		stuff(t, l, s)
		do(t, l, func() { s.Finish(time.Hour); s.Finish(0) })
		reset(t, peer)
		until(t, l, "the close", func() bool { return s.closed })
	})
}

var _ syscall.Conn = (*net.UnixConn)(nil) // what detach needs of both kinds
