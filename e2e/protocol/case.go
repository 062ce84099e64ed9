package protocol

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Case is one script.
type Case struct {
	File  string // without its directory and extension
	Name  string // of its heading
	Since int    // PostgreSQL's major version that it needs

	steps []step
}

// Title names the case among all.
func (c *Case) Title() string { return c.File + ": " + c.Name }

// step is one line of a script.
type step struct {
	line   int
	text   string // as it stands in the file
	client string
	verb   string   // of verbs
	bytes  []byte   // send
	wants  []want   // receive
	args   []string // of the other verbs
}

// want is a message that has to come.
type want struct {
	typ  string // the message's type, or "closed"
	text string // what its line in the trace contains
}

// verbs tells the number of arguments, -1 for any; those of a client first.
var verbs = map[string]int{
	"open": -1, "terminate": 0, "close": 0, "reset": 0, "cancel": 0, "miscancel": 0,
	"sql": 1, "wait": 2, "pause": 0, "since": 1,
}

// Load reads the scripts of a directory: NAME.txt with a heading "== name" before
// each case.
func Load(dir string) ([]*Case, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.txt"))
	if err != nil {
		return nil, err
	}
	var all []*Case
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		cases, err := Parse(strings.TrimSuffix(filepath.Base(file), ".txt"), string(text))
		if err != nil {
			return nil, err
		}
		all = append(all, cases...)
	}
	return all, nil
}

// Parse reads the scripts of one file.
func Parse(file, text string) ([]*Case, error) {
	var all []*Case
	names := map[string]bool{}
	fail := func(line int, format string, args ...any) error {
		return fmt.Errorf("%s.txt:%d: %s", file, line, fmt.Sprintf(format, args...))
	}
	for i, line := range strings.Split(text, "\n") {
		line = strings.TrimSpace(line)
		if line == "" || line[0] == '#' {
			continue
		}
		if name, ok := strings.CutPrefix(line, "== "); ok {
			if names[name] {
				return nil, fail(i+1, "a second %q", name)
			}
			names[name] = true
			all = append(all, &Case{File: file, Name: name})
			continue
		}
		if len(all) == 0 {
			return nil, fail(i+1, "a step before the first heading")
		}
		st, err := parseStep(line)
		if err != nil {
			return nil, fail(i+1, "%v", err)
		}
		st.line = i + 1
		c := all[len(all)-1]
		if st.verb == "since" {
			if c.Since, err = strconv.Atoi(st.args[0]); err != nil {
				return nil, fail(i+1, "%v", err)
			}
			continue
		}
		c.steps = append(c.steps, st)
	}
	for _, c := range all {
		if !c.asserts() {
			return nil, fail(0, "%q says nothing about an answer's content", c.Name)
		}
	}
	return all, nil
}

// asserts reports whether the case names the content of at least one message:
// without, it could pass when nothing happened.
func (c *Case) asserts() bool {
	for _, st := range c.steps {
		for _, w := range st.wants {
			if w.text != "" {
				return true
			}
		}
	}
	return false
}

func parseStep(line string) (step, error) {
	st := step{text: line, client: "A"}
	s := &scanner{rest: line}
	if len(line) > 1 && line[0] >= 'A' && line[0] <= 'Z' && strings.IndexByte("<> ", line[1]) >= 0 {
		st.client = line[:1]
		s.rest = line[1:]
	}
	var err error
	switch {
	case s.take(">"):
		st.verb = "send"
		st.bytes, err = message(s)
	case s.take("<"):
		st.verb = "receive"
		st.wants, err = wants(s)
	default:
		st.verb = s.word()
		n, ok := verbs[st.verb]
		if !ok {
			return st, fmt.Errorf("no such step: %s", line)
		}
		for !s.end() {
			arg, bad := s.text()
			if bad != nil {
				return st, bad
			}
			st.args = append(st.args, arg)
		}
		if n >= 0 && len(st.args) != n {
			return st, fmt.Errorf("%s takes %d arguments", st.verb, n)
		}
	}
	return st, err
}

// wants reads the messages of a "<" line: types, each perhaps with a text.
func wants(s *scanner) ([]want, error) {
	var all []want
	for !s.end() {
		if strings.HasPrefix(s.rest, `"`) {
			text, err := s.text()
			if err != nil {
				return nil, err
			}
			if len(all) == 0 || all[len(all)-1].text != "" {
				return nil, fmt.Errorf("a text without a message type before it")
			}
			all[len(all)-1].text = text
			continue
		}
		typ := s.word()
		if typ != "closed" && len(typ) != 1 {
			return nil, fmt.Errorf("%q is no message type", typ)
		}
		all = append(all, want{typ: typ})
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nothing is expected")
	}
	return all, nil
}
