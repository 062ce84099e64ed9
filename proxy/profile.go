package proxy

import (
	"slices"
	"strings"

	"pggateway/fault"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// profile is the run-time parameters that a client wants: what its startup message
// asked for, and what it has set since. Clients that want the same share one, per pool, so that comparing two
// pointers tells whether a backend is set up for a client.
type profile struct {
	settings []wire.Parameter // names in lower case, each once, as sortSettings sorts them
	reported []byte           // the ParameterStatus messages of the greeting; nil until a backend had it applied
}

// key is what makes two profiles the same.
func (p *profile) key() string {
	var b strings.Builder
	for _, s := range p.settings {
		b.WriteString(s.Name)
		b.WriteByte(0)
		b.WriteString(s.Value)
		b.WriteByte(0)
	}
	return b.String()
}

// startupSettings takes the run-time parameters out of a startup message:
// everything that is not a name of its own in the protocol, and what "options"
// sets with -c. As in PostgreSQL, the later of two wins and options come first.
func startupSettings(s *wire.Startup) ([]wire.Parameter, *fault.Fault) {
	var all []wire.Parameter
	for _, p := range s.Parameters {
		if p.Name == "options" {
			parsed, f := parseOptions(p.Value)
			if f != nil {
				return nil, f
			}
			all = append(all, parsed...)
		}
	}
	for _, p := range s.Parameters {
		switch {
		case p.Name == "user", p.Name == "database", p.Name == "replication", p.Name == "options":
		case strings.HasPrefix(p.Name, "_pq_."):
		default:
			all = append(all, p)
		}
	}
	var settings []wire.Parameter
	for _, p := range all {
		p.Name = strings.ToLower(p.Name)
		switch p.Name {
		case "role", "session_authorization", "is_superuser":
			return nil, fault.New(fault.Policy, sqlstate.InsufficientPrivilege,
				`parameter "`+p.Name+`" cannot be set at startup`)
		}
		if i := slices.IndexFunc(settings, func(o wire.Parameter) bool { return o.Name == p.Name }); i >= 0 {
			settings[i].Value = p.Value
		} else {
			settings = append(settings, p)
		}
	}
	sortSettings(settings)
	return settings, nil
}

// sortSettings sorts by name, but for client_encoding, which comes first: the
// other values are in it.
func sortSettings(settings []wire.Parameter) {
	key := func(p wire.Parameter) string {
		if p.Name == clientEncoding {
			return ""
		}
		return p.Name
	}
	slices.SortFunc(settings, func(a, b wire.Parameter) int { return strings.Compare(key(a), key(b)) })
}

const clientEncoding = "client_encoding"

func indexSetting(settings []wire.Parameter, name string) int {
	return slices.IndexFunc(settings, func(p wire.Parameter) bool { return p.Name == name })
}

// parseOptions reads the startup parameter "options": command-line switches
// separated by spaces, "\" quoting the next byte. Only those that set run-time
// parameters are known: -c name=value and --name=value.
func parseOptions(text string) ([]wire.Parameter, *fault.Fault) {
	var out []wire.Parameter
	args := splitOptions(text)
	for i := 0; i < len(args); i++ {
		arg := args[i]
		switch {
		case arg == "-c" && i+1 < len(args):
			i++
			arg = args[i]
		case strings.HasPrefix(arg, "-c"):
			arg = arg[2:]
		case strings.HasPrefix(arg, "--"):
			arg = arg[2:]
		default:
			arg = ""
		}
		name, value, ok := strings.Cut(arg, "=")
		if !ok || name == "" {
			return nil, fault.New(fault.Policy, sqlstate.FeatureNotSupported,
				`unsupported command-line switch in startup parameter "options"`).
				WithHint("Only -c name=value and --name=value are passed on.")
		}
		out = append(out, wire.Parameter{Name: strings.ReplaceAll(name, "-", "_"), Value: value})
	}
	return out, nil
}

func splitOptions(text string) []string {
	var args []string
	var arg strings.Builder
	inside := false
	for i := 0; i < len(text); i++ {
		c := text[i]
		switch {
		case c == ' ' || c == '\t' || c == '\n' || c == '\r' || c == '\v' || c == '\f':
			if inside {
				args = append(args, arg.String())
				arg.Reset()
			}
			inside = false
			continue
		case c == '\\' && i+1 < len(text):
			i++
			c = text[i]
		}
		inside = true
		arg.WriteByte(c)
	}
	if inside {
		args = append(args, arg.String())
	}
	return args
}

// The statements that set a backend up. Names and values go by Bind, never as
// text, so that nothing a client wrote at startup is ever read as SQL.
const (
	applySQL  = "select pg_catalog.set_config($1, $2, false)"
	revertSQL = "select pg_catalog.set_config($1, null, false)" // null: back to what the login gave

	// rereadSQL sets a parameter for the time being.
	rereadSQL = "select pg_catalog.set_config($1, $2, true)"

	// restoreSQL sets a parameter that is at its default, and no other: not one that
	// the client has set since, though it be to the default.
	restoreSQL = applySQL + " where not exists (select from pg_catalog.pg_settings" +
		" where pg_catalog.lower(name) operator(pg_catalog.=) $1 and source operator(pg_catalog.=) 'session')"
)

// appendOwn appends a statement and queues it as the gateway's own.
func appendOwn(b []byte, q *requests, sql string, args ...string) []byte {
	q.push(wire.Parse | ours)
	q.push(wire.Bind | ours)
	q.push(wire.Execute | ours)
	b = wire.AppendParse(b, "", sql)
	b = wire.AppendBind(b, "", args...)
	return wire.AppendExecute(b)
}

// appendOwnSync ends what appendOwn began.
func appendOwnSync(b []byte, q *requests) []byte {
	q.push(wire.Sync | ours)
	return wire.AppendSync(b)
}

// appendSetup appends what takes a backend from one profile to another, nil
// standing for the server's own defaults, and queues the requests as the
// gateway's own. It appends nothing when there is nothing to change.
func appendSetup(b []byte, q *requests, from, to *profile) []byte {
	empty := len(b)
	if from != nil {
		for _, s := range from.settings {
			if to == nil || !slices.ContainsFunc(to.settings, func(o wire.Parameter) bool { return o.Name == s.Name }) {
				b = appendOwn(b, q, revertSQL, s.Name)
			}
		}
	}
	if to != nil {
		for _, s := range to.settings {
			if from == nil || !slices.Contains(from.settings, s) {
				b = appendOwn(b, q, applySQL, s.Name, s.Value)
			}
		}
	}
	if len(b) > empty {
		b = appendOwnSync(b, q)
	}
	return b
}
