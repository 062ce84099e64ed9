package config

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a gateway.yaml. None of its texts holds anything
// that may be a secret: a value is quoted only where the grammar knows that no
// secret is expected.
type Problem struct {
	File    string
	Line    int    // from 1
	Col     int    // from 1, in characters
	Path    string // upstreams.orders.tls.mode; empty for the file as a whole
	Message string // what was found, what is allowed, the nearest valid spelling
	Source  string // its line of the file with everything that may be a secret replaced; empty when nothing of it may be shown
	Caret   int    // where Col is in Source, from 0, in characters
}

// Error is the problem on one line: file:line:col: path: message.
func (p Problem) Error() string {
	if p.Path == "" {
		return fmt.Sprintf("%s:%d:%d: %s", p.File, p.Line, p.Col, p.Message)
	}
	return fmt.Sprintf("%s:%d:%d: %s: %s", p.File, p.Line, p.Col, p.Path, p.Message)
}

// Explain is Error followed by the offending line with a caret under the place.
func (p Problem) Explain() string {
	if p.Source == "" {
		return p.Error() + "\n"
	}
	var pad strings.Builder
	for i, r := range []rune(p.Source) {
		if i == p.Caret {
			break
		}
		if r != '\t' {
			r = ' '
		}
		pad.WriteRune(r)
	}
	return fmt.Sprintf("%s\n    %s\n    %s^\n", p.Error(), p.Source, pad.String())
}

// Errors are all the problems of one file, in the order of their positions. It
// is the error that Load and Parse return for a file that could be read.
type Errors []Problem

// Error prints one problem per line.
func (e Errors) Error() string {
	lines := make([]string, len(e))
	for i, p := range e {
		lines[i] = p.Error()
	}
	return strings.Join(lines, "\n")
}

// Explain prints each problem with its line of the file and a caret.
func (e Errors) Explain() string {
	var b strings.Builder
	for _, p := range e {
		b.WriteString(p.Explain())
	}
	return b.String()
}

// sorted orders the problems by position and drops repetitions.
func (e Errors) sorted() Errors {
	slices.SortStableFunc(e, func(a, b Problem) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Col, b.Col), cmp.Compare(a.Path, b.Path))
	})
	return slices.Compact(e)
}
