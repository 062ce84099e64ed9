package proxy

import (
	"errors"
	"fmt"
	"strings"

	"pggateway/config"
	"pggateway/fault"
	"pggateway/sqlstate"
)

// route finds what the writer means: by the TLS server name when that selects an
// upstream, else by the database's name. It says nothing of upstreams that the
// writer may not use, not even that they exist.
//
// A server name says it all: with it any database may be asked for, as clients do
// that must fill something in, or that default to the user's name. The exception
// is the name of another upstream of the writer's. One of the two must then be a
// mistake, and data must not go to the wrong database for it.
func (l *login) route(w *config.Writer) (u *config.Upstream, access *config.WriterUpstream, database string, f *fault.Fault) {
	u, database, ok := l.door.routes.find(l.database)
	exact := l.door.routes.exact[l.database] != nil
	if ok {
		access = accessTo(w, u)
	}
	if s := l.door.routes.server(l.serverName()); s != nil {
		selected := accessTo(w, s)
		switch {
		case selected == nil:
			return nil, nil, "", l.noDatabase(w, errors.New("the server name's upstream is not among the writer's"))
		case exact && access != nil && u != s && l.database != l.user:
			return nil, nil, "", fault.New(fault.Policy, sqlstate.InvalidCatalogName,
				fmt.Sprintf("database \"%s\" is not the one at server name \"%s\"", l.database, l.serverName())).
				WithDetail(fmt.Sprintf("The server name is that of database \"%s\".", s.Name)).
				WithHint("Connect to a host name of the database that is meant, or ask this one for its own.")
		}
		return s, selected, databaseOf(s, l.database), nil
	}
	if access == nil {
		u, access, database = l.replicated(w)
	}
	if access == nil {
		return nil, nil, "", l.noDatabase(w, noRoute(ok))
	}
	return u, access, database, nil
}

// noDatabase tells a writer that what it asks for does not exist, as far as it is
// concerned.
func (l *login) noDatabase(w *config.Writer, cause error) *fault.Fault {
	return fault.New(fault.Policy, sqlstate.InvalidCatalogName,
		fmt.Sprintf("database \"%s\" does not exist", l.database)).WithHint(reachable(w)).Because(cause)
}

// serverName is the name that the client looked the gateway up by, as far as it
// says so in its ClientHello (SNI): in lower case, "" for none. An IP address is
// never sent.
func (l *login) serverName() string {
	if l.tls == nil {
		return ""
	}
	return plainName(l.tls.ConnectionState().ServerName)
}

// plainName is a host's name as it is compared: DNS knows no case, and a final dot
// changes nothing.
func plainName(host string) string { return strings.TrimSuffix(strings.ToLower(host), ".") }
