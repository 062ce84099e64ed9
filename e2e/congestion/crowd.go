package congestion

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"slices"
	"sync"
	"time"
)

// Options is what a crowd is and does.
type Options struct {
	Seed     uint64
	Clients  int
	Duration time.Duration // at least; longer until everything has been done
	// Connect returns the connection string of a client.
	Connect func(client int) string
	// Actions names what is done; nil: everything.
	Actions []string
	// Holders bounds how many clients at once tie their session to a server.
	Holders int
	// Shared says that whoever is between transactions has no server of its own: an
	// unnamed statement is then gone after the transaction in which it was bound.
	Shared bool
	// Terminate ends a server connection now and then and reports whether it did; nil: nobody does.
	Terminate func(rng *rand.Rand) bool
	// Until ends the crowd before its time, whatever anybody still waits for; nil: nothing does.
	Until func(r *Result) bool
}

// Crowd is clients at work.
type Crowd struct {
	options Options
	verdict *verdict
	actions []action
	weight  int
	holders chan struct{}
	ending  chan struct{} // closed when all is to end
	once    sync.Once

	mu     sync.Mutex
	conns  map[int]net.Conn // the clients' latest
	ledger ledger
	ends   int // server connections ended by Terminate
}

// action is something a client does between two transactions.
type action struct {
	name   string
	weight int
	holds  bool // it ties the session to its server while it lasts
	do     func(c *client) error
}

var actions = []action{
	{"simple", 10, false, simple},
	{"unnamed", 10, false, unnamed},
	{"large parameter", 2, false, large},
	{"slow reader", 1, false, slow},
	{"portals", 5, false, portals},
	{"notice", 3, false, notice},
	{"pipeline", 8, false, pipeline},
	{"transaction undone", 8, false, undone},
	{"transaction kept", 5, false, kept},
	{"shared counter", 3, false, add},
	{"copy in", 8, false, copyIn},
	{"copy out", 5, false, copyOut},
	{"parameters", 6, false, showAll},
	{"peek", 6, false, peek},
	{"notify", 4, false, notify},
	{"set", 6, false, set},
	{"named statements", 10, false, statements},
	{"all statements", 2, false, reuse},
	{"unnamed later", 3, false, later},
	{"temporary table", 4, true, temp},
	{"listen", 4, true, listen},
	{"advisory lock", 4, true, lock},
	{"cursor with hold", 3, true, hold},
	{"sql prepare", 3, true, sqlPrepare},
	{"leave state", 3, true, leave},
	{"cancel", 2, false, cancelNow},
	{"cancel late", 2, false, cancelLate},
	{"cancel with a dead key", 1, false, cancelOther},
	{"kill in a message", 1, false, killMessage},
	{"kill in a pipeline", 1, false, killPipeline},
	{"kill in a transaction", 1, false, killTransaction},
	{"kill in a result", 1, false, killResult},
	{"kill in a copy", 1, false, killCopy},
	{"kill in a statement", 1, false, killBusy},
	{"kill in a login", 1, false, killLogin},
	{"kill while idle", 1, false, killIdle},
}

// Result is what became of a crowd.
type Result struct {
	verdict *verdict
	crowd   *Crowd
}

// Violations returns those seen, the first of them at most.
func (r *Result) Violations() []Violation {
	r.verdict.mu.Lock()
	defer r.verdict.mu.Unlock()
	return append([]Violation{}, r.verdict.violations...)
}

// Kind is how many violations of a kind there were.
func (r *Result) Kind(kind string) int { return r.verdict.kindCount(kind) }

// Summary says what was done, on some lines.
func (r *Result) Summary() string {
	r.verdict.mu.Lock()
	defer r.verdict.mu.Unlock()
	return fmt.Sprintf("done: %s\nallowed: %s, servers terminated %d; longest wait %v", counts(r.verdict.done), counts(r.verdict.seen), r.crowd.ends, r.verdict.longest)
}

// starving is how much longer than its time a crowd may take until everything
// has been done at least once.
const starving = 3 * time.Minute

// Run lets a crowd loose and returns once all clients have logged out.
func Run(o Options) *Result {
	crowd := &Crowd{options: o, verdict: newVerdict(), ending: make(chan struct{}), holders: make(chan struct{}, max(o.Holders, 1))}
	crowd.ledger.kept, crowd.conns = map[string]bool{}, map[int]net.Conn{}
	for _, a := range actions {
		if o.Actions == nil || slices.Contains(o.Actions, a.name) {
			crowd.actions = append(crowd.actions, a)
			crowd.weight += a.weight
		}
	}
	result := &Result{crowd.verdict, crowd}
	var wg sync.WaitGroup
	for id := range o.Clients {
		wg.Go(func() { (&client{crowd: crowd, id: id}).live() })
	}
	if o.Terminate != nil {
		wg.Go(crowd.terminate)
	}
	start := time.Now()
	for !crowd.enough(result, time.Since(start)) {
		time.Sleep(20 * time.Millisecond)
	}
	crowd.end()
	if o.Until != nil {
		crowd.hangUp()
	}
	wg.Wait()
	return result
}

