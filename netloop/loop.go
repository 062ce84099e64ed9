package netloop

import (
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// BufferSize is the size of a loop's read buffer, and so the most that one read
// returns.
const BufferSize = 64 << 10

const (
	eventsPerWait = 256
	quietEvents   = unix.EPOLLOUT | unix.EPOLLRDHUP | unix.EPOLLET
	allEvents     = quietEvents | unix.EPOLLIN
	gone          = unix.EPOLLRDHUP | unix.EPOLLHUP | unix.EPOLLERR
)

// Loop is one event loop. All its methods but Post, Stop and Run belong to the
// goroutine that runs it.
type Loop struct {
	// Linger is how long the loop waits for events while it keeps its processor (a
	// P of the Go scheduler), before it waits as other goroutines do. It is set
	// before Run; zero is not at all.
	//
	// Waiting as others do costs more than the wait: the runtime's monitor notices
	// that a processor is idle in a system call, takes it away, is woken when the
	// call returns, and meanwhile polls every 20 microseconds. That was a sixth of the
	// CPU of one client's transactions, and of a COPY almost half. A lingering loop
	// spares it, but its
	// processor runs nothing else meanwhile: whoever sets Linger gives the process
	// a processor for each loop on top of those that other goroutines need.
	Linger time.Duration

	epfd   int
	wakeFD int

	streams []*Stream // by descriptor
	turn    uint32    // of attaching, to tell a descriptor's users apart
	again   []*Stream // have more to read than one turn allows
	spare   []*Stream // the other slice of again, to swap with

	timers timerHeap
	chunks chunks
	start  time.Time
	now    time.Duration // since start, read once a turn

	buffer []byte // Buffer
	sealed []byte // TLS records of the write in progress

	stopped bool
	coarse  bool // timers are good to a millisecond only: there is no epoll_pwait2

	mu       sync.Mutex
	posted   []func()
	running  []func() // the slice that posted swaps with
	sleeping atomic.Bool

	events [eventsPerWait]unix.EpollEvent
}

// New makes a loop. It serves nothing until Run.
func New() (*Loop, error) {
	epfd, err := unix.EpollCreate1(unix.EPOLL_CLOEXEC)
	if err != nil {
		return nil, os.NewSyscallError("epoll_create1", err)
	}
	wakeFD, err := unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK)
	if err != nil {
		_ = unix.Close(epfd)
		return nil, os.NewSyscallError("eventfd", err)
	}
	// Edge-triggered, so the counter never needs reading.
	ev := unix.EpollEvent{Events: unix.EPOLLIN | unix.EPOLLET&0xffffffff, Fd: int32(wakeFD)}
	if err := unix.EpollCtl(epfd, unix.EPOLL_CTL_ADD, wakeFD, &ev); err != nil {
		_ = unix.Close(wakeFD)
		_ = unix.Close(epfd)
		return nil, os.NewSyscallError("epoll_ctl", err)
	}
	return &Loop{
		epfd: epfd, wakeFD: wakeFD, start: time.Now(),
		buffer: make([]byte, BufferSize),
	}, nil
}

// Post has fn called on the loop, in the order of posting. It may be called from
// any goroutine, the loop's own included, and never blocks. After Stop nothing
// is called any more.
func (l *Loop) Post(fn func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.posted = append(l.posted, fn)
	if l.sleeping.Load() {
		l.wake() // under the lock: Run closes the descriptor under it
	}
}

// Stop ends Run after the turn in progress, closing what is still attached. It
// may be called from any goroutine.
func (l *Loop) Stop() { l.Post(func() { l.stopped = true }) }

// Now is the time since the loop was made, read once a turn.
func (l *Loop) Now() time.Duration { return l.now }

// Buffer is the loop's read buffer, BufferSize bytes, for the callback in
// progress: what is to outlive it must be copied out.
func (l *Loop) Buffer() []byte { return l.buffer }

// Run serves until Stop. It is called once.
func (l *Loop) Run() {
	for !l.stopped {
		n := l.wait()
		l.now = time.Since(l.start)
		for i := range n {
			ev := &l.events[i]
			if int(ev.Fd) >= len(l.streams) {
				continue // the wake-up
			}
			// The stream may have been closed, and its descriptor taken by
			// another, by an earlier event of this turn.
			if s := l.streams[ev.Fd]; s != nil && s.turn == uint32(ev.Pad) {
				s.event(ev.Events)
			}
		}
		l.runAgain()
		l.runPosted()
		l.runTimers()
	}
	for _, s := range l.streams {
		if s != nil {
			s.Close()
		}
	}
	l.mu.Lock() // who saw the loop asleep has written its wake-up by now
	defer l.mu.Unlock()
	_ = unix.Close(l.wakeFD)
	_ = unix.Close(l.epfd)
}

