package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"go.yaml.in/yaml/v3"
)

// maxDepth is how deep mappings and lists may be nested. The grammar needs 9.
const maxDepth = 32

// parseYAML returns the value of the file's only document. The library's
// nodes are used and its decoding is not: aliases are never followed, so no
// file is larger in memory than its text makes it.
func parseYAML(file string, text []byte) (*yaml.Node, error) {
	fail := func(line, col int, format string, args ...any) error {
		return Errors{withLine(Problem{File: file, Line: line, Col: col, Message: fmt.Sprintf(format, args...)}, text)}
	}
	if len(text) > maxFile {
		return nil, Errors{{File: file, Line: 1, Col: 1, Message: fmt.Sprintf("the file is too large; allowed: %d MiB", maxFile>>20)}}
	}
	if line, col, why := badCharacter(text); why != "" {
		return nil, fail(line, col, "%s", why)
	}
	dec := yaml.NewDecoder(bytes.NewReader(text))
	var first, second yaml.Node
	err := decodeNode(dec, &first)
	switch {
	case errors.Is(err, io.EOF):
		return nil, fail(1, 1, "the file is empty; needed: a mapping with listen, upstreams and writers")
	case err != nil:
		line, col, why := syntaxError(text, err)
		return nil, fail(line, col, "%s", why)
	}
	root := first.Content[0]
	if root.Kind == yaml.ScalarNode && root.Tag == "!!null" && root.Value == "" {
		return nil, fail(1, 1, "the file is empty; needed: a mapping with listen, upstreams and writers")
	}
	switch err := decodeNode(dec, &second); {
	case err == nil:
		return nil, fail(second.Line, second.Column, "a second YAML document begins here; needed: one document in the file")
	case !errors.Is(err, io.EOF):
		line, col, why := syntaxError(text, err)
		return nil, fail(line, col, "%s", why)
	}
	return root, nil
}

// decodeNode is dec.Decode that also turns the library's panics into errors:
// it raises some on input that it does not expect of itself.
func decodeNode(dec *yaml.Decoder, n *yaml.Node) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = errors.New("not YAML that can be read")
		}
	}()
	if err := dec.Decode(n); err != nil {
		return err
	}
	if n.Kind != yaml.DocumentNode || len(n.Content) != 1 {
		return io.EOF
	}
	return nil
}

// vet refuses what YAML has and this file must not: anchors, aliases, merge
// keys, tags, keys that are no text, nesting without end.
func (d *decoder) vet(n *yaml.Node, depth int) {
	switch {
	case n.Kind == yaml.AliasNode:
		d.problem(n, "", "an alias (*) is not allowed; write the value out, or put a text that begins with * in quotes")
		return
	case n.Anchor != "":
		d.problem(n, "", "an anchor (&) is not allowed; write each value out, or put a text that begins with & in quotes")
	case n.Tag == "!!merge":
		d.problem(n, "", "a merge key (<<) is not allowed; write the keys out, or put << in quotes")
	case n.Style&yaml.TaggedStyle != 0:
		d.problem(n, "", "a tag (!) is not allowed; leave it out, or put a text that begins with ! in quotes")
	}
	if depth > maxDepth {
		d.problem(n, "", "nested deeper than %d levels", maxDepth)
		return
	}
	for i, c := range n.Content {
		if n.Kind == yaml.MappingNode && i%2 == 0 && (c.Kind == yaml.MappingNode || c.Kind == yaml.SequenceNode) {
			d.problem(c, "", "a key must be a single text")
			continue
		}
		d.vet(c, depth+1)
	}
}

// refused reports whether vet has already reported the node itself.
func refused(n *yaml.Node) bool {
	return n.Kind == yaml.AliasNode || n.Anchor != "" || n.Style&yaml.TaggedStyle != 0 || n.Tag == "!!merge"
}
