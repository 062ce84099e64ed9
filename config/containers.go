package config

import "go.yaml.in/yaml/v3"

// list is a YAML list of one or more items.
type list[T any] struct {
	item shape[T]
	what string         // "networks"
	same func(T) string // items with the same text are duplicates; nil: never
	most int            // zero: any number
}

func (l list[T]) form() *form {
	return &form{what: "a list of " + l.what, item: l.item.form(), list: true, most: l.most}
}

func (l list[T]) read(d *decoder, at place, n *yaml.Node, into *[]T) bool {
	if !d.container(at, n, yaml.SequenceNode, "a list of "+l.what) {
		return false
	}
	if len(n.Content) == 0 {
		d.problem(n, at.path, "found an empty list; needed: at least one item, or leave the key out")
		return false
	}
	if l.most > 0 && len(n.Content) > l.most {
		d.problem(n, at.path, "found %d items; allowed: at most %d", len(n.Content), l.most)
		return false
	}
	ok := true
	seen := make(map[string]int)
	for i, c := range n.Content {
		here := at.index(i)
		d.marks[here.path] = mark{c, c}
		var v T
		if !l.item.read(d, here, c, &v) {
			ok = false
		} else if l.same != nil {
			text := l.same(v)
			if first, dup := seen[text]; dup {
				d.problem(c, here.path, "duplicate; the same as item %d", first)
				ok, v = false, *new(T)
			} else {
				seen[text] = i
			}
		}
		*into = append(*into, v) // even if wrong, so that rules find the items by their index
	}
	return ok
}

// named is a mapping from names that the file's author chose to Ts.
type named[T any] struct {
	item  shape[T]
	what  string                                  // "upstreams by name"
	name  func(into *T, name string)              // stores the name
	check func(text string) (why, nearest string) // is it fit to be a name
}

func (m named[T]) form() *form {
	return &form{what: "a mapping of " + m.what, item: m.item.form(), named: true}
}

func (m named[T]) read(d *decoder, at place, n *yaml.Node, into *[]T) bool {
	if !d.container(at, n, yaml.MappingNode, "a mapping of "+m.what) {
		return false
	}
	before := d.wrong()
	d.pairs(at, n, place.name, func(k, v *yaml.Node, here place) {
		d.enter(here, k, v)
		if k.Tag != "!!str" {
			d.problem(k, here.path, "found %s as a name; needed: a text, so write it in quotes", word(k))
			return
		}
		if why, close := m.check(k.Value); why != "" {
			d.problem(k, here.path, "%s%s", why, didYouMean(close))
			return
		}
		var item T
		if !m.item.read(d, here, v, &item) && !isMapping(v) {
			return // there is nothing to apply rules to
		}
		m.name(&item, k.Value)
		*into = append(*into, item)
	})
	return d.wrong() == before
}

// optional reads into a pointer that stays nil where nothing is written.
type optional[T any] struct{ of shape[T] }

func (o optional[T]) form() *form { return o.of.form() }

func (o optional[T]) read(d *decoder, at place, n *yaml.Node, into **T) bool {
	*into = new(T)
	return o.of.read(d, at, n, *into)
}
