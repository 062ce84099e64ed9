package proxy

import (
	"fmt"
	"slices"
	"strings"

	"pggateway/config"
	"pggateway/fault"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// replication is what a client asked for with the startup parameter of this name
// (protocol chapter, "Streaming Replication Protocol"). Its text is the value
// that the server is given.
type replication string

const (
	noReplication       replication = ""
	physicalReplication replication = "true"     // WAL and base backups of the whole cluster
	logicalReplication  replication = "database" // changes of one database
)

// replicationOf reads the parameter as PostgreSQL does: "database", or a boolean.
// Of several the last counts.
func replicationOf(s *wire.Startup) (replication, *fault.Fault) {
	mode := noReplication
	for _, p := range s.Parameters {
		switch {
		case p.Name != "replication":
		case p.Value == string(logicalReplication):
			mode = logicalReplication
		case isTrue(p.Value):
			mode = physicalReplication
		case isFalse(p.Value):
			mode = noReplication
		default:
			return noReplication, fault.New(fault.Client, sqlstate.InvalidParameterValue,
				`invalid value for parameter "replication"`).
				WithHint(`Valid values are: "false", 0, "true", 1, "database".`)
		}
	}
	return mode, nil
}

// isTrue reports whether PostgreSQL reads the text as a boolean true: 1, "on", or
// a prefix of "true" or "yes".
func isTrue(s string) bool {
	s = strings.ToLower(s)
	return s == "1" || s == "on" || s != "" && (strings.HasPrefix("true", s) || strings.HasPrefix("yes", s))
}

// isFalse reports whether PostgreSQL reads the text as a boolean false: 0, or a
// prefix of "false", "no" or "off", except "o", which might be "on".
func isFalse(s string) bool {
	s = strings.ToLower(s)
	return s == "0" || s != "" && s != "o" &&
		(strings.HasPrefix("false", s) || strings.HasPrefix("no", s) || strings.HasPrefix("off", s))
}

// replicationSettings takes the run-time parameters out of a startup message.
// They go into another, where some names are not parameters: a client could ask
// for another role, or another kind of connection, by spelling "options" in
// capitals or setting it with -c. PostgreSQL knows no parameters of those names.
func replicationSettings(s *wire.Startup) ([]wire.Parameter, *fault.Fault) {
	settings, f := startupSettings(s)
	if f != nil {
		return nil, f
	}
	for _, p := range settings {
		switch {
		case p.Name == "user", p.Name == "database", p.Name == "replication", p.Name == "options", strings.HasPrefix(p.Name, "_pq_."):
			return nil, fault.New(fault.Client, sqlstate.UndefinedObject,
				fmt.Sprintf("unrecognized configuration parameter \"%s\"", p.Name))
		}
	}
	return settings, nil
}

// anyDatabase is the database that libpq's programs name when they mean none:
// physical replication is of the whole cluster.
const anyDatabase = "replication"

// replicated finds the upstream of a client that asks for physical replication
// and names no database: the only one from which the writer may replicate. nil
// when there is none, or more than one.
func (l *login) replicated(w *config.Writer) (u *config.Upstream, access *config.WriterUpstream, database string) {
	if l.replication != physicalReplication || l.database != anyDatabase && l.startup.Get("database") != "" {
		return nil, nil, ""
	}
	var only *config.WriterUpstream
	for _, a := range w.Upstreams {
		if a.Grants.Replication {
			if only != nil {
				return nil, nil, ""
			}
			only = a
		}
	}
	if only == nil {
		return nil, nil, ""
	}
	i := slices.IndexFunc(l.door.config.Upstreams, func(u *config.Upstream) bool { return u.Name == only.Name })
	if i < 0 {
		return nil, nil, ""
	}
	u = l.door.config.Upstreams[i]
	switch {
	case u.Database != "":
		return u, only, u.Database
	case u.Pattern():
		return u, only, l.database
	}
	return u, only, u.Name
}

// admits checks that the writer's grants cover a connection of the kind. They are
// either ALL, which leaves the decision about statements to the database but says
// nothing of replication, or replication and nothing else.
func (l *login) admits(access *config.WriterUpstream) *fault.Fault {
	switch {
	case l.replication != noReplication && !access.Grants.Replication:
		return fault.New(fault.Policy, sqlstate.InsufficientPrivilege, "permission denied to start WAL sender").
			WithDetail("Only users whose grants have \"replication: true\" may open replication connections.")
	case l.replication == noReplication && !access.Grants.All:
		return fault.New(fault.Policy, sqlstate.InsufficientPrivilege,
			fmt.Sprintf("permission denied for database \"%s\"", l.database)).
			WithDetail("This user may open replication connections only.")
	}
	return nil
}
