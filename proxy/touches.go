package proxy

import (
	"bytes"
	"encoding/binary"
	"slices"
	"strings"

	"pggateway/sqltext"
	"pggateway/wire"
)

// touches is what a statement text may do to the state of its session.
type touches struct {
	pins    pins     // state it may leave behind
	lifts   pins     // state it may end
	names   []string // parameters that may have other values after the transaction, in lower case
	resets  []string // those that return to what the session began with
	all     bool     // RESET ALL
	read    bool     // a SET or RESET is in it, and is accounted for
	unread  bool     // one may be in it, and nobody knows of which parameter
	unknown pin      // pinConfig: it sets nobody knows which parameter
	rereads bool     // texts behind it may be read in another way
}

// readTouches looks closely at a text in which words were found. text is nil when
// it is not there in full.
func readTouches(h hints, text []byte, encoding string) *touches {
	t := &touches{}
	for hint, p := range map[hints]pin{hintTemp: pinTemp, hintHold: pinHold, hintAdvisory: pinAdvisory} {
		if h&hint != 0 {
			t.pins |= p.bit()
		}
	}
	if h&hintPrepare != 0 && (text == nil || !onlyTransactions(text)) {
		t.pins |= pinPrepare.bit()
	}
	if h&hintUnlock != 0 {
		t.lifts |= pinAdvisory.bit()
	}
	if !sqltext.Transparent(encoding) {
		text = nil
	}
	if h&hintConfig != 0 && (text == nil || !t.configs(text)) {
		t.unknown = pinConfig
	}
	if h&hintSet != 0 && (text == nil || !t.statements(text)) {
		t.unread = true
	}
	if h&hintDo != 0 && (text == nil || !t.mentions(text)) {
		t.unknown = pinSet
	}
	t.rereads = t.rereads || t.all || t.unread || t.unknown != pinNone || slices.ContainsFunc(t.names, readsBy)
	return t
}

// mentions reads what a DO block may set. What is none costs a question. It reports
// whether it read all of it; only what the block puts together is out of reach.
func (t *touches) mentions(text []byte) bool {
	r := sqltext.Mentions(text)
	for s, more := r.Next(); more; s, more = r.Next() {
		switch {
		case s.Command == sqltext.ResetAll:
			t.all = true
		case isRole(string(s.Name)):
			t.pins |= pinRole.bit()
		case !s.Local:
			t.names = append(t.names, string(s.Name))
		}
	}
	return !r.TooMany()
}

// touchBy takes account of a FunctionCall message of this size, of which m is there.
func (s *session) touchBy(m []byte, size int) {
	switch oid := wire.HeaderLen + 4; {
	case len(m) >= oid:
		if t := functionTouches(binary.BigEndian.Uint32(m[wire.HeaderLen:])); t != nil {
			s.run(t)
		}
	case size >= oid:
		s.run(&touches{unknown: pinConfig, rereads: true}) // it may be any function
	}
}

// functionTouches is what a call of a function does, by its OID.
func functionTouches(oid uint32) *touches {
	switch oid {
	case 2078: // set_config
		return &touches{unknown: pinConfig, rereads: true}
	case 2880, 2881, 2882, 2883, 2886, 2887, 2888, 2889: // pg_advisory_lock and its relatives
		return &touches{pins: pinAdvisory.bit()}
	case 2884, 2885, 2890, 2891, 2892: // pg_advisory_unlock
		return &touches{lifts: pinAdvisory.bit()}
	}
	return nil
}

// onlyTransactions reports whether PREPARE stands only before TRANSACTION.
func onlyTransactions(text []byte) bool {
	lower := bytes.ToLower(text)
	return bytes.Count(lower, []byte("prepare")) == bytes.Count(lower, []byte("prepare transaction"))
}

// configs reads the calls of set_config. It reports whether it understood each
// mention of that function.
func (t *touches) configs(text []byte) bool {
	r := sqltext.Configs(text)
	calls := 0
	for c, more := r.Next(); more; c, more = r.Next() {
		if calls++; c.Name == nil {
			return false
		}
		name := strings.ToLower(string(c.Name))
		if isRole(name) {
			t.pins |= pinRole.bit()
		} else if !c.Local {
			t.names = append(t.names, name)
		}
		t.rereads = t.rereads || readsBy(name)
	}
	// A mention that is no call may be a call after all, in a text within the text.
	// What PREPARE makes of one runs without a text.
	lower := bytes.ToLower(text)
	return calls == bytes.Count(lower, []byte("set_config")) && !bytes.Contains(lower, []byte("prepare")) && !r.Unsure()
}

// statements reads SET and RESET. It reports whether it understood all of them.
func (t *touches) statements(text []byte) bool {
	r := sqltext.Read(text)
	for s, more := r.Next(); more; s, more = r.Next() {
		switch s.Command {
		case sqltext.Set:
			t.set(string(s.Name), s.Local)
		case sqltext.Reset:
			t.set(string(s.Name), false)
			t.resets = append(t.resets, string(s.Name))
		case sqltext.ResetAll:
			t.read, t.all = true, true
		case sqltext.Characteristics:
			t.read = true
			t.names = append(t.names, "default_transaction_isolation", "default_transaction_read_only", "default_transaction_deferrable")
		case sqltext.Transaction:
			t.read = true
		case sqltext.Unclear:
			return false
		}
	}
	return !r.Unsure()
}

// set takes account of one parameter. SET LOCAL leaves nothing behind.
func (t *touches) set(name string, local bool) {
	t.read = true
	switch {
	case isRole(name):
		t.pins |= pinRole.bit()
	case slices.Contains(inscrutable[:], name):
		t.unread = true
	case local:
		t.rereads = t.rereads || readsBy(name)
	default:
		t.names = append(t.names, name)
	}
}

// inscrutable are parameters of which SHOW does not tell what setting them has
// done, or that not every server connection takes: temp_buffers cannot be set once
// temporary tables were used, by whomever. And older names of others, under which
// those would not be found again.
var inscrutable = [...]string{"seed", "temp_buffers", "sort_mem", "vacuum_mem"}

// isRole reports whether the parameter is who the session is, rather than how it
// works.
func isRole(name string) bool { return name == "role" || name == "session_authorization" }

// fixed are reported parameters that no client can set.
var fixed = [...]string{
	"in_hot_standby", "integer_datetimes", "is_superuser", "server_encoding", "server_version", "session_authorization",
}
