package config

// checkWriters applies the rules of writers and of what they refer to.
func (d *decoder) checkWriters(c *Config) {
	upstreams := indexUpstreams(c)
	operators := make(map[string]bool, len(c.Admin.Users))
	for _, name := range c.Admin.Users {
		operators[name] = true
	}
	encrypted := c.encrypted()
	writers := make([]string, 0, len(c.Writers))
	for _, w := range c.Writers {
		writers = append(writers, w.Name)
		at := place{}.key("writers").name(w.Name)
		if w.RequireTLS && !encrypted {
			d.at(at.key("tls").path, "found require, but no listener has TLS: this writer could never log in")
		}
		if !d.written(at.key("upstreams").path) && !operators[w.Name] {
			d.at(at.key("upstreams").path, "missing; without it the writer may reach nothing (only admin.users need none)")
		}
		for _, a := range w.Upstreams {
			d.checkAccess(at.key("upstreams").name(a.Name), a, upstreams)
		}
	}
	d.checkOperators(c, writers)
}

func (d *decoder) checkOperators(c *Config, writers []string) {
	known := make(map[string]bool, len(writers))
	for _, name := range writers {
		known[name] = true
	}
	at := place{}.key("admin").key("users")
	for i, name := range c.Admin.Users {
		if name != "" && !known[name] && !d.written(place{}.key("writers").name(name).path) {
			d.at(at.index(i).path, "no writer is named %q%s", cut(name), didYouMean(d.nearestName(name, writers)))
		}
	}
}

// upstreamIndex finds upstreams by what a writer may call them.
type upstreamIndex struct {
	byName, byAlias map[string]*Upstream
	patterns        []*Upstream
	names           []string
}

func indexUpstreams(c *Config) *upstreamIndex {
	x := &upstreamIndex{byName: make(map[string]*Upstream, len(c.Upstreams)), byAlias: map[string]*Upstream{}}
	for _, u := range c.Upstreams {
		x.byName[u.Name] = u
		x.names = append(x.names, u.Name)
		for _, alias := range u.Aliases {
			x.byAlias[alias] = u
		}
		if u.Pattern() {
			x.patterns = append(x.patterns, u)
		}
	}
	return x
}

func (d *decoder) checkAccess(at place, a *WriterUpstream, upstreams *upstreamIndex) {
	if !d.written(at.key("grants").path) {
		d.absentGrants(at)
	}
	u := upstreams.byName[a.Name]
	if u == nil {
		if !d.written(place{}.key("upstreams").name(a.Name).path) {
			d.atKey(at.path, "no upstream is named %q%s", cut(a.Name), d.meantUpstream(a.Name, upstreams))
		}
		return
	}
	if a.Login != nil {
		d.checkLogin(at.key("login"), u, a.Login)
	}
}

// meantUpstream says what a writer may have meant by a name that is no upstream's.
func (d *decoder) meantUpstream(name string, upstreams *upstreamIndex) string {
	if len(d.problems) >= maxProblems {
		return "" // it would not be shown
	}
	if u := upstreams.byAlias[name]; u != nil {
		return "; it is an alias of " + quoteName(u.Name) + ", which is what a writer refers to"
	}
	if close := d.nearestName(name, upstreams.names); close != "" {
		return didYouMean(quoteName(close))
	}
	for _, u := range upstreams.patterns {
		if MatchPattern(u.Name, name) {
			return "; the pattern " + quoteName(u.Name) + " covers it, and is what a writer refers to"
		}
	}
	return ""
}
