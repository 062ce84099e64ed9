package config

import (
	"strings"

	"go.yaml.in/yaml/v3"
)

// shape is one node of the grammar: it reads a T off a YAML node, and it
// describes what it reads. Strict decoding, the JSON Schema and the reference
// page all come from the same tree of shapes, so that they cannot differ.
type shape[T any] interface {
	// read fills *into, which holds the defaults, and reports problems to d;
	// it returns false when *into is not what was written.
	read(d *decoder, at place, n *yaml.Node, into *T) bool
	form() *form
}

// filler is a shape whose parts have defaults even where it is absent.
type filler[T any] interface{ fill(into *T) }

// key is one key of a mapping that is read into an S.
type key[S any] struct {
	doc  keyForm
	read func(d *decoder, at place, n *yaml.Node, into *S)
	fill func(into *S)
}

// want is the key name, read by sh into the field of S that field points out.
// The sentence doc is what the reference page says of it.
func want[S, T any](name string, sh shape[T], field func(*S) *T, doc string) key[S] {
	k := key[S]{doc: keyForm{name: name, doc: doc, form: sh.form()}}
	k.read = func(d *decoder, at place, n *yaml.Node, into *S) {
		if sh.read(d, at, n, field(into)) {
			d.feature(at, n, *field(into))
		}
	}
	k.fill = func(into *S) {
		if f, ok := sh.(filler[T]); ok {
			f.fill(field(into))
		}
	}
	return k
}

// must makes the key required.
func (k key[S]) must() key[S] {
	k.doc.required = true
	return k
}

// or gives the key a default, written as it would be in the file. A test reads
// every default of the grammar, so an invalid one does not get far.
func (k key[S]) or(text string) key[S] {
	k.doc.def = text
	read := k.read
	k.fill = func(into *S) {
		n := &yaml.Node{Kind: yaml.ScalarNode, Value: text}
		n.Tag = n.ShortTag()
		read(newDecoder("default", n), place{path: k.doc.name}, n, into)
	}
	return k
}

// orNote says in words what holds when the key is absent; derive sets it.
func (k key[S]) orNote(text string) key[S] {
	k.doc.defNote = text
	return k
}

// mapping has a fixed set of keys.
type mapping[S any] struct {
	what  string // "a bastion"
	keys  []key[S]
	needs []need
}

// need is a rule about which keys of a mapping go together.
type need struct {
	keys    []string
	exactly bool // exactly one of keys; else at least one
	when    string
}

func (m *mapping[S]) form() *form {
	f := &form{what: "a mapping (" + m.what + ")", needs: m.needs, mapping: true}
	for _, k := range m.keys {
		f.keys = append(f.keys, k.doc)
	}
	return f
}

func (m *mapping[S]) fill(into *S) {
	for _, k := range m.keys {
		k.fill(into)
	}
}

func (m *mapping[S]) names() []string {
	names := make([]string, len(m.keys))
	for i, k := range m.keys {
		names[i] = k.doc.name
	}
	return names
}

func (m *mapping[S]) read(d *decoder, at place, n *yaml.Node, into *S) bool {
	m.fill(into)
	if !d.container(at, n, yaml.MappingNode, "a mapping ("+m.what+")") {
		return false
	}
	before := d.wrong()
	meant := map[string]mark{}
	written := d.pairs(at, n, place.key, func(k, v *yaml.Node, here place) {
		for _, known := range m.keys {
			if known.doc.name == k.Value {
				d.enter(here, k, v)
				known.read(d, here, v, into)
				return
			}
		}
		if close := d.unknownKey(at, k, v, m.names()); close != "" {
			meant[close] = mark{k, v}
		}
	})
	for name, m := range meant { // said once: a misspelt key is not missing as well
		if written[name] == nil {
			d.marks[at.key(name).path] = m
		}
	}
	for _, k := range m.keys {
		if k.doc.required && !d.written(at.key(k.doc.name).path) {
			d.at(at.key(k.doc.name).path, "missing; needed: %s", k.doc.form.what)
		}
	}
	for _, rule := range m.needs {
		d.need(at, rule, written)
	}
	return d.wrong() == before
}

// pairs calls each for every key of a mapping that is fit to be one and not
// written before, and returns the key nodes by name.
func (d *decoder) pairs(at place, n *yaml.Node, child func(place, string) place, each func(k, v *yaml.Node, here place)) map[string]*yaml.Node {
	written := make(map[string]*yaml.Node, len(n.Content)/2)
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if refused(k) || k.Kind != yaml.ScalarNode {
			continue
		}
		if first := written[k.Value]; first != nil {
			d.problem(k, child(at, k.Value).path, "duplicate key; first written on line %d", first.Line)
			continue
		}
		written[k.Value] = k
		each(k, v, child(at, k.Value))
	}
	return written
}

// unknownKey reports a key and returns the one that was probably meant.
func (d *decoder) unknownKey(at place, k, v *yaml.Node, known []string) (meant string) {
	allowed := strings.Join(known, ", ")
	if v.Kind == yaml.ScalarNode && v.Tag == "!!null" && v.Value == "" && v.Line == k.Line && k.Tag != "!!merge" {
		// In {password: env:A, more} the comma ended a value: "more" is
		// the rest of it and may be a secret.
		d.problem(k, at.path, "found a word that is neither a known key nor has a value (a text with a comma must be quoted inside {} and []); allowed keys: %s", allowed)
		return ""
	}
	d.shown[k] = struct{}{}
	meant = nearestWord(k.Value, known)
	d.problem(k, at.key(k.Value).path, "unknown key%s; allowed: %s", didYouMean(meant), allowed)
	return meant
}

func didYouMean(word string) string {
	if word == "" {
		return ""
	}
	return "; did you mean " + word + "?"
}

func (d *decoder) need(at place, rule need, written map[string]*yaml.Node) {
	var found []string
	misspelt := false
	for _, k := range rule.keys {
		if written[k] != nil {
			found = append(found, k)
		} else if d.written(at.key(k).path) {
			misspelt = true
		}
	}
	switch {
	case len(found) == 0 && misspelt:
	case len(found) == 0 && rule.exactly:
		d.at(at.key(rule.keys[0]).path, "missing; needed: exactly one of %s%s", strings.Join(rule.keys, ", "), rule.when)
	case len(found) == 0:
		d.at(at.key(rule.keys[0]).path, "missing; needed: %s%s", strings.Join(rule.keys, " or "), rule.when)
	case len(found) > 1 && rule.exactly:
		for _, k := range found[1:] {
			d.problem(written[k], at.key(k).path, "found beside %s; needed: exactly one of %s", found[0], strings.Join(rule.keys, ", "))
		}
	}
}
