package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"pggateway/config"
	"pggateway/wire"
)

// actor is a server small enough to be right: it follows the protocol's rules on
// transactions, errors, skipping and COPY, and takes its cues from the texts.
// Each text begins with the client's name, which the server checks against its
// application_name and against who began the transaction.
type actor struct {
	net.Conn
	rnd   *rand.Rand
	fault func(format string, args ...any)

	out     []byte
	due     bool // out must go out: the client waits for it
	app     string
	owner   string // of what is not concluded
	tx      byte
	failed  bool   // skips to Sync
	copying string // the client's name
	bad     int    // CopyData to take before the COPY fails; negative: never
	simple  bool   // the COPY began with a Query
	latest  string // who was served last
	text    string // unnamed statement
	args    []string
}

func (a *actor) run() {
	r := wire.NewReader(a)
	for {
		typ, body, err := r.Message(1 << 20)
		if err != nil {
			return
		}
		if typ == wire.Terminate {
			return
		}
		a.due = false
		a.take(typ, body)
		if a.due || a.rnd.IntN(4) == 0 {
			if scatter(a, a.rnd, &a.out) != nil {
				return
			}
		}
	}
}

// scatter writes in pieces of random lengths.
func scatter(w io.Writer, rnd *rand.Rand, out *[]byte) error {
	for len(*out) > 0 {
		n := 1 + rnd.IntN(len(*out))
		if rnd.IntN(3) == 0 {
			n = min(n, 1+rnd.IntN(12))
		}
		if _, err := w.Write((*out)[:n]); err != nil {
			return err
		}
		*out = (*out)[n:]
	}
	*out = nil
	return nil
}

func (a *actor) say(typ byte, body string) { a.out = append(a.out, message(typ, body)...) }
func (a *actor) ready() {
	if a.tx == wire.TxIdle {
		a.owner = ""
	}
	a.say(wire.ReadyForQuery, string(a.tx))
	a.due = true
}

func (a *actor) sorry() {
	a.out = wire.AppendErrorResponse(a.out, &wire.Fields{Severity: "ERROR", Code: "22012", Message: a.owner})
	if a.tx == wire.TxActive {
		a.tx = wire.TxFailed
	}
}

// own checks that a text is of the client that this server is set up for.
func (a *actor) own(text string) (verb string) {
	name, verb, _ := strings.Cut(text, ":")
	if name != a.app || a.owner != "" && a.owner != name {
		a.fault("%q reached a server set up for %q, in the middle of what %q does", text, a.app, a.owner)
	}
	a.owner, a.latest = name, name
	return verb
}

func (a *actor) take(typ byte, body []byte) {
	switch {
	case a.copying != "":
		switch typ {
		case wire.CopyData:
			if string(body) != a.copying {
				a.fault("CopyData of %q in the COPY of %q", body, a.copying)
			}
			if a.bad--; a.bad == 0 {
				a.copying = ""
				a.sorry()
				a.conclude(true)
			}
		case wire.CopyDone:
			a.copying = ""
			a.say(wire.CommandComplete, "COPY 1\x00")
			a.conclude(false)
		case wire.CopyFail:
			a.copying = ""
			a.sorry()
			a.conclude(true)
		case wire.Sync, wire.Flush:
		default:
			a.fault("message %q in a COPY", typ)
		}
		return
	case typ == wire.CopyData || typ == wire.CopyDone || typ == wire.CopyFail:
		if typ == wire.CopyData && string(body) != a.latest {
			a.fault("late CopyData of %q reached the server that serves %q", body, a.latest)
		}
		return
	case typ == wire.Sync:
		a.failed = false
		a.ready()
		return
	case a.failed:
		return
	}
	switch typ {
	case wire.Query:
		text := string(body[:len(body)-1])
		if text == "DISCARD ALL" {
			a.app, a.latest = "", ""
			a.say(wire.CommandComplete, "DISCARD ALL\x00")
			a.ready()
			return
		}
		a.simple = true
		if a.execute(a.own(text)) {
			a.ready()
		}
	case wire.Parse:
		a.text = string(body[1 : len(body)-3])
		a.say(wire.ParseComplete, "")
	case wire.Bind:
		a.args = nil
		for rest := body[6:]; len(rest) > 6; {
			n := int(rest[3])
			a.args = append(a.args, string(rest[4:4+n]))
			rest = rest[4+n:]
		}
		a.say(wire.BindComplete, "")
	case wire.Describe:
		a.say(wire.NoData, "")
	case wire.Flush:
		a.due = true
	case wire.Execute:
		switch a.text {
		case applySQL, revertSQL:
			if a.owner != "" {
				a.fault("set up for another in the middle of what %q does", a.owner)
			}
			a.app = strings.Join(a.args[1:], "")
			a.say(wire.DataRow, "\x00\x00")
			a.say(wire.CommandComplete, "SELECT 1\x00")
			return
		}
		a.simple = false
		a.execute(a.own(a.text))
	default:
		a.fault("message %q", typ)
	}
}

