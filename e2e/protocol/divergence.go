package protocol

import (
	"fmt"
	"os"
	"strings"
)

// Divergence is a case whose trace is known to differ through the gateway.
type Divergence struct {
	Title  string   // of the case
	Modes  []string // pool modes in which it does
	Before int      // only with PostgreSQL before this major version; 0: with any
	Reason string
	Lines  []string // as Diff returns them
}

// LoadDivergences reads a file of entries:
//
//	== file: case
//	modes: transaction session
//	before: 18
//	reason: why it is so, and may be
//	-A< what only PostgreSQL says
//	+A< what only the gateway says
func LoadDivergences(file string) ([]*Divergence, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []*Divergence
	for i, line := range strings.Split(string(text), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		if title, ok := strings.CutPrefix(line, "== "); ok {
			all = append(all, &Divergence{Title: title})
			continue
		}
		if len(all) == 0 {
			return nil, fmt.Errorf("%s:%d: a line before the first heading", file, i+1)
		}
		d := all[len(all)-1]
		if modes, ok := strings.CutPrefix(line, "modes: "); ok {
			d.Modes = strings.Fields(modes)
		} else if version, ok := strings.CutPrefix(line, "before: "); ok {
			if _, err := fmt.Sscan(version, &d.Before); err != nil {
				return nil, fmt.Errorf("%s:%d: %q is no version", file, i+1, version)
			}
		} else if reason, ok := strings.CutPrefix(line, "reason: "); ok {
			d.Reason = reason
		} else if line[0] == '-' || line[0] == '+' {
			d.Lines = append(d.Lines, line)
		} else {
			return nil, fmt.Errorf("%s:%d: what is %q?", file, i+1, line)
		}
	}
	for _, d := range all {
		if len(d.Modes) == 0 || len(d.Reason) < 2 || len(d.Lines) == 0 {
			return nil, fmt.Errorf("%s: %q lacks its modes, its reason or its lines", file, d.Title)
		}
	}
	return all, nil
}

// String is the entry as it stands in the file.
func (d *Divergence) String() string {
	return fmt.Sprintf("== %s\nmodes: %s\nreason: %s\n%s\n", d.Title, strings.Join(d.Modes, " "), d.Reason, strings.Join(d.Lines, "\n"))
}
