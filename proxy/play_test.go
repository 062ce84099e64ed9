package proxy

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"pggateway/config"
	"pggateway/pool"
	"pggateway/wire"
)

// A play is a conversation, one step a line:
//
//	A> Q(select 1)     client A sends; capital letters are clients, made when first named
//	1< Q(select 1)     the first server connection receives exactly these bytes
//	1> C(SELECT 1) Z   it answers; Z is ReadyForQuery in status I, Z(T) in status T
//	A< C(SELECT 1) Z   the client gets exactly these bytes
//	A< !ERROR:53300    an error of the gateway's own, by severity and SQLSTATE, and words: !ERROR:53300(words)
//	A quiet            nothing comes for a moment
//	A closed           the end comes, and nothing else
//	A close, A reset   it leaves, politely (FIN) or not (RST), and its session ends
//	A vanish           it leaves, and its session may not know yet
//	A open k=v …       client A comes in with these startup parameters; A greeted reads the greeting
//	later 11m          the limits are enforced as if so much time had passed
//	pins SET=1/2       so many sessions are pinned, and were, by reason
//	waiting 2          so many sessions wait for a connection (also idle, busy)
//
// A frame may be sent in part: Q(select 1)@0:3, then Q(select 1)@3:. The
// gateway's own requests are apply(name=value), restore(name=value) and revert(name);
// reread(name=value name=value) sets how texts are read, values(name name) asks for parameters, isthere(temporary object) for what pins,
// and value(x|y) is a row that says x, and y as the value to return to.
type play struct {
	name   string
	mode   config.PoolMode // default: transaction
	size   int             // default: 1
	wait   time.Duration   // default: longer than a test takes
	hold   config.Limits   // default: none
	loaded int             // statements kept on a server; default: more than a test has
	text   string
}

func (s play) run(t *testing.T) {
	t.Run(s.name, func(t *testing.T) {
		t.Parallel()
		r := newRig(t, func(c *config.Config, u *config.Upstream) {
			if s.hold != (config.Limits{}) {
				c.Limits = s.hold
			}
			u.Pool.Size = max(s.size, 1)
			if s.wait > 0 {
				u.Pool.WaitTimeout = s.wait
			}
			if s.mode != "" {
				u.Pool.Mode = s.mode
			}
		})
		if s.loaded > 0 {
			r.proxy.limits.loaded = s.loaded
		}
		p := &player{rig: r, ends: make(map[string]*end)}
		defer func() {
			if t.Failed() {
				t.Log("in step", p.where)
			}
		}()
		for i, line := range strings.Split(s.text, "\n") {
			line = strings.TrimSpace(line)
			if line == "" {
				continue
			}
			p.where = strconv.Itoa(i) + ": " + line
			p.step(t, line)
		}
	})
}

type player struct {
	*rig
	ends    map[string]*end
	servers int
	where   string
}

func (p *player) step(t *testing.T, line string) {
	t.Helper()
	who, what, _ := strings.Cut(line, " ")
	switch who {
	case "later":
		d, err := time.ParseDuration(what)
		if err != nil {
			t.Fatal(err)
		}
		p.later(d)
		return
	case "waiting", "idle", "busy", "live":
		n, _ := strconv.Atoi(what)
		p.counts(line, func(c pool.Counts) bool {
			return map[string]int{"waiting": c.Waiting, "idle": c.Idle, "busy": c.Busy, "live": c.Idle + c.Busy}[who] == n
		})
		return
	}
	if who == "pins" {
		p.pinned(what)
		return
	}
	direction := who[len(who)-1]
	name := strings.TrimRight(who, "<>")
	verb, args, _ := strings.Cut(what, " ")
	if direction != '<' && direction != '>' && verb == "open" {
		var params []wire.Parameter
		for _, kv := range strings.Fields(args) {
			k, v, _ := strings.Cut(kv, "=")
			params = append(params, wire.Parameter{Name: k, Value: v})
		}
		p.ends[name] = p.admit(wire.Version30, nil, params...)
		return
	}
	e := p.end(t, name)
	switch {
	case direction == '>':
		e.put(frames(t, what, p.isClient(name)))
	case direction == '<':
		for _, f := range splitFrames(what) {
			if strings.HasPrefix(f, "!") {
				severity, code, _ := strings.Cut(f[1:], ":")
				code, words, worded := strings.Cut(strings.TrimSuffix(code, ")"), "(")
				if got := e.wantError(severity, code); worded && got.Message != words {
					t.Fatalf("got the words %q, want %q", got.Message, words)
				}
			} else {
				e.want(frames(t, f, !p.isClient(name)))
			}
		}
	case verb == "quiet":
		e.quiet()
	case verb == "closed":
		e.closed()
	case verb == "vanish":
		_ = e.Close()
	case verb == "close", verb == "reset":
		before := p.sessions()
		if verb == "reset" {
			_ = e.SetLinger(0)
		}
		_ = e.Close()
		if p.isClient(name) {
			eventually(t, name+" is gone", func() bool { return p.sessions() < before })
		}
	case verb == "greeted":
		got := e.greeted()
		for _, kv := range strings.Fields(args) {
			if k, v, _ := strings.Cut(kv, "="); got[k] != v {
				t.Errorf("%s is %q, want %q", k, got[k], v)
			}
		}
	default:
		t.Fatalf("bad step %q", line)
	}
}

// pinned waits until these reasons, as reason=current/total, and no others, have
// pinned sessions.
func (p *player) pinned(want string) {
	var got string
	eventually(p.t, "pins "+want, func() bool {
		got = ""
		for _, c := range p.proxy.Pins() {
			if c.Total > 0 {
				got += fmt.Sprintf("%s=%d/%d", c.Reason, c.Current, c.Total)
			}
		}
		return got == want
	})
}

