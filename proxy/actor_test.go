package proxy

import (
	"encoding/binary"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"

	"pggateway/wire"
)

// actor is a server small enough to be right: it follows the protocol's rules on
// transactions, errors, skipping, COPY and prepared statements, and takes its cues
// from the texts. Each text begins with the client's name, which the server checks
// against its application_name and against who began the transaction. A text that
// begins with * is any client's.
type actor struct {
	net.Conn
	rnd   *rand.Rand
	fault func(format string, args ...any)

	out      []byte
	due      bool // out must go out: the client waits for it
	app      string
	owner    string // of what is not concluded
	tx       byte
	failed   bool   // skips to Sync
	copying  string // the client's name
	bad      int    // CopyData to take before the COPY fails; negative: never
	simple   bool   // what is executed came with a Query
	latest   string // who was served last
	prepared map[string]string
	portal   string // the text that was bound last
	args     []string
}

func newActor(fault func(format string, args ...any)) *actor {
	return &actor{fault: fault, tx: wire.TxIdle, bad: -1, prepared: make(map[string]string)}
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

func (a *actor) done(tag string) { a.say(wire.CommandComplete, tag+"\x00") }

func (a *actor) ready() {
	if a.tx == wire.TxIdle {
		a.owner = ""
	}
	a.say(wire.ReadyForQuery, string(a.tx))
	a.due = true
}

// sorry answers with an error, at once as PostgreSQL does.
func (a *actor) sorry(code, words string) {
	a.out = wire.AppendErrorResponse(a.out, &wire.Fields{Severity: "ERROR", Code: code, Message: words})
	a.failed, a.due = !a.simple, true
	if a.tx == wire.TxActive {
		a.tx = wire.TxFailed
	}
}

func (a *actor) missing(name string) {
	a.sorry("26000", fmt.Sprintf("prepared statement %q does not exist", name))
}

// aborted refuses a text where only the end of the transaction is waited for.
func (a *actor) aborted(text string) bool {
	if a.tx != wire.TxFailed || text == "" || strings.HasSuffix(text, ":commit") {
		return false
	}
	a.sorry("25P02", "current transaction is aborted")
	return true
}

// own checks that a text is of the client that this server is set up for.
func (a *actor) own(text string) (verb string) {
	name, verb, _ := strings.Cut(text, ":")
	if name == "*" {
		name = a.app
	}
	if name == "" || name != a.app || a.owner != "" && a.owner != name {
		a.fault("%q reached a server set up for %q, in the middle of what %q does", text, a.app, a.owner)
	}
	a.owner, a.latest = name, name
	return verb
}

func (a *actor) take(typ byte, body []byte) {
	switch {
	case a.copying != "":
		a.copy(typ, body)
		return
	case typ == wire.CopyData || typ == wire.CopyDone || typ == wire.CopyFail:
		if typ == wire.CopyData && string(body) != a.latest {
			a.fault("late CopyData of %q reached the server that serves %q", body, a.latest)
		}
		return
	case typ == wire.Sync:
		a.failed, a.simple = false, false
		a.ready()
		return
	case a.failed:
		a.due = a.due || typ == wire.Flush
		return
	}
	a.simple = typ == wire.Query
	field := func() (text string) {
		text, rest, _ := strings.Cut(string(body), "\x00")
		body = []byte(rest)
		return text
	}
	switch typ {
	case wire.Query:
		if a.query(field()) {
			a.ready()
		}
	case wire.Parse:
		name, text := field(), field()
		_, taken := a.prepared[name]
		switch {
		case strings.HasSuffix(text, ":broken"):
			a.sorry("42601", "broken")
		case a.aborted(text):
		case taken && name != "":
			a.sorry("42P05", fmt.Sprintf("prepared statement %q already exists", name))
		default:
			a.prepared[name] = text
			a.say(wire.ParseComplete, "")
		}
	case wire.Bind:
		_, name := field(), field()
		text, ok := a.prepared[name]
		if !ok {
			a.missing(name)
			return
		}
		if a.aborted(text) {
			return
		}
		a.portal, a.args = text, nil
		for body = body[4:]; len(body) > 2; {
			n := 4 + binary.BigEndian.Uint32(body)
			a.args = append(a.args, string(body[4:n]))
			body = body[n:]
		}
		a.say(wire.BindComplete, "")
	case wire.Describe:
		a.describe(body[0], string(body[1:len(body)-1]))
	case wire.Close:
		if body[0] == 'S' {
			delete(a.prepared, string(body[1:len(body)-1]))
		}
		a.say(wire.CloseComplete, "")
	case wire.Flush:
		a.due = true
	case wire.Execute:
		a.execute(a.portal)
	default:
		a.fault("message %q", typ)
	}
}

// copy takes a message in the middle of a COPY.
func (a *actor) copy(typ byte, body []byte) {
	conclude := func() {
		a.copying = ""
		if a.simple {
			a.ready()
		}
	}
	switch typ {
	case wire.CopyData:
		if string(body) != a.copying {
			a.fault("CopyData of %q in the COPY of %q", body, a.copying)
		}
		if a.bad--; a.bad == 0 {
			a.sorry("22012", a.owner)
			conclude()
		}
	case wire.CopyDone:
		a.done("COPY 1")
		conclude()
	case wire.CopyFail:
		a.sorry("22012", a.owner)
		conclude()
	case wire.Sync, wire.Flush:
	default:
		a.fault("message %q in a COPY", typ)
	}
}

// describe answers with what the text alone decides.
func (a *actor) describe(kind byte, name string) {
	if kind == 'S' {
		text, ok := a.prepared[name]
		if !ok {
			a.missing(name)
			return
		}
		if a.aborted(text) {
			return
		}
		a.say(wire.ParameterDescription, "\x00\x01\x00\x00\x00"+text[len(text)-1:])
		if strings.Contains(text, ":rows") {
			a.say(wire.RowDescription, "\x00\x01"+text+"\x00"+strings.Repeat("\x00", 18))
			return
		}
	}
	a.say(wire.NoData, "")
}

// query does what a Query asks for; false means that there is more to come.
func (a *actor) query(text string) bool {
	verb, name, _ := strings.Cut(strings.ToLower(text), " ")
	switch {
	case strings.EqualFold(text, "discard all"):
		clear(a.prepared)
		a.app, a.latest = "", ""
		a.done("DISCARD ALL")
	case a.aborted(text):
	case strings.EqualFold(text, "deallocate all"):
		clear(a.prepared)
		a.done("DEALLOCATE ALL")
	case verb == "deallocate", verb == "execute":
		statement, ok := a.prepared[name]
		switch {
		case !ok:
			a.missing(name)
		case verb == "execute":
			return a.execute(statement)
		default:
			delete(a.prepared, name)
			a.done("DEALLOCATE")
		}
	default:
		return a.execute(text)
	}
	return true
}

// execute does what a text asks for; false means that there is more to come
// before the statement is done.
func (a *actor) execute(text string) bool {
	switch text {
	case applySQL, revertSQL, restoreSQL, valueSQL:
		a.executeOwn(text)
		return true
	case "deallocate all":
		return a.query(text)
	}
	if a.aborted(text) {
		return true
	}
	verb := a.own(text)
	switch {
	case verb == "begin":
		if a.tx == wire.TxIdle {
			a.tx = wire.TxActive
		}
		a.done("BEGIN")
	case verb == "commit":
		a.tx = wire.TxIdle
		a.done("COMMIT")
	case strings.HasPrefix(verb, "rows"):
		if a.simple {
			a.say(wire.RowDescription, "\x00\x00")
		}
		for range 3 {
			a.say(wire.DataRow, a.owner+verb)
		}
		a.done("SELECT 3")
	case verb == "big":
		a.say(wire.DataRow, strings.Repeat(a.owner, 100<<10))
		a.done("SELECT 1")
	case verb == "fail":
		a.sorry("22012", a.owner)
	case verb == "out":
		a.say(wire.CopyOutResponse, "\x00\x00\x00")
		a.say(wire.CopyData, a.owner)
		a.say(wire.CopyDone, "")
		a.done("COPY 1")
	case verb == "in", verb == "in-bad":
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

// executeOwn does what the gateway asks for.
func (a *actor) executeOwn(text string) {
	if a.owner != "" {
		a.fault("asked for %q in the middle of what %q does", text, a.owner)
	}
	if a.args[0] != "application_name" {
		a.fault("asked for %q", a.args[0])
	}
	switch {
	case text == valueSQL:
		column := "\x00\x00\x00" + string(rune(len(a.app))) + a.app
		a.say(wire.DataRow, "\x00\x03"+column+column+"\x00\x00\x00\x00")
		a.done("SELECT 1")
		return
	case text == restoreSQL && a.app != "":
		a.done("SELECT 0")
		return
	}
	a.app = strings.Join(a.args[1:], "")
	a.say(wire.DataRow, "\x00\x00")
	a.done("SELECT 1")
}