// wait fills l.events. It looks first without blocking, through a raw system
// call: under load there is nearly always something, and a call that cannot
// block need not tell the scheduler. When there is nothing, it lets others run
// and looks once more before it sleeps: where processors are scarce those others
// are the peers whose bytes it waits for, and one wake-up then serves several of
// them. Measured with 16 clients on two cores: 0.9 times the CPU of sleeping at
// once; with one client there is no difference.
func (l *Loop) wait() int {
	if n := l.poll(); n > 0 || len(l.again) > 0 {
		return n
	}
	_, _, _ = syscall.RawSyscall(unix.SYS_SCHED_YIELD, 0, 0, 0)
	if n := l.poll(); n > 0 {
		return n
	}
	l.sleeping.Store(true)
	defer l.sleeping.Store(false)
	l.mu.Lock()
	idle := len(l.posted) == 0
	l.mu.Unlock()
	if !idle {
		return 0
	}
	if l.Linger > 0 && !l.coarse {
		d := l.Linger
		if len(l.timers) > 0 {
			d = min(d, l.due())
		}
		timeout := unix.NsecToTimespec(int64(d))
		n, _, errno := syscall.RawSyscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epfd),
			uintptr(unsafe.Pointer(&l.events[0])), eventsPerWait, uintptr(unsafe.Pointer(&timeout)), 0, 0)
		switch {
		case errno == unix.EINTR: // the runtime wants the processor: go round again
			return 0
		case errno == 0 && n > 0:
			return int(n)
		}
	}
	if len(l.timers) == 0 {
		return l.sleep(-1)
	}
	return l.sleep(l.due())
}

// due is how long it is until the next timer.
func (l *Loop) due() time.Duration { return max(0, l.timers[0].at-time.Since(l.start)) }

// sleep waits for events for as long as d says, for ever when it is negative.
func (l *Loop) sleep(d time.Duration) int {
	if !l.coarse && d >= 0 {
		timeout := unix.NsecToTimespec(int64(d))
		n, _, errno := syscall.Syscall6(unix.SYS_EPOLL_PWAIT2, uintptr(l.epfd),
			uintptr(unsafe.Pointer(&l.events[0])), eventsPerWait, uintptr(unsafe.Pointer(&timeout)), 0, 0)
		switch errno {
		case 0:
			return int(n)
		case unix.ENOSYS, unix.EPERM: // Linux before 5.11, or a sandbox that has not heard of it
			l.coarse = true
		default:
			return 0 // EINTR: go round again
		}
	}
	timeout := -1
	if d >= 0 {
		timeout = int((d + time.Millisecond - 1) / time.Millisecond)
	}
	n, err := unix.EpollWait(l.epfd, l.events[:], timeout)
	if err != nil {
		return 0
	}
	return n
}

func (l *Loop) poll() int {
	n, _, errno := syscall.RawSyscall6(syscall.SYS_EPOLL_PWAIT, uintptr(l.epfd),
		uintptr(unsafe.Pointer(&l.events[0])), eventsPerWait, 0, 0, 0)
	if errno != 0 {
		return 0
	}
	return int(n)
}

func (l *Loop) wake() {
	one := [8]byte{1}
	_, _ = unix.Write(l.wakeFD, one[:])
}

// runAgain gives every stream that stopped for fairness another turn.
func (l *Loop) runAgain() {
	if len(l.again) == 0 {
		return
	}
	list := l.again
	l.again = l.spare[:0]
	for i, s := range list {
		list[i] = nil
		s.waiting = false
		s.readable()
	}
	l.spare = list
}

func (l *Loop) runPosted() {
	l.mu.Lock()
	if len(l.posted) == 0 {
		l.mu.Unlock()
		return
	}
	l.running, l.posted = l.posted, l.running[:0]
	l.mu.Unlock()
	for i, fn := range l.running {
		l.running[i] = nil
		if !l.stopped {
			fn()
		}
	}
}
