package pool

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"testing"
	"time"
)

// bench is a pool of numbered connections with a clock and a jitter to turn.
type bench struct {
	*Pool[int]
	t      *testing.T
	now    time.Duration
	jitter float64
	asked  int   // calls of Open
	opened int   // answers to them
	closed []int // calls of Close
}

func newBench(t *testing.T, opt Options) *bench {
	b := &bench{t: t, now: time.Hour}
	b.Pool = New(opt, b, func() time.Duration { return b.now }, func() float64 { return b.jitter })
	return b
}

func (b *bench) Open()       { b.asked++ }
func (b *bench) Close(c int) { b.closed = append(b.closed, c) }

// answer brings the connections asked for, numbered from 1.
func (b *bench) answer() {
	for b.opened < b.asked {
		b.opened++
		b.Opened(b.opened)
	}
}

func (b *bench) failed(err error) {
	b.t.Helper()
	if b.opened == b.asked {
		b.t.Fatal("no attempt that could fail")
	}
	b.opened++
	b.OpenFailed(err)
}

func (b *bench) tickAt(now time.Duration) {
	b.now = now
	b.Tick()
}

func (b *bench) counts(idle, busy, opening, waiting int) {
	b.t.Helper()
	if got, want := b.Counts(), (Counts{idle, busy, opening, waiting}); got != want {
		b.t.Errorf("counts %+v, want %+v", got, want)
	}
}

// client is a Taker that remembers what it was told.
type client struct {
	Waiter[int]
	slots []*Slot[int]
	errs  []error
	then  func() // called from within Take and Refuse
}

func (c *client) Take(s *Slot[int]) {
	c.slots = append(c.slots, s)
	if c.then != nil {
		c.then()
	}
}

func (c *client) Refuse(err error) {
	c.errs = append(c.errs, err)
	if c.then != nil {
		c.then()
	}
}

// acquire asks for a connection; an answer at once counts like one later.
func (b *bench) acquire(c *client) {
	s, err := b.Acquire(&c.Waiter, c)
	if s != nil {
		c.slots = append(c.slots, s)
	}
	if err != nil {
		c.errs = append(c.errs, err)
	}
}

// warm returns n clients that each hold a connection, numbered from 1.
func (b *bench) warm(n int) []*client {
	b.t.Helper()
	list := make([]*client, n)
	for i := range list {
		list[i] = new(client)
		b.acquire(list[i])
	}
	b.answer()
	for i, c := range list {
		if len(c.slots) != 1 || c.slots[0].Conn != i+1 {
			b.t.Fatalf("client %d was told %+v", i, c)
		}
	}
	return list
}

func TestTheLatestIdleGoesOutFirst(t *testing.T) {
	b := newBench(t, Options{Size: 3})
	c := b.warm(3)
	for _, i := range []int{1, 0, 2} {
		b.Release(c[i].slots[0])
	}
	b.counts(3, 0, 0, 0)
	for _, want := range []int{3, 1, 2} {
		var c client
		if b.acquire(&c); len(c.slots) != 1 || c.slots[0].Conn != want {
			t.Errorf("got %+v, want connection %d", c, want)
		}
	}
	if b.asked != 3 || len(b.closed) != 0 {
		t.Errorf("%d asked for, %v closed", b.asked, b.closed)
	}
}

func TestWaitersAreServedInTheOrderTheyCame(t *testing.T) {
	b := newBench(t, Options{Size: 1})
	holder := b.warm(1)[0]
	clients := make([]client, 4)
	for i := range clients {
		b.acquire(&clients[i])
	}
	b.counts(0, 1, 0, 4)
	b.Forget(&clients[1].Waiter)
	b.Forget(&clients[1].Waiter) // twice is once
	b.Forget(&holder.Waiter)     // does not wait at all
	s := holder.slots[0]
	for _, i := range []int{0, 2, 3} {
		b.Release(s)
		if len(clients[i].slots) != 1 || clients[i].slots[0] != s || clients[i].Waiting() {
			t.Errorf("client %d was told %+v", i, clients[i])
		}
	}
	b.Release(s)
	b.counts(1, 0, 0, 0)
	if c := &clients[1]; len(c.slots)+len(c.errs) > 0 {
		t.Errorf("who was forgotten was told %+v", c)
	}
}