func (p *player) isClient(name string) bool { return name[0] >= 'A' && name[0] <= 'Z' }

func (p *player) end(t *testing.T, name string) *end {
	t.Helper()
	if e := p.ends[name]; e != nil {
		return e
	}
	if p.isClient(name) {
		e := p.admit(wire.Version30, nil)
		p.ends[name] = e
		e.greeted()
		return e
	}
	n, _ := strconv.Atoi(name)
	for ; p.servers < n; p.servers++ {
		p.ends[strconv.Itoa(p.servers+1)] = p.server()
	}
	return p.ends[name]
}

// splitFrames cuts at spaces outside parentheses.
func splitFrames(s string) []string {
	var out []string
	depth, from := 0, 0
	for i, c := range s + " " {
		switch {
		case c == '(':
			depth++
		case c == ')':
			depth--
		case c == ' ' && depth == 0:
			if i > from {
				out = append(out, s[from:i])
			}
			from = i + 1
		}
	}
	return out
}

func frames(t testing.TB, s string, frontend bool) []byte {
	t.Helper()
	var b []byte
	for _, f := range splitFrames(s) {
		f, part, cut := strings.Cut(f, "@")
		one := frame(t, f, frontend)
		if cut {
			from, to, _ := strings.Cut(part, ":")
			a, _ := strconv.Atoi(from)
			z := len(one)
			if to != "" {
				z, _ = strconv.Atoi(to)
			}
			one = one[a:z]
		}
		b = append(b, one...)
	}
	return b
}

func message(typ byte, body string) []byte {
	n := len(body) + 4
	return append([]byte{typ, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)}, body...)
}

func frame(t testing.TB, f string, frontend bool) []byte {
	t.Helper()
	head, arg, _ := strings.Cut(strings.TrimSuffix(f, ")"), "(")
	first, second, _ := strings.Cut(arg, "|")
	switch head {
	case "apply":
		k, v, _ := strings.Cut(arg, "=")
		b := wire.AppendParse(nil, "", applySQL)
		return wire.AppendExecute(wire.AppendBind(b, "", k, v))
	case "restore":
		k, v, _ := strings.Cut(arg, "=")
		b := wire.AppendParse(nil, "", restoreSQL)
		return wire.AppendExecute(wire.AppendBind(b, "", k, v))
	case "revert":
		b := wire.AppendParse(nil, "", revertSQL)
		return wire.AppendExecute(wire.AppendBind(b, "", arg))
	case "reread":
		b := wire.AppendCloseStatement(nil, questionName)
		b = wire.AppendParse(b, questionName, rereadSQL)
		for _, kv := range strings.Fields(arg) {
			k, v, _ := strings.Cut(kv, "=")
			b = wire.AppendExecute(wire.AppendBind(b, questionName, k, v))
		}
		return wire.AppendCloseStatement(b, questionName)
	case "values":
		var args [][]string
		for _, name := range strings.Fields(arg) {
			args = append(args, []string{name})
		}
		return appendQuestion(nil, &requests{}, valueSQL, args)
	case "isthere":
		p := slices.Index(pinNames[:], arg)
		if p < 0 || pinSQL[p] == "" {
			t.Fatalf("nobody asks for %q", arg)
		}
		args := [][]string{nil}
		if pin(p) == pinRole {
			args = [][]string{{""}}
		}
		return appendQuestion(nil, &requests{}, pinSQL[p], args)
	case "value":
		b := []byte("\x00\x03")
		for _, column := range []string{first, first, second} {
			b = append(b, 0, 0, 0, byte(len(column)))
			b = append(b, column...)
		}
		return message(wire.DataRow, string(b))
	case "raw":
		b, err := strconv.Unquote(`"` + arg + `"`)
		if err != nil {
			t.Fatal(err)
		}
		return []byte(b)
	}
	if len(head) != 1 {
		t.Fatalf("bad frame %q", f)
	}
	typ := head[0]
	if frontend {
		switch typ {
		case 'Q', 'f':
			return message(typ, arg+"\x00")
		case 'P':
			return message(typ, first+"\x00"+second+"\x00\x00\x00")
		case 'B':
			return message(typ, first+"\x00"+second+"\x00\x00\x00\x00\x00\x00\x00")
		case 'D', 'C':
			return message(typ, "S"+arg+"\x00")
		case 'E':
			return message(typ, arg+"\x00\x00\x00\x00\x00")
		default:
			return message(typ, arg)
		}
	}
	switch typ {
	case 'C':
		return message(typ, arg+"\x00")
	case 'Z':
		if arg == "" {
			arg = "I"
		}
		return message(typ, arg)
	case 'E', 'N':
		arg, words, worded := strings.Cut(arg, "|")
		if !worded {
			words = "words"
		}
		severity, code, ok := strings.Cut(arg, ":")
		if !ok {
			severity, code = "ERROR", arg
		}
		fields := &wire.Fields{Severity: severity, Code: code, Message: words}
		if typ == 'N' {
			return wire.AppendNoticeResponse(nil, fields)
		}
		return wire.AppendErrorResponse(nil, fields)
	case 'S':
		k, v, _ := strings.Cut(arg, "=")
		return message(typ, k+"\x00"+v+"\x00")
	case 'G', 'H':
		return message(typ, "\x00\x00\x00")
	case 'T', 't':
		return message(typ, "\x00\x00")
	default:
		return message(typ, arg)
	}
}
