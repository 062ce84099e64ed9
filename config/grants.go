package config

import (
	"slices"
	"strings"

	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v3"
)

const all = "ALL"

// privileges are the words a list of grants may hold, by kind of object:
// PostgreSQL's own (the page on GRANT), MAINTAIN since PostgreSQL 17. A
// schema's list covers the schema itself and what is in it.
func databasePrivileges() []string { return []string{"CREATE", "CONNECT", "TEMPORARY"} }

func tablePrivileges() []string {
	return []string{"SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER", "MAINTAIN"}
}

func schemaPrivileges() []string { return append([]string{"USAGE", "CREATE"}, tablePrivileges()...) }

// privilegeList is ALL, or a list of privileges.
type privilegeList struct {
	of    string // "a schema"
	words []string
}

// privilegesRead is what a privilegeList reads.
type privilegesRead struct {
	all   bool
	words []string
}

func (p privilegeList) what() string {
	return "ALL, or a list of " + strings.Join(p.words, ", ")
}

func (p privilegeList) form() *form {
	enum := make([]any, len(p.words))
	for i, w := range p.words {
		enum[i] = w
	}
	if p.canonical("TEMP") != "" {
		enum = append(enum, "TEMP")
	}
	word := &form{what: "a privilege", scalar: &jsonschema.Schema{Type: "string", Enum: enum}, words: p.words}
	return &form{what: p.what(), either: []*form{allForm(), {what: "a list of privileges on " + p.of, item: word, list: true}}}
}

func allForm() *form {
	return &form{what: all, scalar: &jsonschema.Schema{Const: all}, words: []string{all}}
}

func (p privilegeList) read(d *decoder, at place, n *yaml.Node, into *privilegesRead) bool {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" {
		d.show(n)
		if n.Value == all {
			into.all = true
			return true
		}
		if w := p.canonical(n.Value); w != "" {
			d.problem(n, at.path, "found the single word %q; needed: %s; did you mean [%s]?", cut(n.Value), p.what(), w)
		} else {
			d.problem(n, at.path, "found %q; needed: %s%s", cut(n.Value), p.what(), didYouMean(nearestWord(n.Value, []string{all})))
		}
		return false
	}
	items := list[string]{item: scalar[string]{
		what: "one of " + strings.Join(p.words, ", "), words: p.words,
		parse: func(text string) (string, string, string) {
			switch w := p.canonical(text); {
			case w == text || text == "TEMP" && w != "":
				return w, "", ""
			case text == all || strings.EqualFold(text, "ALL PRIVILEGES"):
				return "", "ALL is not a part of a list", all + " in place of the list"
			case w != "":
				return "", "privileges are written in capitals", w
			}
			return "", "not a privilege on " + p.of, nearestWord(text, p.words)
		},
	}, what: "privileges", same: func(w string) string { return w }}
	return items.read(d, at, n, &into.words)
}

// canonical is the privilege as PostgreSQL's documentation writes it; empty
// when the text is none of this kind of object. TEMP is PostgreSQL's own synonym.
func (p privilegeList) canonical(text string) string {
	up := strings.ToUpper(text)
	if up == "TEMP" {
		up = "TEMPORARY"
	}
	if slices.Contains(p.words, up) {
		return up
	}
	return ""
}

// objectGrant reads the privileges on the objects of one name.
type objectGrant struct{ privilegeList }

func (g objectGrant) read(d *decoder, at place, n *yaml.Node, into *ObjectGrant) bool {
	var p privilegesRead
	ok := g.privilegeList.read(d, at, n, &p)
	into.All, into.Privileges = p.all, p.words
	return ok
}

// databaseGrant reads the privileges on the database; ALL is written out.
type databaseGrant struct{ privilegeList }

func (g databaseGrant) read(d *decoder, at place, n *yaml.Node, into *[]string) bool {
	var p privilegesRead
	ok := g.privilegeList.read(d, at, n, &p)
	if *into = p.words; p.all {
		*into = g.words
	}
	return ok
}

// grantsValue is ALL, or the mapping of grants.
type grantsValue struct{ detailed *mapping[Grants] }

func (g grantsValue) form() *form {
	return &form{what: "ALL, or a mapping of grants", either: []*form{allForm(), g.detailed.form()}}
}

func (g grantsValue) read(d *decoder, at place, n *yaml.Node, into *Grants) bool {
	if n.Kind == yaml.ScalarNode && n.Tag == "!!str" && !refused(n) {
		d.show(n)
		if n.Value == all {
			into.All = true
			return true
		}
		d.problem(n, at.path, "found %q; needed: ALL, or a mapping of %s%s", cut(n.Value),
			strings.Join(g.detailed.names(), ", "), didYouMean(nearestWord(n.Value, []string{all})))
		return false
	}
	return g.detailed.read(d, at, n, into)
}

// checkQualified accepts schema.name with patterns in either part.
func checkQualified(text string) (why, nearest string) {
	if why := plain(text); why != "" {
		return "the name is not usable: " + why, ""
	}
	schema, object, dot := strings.Cut(text, ".")
	switch {
	case !dot:
		return "the schema is missing", "<schema>." + text
	case schema == "" || object == "" || strings.Contains(object, "."):
		return "not a name of the form schema.name", ""
	case len(schema) > maxName || len(object) > maxName:
		return "the name is too long: PostgreSQL's names have at most 63 bytes", ""
	}
	return "", ""
}

func grantsShape() grantsValue {
	named := func(what string, words []string, check func(string) (string, string), of string) named[ObjectGrant] {
		return named[ObjectGrant]{
			item: objectGrant{privilegeList{of, words}}, what: what,
			name: func(g *ObjectGrant, name string) { g.Name = name }, check: check,
		}
	}
	return grantsValue{&mapping[Grants]{what: "grants", keys: []key[Grants]{
		want("database", databaseGrant{privilegeList{"a database", databasePrivileges()}}, func(g *Grants) *[]string { return &g.Database },
			"Privileges on the upstream's database."),
		want("schemas", named("schemas (or patterns) with privileges", schemaPrivileges(), checkName, "a schema"), func(g *Grants) *[]ObjectGrant { return &g.Schemas },
			"Privileges on schemas and on everything in them, by the schema's name or a pattern."),
		want("tables", named("tables (or patterns) with privileges", tablePrivileges(), checkQualified, "a table"), func(g *Grants) *[]ObjectGrant { return &g.Tables },
			"Privileges on tables, views and sequences, by `schema.name` or a pattern."),
		want("functions", list[string]{item: text("a function as schema.name, or a pattern", checkQualified), what: "functions", same: func(s string) string { return s }},
			func(g *Grants) *[]string { return &g.Functions },
			"EXECUTE on functions beyond `pg_catalog`'s harmless ones."),
		want("replication", boolean(), func(g *Grants) *bool { return &g.Replication },
			"Whether replication connections may be opened. `ALL` does not include it.").or("false"),
	}}}
}
