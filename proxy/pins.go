package proxy

import (
	"math/bits"
	"strings"
)

// pin is why a session keeps its backend after a transaction: state that lives
// in the server's session and cannot be carried to another.
type pin uint8

const (
	pinNone      pin = iota
	pinMode          // pool.mode is session
	pinStatement     // a prepared statement that is not carried
	pinUnnamed       // an unnamed statement that was parsed and not yet bound
	pinLoad          // LOAD
	pinSet           // a parameter that changed, and cannot be carried
	pinConfig        // set_config() of nobody knows what
	pinRole          // SET ROLE, SET SESSION AUTHORIZATION
	pinListen        // LISTEN
	pinPrepare       // SQL PREPARE
	pinTemp          // a temporary object
	pinHold          // a WITH HOLD cursor
	pinAdvisory      // a session advisory lock
	pinKinds         // how many there are
)

var pinNames = [pinKinds]string{
	"", "session mode", "prepared statement", "unnamed statement", "LOAD", "SET", "set_config", "session role",
	"LISTEN", "SQL PREPARE", "temporary object", "WITH HOLD cursor", "advisory lock",
}

func (p pin) String() string { return pinNames[p] }

func (p pin) bit() pins { return 1 << p }

// pins are several of them.
type pins uint16

// askable are those of which the server can tell whether the state is there.
const askable = pins(1<<pinRole | 1<<pinListen | 1<<pinPrepare | 1<<pinTemp | 1<<pinHold | 1<<pinAdvisory)

// first is one of them, the same for the same set; pinNone when there is none.
func (p pins) first() pin {
	if p == 0 {
		return pinNone
	}
	return pin(bits.TrailingZeros16(uint16(p)))
}

// tagged is what a CommandComplete's tag says about the session's state.
type tagged struct {
	pins  pins // what the statement left behind
	hints pins // what may have ended
	set   bool // parameters were set, or reset
	code  bool // a function was made, which may do later what its text says
	clear bool // everything is as after login
	undo  bool // a transaction, or a part of one, was undone
}

// readTag reads a CommandComplete's body.
func readTag(body []byte) tagged {
	if len(body) < 4 || body[len(body)-1] != 0 {
		return tagged{}
	}
	tag := body[:len(body)-1]
	switch tag[0] {
	case 'S':
		if string(tag) == "SET" {
			return tagged{set: true}
		}
	case 'R':
		switch string(tag) {
		case "RESET":
			return tagged{set: true}
		case "ROLLBACK":
			return tagged{undo: true}
		}
	case 'L':
		switch string(tag) {
		case "LISTEN":
			return tagged{pins: pinListen.bit()}
		case "LOAD":
			return tagged{pins: pinLoad.bit()}
		}
	case 'P':
		if string(tag) == "PREPARE" {
			return tagged{pins: pinPrepare.bit()}
		}
	case 'U':
		if string(tag) == "UNLISTEN" {
			return tagged{hints: pinListen.bit()}
		}
	case 'C':
		switch {
		case strings.HasPrefix(string(tag), "CLOSE CURSOR"):
			return tagged{hints: pinHold.bit()}
		case string(tag) == "CREATE FUNCTION", string(tag) == "CREATE PROCEDURE":
			return tagged{code: true}
		}
	case 'D':
		switch {
		case string(tag) == "DISCARD ALL":
			return tagged{clear: true}
		case strings.HasPrefix(string(tag), "DEALLOCATE"):
			return tagged{hints: askable}
		case strings.HasPrefix(string(tag), "DROP "), strings.HasPrefix(string(tag), "DISCARD "):
			return tagged{hints: pinTemp.bit()}
		}
	}
	return tagged{}
}

// pinTo makes the session keep its backend. Where the server can tell whether
// there is state indeed, it is asked when the transaction ends.
func (s *session) pinTo(p pin) { s.pinAll(p.bit()) }

func (s *session) pinAll(p pins) {
	s.suspect |= p &^ s.pins & askable
	s.pins |= p
}

// unpin lifts every pin but the pool's mode.
func (s *session) unpin() {
	s.pins &= pinMode.bit()
	s.suspect = 0
}

// settlePin brings the reason that is shown and counted up to date, once it is
// known whether the session keeps its backend between transactions.
func (s *session) settlePin() {
	if s.pin != pinNone && s.pins&s.pin.bit() != 0 {
		return
	}
	before := s.pin
	s.pin = s.pins.first()
	if s.pin != before {
		s.host.pinned(s, before)
	}
}
