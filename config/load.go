package config

import (
	"errors"
	"fmt"
	"io"
	"os"
)

// maxFile is the largest gateway.yaml taken, in bytes: room for some ten
// thousand upstreams, and a bound on what a wrong path can make the gateway read.
const maxFile = 8 << 20

// Load reads a gateway.yaml. The error is Errors when the file could be read
// and is wrong, else what opening or reading it returned.
func Load(path string) (*Config, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("cannot read the configuration: %w", err)
	}
	return Parse(path, text)
}

// Parse turns the text of a gateway.yaml into a Config with every default
// filled in; file is only the name that problems carry. The error is Errors,
// and holds every problem of the file that is not hidden by another.
func Parse(file string, text []byte) (*Config, error) {
	root, err := parseYAML(file, text)
	if err != nil {
		return nil, err
	}
	d := newDecoder(file, root)
	d.vet(root, 0)
	c := &Config{File: file}
	grammar().read(d, place{}, root, c)
	c.derive(d)
	d.check(c)
	if len(d.problems) > 0 {
		return nil, d.withSources(text)
	}
	return c, nil
}

// AsErrors returns the problems of a file from an error of Load or Parse; nil
// when the file could not be read at all.
func AsErrors(err error) Errors {
	var e Errors
	if errors.As(err, &e) {
		return e
	}
	return nil
}
