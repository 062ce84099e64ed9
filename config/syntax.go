package config

import (
	"bytes"
	"fmt"
	"regexp"
	"sort"
	"strconv"
	"strings"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// badCharacter finds the first character that has no place in the file: what
// is no UTF-8, control characters, and the line separators that YAML counts
// and editors do not. Positions in what remains are then the same for everybody.
func badCharacter(text []byte) (line, col int, why string) {
	if bytes.HasPrefix(text, []byte("\xff\xfe")) || bytes.HasPrefix(text, []byte("\xfe\xff")) {
		return 1, 1, "the file is UTF-16; save it as UTF-8"
	}
	line, col = 1, 1
	rest := bytes.TrimPrefix(text, []byte("\ufeff"))
	for len(rest) > 0 {
		r, n := utf8.DecodeRune(rest)
		switch {
		case r == '\n':
			line, col, rest = line+1, 1, rest[1:]
			continue
		case r == '\r' && len(rest) > 1 && rest[1] == '\n', r == '\t':
		case r == utf8.RuneError && n == 1:
			return line, col, "a byte that is not UTF-8"
		case r < ' ', r >= 0x7f && r < 0xa0, r == '\u2028', r == '\u2029', r == '\ufeff', r == 0xfffe, r == 0xffff:
			return line, col, fmt.Sprintf("the character U+%04X is not allowed (write it as \"\\u%04X\" if it is meant)", r, r)
		}
		rest = rest[n:]
		col++
	}
	return 0, 0, ""
}

var errorLine = regexp.MustCompile(`^(?:yaml: )?(?:line ([0-9]+): )?`)

var unknownAnchor = regexp.MustCompile(`unknown anchor '(.*)' referenced`)

// syntaxError places the library's error in the text and says what it means.
// The library gives the start of the block rather than the place, a line too
// few for some errors, and none on the first line; and it quotes the text,
// which may be a secret, for some.
func syntaxError(text []byte, err error) (line, col int, why string) {
	message := err.Error()
	if m := unknownAnchor.FindStringSubmatch(message); m != nil {
		line, col = find(text, "*"+m[1])
		return line, col, "an alias (*) is not allowed; write the value out, or put a text that begins with * in quotes"
	}
	lines := bytes.SplitAfter(text, []byte("\n"))
	said := errorLine.FindStringSubmatch(message)
	message = message[len(said[0]):]
	line, _ = strconv.Atoi(said[1])
	if len(text) <= mostSearched && (line == 0 || strings.HasPrefix(message, "did not find")) {
		line = discovered(text, lines, err.Error())
	}
	line = min(max(line, 1), len(lines))
	if n := tabbed(lines, line); n > 0 {
		return n, 1, "a tab in the indentation; YAML is indented with spaces"
	}
	here := strings.TrimRight(string(lines[line-1]), "\r\n")
	here = strings.TrimPrefix(here, "\ufeff")
	return line, len(here) - len(strings.TrimLeft(here, " \t")) + 1, "not valid YAML: " + strings.ReplaceAll(message, "'", "") + syntaxHint(message)
}

func syntaxHint(message string) string {
	switch {
	case strings.Contains(message, "cannot start any token"):
		return " (put a text that begins with @, %, ` or a bracket in quotes)"
	case strings.Contains(message, "mapping values are not allowed"):
		return " (put a text that holds a colon and a space in quotes, and indent the keys of a mapping alike)"
	case strings.Contains(message, "did not find expected key"), strings.Contains(message, "expected '-' indicator"):
		return " (indent the keys of a mapping and the dashes of a list alike)"
	case strings.Contains(message, "could not find expected ':'"):
		return " (a key is followed by a colon and a space)"
	}
	return ""
}

// mostSearched is the longest text, in bytes, that is read again some twenty
// times to find the line of an error: a matter of a second. In a longer one
// the library's line has to do.
const mostSearched = 512 << 10

// discovered is the line on which the parser gave up: the last one of the
// shortest beginning of the text that fails in the same way.
func discovered(text []byte, lines [][]byte, message string) int {
	ends := make([]int, len(lines))
	end := 0
	for i, l := range lines {
		end += len(l)
		ends[i] = end
	}
	i := sort.Search(len(lines)-1, func(i int) bool {
		dec := yaml.NewDecoder(bytes.NewReader(text[:ends[i]]))
		var err error
		for err == nil {
			var n yaml.Node
			err = decodeNode(dec, &n)
		}
		return err.Error() == message
	})
	return i + 1
}

// tabbed is the line with a tab in its indentation, if it is the given one or
// a neighbour; else 0.
func tabbed(lines [][]byte, around int) int {
	for _, n := range []int{around, around + 1, around - 1} {
		if n < 1 || n > len(lines) {
			continue
		}
		l := lines[n-1]
		if indent := l[:len(l)-len(bytes.TrimLeft(l, " \t"))]; bytes.IndexByte(indent, '\t') >= 0 {
			return n
		}
	}
	return 0
}

// find is the place of the first occurrence of a word.
func find(text []byte, word string) (line, col int) {
	i := max(bytes.Index(text, []byte(word)), 0)
	before := bytes.TrimPrefix(text[:i], []byte("\ufeff"))
	start := bytes.LastIndexByte(before, '\n') + 1
	return bytes.Count(before, []byte("\n")) + 1, utf8.RuneCount(before[start:]) + 1
}