// enough reports whether the crowd has done its work, or is hopeless.
func (c *Crowd) enough(r *Result, passed time.Duration) bool {
	missing := c.verdict.missing(c.actions, 1)
	switch {
	case c.options.Until != nil:
		return c.options.Until(r) || passed > c.options.Duration
	case c.verdict.total() >= maxViolations:
		return true
	case passed < c.options.Duration:
		return false
	case passed > c.options.Duration+starving:
		c.verdict.violate(Violation{"starved", "crowd", fmt.Sprintf("not once in %v: %q", passed, missing)})
		return true
	}
	return len(missing) == 0
}

func (c *Crowd) end() { c.once.Do(func() { close(c.ending) }) }

// opened notes a client's connection.
func (c *Crowd) opened(id int, conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conns[id] = conn
	if c.options.Until != nil && c.over() {
		conn.Close()
	}
}

// hangUp ends all connections.
func (c *Crowd) hangUp() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.conns {
		conn.Close()
	}
}

func (c *Crowd) over() bool {
	select {
	case <-c.ending:
		return true
	default:
		return false
	}
}

// pause waits, but not beyond the end.
func (c *Crowd) pause(d time.Duration) {
	select {
	case <-c.ending:
	case <-time.After(d):
	}
}

// terminate ends server connections.
func (c *Crowd) terminate() {
	rng := rand.New(rand.NewPCG(c.options.Seed, 1<<40))
	for !c.over() {
		c.pause(time.Duration(100+rng.IntN(400)) * time.Millisecond)
		if c.options.Terminate(rng) {
			c.mu.Lock()
			c.ends++
			c.mu.Unlock()
		}
	}
}

func (c *Crowd) keep(tag string, confirmed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.ledger.kept[tag] = confirmed
}

func (c *Crowd) added(confirmed bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if confirmed {
		c.ledger.added++
	} else {
		c.ledger.unsure++
	}
}

// live is a client's life. What it does in its n'th turn depends on the seed,
// on who it is and on n alone.
func (c *client) live() {
	for ; !c.crowd.over(); c.turn++ {
		c.rng = rand.New(rand.NewPCG(c.crowd.options.Seed, uint64(c.id)<<32|uint64(c.turn)))
		c.crowd.pause(time.Duration(c.rng.IntN(10)) * time.Millisecond)
		if c.conn == nil {
			if err := c.login(); err != nil {
				c.ended("login", err)
				c.crowd.pause(50 * time.Millisecond)
				continue
			}
		}
		a := c.choose()
		if err := c.act(a); err != nil {
			c.ended(a.name, err)
		}
	}
	c.logout()
}

func (c *client) choose() action {
	n := c.rng.IntN(c.crowd.weight)
	for _, a := range c.crowd.actions {
		if n -= a.weight; n < 0 {
			return a
		}
	}
	panic("weights do not add up")
}

// act does one thing, unless too many hold a server already.
func (c *client) act(a action) error {
	v := c.crowd.verdict
	if a.holds {
		select {
		case c.crowd.holders <- struct{}{}:
			defer func() { <-c.crowd.holders }()
		default:
			v.count(v.seen, "not now")
			return nil
		}
	}
	err := a.do(c)
	if err == nil || errors.Is(err, errGone) {
		v.count(v.done, a.name)
	}
	return err
}

// ended goes on after an action that did not come to its end. Only a refusal
// between transactions leaves a session of which everything is known.
func (c *client) ended(doing string, err error) {
	v := c.crowd.verdict
	if errors.Is(err, errLost) && (c.crowd.options.Until == nil || !c.crowd.over()) {
		v.count(v.seen, "lost")
	}
	var violation Violation
	if !errors.As(err, &violation) && !errors.Is(err, errLost) && !errors.Is(err, errGone) && !errors.Is(err, errRefused) && !errors.Is(err, errCanceled) {
		err = c.violation("test", "%s: %v", doing, err) // the test itself is wrong
	}
	if errors.Is(err, errRefused) && c.tx == 'I' {
		return
	}
	c.dead = append(c.dead, c.key)
	c.dead = c.dead[max(0, len(c.dead)-oldKeys):]
	c.drop()
}
