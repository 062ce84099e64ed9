package protocol

import (
	"fmt"
	"strconv"
	"strings"
)

// scanner reads the words and texts of one line of a script.
type scanner struct{ rest string }

func (s *scanner) skip() { s.rest = strings.TrimLeft(s.rest, " \t") }

// end reports whether nothing is left.
func (s *scanner) end() bool {
	s.skip()
	return s.rest == ""
}

// take skips the sign if it comes next, and reports whether it did.
func (s *scanner) take(sign string) bool {
	s.skip()
	if !strings.HasPrefix(s.rest, sign) {
		return false
	}
	s.rest = s.rest[len(sign):]
	return true
}

// word reads what ends at a space or at a sign of the format.
func (s *scanner) word() string {
	s.skip()
	n := strings.IndexAny(s.rest, " \t()[]+*@\"")
	if n < 0 {
		n = len(s.rest)
	}
	w := s.rest[:n]
	s.rest = s.rest[n:]
	return w
}

// number reads a word that is a number.
func (s *scanner) number() (int, error) {
	w := s.word()
	n, err := strconv.Atoi(w)
	if err != nil {
		return 0, fmt.Errorf("%q is no number", w)
	}
	return n, nil
}

// text reads terms joined by "+", each a Go string or a bare word, either of
// which "*N" repeats.
func (s *scanner) text() (string, error) {
	var b strings.Builder
	for {
		term, err := s.term()
		if err != nil {
			return "", err
		}
		times := 1
		if s.take("*") {
			if times, err = s.number(); err != nil {
				return "", err
			}
		}
		for range times {
			b.WriteString(term)
		}
		if !s.take("+") {
			return b.String(), nil
		}
	}
}

func (s *scanner) term() (string, error) {
	s.skip()
	if !strings.HasPrefix(s.rest, `"`) {
		w := s.word()
		if w == "" {
			return "", fmt.Errorf("a text is missing before %q", s.rest)
		}
		return w, nil
	}
	quoted, err := strconv.QuotedPrefix(s.rest)
	if err != nil {
		return "", fmt.Errorf("bad string at %s", s.rest)
	}
	s.rest = s.rest[len(quoted):]
	return strconv.Unquote(quoted)
}

// values reads "(a b null)"; null is nil.
func (s *scanner) values() ([][]byte, error) {
	all := [][]byte{}
	if !s.take("(") {
		return all, nil
	}
	for !s.take(")") {
		if strings.HasPrefix(s.rest, "null") {
			s.rest = s.rest[len("null"):]
			all = append(all, nil)
			continue
		}
		v, err := s.text()
		if err != nil {
			return nil, err
		}
		all = append(all, []byte(v))
	}
	return all, nil
}

// numbers reads "[1 2]".
func (s *scanner) numbers() ([]int, error) {
	var all []int
	if !s.take("[") {
		return nil, nil
	}
	for !s.take("]") {
		n, err := s.number()
		if err != nil {
			return nil, err
		}
		all = append(all, n)
	}
	return all, nil
}

// formats reads the format codes "in=0,1" and "out=1", in this order, each or
// both of which may be missing.
func (s *scanner) formats(name string) ([]int16, error) {
	if !s.take(name + "=") {
		return nil, nil
	}
	var all []int16
	for f := range strings.SplitSeq(s.word(), ",") {
		n, err := strconv.Atoi(f)
		if err != nil {
			return nil, fmt.Errorf("%q is no format", f)
		}
		all = append(all, int16(n))
	}
	return all, nil
}