func TestSizeCountsWhatIsBeingOpened(t *testing.T) {
	b := newBench(t, Options{Size: 2})
	var c [4]client
	for i := range c {
		b.acquire(&c[i])
	}
	b.counts(0, 0, 2, 4)
	b.Opened(1)
	b.counts(0, 1, 1, 3)
	b.Discard(c[0].slots[0]) // makes room for one more
	b.counts(0, 0, 2, 3)
	if b.asked != 3 {
		t.Errorf("%d asked for, want 3", b.asked)
	}
}

func TestMinIdleIsKept(t *testing.T) {
	b := newBench(t, Options{Size: 4, MinIdle: 2, IdleTimeout: time.Minute})
	if !b.Busy() {
		t.Error("not busy, so nobody would open the first")
	}
	b.Tick()
	b.answer()
	b.counts(2, 0, 0, 0)
	var c client
	b.acquire(&c)
	b.Tick()
	b.counts(1, 1, 1, 0)
	b.answer()
	b.Release(c.slots[0])
	b.counts(3, 0, 0, 0)
	b.tickAt(b.now + time.Minute - 1)
	b.counts(3, 0, 0, 0)
	b.tickAt(b.now + 1)
	b.counts(2, 0, 0, 0)
	if !reflect.DeepEqual(b.closed, []int{1}) {
		t.Errorf("closed %v, want the one that lay idle longest", b.closed)
	}
	b.Discard(b.idle[0]) // lost while idle: replaced without waiting for a Tick
	b.counts(1, 0, 1, 0)
}

func TestLifetimeIsJitteredDownwards(t *testing.T) {
	const life = 100 * time.Second
	for jitter, want := range map[float64]time.Duration{0: life, 0.5: 95 * time.Second, 0.999: life - 9990*time.Millisecond} {
		for name, closes := range map[string]func(*bench, *client){
			"at Release": func(b *bench, c *client) { b.Release(c.slots[0]) },
			"at a Tick": func(b *bench, c *client) {
				now := b.now
				b.now = time.Hour
				b.Release(c.slots[0])
				b.tickAt(now)
			},
			"at Acquire": func(b *bench, c *client) {
				now := b.now
				b.now = time.Hour
				b.Release(c.slots[0])
				b.now = now
				var next client
				if b.acquire(&next); len(next.slots) > 0 {
					b.Release(next.slots[0])
				}
			},
		} {
			for _, early := range []time.Duration{1, 0} {
				b := newBench(t, Options{Size: 1, MaxLifetime: life})
				b.jitter = jitter
				c := b.warm(1)[0]
				b.now += want - early
				closes(b, c)
				if got := len(b.closed); got != 1-int(early) {
					t.Errorf("jitter %v, %s, %d ns early: %d closed", jitter, name, early, got)
				}
			}
		}
	}
}

func TestRateLimit(t *testing.T) {
	b := newBench(t, Options{Size: 100, PerSecond: 10})
	clients := make([]client, 50)
	for i := range clients {
		b.acquire(&clients[i])
	}
	start := b.now
	for _, tt := range []struct {
		after time.Duration
		asked int
	}{
		{0, 10}, // the burst
		{99 * time.Millisecond, 10},
		{100 * time.Millisecond, 11},
		{450 * time.Millisecond, 14},
		{500 * time.Millisecond, 15}, // the half token was kept
		{time.Minute, 25},            // no more than a burst is saved up
	} {
		if b.tickAt(start + tt.after); b.asked != tt.asked {
			t.Errorf("after %v: %d asked for, want %d", tt.after, b.asked, tt.asked)
		}
	}
}

var errDown = errors.New("down")

