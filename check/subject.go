package check

import (
	"slices"

	"pggateway/config"
)

// Subject is one login on one upstream, and what its writers do with it.
type Subject struct {
	Upstream *config.Upstream
	Login    *config.Login
	Database string // to log in to; "": not known, as with a pattern that nobody named a database for
	Writers  []string

	creates    bool // some writer may create schemas
	temporary  bool // some writer may create temporary tables
	replicates bool // some writer may open replication connections
	queries    bool // some writer may do more than that
}

// Subjects are the logins on an upstream: its own, and those that writers have of
// their own, each role once. database is what a client would ask for where the
// upstream is a pattern, or "".
func Subjects(conf *config.Config, u *config.Upstream, database string) []*Subject {
	if u.Database != "" {
		database = u.Database
	}
	var all []*Subject
	find := func(l *config.Login) *Subject {
		i := slices.IndexFunc(all, func(s *Subject) bool { return s.Login == l || same(s.Login, l) })
		if i >= 0 {
			return all[i]
		}
		s := &Subject{Upstream: u, Login: l, Database: database, Writers: []string{}}
		all = append(all, s)
		return s
	}
	own := find(&u.Login)
	for _, w := range conf.Writers {
		for _, a := range w.Upstreams {
			if a.Name != u.Name {
				continue
			}
			s := own
			if a.Login != nil {
				s = find(a.Login)
			}
			s.use(w.Name, &a.Grants)
		}
	}
	return all
}

// same reports whether two logins are one role with one credential.
func same(a, b *config.Login) bool {
	return a.User == b.User && a.Password == b.Password && (a.IAM != nil) == (b.IAM != nil) && a.Cert == b.Cert && a.RequireAuth == b.RequireAuth
}

func (s *Subject) use(writer string, g *config.Grants) {
	s.Writers = append(s.Writers, writer)
	s.creates = s.creates || g.All || slices.Contains(g.Database, "CREATE")
	s.temporary = s.temporary || g.All || slices.Contains(g.Database, "TEMPORARY")
	s.replicates = s.replicates || g.Replication
	s.queries = s.queries || g.All || len(g.Database)+len(g.Schemas)+len(g.Tables)+len(g.Functions) > 0
}

// way lists the SSH servers to go through, the bastion last.
func way(b *config.Bastion) []*config.Bastion {
	if b == nil {
		return nil
	}
	var all []*config.Bastion
	for _, j := range b.Jump {
		all = append(all, way(j)...)
	}
	return append(all, b)
}

// dialled is the host that is dialled, as the last hop sees it.
func (s *Subject) dialled() string {
	if s.Upstream.HostAddr != "" {
		return s.Upstream.HostAddr
	}
	return s.Upstream.Host
}

// managed reports whether the database is Amazon's to run.
func (s *Subject) managed() bool { return s.Upstream.Kind != config.KindPostgres }
