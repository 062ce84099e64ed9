package config

import (
	"fmt"
	"io"
	"os"
)

// Fault is something wrong with what a good file refers to, at a path of the file.
type Fault struct{ Path, Message string }

// Path is where something is in a file, as problems name it: keys and names are
// texts, indices of lists numbers.
func Path(parts ...any) string {
	at := place{}
	for _, p := range parts {
		switch p := p.(type) {
		case int:
			at = at.index(p)
		default:
			at = at.key(fmt.Sprint(p))
		}
	}
	return at.path
}

// Point makes problems of faults: it finds the places of their paths in the file,
// which Load has found to be good.
func Point(path string, faults []Fault) (Errors, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, err
	}
	root, err := parseYAML(path, text)
	if err != nil {
		return nil, err
	}
	d := newDecoder(path, root)
	d.vet(root, 0)
	grammar().read(d, place{}, root, &Config{File: path})
	d.problems = nil
	for _, f := range faults {
		d.at(f.Path, "%s", f.Message)
	}
	return d.withSources(text), nil
}
