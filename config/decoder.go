package config

import (
	"fmt"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// maxProblems bounds what is reported of one file: whoever has a thousand
// mistakes has one, made everywhere.
const maxProblems = 1000

// maxGuesses bounds the comparisons of misspelt names with a file's own names,
// of which there can be thousands on both sides: a fraction of a second.
const maxGuesses = 250_000

// decoder is one reading of a file: where everything was written and what is
// wrong with it.
type decoder struct {
	file     string
	root     *yaml.Node
	problems Errors
	waiting  int                     // how many of the problems are features not supported yet: values that were read rightly
	guesses  int                     // names that a misspelt one may still be compared with
	marks    map[string]mark         // by path: every key and list item that was written
	shown    map[*yaml.Node]struct{} // scalars that hold no secret, so that their text may be shown
}

func newDecoder(file string, root *yaml.Node) *decoder {
	return &decoder{file: file, root: root, guesses: maxGuesses, marks: make(map[string]mark), shown: make(map[*yaml.Node]struct{})}
}

// mark is where a path was written. The key of a list item is the item itself.
type mark struct{ key, value *yaml.Node }

// place is a spot in the grammar: the path as written, and the same with every
// name as "*" and every index empty, as the table of features spells it.
type place struct{ path, generic string }

func (p place) key(name string) place {
	return place{join(p.path, quoteName(name)), join(p.generic, name)}
}

func (p place) name(name string) place {
	return place{join(p.path, quoteName(name)), join(p.generic, "*")}
}

func (p place) index(i int) place {
	return place{p.path + "[" + strconv.Itoa(i) + "]", p.generic + "[]"}
}

func join(path, key string) string {
	if path == "" {
		return key
	}
	return path + "." + key
}

// quoteName is a name as a part of a path: quoted where it would not read as one part.
func quoteName(name string) string {
	if name == "" || len(name) > 200 || strings.ContainsAny(name, ". \"[]:\\") || strconv.Quote(name) != `"`+name+`"` {
		return strconv.Quote(cut(name))
	}
	return name
}

// cut bounds what is quoted of a file in a message.
func cut(s string) string {
	r := []rune(s)
	if len(r) <= 60 {
		return s
	}
	return string(r[:60]) + "…"
}

func (d *decoder) enter(at place, key, value *yaml.Node) {
	d.marks[at.path] = mark{key, value}
	d.show(key)
}

func (d *decoder) show(n *yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		d.shown[n] = struct{}{}
	}
}

// nearestName is nearestWord among names that the file defines.
func (d *decoder) nearestName(name string, names []string) string {
	if d.guesses -= len(names); d.guesses < 0 {
		return ""
	}
	return nearestWord(name, names)
}

// written reports whether the path was written in the file, rightly or wrongly.
func (d *decoder) written(path string) bool {
	_, ok := d.marks[path]
	return ok
}

// wrong counts the problems that left something unread.
func (d *decoder) wrong() int { return len(d.problems) - d.waiting }

// problem records a problem at a node.
func (d *decoder) problem(n *yaml.Node, path, format string, args ...any) {
	if len(d.problems) >= maxProblems {
		return
	}
	p := Problem{File: d.file, Line: max(n.Line, 1), Col: max(n.Column, 1), Path: path, Message: fmt.Sprintf(format, args...)}
	if len(d.problems) == maxProblems-1 {
		p.Message += fmt.Sprintf(" (and there are more problems than the %d shown)", maxProblems)
	}
	d.problems = append(d.problems, p)
}

// at records a problem with a path: at its value when it was written, else at
// the key of the nearest thing around it that was.
func (d *decoder) at(path, format string, args ...any) {
	if m, ok := d.marks[path]; ok {
		d.problem(m.value, path, format, args...)
		return
	}
	around := path
	for around != "" {
		around = outer(around)
		if m, ok := d.marks[around]; ok {
			d.problem(m.key, path, format, args...)
			return
		}
	}
	d.problem(d.root, path, format, args...)
}

// outer is the path less its last part.
func outer(path string) string {
	quoted := false
	cutAt := 0
	for i := 0; i < len(path); i++ {
		switch c := path[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case !quoted && (c == '.' || c == '['):
			cutAt = i
		}
	}
	return path[:cutAt]
}

// scalar reports whether n is a scalar, and what else it is if not. What vet
// refused is passed over in silence: it is reported already.
func (d *decoder) scalar(at place, n *yaml.Node, what string) bool {
	if refused(n) {
		return false
	}
	switch n.Kind {
	case yaml.ScalarNode:
		if n.Tag == "!!null" {
			d.problem(n, at.path, "found nothing; needed: %s", what)
			return false
		}
		return true
	case yaml.MappingNode:
		d.problem(n, at.path, "found a mapping; needed: %s", what)
	default:
		d.problem(n, at.path, "found a list; needed: %s", what)
	}
	return false
}

// container reports whether n is a mapping or a list, as kind says. A scalar
// found instead is not quoted: it may be a secret that slipped.
func (d *decoder) container(at place, n *yaml.Node, kind yaml.Kind, what string) bool {
	if refused(n) {
		return false
	}
	if n.Kind == kind {
		return true
	}
	switch {
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null" && kind == yaml.MappingNode:
		d.problem(n, at.path, "found nothing; needed: %s ({} stands for one with no keys)", what)
	case n.Kind == yaml.ScalarNode && n.Tag == "!!null":
		d.problem(n, at.path, "found nothing; needed: %s", what)
	case n.Kind == yaml.ScalarNode:
		d.problem(n, at.path, "found a single value; needed: %s", what)
	case n.Kind == yaml.MappingNode:
		d.problem(n, at.path, "found a mapping; needed: %s", what)
	default:
		d.problem(n, at.path, "found a list; needed: %s", what)
	}
	return false
}

func isMapping(n *yaml.Node) bool { return n.Kind == yaml.MappingNode && !refused(n) }

// word says what YAML takes a plain scalar for.
func word(n *yaml.Node) string {
	switch n.Tag {
	case "!!int", "!!float":
		return "a number"
	case "!!bool":
		return "a boolean"
	case "!!timestamp":
		return "a date"
	case "!!null":
		return "nothing"
	default:
		return "a text"
	}
}