func TestBackoffDoublesUpToItsLimit(t *testing.T) {
	for _, tt := range []struct{ jitter, share float64 }{{0, 0.5}, {0.5, 0.75}} {
		b := newBench(t, Options{Size: 5, MinIdle: 1})
		b.jitter = tt.jitter
		b.Tick()
		for n, full := range []time.Duration{100, 200, 400, 800, 1600, 3200, 5000, 5000} {
			b.failed(errDown)
			wait := time.Duration(float64(full*time.Millisecond) * tt.share)
			b.tickAt(b.now + wait - 1)
			b.counts(0, 0, 0, 0)
			if b.tickAt(b.now + 1); b.asked != n+2 {
				t.Fatalf("jitter %v, failure %d: no attempt after %v", tt.jitter, n+1, wait)
			}
		}
		for range 100 { // no overflow however long it lasts
			b.failed(errDown)
			b.tickAt(b.now + lastBackoff)
		}
		b.answer()
		if b.Failure() != nil {
			t.Errorf("failure %v after a success", b.Failure())
		}
		b.Discard(b.idle[0])
		b.failed(errDown)
		b.tickAt(b.now + firstBackoff)
		b.counts(0, 0, 1, 0) // the back-off began again
	}
}

func TestOneProbeWhileDown(t *testing.T) {
	b := newBench(t, Options{Size: 5})
	clients := make([]client, 9)
	for i := range 3 {
		b.acquire(&clients[i])
	}
	for range 2 {
		b.failed(errDown)
		b.counts(0, 0, 2-b.opened+1, 3) // who waits is not refused while an attempt is under way
	}
	b.failed(errDown)
	for i := range 3 {
		if !reflect.DeepEqual(clients[i].errs, []error{errDown}) {
			t.Errorf("client %d was told %v", i, clients[i].errs)
		}
	}
	b.acquire(&clients[3])
	if !reflect.DeepEqual(clients[3].errs, []error{errDown}) || clients[3].Waiting() {
		t.Errorf("who came during the back-off was told %+v, want the failure at once", clients[3])
	}
	b.now = b.retryAt
	for i := 4; i < 9; i++ {
		b.acquire(&clients[i])
	}
	b.counts(0, 0, 1, 5)
	b.opened++
	b.Opened(b.opened)
	b.counts(0, 1, 4, 4) // up again: the others are opened at once
}

// While a connection lives, it may come free: nobody is refused because more
// cannot be opened.
func TestWaitersOutliveAFailureBesideALiveConnection(t *testing.T) {
	b := newBench(t, Options{Size: 2})
	holder := b.warm(1)[0]
	var c client
	b.acquire(&c)
	b.failed(errDown)
	b.counts(0, 1, 0, 1)
	b.Release(holder.slots[0])
	if len(c.slots) != 1 || len(c.errs) != 0 {
		t.Errorf("was told %+v, want the connection", c)
	}
	// When the last one is lost too, who waits is told by the next probe.
	var d client
	b.acquire(&d)
	b.Discard(c.slots[0])
	b.counts(0, 0, 0, 1)
	b.tickAt(b.retryAt)
	b.failed(errDown)
	if !reflect.DeepEqual(d.errs, []error{errDown}) {
		t.Errorf("was told %v, want the failure", d.errs)
	}
}

func TestWaitsTimeOut(t *testing.T) {
	b := newBench(t, Options{Size: 1, WaitTimeout: 10 * time.Second})
	b.warm(1)
	var early, late client
	b.acquire(&early)
	b.now += time.Second
	b.acquire(&late)
	for _, tt := range []struct {
		after       time.Duration
		early, late int
	}{{9*time.Second - 1, 0, 0}, {1, 1, 0}, {time.Second - 1, 1, 0}, {1, 1, 1}} {
		b.tickAt(b.now + tt.after)
		if len(early.errs) != tt.early || len(late.errs) != tt.late {
			t.Errorf("at %v: %v and %v", b.now, early.errs, late.errs)
		}
	}
	if !errors.Is(early.errs[0], ErrTimeout) {
		t.Errorf("%v, want ErrTimeout", early.errs[0])
	}
	b.counts(0, 1, 0, 0)
}

