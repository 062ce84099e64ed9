package congestion

import (
	"fmt"
	"strconv"
	"strings"
)

// token is one message that a server may answer with, or a run of rows.
type token struct {
	text string
	n    int // how many in a row: only of "D" (DataRow) and "d" (CopyData)
}

func (t token) String() string {
	if t.run() {
		return t.text + " " + strconv.Itoa(t.n)
	}
	return t.text
}

func (t token) run() bool { return t.text == "D" || t.text == "d" }

// transcript is the answer to one request, up to and without its ReadyForQuery.
type transcript []token

// tokens reads a transcript as it is written in the actions: messages separated
// by "|", a run of rows as "D 5". Runs of no row are left out.
func tokens(text string) transcript {
	var all transcript
	for part := range strings.SplitSeq(text, "|") {
		kind, count, _ := strings.Cut(part, " ")
		if kind != "D" && kind != "d" {
			all.add(part)
			continue
		}
		n, err := strconv.Atoi(count)
		if err != nil {
			panic(fmt.Sprintf("%q: %v", text, err))
		}
		for range n {
			all.add(kind)
		}
	}
	return all
}

// add appends one message, and counts on in a run of rows.
func (t *transcript) add(text string) {
	if text == "" {
		return
	}
	if last := len(*t) - 1; last >= 0 && (*t)[last].text == text && (*t)[last].run() {
		(*t)[last].n++
		return
	}
	n := 0
	if text == "D" || text == "d" {
		n = 1
	}
	*t = append(*t, token{text, n})
}

func (t transcript) String() string {
	var parts []string
	for _, one := range t {
		parts = append(parts, one.String())
	}
	return strings.Join(parts, "|")
}

// equal reports whether two answers are the same.
func (t transcript) equal(o transcript) bool { return len(t) == len(o) && t.begins(o) }

// begins reports whether t is a beginning of o, which may end within a run.
func (t transcript) begins(o transcript) bool {
	if len(t) > len(o) {
		return false
	}
	for i, one := range t {
		switch {
		case one.text != o[i].text, one.n > o[i].n:
			return false
		case one.n < o[i].n && i < len(t)-1:
			return false
		}
	}
	return true
}

// failed splits off an error at the end.
func (t transcript) failed() (before transcript, code string) {
	if len(t) == 0 {
		return t, ""
	}
	code, ok := strings.CutPrefix(t[len(t)-1].text, "E ")
	if !ok {
		return t, ""
	}
	return t[:len(t)-1], code
}

// outcome is what an answer was.
type outcome int

const (
	exact    outcome = iota
	refused          // the gateway had no server connection: nothing was run
	canceled         // by a CancelRequest of this client
	lost             // the server connection was
	wrong
)

// answer is what came for one request.
type answer struct {
	said  transcript
	tx    byte // ReadyForQuery's status; 0: the connection ended instead
	fatal bool // the last of said was FATAL
}

// judge compares an answer with what PostgreSQL would say. Other answers are
// right only where something happened that the client may be told of: no server
// connection was free (only before anything was sent to one), it was lost, or
// the client itself asked for its statements to be cancelled.
func (a answer) judge(want transcript, tx byte, idle, mayCancel bool) outcome {
	before, code := a.said.failed()
	switch {
	case a.tx == 0 && (a.fatal && (code == "57P01" || code == "08006") && before.begins(want) || !a.fatal && a.said.begins(want)):
		return lost
	case a.tx == 0 || a.fatal:
		return wrong
	case a.said.equal(want) && a.tx == tx:
		return exact
	case code == "53300" || code == "57P03":
		if idle && len(before) == 0 && a.tx == 'I' {
			return refused
		}
	case code == "57014":
		if mayCancel && before.begins(want) {
			return canceled
		}
	}
	return wrong
}