// execute does what a text asks for; false means that there is more to come
// before the statement is done.
func (a *actor) execute(verb string) bool {
	switch verb {
	case "begin":
		if a.tx == wire.TxIdle {
			a.tx = wire.TxActive
		}
		a.say(wire.CommandComplete, "BEGIN\x00")
	case "commit":
		a.tx = wire.TxIdle
		a.say(wire.CommandComplete, "COMMIT\x00")
	case "rows":
		if a.simple {
			a.say(wire.RowDescription, "\x00\x00")
		}
		for range 3 {
			a.say(wire.DataRow, a.owner)
		}
		a.say(wire.CommandComplete, "SELECT 3\x00")
	case "big":
		a.say(wire.DataRow, strings.Repeat(a.owner, 100<<10))
		a.say(wire.CommandComplete, "SELECT 1\x00")
	case "fail":
		a.sorry()
		a.failed = !a.simple
	case "out":
		a.say(wire.CopyOutResponse, "\x00\x00\x00")
		a.say(wire.CopyData, a.owner)
		a.say(wire.CopyDone, "")
		a.say(wire.CommandComplete, "COPY 1\x00")
	case "in", "in-bad":
		a.say(wire.CopyInResponse, "\x00\x00\x00")
		a.due = true
		a.copying, a.bad = a.owner, -1
		if verb == "in-bad" {
			a.bad = 1
		}
		return false
	default:
		a.fault("text %q", verb)
	}
	return true
}

// conclude ends a COPY.
func (a *actor) conclude(failed bool) {
	if a.simple {
		a.ready()
	} else {
		a.failed = failed
	}
}

// speaker makes up a client's side, and what it must be answered.
type speaker struct {
	name     string
	rnd      *rand.Rand
	send     []byte
	expected []byte
	next     func() // what has to follow once everything up to here was answered
}

func (s *speaker) simple(verb string, tx byte) {
	s.send = append(s.send, message(wire.Query, s.name+":"+verb+"\x00")...)
	if tx != 0 {
		s.answer(verb, true)
		s.expected = append(s.expected, message(wire.ReadyForQuery, string(tx))...)
	}
}

// answer expects what an actor answers.
func (s *speaker) answer(verb string, simple bool) {
	a := &actor{owner: s.name, tx: wire.TxIdle, simple: simple, fault: func(string, ...any) {}}
	a.execute(verb)
	s.expected = append(s.expected, a.out...)
}

func (s *speaker) expect(typ byte, body string) {
	s.expected = append(s.expected, message(typ, body)...)
}
func (s *speaker) say(typ byte, body string) { s.send = append(s.send, message(typ, body)...) }

// prepare sends Parse to Execute, and expects the answers up to the text's.
func (s *speaker) prepare(verb string) {
	s.say(wire.Parse, "\x00"+s.name+":"+verb+"\x00\x00\x00")
	s.say(wire.Bind, "\x00\x00\x00\x00\x00\x00\x00\x00")
	s.expect(wire.ParseComplete, "")
	s.expect(wire.BindComplete, "")
	if s.rnd.IntN(2) == 0 {
		s.say(wire.Describe, "P\x00")
		s.expect(wire.NoData, "")
	}
	s.say(wire.Execute, "\x00\x00\x00\x00\x00")
	s.answer(verb, false)
}

func (s *speaker) sync(tx byte) {
	s.say(wire.Sync, "")
	s.expect(wire.ReadyForQuery, string(tx))
}

// turn adds something to say. It leaves no transaction open but with next.
func (s *speaker) turn() {
	if next := s.next; next != nil {
		s.next = nil
		next()
		return
	}
	plain := []string{"rows", "fail", "out", "big"}
	pick := func() string { return plain[s.rnd.IntN(len(plain)-s.rnd.IntN(2))] }
	switch s.rnd.IntN(12) {
	case 0, 1:
		s.simple(pick(), 'I')
	case 2: // a transaction
		s.simple("begin", 'T')
		s.simple("rows", 'T')
		s.prepare("rows")
		s.sync('T')
		s.simple("fail", 'E')
		s.simple("commit", 'I')
	case 3: // a pipeline
		for range 1 + s.rnd.IntN(3) {
			s.prepare("rows")
		}
		s.sync('I')
	case 4: // an error in one: what follows it is skipped
		s.prepare("rows")
		s.prepare("fail")
		kept := len(s.expected)
		s.prepare("rows")
		s.expected = s.expected[:kept]
		s.sync('I')
	case 5: // COPY, simple
		s.simple("in", 0)
		s.answer("in", true)
		for range s.rnd.IntN(4) {
			s.say(wire.CopyData, s.name)
		}
		s.say(wire.CopyDone, "")
		s.expect(wire.CommandComplete, "COPY 1\x00")
		s.expect(wire.ReadyForQuery, "I")
	case 6: // one that fails at once, and is sent to the end
		s.simple("in-bad", 0)
		s.answer("in-bad", true)
		for range 1 + s.rnd.IntN(4) {
			s.say(wire.CopyData, s.name)
		}
		s.say(wire.CopyDone, "")
		s.expected = wire.AppendErrorResponse(s.expected, &wire.Fields{Severity: "ERROR", Code: "22012", Message: s.name})
		s.expect(wire.ReadyForQuery, "I")
	case 7: // COPY in libpq's way, with a Sync that the server ignores
		s.prepare("in")
		if s.rnd.IntN(2) == 0 {
			s.say(wire.Sync, "")
		}
		for range s.rnd.IntN(4) {
			s.say(wire.CopyData, s.name)
		}
		s.say(wire.CopyDone, "")
		s.expect(wire.CommandComplete, "COPY 1\x00")
		s.sync('I')
	case 8:
		s.sync('I')
	case 9: // a transaction, waiting for its answers
		s.simple("begin", 'T')
		s.next = func() {
			s.simple("rows", 'T')
			s.next = func() { s.simple("commit", 'I') }
		}
	case 10: // unsynced, waiting for the answers
		s.prepare("rows")
		s.say(wire.Flush, "")
		s.next = func() { s.sync('I') }
	case 11: // COPY in libpq's way, waiting to be asked for it
		s.prepare("in")
		s.say(wire.Sync, "")
		s.next = func() {
			s.say(wire.CopyData, s.name)
			s.say(wire.CopyDone, "")
			s.say(wire.Flush, "")
			s.expect(wire.CommandComplete, "COPY 1\x00")
			s.next = func() { s.sync('I') }
		}
	}
}

