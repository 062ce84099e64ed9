package config

import (
	"fmt"

	"go.yaml.in/yaml/v3"
)

// feature is a part of the grammar that is read and checked like the rest but
// does nothing yet. Using it is an error, so that nobody believes it works.
type feature struct {
	used func(value any) bool // whether a valid value uses it
	note string               // what exactly is missing, for the reference page; empty: the whole key
}

// unsupported are those features by key, names spelled "*" and indices "[]".
// It is a constant: supporting a feature is deleting its row.
var unsupported = map[string]feature{
	"admin.http":                             {anything, ""},
	"admin.users":                            {anything, ""},
	"admin.audit":                            {anything, ""},
	"limits.max_statement":                   {not("0"), "values other than 0"},
	"upstreams.*.kind":                       {is("dsql"), "`dsql`"},
	"upstreams.*.via.privatelink":            {anything, ""},
	"upstreams.*.pool.shards":                {not("1"), "values other than 1"},
	"upstreams.*.failover.hold":              {not("0s"), "values other than 0"},
	"writers.*.upstreams.*.mode":             {is("observe"), "`observe`"},
	grantsKey:                                {inspected, "a mapping other than `{replication: true}`, and leaving the key out"},
	"writers.*.upstreams.*.grants.functions": {anything, ""},
}

const grantsKey = "writers.*.upstreams.*.grants"

func anything(any) bool { return true }

func is(text string) func(any) bool { return func(v any) bool { return fmt.Sprint(v) == text } }

func not(text string) func(any) bool { return func(v any) bool { return fmt.Sprint(v) != text } }

// inspected reports whether keeping to the grants takes inspection of statements.
// Who may do nothing but replicate is told from others by the connection.
func inspected(v any) bool {
	g, ok := v.(Grants)
	alone := g.Replication && len(g.Database)+len(g.Schemas)+len(g.Tables)+len(g.Functions) == 0
	return ok && !g.All && !alone
}

// feature reports the use of a feature that is not supported yet.
func (d *decoder) feature(at place, n *yaml.Node, value any) {
	f, ok := unsupported[at.generic]
	if !ok || !f.used(value) {
		return
	}
	what := ""
	if n.Kind == yaml.ScalarNode && f.note != "" {
		what = fmt.Sprintf("%q is ", cut(n.Value))
	}
	hint := ""
	if at.generic == grantsKey {
		hint = " (grants: ALL leaves the decision to the database's own grants)"
	}
	if m, ok := d.marks[at.path]; ok && n.Kind != yaml.ScalarNode && n.Style&yaml.FlowStyle == 0 {
		n = m.key // a block begins at its first key, which is not what is meant
	}
	d.waiting++
	d.problem(n, at.path, "%snot supported yet%s", what, hint)
}

// absentGrants reports access without grants, which means that nothing is
// allowed, and keeping to that takes inspection.
func (d *decoder) absentGrants(at place) {
	if _, ok := unsupported[grantsKey]; ok {
		d.at(at.key("grants").path, "missing: nothing listed is nothing allowed, and to inspect statements is not supported yet; write grants: ALL to leave the decision to the database's own grants")
	}
}