func TestRenew(t *testing.T) {
	b := newBench(t, Options{Size: 3})
	c := b.warm(3)
	b.Release(c[0].slots[0])
	b.Renew()
	if !reflect.DeepEqual(b.closed, []int{1}) {
		t.Errorf("closed %v, want the idle one", b.closed)
	}
	var waiting [2]client
	b.acquire(&waiting[0])
	b.acquire(&waiting[1])
	b.counts(0, 2, 1, 2)
	b.Release(c[1].slots[0]) // of the generation before: closed, and a new one opened for who waits
	b.counts(0, 1, 2, 2)
	b.answer()
	if !reflect.DeepEqual(b.closed, []int{1, 2}) || len(waiting[1].slots) != 1 {
		t.Errorf("closed %v, the second was told %+v", b.closed, waiting[1])
	}
	b.Release(waiting[0].slots[0])
	b.counts(1, 2, 0, 0)
}

func TestClose(t *testing.T) {
	b := newBench(t, Options{Size: 3})
	c := b.warm(2)
	b.Release(c[0].slots[0])
	var d [3]client
	b.acquire(&d[0])
	b.acquire(&d[1])
	b.acquire(&d[2])
	b.Pool.Close()
	b.Pool.Close() // twice is once
	if len(d[0].slots) != 1 || !reflect.DeepEqual(d[1].errs, []error{ErrClosed}) || !reflect.DeepEqual(d[2].errs, []error{ErrClosed}) {
		t.Errorf("were told %+v", d)
	}
	var late client
	b.acquire(&late)
	if !reflect.DeepEqual(late.errs, []error{ErrClosed}) {
		t.Errorf("who came later was told %+v", late)
	}
	b.Release(d[0].slots[0])
	b.Discard(c[1].slots[0])
	b.answer() // the third was still being opened
	b.Tick()
	b.counts(0, 0, 0, 0)
	if !reflect.DeepEqual(b.closed, []int{1, 3}) || b.asked != 3 || b.Busy() {
		t.Errorf("closed %v of %d, busy: %v", b.closed, b.asked, b.Busy())
	}
}

// What a Taker does from within Take and Refuse: each must find the pool in order.
func TestTakersCallThePoolAgain(t *testing.T) {
	tests := []struct {
		name string
		then func(b *bench, me, next *client)
		want string // what me and next hold and were refused with, after the first Release
	}{
		{"nothing", func(*bench, *client, *client) {}, "1 0, 0 0"},
		{"releases", func(b *bench, me, _ *client) { b.Release(me.slots[0]) }, "1 0, 1 0"},
		{"discards", func(b *bench, me, _ *client) { b.Discard(me.slots[0]) }, "1 0, 0 0"},
		{"forgets itself", func(b *bench, me, _ *client) { b.Forget(&me.Waiter) }, "1 0, 0 0"},
		{"forgets the next", func(b *bench, _, next *client) { b.Forget(&next.Waiter) }, "1 0, 0 0"},
		{
			"forgets the next and releases",
			func(b *bench, me, next *client) { b.Forget(&next.Waiter); b.Release(me.slots[0]) },
			"1 0, 0 0",
		},
		{
			"asks again behind the next and releases",
			func(b *bench, me, _ *client) {
				me.then = nil
				b.acquire(me)
				b.Release(me.slots[0])
			},
			"1 0, 1 0",
		},
		{"closes the pool", func(b *bench, _, _ *client) { b.Pool.Close() }, "1 0, 0 1"},
		{"renews and releases", func(b *bench, me, _ *client) { b.Renew(); b.Release(me.slots[0]) }, "1 0, 0 0"},
	}
	for _, tt := range tests {
		b := newBench(t, Options{Size: 1})
		holder := b.warm(1)[0]
		var me, next client
		me.then = func() { tt.then(b, &me, &next) }
		b.acquire(&me)
		b.acquire(&next)
		b.Release(holder.slots[0])
		got := fmt.Sprintf("%d %d, %d %d", len(me.slots), len(me.errs), len(next.slots), len(next.errs))
		if got != tt.want {
			t.Errorf("%s: told %s, want %s", tt.name, got, tt.want)
		}
		if c := b.Counts(); c.Idle+c.Busy+c.Opening > 1 || c.Idle > 0 && c.Waiting > 0 {
			t.Errorf("%s: counts %+v", tt.name, c)
		}
	}
}