// Random legal conversations arrive unchanged and unmixed, however their bytes
// are cut, with more clients than servers.
func TestConversations(t *testing.T) {
	for _, c := range []struct {
		mode          config.PoolMode
		size, clients int
		watched       bool // limits that nobody reaches are enforced all the time
	}{
		{config.PoolTransaction, 1, 2, false},
		{config.PoolTransaction, 1, 2, true},
		{config.PoolTransaction, 2, 5, false},
		{config.PoolSession, 1, 2, false},
		{config.PoolSession, 1, 2, true},
	} {
		t.Run(fmt.Sprintf("%s, %d servers, %d clients, watched: %t", c.mode, c.size, c.clients, c.watched), func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			var mu sync.Mutex
			fault := func(format string, args ...any) {
				mu.Lock()
				defer mu.Unlock()
				t.Errorf(format, args...)
			}
			r := newRig(t, func(_ *config.Config, u *config.Upstream) { u.Pool.Mode, u.Pool.Size = c.mode, c.size })
			if c.watched {
				r.proxy.limits = newLimits(all())
				r.proxy.limits.tick, r.proxy.limits.sweep = 1, 1 // in every turn of the loop
			}
			var servers, clients sync.WaitGroup
			defer servers.Wait()
			defer r.close()
			servers.Go(func() {
				for n := uint64(0); ; n++ {
					select {
					case s := <-r.servers:
						a := &actor{Conn: s.TCPConn, rnd: rand.New(rand.NewPCG(seed, n)), fault: fault, tx: wire.TxIdle, bad: -1}
						servers.Go(a.run)
					case <-r.proxy.ctx.Done():
						return
					}
				}
			})
			for i := range c.clients {
				clients.Go(func() {
					if err := converse(r, seed, i); err != nil {
						fault("client %d: %v", i, err)
					}
				})
			}
			clients.Wait()
			if t.Failed() {
				t.Log("seed", seed)
			}
		})
	}
}

func converse(r *rig, seed uint64, i int) error {
	s := &speaker{name: string(rune('a' + i)), rnd: rand.New(rand.NewPCG(seed, 1000+uint64(i)))}
	e := r.admit(wire.Version30, nil, wire.Parameter{Name: "application_name", Value: s.name})
	_ = e.SetDeadline(time.Now().Add(patience))
	defer e.Close()
	in := wire.NewReader(e)
	for {
		typ, _, err := in.Message(1 << 20)
		if err != nil {
			return fmt.Errorf("greeting: %w", err)
		}
		if typ == wire.ReadyForQuery {
			break
		}
	}
	for round := range 40 {
		s.send, s.expected = nil, nil
		for range 1 + s.rnd.IntN(8) {
			if s.turn(); s.next != nil {
				break
			}
		}
		if round == 39 {
			for s.next != nil {
				s.turn()
			}
			s.say(wire.Terminate, "")
		}
		wrote := make(chan error, 1)
		send, expected := s.send, s.expected
		go func() {
			wrote <- scatter(e, rand.New(rand.NewPCG(seed, uint64(round))), &send)
		}()
		var got []byte
		for len(got) < len(expected) {
			typ, body, err := in.Message(1 << 20)
			if err != nil {
				return fmt.Errorf("round %d, after %d of %d bytes: %w", round, len(got), len(expected), err)
			}
			got = append(got, message(typ, string(body))...)
			if !bytes.HasPrefix(expected, got) {
				return fmt.Errorf("round %d: got %q, want the beginning of %q", round, tail(got), tail(expected[:min(len(got), len(expected))]))
			}
		}
		if err := <-wrote; err != nil {
			return err
		}
	}
	if _, _, err := in.Message(1 << 20); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after Terminate: %w", err)
	}
	return nil
}

func tail(b []byte) []byte { return b[max(0, len(b)-200):] }
