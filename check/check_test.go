package check

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"

	"pggateway/config"
	"pggateway/e2e/kit"
)

// TestRun: reports come in the order of the subjects, no more than so many checks
// run at once, and an end of ctx is an end.
func TestRun(t *testing.T) {
	var now, most atomic.Int64
	s := kit.StartScripted(t, func(c *kit.ScriptConn) {
		defer now.Add(-1)
		for n := now.Add(1); ; {
			if m := most.Load(); n <= m || most.CompareAndSwap(m, n) {
				break
			}
		}
		serve(c, usual())
	})
	o, u := options(s.Port, nil)
	var subjects []*Subject
	for i := range 12 {
		other := *u
		other.Name = fmt.Sprint(i)
		subjects = append(subjects, Subjects(o.Config, &other, "")...)
	}
	var names []string
	Run(t.Context(), o, subjects, func(r *Report) { names = append(names, r.Upstream) })
	if fmt.Sprint(names) != "[0 1 2 3 4 5 6 7 8 9 10 11]" {
		t.Errorf("in the order %v", names)
	}
	if most.Load() < 1 || most.Load() > int64(o.AtOnce)+1 { // the server may see an end late
		t.Errorf("%d at once", most.Load())
	}

	ctx, stop := context.WithCancel(t.Context())
	var once sync.Once
	silent := kit.StartScripted(t, func(c *kit.ScriptConn) { once.Do(stop); c.Silence() })
	o, u = options(silent.Port, nil)
	Run(ctx, o, Subjects(o.Config, u, ""), func(r *Report) { t.Errorf("told of %+v, which was not finished", r) })
}

// TestSubjects: each role is one subject, with all who use it.
func TestSubjects(t *testing.T) {
	o, u := options(1, func(c *config.Config, u *config.Upstream) {
		own := u.Login
		other := config.Login{User: "other", Cert: true}
		access := func(l *config.Login, g config.Grants) []*config.WriterUpstream {
			return []*config.WriterUpstream{{Name: "elsewhere"}, {Name: "orders", Login: l, Grants: g}}
		}
		c.Writers = []*config.Writer{
			{Name: "a", Upstreams: access(nil, config.Grants{All: true})},
			{Name: "b", Upstreams: access(&other, config.Grants{Replication: true})},
			{Name: "c", Upstreams: access(&own, config.Grants{Database: []string{"TEMPORARY"}})},
			{Name: "d", Upstreams: []*config.WriterUpstream{{Name: "elsewhere"}}},
		}
	})
	all := Subjects(o.Config, u, "ignored")
	if len(all) != 2 || fmt.Sprint(all[0].Writers) != "[a c]" || fmt.Sprint(all[1].Writers) != "[b]" || all[0].Database != "app" {
		t.Fatalf("%+v", all)
	}
	if a, b := all[0], all[1]; !a.creates || !a.temporary || a.replicates || b.creates || b.temporary || !b.replicates {
		t.Errorf("%+v %+v", *a, *b)
	}
	u.Database = ""
	if all := Subjects(o.Config, u, "tenant_1"); all[0].Database != "tenant_1" {
		t.Errorf("database %q", all[0].Database)
	}
}
