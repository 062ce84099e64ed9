package netloop

import (
	"crypto/tls"
	"encoding/binary"
	"io"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

func TestPostsRunInOrder(t *testing.T) {
	const posters, each = 8, 2000
	l := runLoop(t)
	var order [posters][]int // written on the loop
	var group sync.WaitGroup
	for p := range posters {
		group.Go(func() {
			for i := range each {
				l.Post(func() { order[p] = append(order[p], i) })
			}
		})
	}
	group.Wait()
	do(t, l, func() {
		for p, got := range order {
			if len(got) != each || !slices.IsSorted(got) {
				t.Errorf("poster %d: %d of %d calls, sorted: %v", p, len(got), each, slices.IsSorted(got))
			}
		}
	})
}

// What a posted function posts comes later, not within it, and does not keep
// the loop from its streams.
func TestPostingFromTheLoop(t *testing.T) {
	l := runLoop(t)
	peer, ours := tcpPair(t)
	attachEcho(t, l, NewTransport(ours), nil)
	within, stop := false, false
	var again func()
	again = func() {
		if within {
			t.Error("called within Post")
		}
		if stop {
			return
		}
		within = true
		l.Post(again)
		within = false
	}
	l.Post(again)
	exchange(t, peer, 1000)
	do(t, l, func() { stop = true })
}

func TestNothingIsCalledAfterStop(t *testing.T) {
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	var calls []string
	l.Post(func() { calls = append(calls, "before") })
	l.Stop()
	l.Post(func() { calls = append(calls, "after") })
	l.Stop()
	l.Run()
	l.Post(func() { calls = append(calls, "too late") })
	if !slices.Equal(calls, []string{"before"}) {
		t.Errorf("called: %q", calls)
	}
}

func TestStopClosesEverything(t *testing.T) {
	before := openFiles(t)
	l, err := New()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() { defer close(done); l.Run() }()

	idle, a := tcpPair(t)
	attach(t, l, a, &spy{readable: func() { t.Error("Readable at the end") }, hangup: func() { t.Error("Hangup at the end") }})
	stuffed, b := unixPair(t)
	stuff(t, l, attach(t, l, b, &spy{}))
	finishing, c := tcpPair(t)
	s := attach(t, l, c, &spy{})
	do(t, l, func() { s.Finish(time.Hour) })
	secret, d := tlsPair(t, tls.VersionTLS13)
	attachEcho(t, l, d.transport, d.conn)
	exchange(t, secret, 1000)
	do(t, l, func() {
		l.After(time.Hour, func() { t.Error("a timer fired at the end") })
		l.After(0, l.Stop)
	})
	wait(t, done, "the end of Run")

	for name, peer := range map[string]io.Reader{"idle": idle, "finishing": finishing, "TLS": secret} {
		if n, err := io.Copy(io.Discard, peer); n != 0 || err != nil {
			t.Errorf("%s: the peer reads %d bytes, %v; want the end", name, n, err)
		}
	}
	if _, err := io.Copy(io.Discard, stuffed); err != nil {
		t.Errorf("stuffed: %v", err)
	}
	idle.Close()
	stuffed.Close()
	finishing.Close()
	secret.Close()
	if after := openFiles(t); len(after) > len(before) {
		t.Errorf("open before:\n%s\nand after:\n%s", strings.Join(before, "\n"), strings.Join(after, "\n"))
	}
}

// The wake-up of a Post that comes as the loop ends must not be written to
// whatever has the loop's descriptor by then.
func TestLatePostsWakeNobodyElse(t *testing.T) {
	for range 120 {
		l, err := New()
		if err != nil {
			t.Fatal(err)
		}
		done := make(chan struct{})
		go func() { defer close(done); l.Run() }()
		end := make(chan struct{})
		var posters sync.WaitGroup
		for range 2 {
			posters.Go(func() {
				for {
					select {
					case <-end:
						return
					default:
						l.Post(func() {})
					}
				}
			})
		}
		l.Stop()
		<-done
		var others [4]int
		for i := range others { // these get the numbers that the loop's descriptors had
			if others[i], err = unix.Eventfd(0, unix.EFD_CLOEXEC|unix.EFD_NONBLOCK); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(20 * time.Microsecond)
		close(end)
		posters.Wait()
		for _, fd := range others {
			var count [8]byte
			if _, err := unix.Read(fd, count[:]); err == nil {
				t.Errorf("somebody else's eventfd was written to: %d", binary.NativeEndian.Uint64(count[:]))
			}
			_ = unix.Close(fd)
		}
		if t.Failed() {
			return
		}
	}
}

// A stream that always has more, and always yields, takes one turn of each round.
func TestYieldIsFair(t *testing.T) {
	l := runLoop(t)
	flood, a := tcpPair(t)
	var s *Stream
	turns := 0
	attachAs(t, l, a, &s, &spy{readable: func() { turns++; s.Yield(); s.Yield() }})
	send(t, flood, []byte("never read"))
	until(t, l, "the flood", func() bool { return turns > 0 })

	peer, b := tcpPair(t)
	attachEcho(t, l, NewTransport(b), nil)
	exchange(t, peer, 1<<20)
	fired := make(chan struct{})
	do(t, l, func() { l.After(time.Millisecond, func() { close(fired) }) })
	wait(t, fired, "the timer")

	// Each Post made on the loop is called one round later.
	const rounds = 100
	counted := make(chan int)
	var step func(n, from int) func()
	step = func(n, from int) func() {
		return func() {
			if n == 0 {
				from = turns
			}
			if n == rounds {
				counted <- turns - from
				return
			}
			l.Post(step(n+1, from))
		}
	}
	l.Post(step(0, 0))
	if n := wait(t, counted, "the rounds"); n != rounds {
		t.Errorf("%d turns in %d rounds", n, rounds)
	}
}

func TestAFloodDoesNotStarveOthers(t *testing.T) {
	l := runLoop(t)
	for range 2 {
		flood, a := unixPair(t)
		attachEcho(t, l, NewTransport(a), nil)
		go func() {
			p := make([]byte, 1<<20)
			for {
				if _, err := flood.Write(p); err != nil {
					return
				}
			}
		}()
		go io.Copy(io.Discard, flood)
	}
	peer, b := tcpPair(t)
	attachEcho(t, l, NewTransport(b), nil)
	for range 50 {
		exchange(t, peer, 100)
	}
}

// Events that were fetched for a stream that an earlier event of the same turn
// closed must not reach the stream that got its descriptor meanwhile.
func TestStaleEventsAreIgnored(t *testing.T) {
	for range 20 {
		l := runLoop(t)
		var streams [2]*Stream
		var peers [2]io.Writer
		_, c := tcpPair(t)
		var heir *Stream
		told, reused := 0, false
		ran := make(chan struct{}, 2)
		for i := range streams {
			peer, ours := tcpPair(t)
			peers[i] = peer
			attachAs(t, l, ours, &streams[i], &spy{readable: func() {
				ran <- struct{}{}
				if heir != nil {
					return
				}
				// Whichever comes first: the other's event is in the same list.
				victim := streams[1-i]
				victim.Close()
				var err error
				heir, err = l.Attach(NewTransport(c), nil, &spy{readable: func() { told++ }, hangup: func() { told++ }})
				if err != nil {
					t.Error(err)
					return
				}
				reused = heir.fd == victim.fd
			}})
		}
		do(t, l, func() { // both events are there when the loop looks again
			for _, p := range peers {
				if _, err := p.Write([]byte("x")); err != nil {
					t.Error(err)
				}
			}
		})
		wait(t, ran, "an event")
		do(t, l, func() {})
		do(t, l, func() {
			if told > 0 {
				t.Errorf("the new stream was told %d times what was meant for the old one", told)
			}
		})
		var ok bool
		if do(t, l, func() { ok = reused }); ok {
			return
		}
	}
	t.Error("the descriptor was never used again, so nothing was tested")
}

func TestTimers(t *testing.T) {
	l := runLoop(t)
	l.Cancel(nil)
	fired := make(chan string, 10)
	do(t, l, func() {
		var second *Timer
		l.After(-time.Hour, func() {
			fired <- "due"
			l.Cancel(second) // due in the same turn, and not yet called
			l.Cancel(second)
		})
		second = l.After(0, func() { fired <- "cancelled" })
		l.After(time.Millisecond, func() {
			l.After(time.Millisecond, func() { fired <- "from a timer" })
			fired <- "later"
		})
	})
	for _, want := range []string{"due", "later", "from a timer"} {
		if got := wait(t, fired, want); got != want {
			t.Errorf("fired %s, want %s", got, want)
		}
	}
	do(t, l, func() {
		if len(l.timers) != 0 {
			t.Errorf("%d timers are left", len(l.timers))
		}
	})
}

// A sleeping loop wakes for the earliest timer, whichever was set last, and
// never before it is due.
func TestTimersAreNotEarly(t *testing.T) {
	l := runLoop(t)
	type firing struct{ want, got time.Duration }
	fired := make(chan firing, 5)
	do(t, l, func() {
		for _, ms := range []int{5, 1, 4, 2, 3} {
			want := l.Now() + time.Duration(ms)*time.Millisecond
			l.After(time.Duration(ms)*time.Millisecond, func() { fired <- firing{want, l.Now()} })
		}
	})
	last := time.Duration(0)
	for range 5 {
		f := wait(t, fired, "a timer")
		if f.got < f.want || f.want < last {
			t.Errorf("due at %v, fired at %v after one due at %v", f.want, f.got, last)
		}
		last = f.want
	}
}

func TestChunks(t *testing.T) {
	l := new(Loop)
	for _, tt := range []struct{ n, room int }{
		{0, 1 << 10},
		{1 << 10, 1 << 10},
		{1<<10 + 1, 8 << 10},
		{64 << 10, 64 << 10},
		{256 << 10, 256 << 10},
		{256<<10 + 1, 256<<10 + 1},
	} {
		if c := l.Chunk(tt.n); len(c) != 0 || cap(c) != tt.room {
			t.Errorf("Chunk(%d) has %d bytes and room for %d, want 0 and %d", tt.n, len(c), cap(c), tt.room)
		}
	}
	c := append(l.Chunk(10), "used"...)
	l.Recycle(c)
	if again := l.Chunk(10); &again[:1][0] != &c[0] || len(again) != 0 {
		t.Error("a recycled chunk was not used again, or not emptied")
	}
	l.Recycle(make([]byte, 0, 1<<10+1)) // not one of ours
	l.Recycle(nil)
	for range keepChunks + 5 {
		l.Recycle(make([]byte, 0, 8<<10))
	}
	for i, want := range []int{0, keepChunks, 0, 0} {
		if got := len(l.chunks.free[i]); got != want {
			t.Errorf("%d spare chunks of %d bytes, want %d", got, chunkSizes[i], want)
		}
	}
}

func TestExtend(t *testing.T) {
	l := new(Loop)
	var c, want []byte
	for n := 1; len(want) < 600<<10; n *= 3 {
		p := slices.Repeat([]byte{byte(n)}, n)
		c, want = l.Extend(c, p), append(want, p...)
		clear(p) // nothing may refer to it
		if string(c) != string(want) {
			t.Fatalf("after %d bytes the chunk differs", len(want))
		}
	}
	if l.Extend(nil, nil) != nil {
		t.Error("nothing added to nothing takes a chunk")
	}
	for i, size := range chunkSizes[:3] {
		if len(l.chunks.free[i]) != 1 {
			t.Errorf("%d chunks of %d bytes came back, want the one that was outgrown", len(l.chunks.free[i]), size)
		}
	}
}
