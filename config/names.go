package config

import (
	"encoding/json"
	"strconv"
	"strings"
	"unicode"

	"github.com/invopop/jsonschema"
)

// maxName is the longest name taken for an upstream, a writer, a role or a
// database, in bytes: PostgreSQL cuts identifiers off there (NAMEDATALEN - 1).
const maxName = 63

func jsonNumber(n int) json.Number { return json.Number(strconv.Itoa(n)) }

// text is a non-empty text on one line that check accepts; check may be nil.
func text(what string, check func(string) (why, nearest string)) scalar[string] {
	return scalar[string]{
		what: what, schema: jsonschema.Schema{Type: "string", MinLength: ptr(uint64(1))},
		parse: func(text string) (string, string, string) {
			if why := plain(text); why != "" {
				return "", why, ""
			}
			if check != nil {
				if why, close := check(text); why != "" {
					return "", why, close
				}
			}
			return text, "", ""
		},
	}
}

func ptr[T any](v T) *T { return &v }

// plain says what keeps a text from being one that a person can see whole.
func plain(text string) string {
	switch {
	case text == "":
		return "empty"
	case strings.TrimSpace(text) != text:
		return "it begins or ends with a space"
	case strings.ContainsFunc(text, func(r rune) bool { return !unicode.IsPrint(r) }):
		return "it holds a character that cannot be printed"
	}
	return ""
}

// checkName accepts the name of a writer, role, database or schema.
func checkName(name string) (why, nearest string) {
	if why := plain(name); why != "" {
		return "the name is not usable: " + why, ""
	}
	if len(name) > maxName {
		return "the name is too long: PostgreSQL's names have at most 63 bytes", ""
	}
	return "", ""
}

// checkExactName accepts a name without "*".
func checkExactName(name string) (why, nearest string) {
	if IsPattern(name) {
		return `a pattern ("*") is not allowed here`, ""
	}
	return checkName(name)
}

func name(what string) scalar[string] {
	s := text(what, checkName)
	s.schema.MaxLength = ptr(uint64(maxName))
	return s
}
