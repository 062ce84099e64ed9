package proxy

import (
	"encoding/binary"
	"slices"

	"pggateway/wire"
)

// inquiry is what the server is asked at the end of a transaction, when words or
// tags say that it may have changed the session's state: which of the state that
// pins is there, or what values parameters have now. The server knows what no
// reading of texts can tell: what was rolled back, was local, or stood in a
// literal.
//
// The client has its ReadyForQuery by then. Its next messages wait.
type inquiry struct {
	pins    []pin
	names   []string
	answers []answer // to pins, then to names
	at      int      // the next answer
	unsaid  bool     // an answer was not what it should be, or too long to be kept
	again   bool     // asked a second time: a cancel request had hit the first
}

// answer is the row that came, if one did.
type answer struct {
	found          bool
	value, initial string // initial is what RESET would return to
}

// maxValue bounds a parameter's value that is carried, in bytes.
const maxValue = 8 << 10

// valueSQL asks for the value that a parameter has, and for the one that it would
// be reset to. It finds out at the same time whether the value can be set: what
// is set here ends with this request. No row: there is no such parameter.
const valueSQL = "select v, pg_catalog.set_config($1, v, true), pg_catalog.set_config($1, null, true)" +
	" from pg_catalog.current_setting($1, true) as c(v) where v is not null"

// pinSQL asks for state that pins: a row says that it is there. What belongs to
// the session's temporary schema depends on it, as DISCARD TEMP relies on as well.
var pinSQL = [pinKinds]string{
	pinRole: "select where pg_catalog.current_setting('role') operator(pg_catalog.<>) 'none'" +
		" or session_user operator(pg_catalog.<>) $1::pg_catalog.name",
	pinListen:  "select from pg_catalog.pg_listening_channels() limit 1",
	pinPrepare: "select from pg_catalog.pg_prepared_statements where from_sql limit 1",
	pinTemp: "select from pg_catalog.pg_depend where refclassid operator(pg_catalog.=) 'pg_catalog.pg_namespace'::pg_catalog.regclass" +
		" and refobjid operator(pg_catalog.=) pg_catalog.pg_my_temp_schema() limit 1",
	pinHold: "select from pg_catalog.pg_cursors where is_holdable limit 1",
	pinAdvisory: "select from pg_catalog.pg_locks where locktype operator(pg_catalog.=) 'advisory'" +
		" and pid operator(pg_catalog.=) pg_catalog.pg_backend_pid() limit 1",
}

// questionName is the prepared statement's, which is gone when the answers have
// come. The unnamed one may be the client's.
const questionName = ownPrefix + "question"

// appendQuestion appends a statement that is run once for each of these lists of
// arguments, and queues it as the gateway's own.
func appendQuestion(b []byte, q *requests, sql string, args [][]string) []byte {
	q.push(wire.Close | ours)
	q.push(wire.Parse | ours)
	b = wire.AppendCloseStatement(b, questionName)
	b = wire.AppendParse(b, questionName, sql)
	for _, a := range args {
		q.push(wire.Bind | ours)
		q.push(wire.Execute | ours)
		b = wire.AppendBind(b, questionName, a...)
		b = wire.AppendExecute(b)
	}
	q.push(wire.Close | ours)
	return wire.AppendCloseStatement(b, questionName)
}

// append appends the whole inquiry. login is the role the connection belongs to.
func (i *inquiry) append(b []byte, q *requests, login string) []byte {
	for _, p := range i.pins {
		var args []string
		if p == pinRole {
			args = []string{login}
		}
		b = appendQuestion(b, q, pinSQL[p], [][]string{args})
	}
	if len(i.names) > 0 {
		var args [][]string
		for _, name := range i.names {
			args = append(args, []string{name})
		}
		b = appendQuestion(b, q, valueSQL, args)
	}
	return appendOwnSync(b, q)
}

// row takes a DataRow, of which body is nil when it is too long to be looked at.
func (i *inquiry) row(body []byte) {
	a := answer{found: true}
	if i.at >= len(i.pins) {
		columns, ok := takeColumns(body)
		if !ok || len(columns) != 3 || len(columns[0]) > maxValue {
			i.unsaid = true
			return
		}
		a.value, a.initial = string(columns[0]), string(columns[2])
	}
	if i.at < len(i.answers) {
		i.answers[i.at] = a
	}
}

// answered is told that the answer to one question is complete.
func (i *inquiry) answered() { i.at++ }

// found returns those of the pins asked about whose state is there.
func (i *inquiry) found() pins {
	var there pins
	for n, p := range i.pins {
		if i.answers[n].found {
			there |= p.bit()
		}
	}
	return there
}

// takeColumns reads a DataRow's body. NULL is nil.
func takeColumns(body []byte) (columns [][]byte, ok bool) {
	if len(body) < 2 {
		return nil, false
	}
	n := int(binary.BigEndian.Uint16(body))
	body = body[2:]
	for range n {
		if len(body) < 4 {
			return nil, false
		}
		size := int(int32(binary.BigEndian.Uint32(body)))
		body = body[4:]
		switch {
		case size < 0:
			columns = append(columns, nil)
			continue
		case size > len(body):
			return nil, false
		}
		columns = append(columns, body[:size:size])
		body = body[size:]
	}
	return columns, len(body) == 0
}

// ascii reports whether a value is the same bytes in every encoding.
func ascii(value string) bool {
	for i := range len(value) {
		if value[i] >= 0x80 {
			return false
		}
	}
	return true
}

// values returns the settings after the answers, if they can be carried. Those
// that the startup message asked for are kept even at the server's default: it is
// by being set that they tell a RESET that was undone from one that was not.
func (i *inquiry) values(before, startup []wire.Parameter) ([]wire.Parameter, bool) {
	if i.unsaid || i.at != len(i.answers) {
		return nil, false
	}
	after := slices.Clone(before)
	for n, name := range i.names {
		at := indexSetting(after, name)
		switch a := i.answers[len(i.pins)+n]; {
		case !a.found, a.value == a.initial && !custom(name, a.value) && indexSetting(startup, name) < 0:
			if at >= 0 {
				after = slices.Delete(after, at, at+1)
			}
		case at >= 0:
			after[at].Value = a.value
		default:
			after = append(after, wire.Parameter{Name: name, Value: a.value})
		}
	}
	sortSettings(after)
	return after, len(after) <= maxSettings
}

// maxSettings bounds the parameters of a client that are carried.
const maxSettings = 64

// custom reports whether a parameter exists because it was set. It is empty after
// RESET, and not unknown as on another connection.
func custom(name, value string) bool {
	return value == "" && slices.Contains([]byte(name), '.')
}
