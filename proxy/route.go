package proxy

import (
	"cmp"
	"slices"

	"pggateway/config"
)

// routes finds the upstream that a client means by a database or a server name.
type routes struct {
	exact    map[string]*config.Upstream // names and aliases without "*"
	servers  map[string]*config.Upstream // TLS server names, as plainName has them
	patterns []patternRoute              // longest first; of equal length, in the file's order
}

type patternRoute struct {
	pattern  string
	upstream *config.Upstream
}

func newRoutes(upstreams []*config.Upstream) *routes {
	r := &routes{exact: make(map[string]*config.Upstream), servers: make(map[string]*config.Upstream)}
	add := func(name string, u *config.Upstream) {
		if config.IsPattern(name) {
			r.patterns = append(r.patterns, patternRoute{name, u})
		} else if _, taken := r.exact[name]; !taken {
			r.exact[name] = u
		}
	}
	for _, u := range upstreams {
		add(u.Name, u)
		for _, name := range u.SNI {
			r.servers[plainName(name)] = u
		}
	}
	for _, u := range upstreams { // after all keys: a key wins over an alias
		for _, a := range u.Aliases {
			add(a, u)
		}
	}
	slices.SortStableFunc(r.patterns, func(a, b patternRoute) int {
		return cmp.Compare(len(b.pattern), len(a.pattern))
	})
	return r
}

// find returns the upstream that the name stands for, and the database to open
// there. Names and aliases win over patterns, longer patterns over shorter.
func (r *routes) find(name string) (u *config.Upstream, database string, ok bool) {
	u, ok = r.exact[name]
	if !ok {
		i := slices.IndexFunc(r.patterns, func(p patternRoute) bool { return config.MatchPattern(p.pattern, name) })
		if i < 0 {
			return nil, "", false
		}
		u = r.patterns[i].upstream
	}
	return u, databaseOf(u, name), true
}

// server returns the upstream that a TLS server name selects, nil for none.
func (r *routes) server(name string) *config.Upstream { return r.servers[name] }

// databaseOf is the database that is opened on an upstream for a client that asked
// for one by name.
func databaseOf(u *config.Upstream, name string) string {
	switch {
	case u.Database != "":
		return u.Database
	case !u.Pattern():
		return u.Name // by an alias, too
	default:
		return name
	}
}

// accessTo returns the writer's entry for the upstream, nil when it has none.
func accessTo(w *config.Writer, u *config.Upstream) *config.WriterUpstream {
	for _, a := range w.Upstreams {
		if a.Name == u.Name {
			return a
		}
	}
	return nil
}
