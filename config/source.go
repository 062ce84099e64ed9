package config

import (
	"bytes"
	"regexp"
	"slices"
	"sort"
	"strings"

	"go.yaml.in/yaml/v3"
)

// hidden stands for a part of a line that may be a secret.
const hidden = "…"

// withSources gives each problem its line of the file. Of a line only that is
// shown which the grammar read and knows to be no secret: keys, and values
// where none is expected. Comments are left out; people keep old passwords there.
func (d *decoder) withSources(text []byte) Errors {
	scalars := map[int][]*yaml.Node{}
	collect(d.root, scalars)
	lines := strings.Split(strings.TrimPrefix(string(text), "\ufeff"), "\n")
	for i := range d.problems {
		p := &d.problems[i]
		if p.Line <= len(lines) {
			p.Source, p.Caret = d.mask([]rune(strings.TrimRight(lines[p.Line-1], "\r")), scalars[p.Line], p.Col)
		}
	}
	return d.problems.sorted()
}

// collect gathers the scalars by the line that they begin on.
func collect(n *yaml.Node, into map[int][]*yaml.Node) {
	if n.Kind == yaml.ScalarNode {
		into[n.Line] = append(into[n.Line], n)
	}
	for _, c := range n.Content {
		collect(c, into)
	}
}

var structure = regexp.MustCompile(`^[\s\-{}\[\],?:]*$`)

func (d *decoder) mask(line []rune, scalars []*yaml.Node, col int) (source string, caret int) {
	if len(scalars) == 0 {
		if s := string(line); structure.MatchString(s) {
			return s, min(col-1, len(line))
		}
		return "", 0
	}
	slices.SortFunc(scalars, func(a, b *yaml.Node) int { return a.Column - b.Column })
	var out []rune
	caret = -1
	for i := -1; i < len(scalars); i++ {
		from, to := 0, len(line)
		if i >= 0 {
			from = min(scalars[i].Column-1, len(line))
		}
		if i+1 < len(scalars) {
			to = min(scalars[i+1].Column-1, len(line))
		}
		part := line[from:max(from, to)]
		if col-1 >= from && (col-1 < to || i+1 == len(scalars)) {
			caret = len(out) + col - 1 - from
		}
		visible := i < 0 && structure.MatchString(string(part))
		if i >= 0 {
			_, visible = d.shown[scalars[i]]
		}
		switch {
		case visible && i+1 == len(scalars):
			out = append(out, withoutComment(part)...)
		case visible:
			out = append(out, part...)
		case strings.TrimSpace(string(part)) != "":
			if caret > len(out) {
				caret = len(out)
			}
			out = append(out, []rune(hidden)...)
			if i+1 < len(scalars) {
				out = append(out, ' ')
			}
		}
	}
	return string(out), min(max(caret, 0), len(out))
}

func withoutComment(part []rune) []rune {
	s := string(part)
	if i := strings.Index(s, " #"); i >= 0 {
		s = s[:i]
	}
	return []rune(strings.TrimRight(s, " \t"))
}

var keyAtStart = regexp.MustCompile(`^( *(?:- +)*)([a-z_]+):(.*)$`)

// withLine gives a problem of a file that is not even YAML its line: of that
// only a known key at its start is shown.
func withLine(p Problem, text []byte) Problem {
	lines := bytes.Split(bytes.TrimPrefix(text, []byte("\ufeff")), []byte("\n"))
	if p.Line > len(lines) {
		return p
	}
	m := keyAtStart.FindStringSubmatch(strings.TrimRight(string(lines[p.Line-1]), "\r"))
	if m == nil {
		return p
	}
	known := keyNames(grammar().form())
	if i := sort.SearchStrings(known, m[2]); i == len(known) || known[i] != m[2] {
		return p
	}
	p.Source = m[1] + m[2] + ":"
	if strings.TrimSpace(m[3]) != "" {
		p.Source += " " + hidden
	}
	p.Caret = min(p.Col-1, len([]rune(p.Source)))
	return p
}

// keyNames are all the keys of the grammar, sorted.
func keyNames(f *form) []string {
	var names []string
	var walk func(f *form)
	walk = func(f *form) {
		for _, k := range f.keys {
			names = append(names, k.name)
			walk(k.form)
		}
		if f.item != nil {
			walk(f.item)
		}
		for _, e := range f.either {
			walk(e)
		}
	}
	walk(f)
	slices.Sort(names)
	return slices.Compact(names)
}