func TestRefusedTakersCallThePoolAgain(t *testing.T) {
	refuse := map[string]func(b *bench){
		"by a timeout": func(b *bench) { b.tickAt(b.now + time.Minute) },
		"by a failure": func(b *bench) { b.failed(errDown) },
		"by Close":     func(b *bench) { b.Pool.Close() },
	}
	for name, refuse := range refuse {
		b := newBench(t, Options{Size: 1, WaitTimeout: time.Minute})
		clients := make([]client, 3)
		clients[0].then = func() {
			clients[0].then = nil
			b.Forget(&clients[1].Waiter)
			b.acquire(&clients[0])
		}
		for i := range clients {
			b.acquire(&clients[i])
		}
		refuse(b)
		if len(clients[1].errs) != 0 || len(clients[2].errs) != 1 {
			t.Errorf("%s: the forgotten one was told %v, the last %v", name, clients[1].errs, clients[2].errs)
		}
		// It waits again after a timeout, and is refused at once otherwise.
		if again := clients[0].Waiting(); again != (name == "by a timeout") || len(clients[0].errs) != 2 && !again {
			t.Errorf("%s: who asked again waits: %v, was told %v", name, again, clients[0].errs)
		}
	}
}

func TestBusy(t *testing.T) {
	b := newBench(t, Options{Size: 1})
	if b.Busy() {
		t.Error("an empty pool is busy")
	}
	var c client
	b.acquire(&c)
	if !b.Busy() {
		t.Error("not busy though somebody waits")
	}
	b.answer()
	if !b.Busy() {
		t.Error("not busy though a connection lives")
	}
	b.Discard(c.slots[0])
	if b.Busy() {
		t.Error("busy though nothing is left")
	}
}

func TestTheHotPathDoesNotAllocate(t *testing.T) {
	b := newBench(t, Options{Size: 1, WaitTimeout: time.Minute, IdleTimeout: time.Minute, MaxLifetime: time.Hour})
	b.Release(b.warm(1)[0].slots[0])
	var c, d client
	c.slots, d.slots = make([]*Slot[int], 0, 1), make([]*Slot[int], 0, 1)
	served := 0
	allocs := testing.AllocsPerRun(100, func() {
		c.slots, d.slots = c.slots[:0], d.slots[:0]
		b.acquire(&c)         // an idle one
		b.acquire(&d)         // has to wait
		b.Release(c.slots[0]) // to who waits
		b.Release(d.slots[0]) // to the idle ones
		b.Tick()
		served += len(d.slots)
	})
	if served != 101 || allocs != 0 {
		t.Errorf("%.1f allocations with %d served; want none, 101", allocs, served)
	}
}

// Each wait is told of once, when it is due, whoever else comes and goes.
func TestOverdueTellsOnceInEachWait(t *testing.T) {
	b := newBench(t, Options{Size: 1})
	holder := b.warm(1)[0]
	var told []*client
	overdue := func(want ...*client) {
		t.Helper()
		told = told[:0]
		b.Overdue(time.Second, func(w Taker[int], waited time.Duration) {
			if waited < time.Second {
				t.Errorf("told after %s", waited)
			}
			told = append(told, w.(*client))
		})
		if !slices.Equal(told, want) {
			t.Errorf("told %d waiters, want %d", len(told), len(want))
		}
	}
	overdue()
	var first, second, third, fourth client
	b.acquire(&first)
	b.acquire(&second)
	b.now += time.Second / 2
	b.acquire(&third)
	overdue()
	b.now += time.Second / 2
	overdue(&first, &second)
	overdue()
	b.Forget(&second.Waiter) // the last who was told
	overdue()
	b.now += time.Second / 2
	b.acquire(&fourth)
	overdue(&third)
	b.Forget(&third.Waiter)
	b.Forget(&first.Waiter)
	b.acquire(&first) // a new wait, behind the fourth
	b.now += time.Second
	overdue(&fourth, &first)
	b.Release(holder.slots[0])
	overdue()
}
