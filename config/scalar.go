package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v3"
)

// scalar is a single value read off its text.
type scalar[T any] struct {
	what    string // what is needed
	numbers bool   // unquoted numbers are taken, too
	strict  string // the only YAML tag taken; empty: text
	words   []string
	schema  jsonschema.Schema
	// parse returns the value; or why the text is none, never quoting it, and
	// what may have been meant.
	parse func(text string) (v T, why, nearest string)
}

func (s scalar[T]) form() *form {
	schema := s.schema
	if schema.Type == "" && schema.AnyOf == nil {
		schema.Type = "string"
	}
	return &form{what: s.what, scalar: &schema, words: s.words, number: s.numbers || s.strict != ""}
}

func (s scalar[T]) read(d *decoder, at place, n *yaml.Node, into *T) bool {
	if !d.scalar(at, n, s.what) {
		return false
	}
	d.show(n)
	switch {
	case s.strict != "" && n.Tag != s.strict:
		d.problem(n, at.path, "found %s %q; needed: %s%s", word(n), cut(n.Value), s.what, didYouMean(s.unquoted(n)))
		return false
	case s.strict == "" && n.Tag != "!!str" && (!s.numbers || n.Tag != "!!int"):
		d.problem(n, at.path, "found %s %s; needed: %s (in quotes it is a text)", word(n), cut(n.Value), s.what)
		return false
	}
	v, why, close := s.parse(n.Value)
	if why != "" {
		d.problem(n, at.path, "found %q: %s; needed: %s%s", cut(n.Value), why, s.what, didYouMean(close))
		return false
	}
	*into = v
	return true
}

// unquoted suggests the value itself where only quotes or a manner of speaking are wrong.
func (s scalar[T]) unquoted(n *yaml.Node) string {
	switch strings.ToLower(n.Value) {
	case "yes", "on", "y":
		if s.strict == "!!bool" {
			return "true"
		}
	case "no", "off", "n":
		if s.strict == "!!bool" {
			return "false"
		}
	}
	if _, why, _ := s.parse(n.Value); why == "" {
		return n.Value
	}
	return ""
}

// choice is one of a few words.
func choice[T ~string](words ...T) scalar[T] {
	all := make([]string, len(words))
	enum := make([]any, len(words))
	for i, w := range words {
		all[i], enum[i] = string(w), string(w)
	}
	what := strings.Join(all, ", ")
	if len(all) > 1 {
		what = "one of " + what
	}
	return scalar[T]{
		what: what, words: all, schema: jsonschema.Schema{Type: "string", Enum: enum},
		parse: func(text string) (T, string, string) {
			for _, w := range words {
				if text == string(w) {
					return w, "", ""
				}
			}
			return "", "not a known value", nearestWord(text, all)
		},
	}
}

// boolean is true or false, nothing else.
func boolean() scalar[bool] {
	return scalar[bool]{
		what: "true or false", strict: "!!bool", schema: jsonschema.Schema{Type: "boolean"},
		parse: func(text string) (bool, string, string) {
			switch text {
			case "true":
				return true, "", ""
			case "false":
				return false, "", ""
			}
			return false, "not a known value", strings.ToLower(text)
		},
	}
}

// number is a whole decimal number from least to most.
func number[T ~int | ~uint16](what string, least, most int) scalar[T] {
	return scalar[T]{
		what: fmt.Sprintf("%s, %d to %d", what, least, most), strict: "!!int",
		schema: jsonschema.Schema{Type: "integer", Minimum: jsonNumber(least), Maximum: jsonNumber(most)},
		parse: func(text string) (T, string, string) {
			v, err := strconv.Atoi(text)
			switch {
			case err != nil || strconv.Itoa(v) != text:
				return 0, "not a plain decimal number", ""
			case v < least:
				return 0, "too small", ""
			case v > most:
				return 0, "too large", ""
			}
			return T(v), "", ""
		},
	}
}

// duration is a Go duration from least to most; where zero is true, 0 as well.
func duration(least, most time.Duration, zero string) scalar[time.Duration] {
	what := fmt.Sprintf("a duration such as 30s, 5m or 1h30m, from %s to %s", short(least), short(most))
	if zero != "" {
		what += ", or 0: " + zero
	}
	return scalar[time.Duration]{
		what: what, numbers: true,
		schema: jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			{Type: "string", Pattern: `^([0-9]+(\.[0-9]*)?(ns|us|µs|ms|s|m|h))+$|^0$`}, {Const: 0},
		}},
		parse: func(text string) (time.Duration, string, string) {
			if text == "0" && zero != "" {
				return 0, "", ""
			}
			v, err := time.ParseDuration(text)
			switch {
			case err != nil:
				return 0, "not a duration", meantDuration(text)
			case v == 0 && zero != "":
				return 0, "", ""
			case v < least:
				return 0, "too short", ""
			case v > most:
				return 0, "too long", ""
			}
			return v, "", ""
		},
	}
}

// meantDuration guesses the unit of a bare number and the unit behind a word.
func meantDuration(text string) string {
	digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
	if _, err := strconv.ParseUint(digits, 10, 31); err != nil {
		return ""
	}
	switch unit := strings.ToLower(strings.TrimSpace(text[len(digits):])); unit {
	case "", "s", "sec", "secs", "second", "seconds":
		return digits + "s"
	case "m", "min", "mins", "minute", "minutes":
		return digits + "m"
	case "h", "hr", "hrs", "hour", "hours":
		return digits + "h"
	case "ms", "msec", "millis", "milliseconds":
		return digits + "ms"
	case "d", "day", "days":
		n, _ := strconv.ParseUint(digits, 10, 31)
		return strconv.FormatUint(n*24, 10) + "h"
	}
	return ""
}

// short is a duration without the units that are zero: 1h, not 1h0m0s.
func short(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = s[:len(s)-2]
	}
	if strings.HasSuffix(s, "h0m") {
		s = s[:len(s)-2]
	}
	return s
}

// size is a number of bytes with its unit: 64KiB, 10MiB, 1GiB, or 512B.
func size(zero string) scalar[int64] {
	units := []struct {
		name  string
		bytes int64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"B", 1}}
	return scalar[int64]{
		what: "a size such as 64KiB or 10MiB, or 0: " + zero, numbers: true,
		schema: jsonschema.Schema{AnyOf: []*jsonschema.Schema{
			{Type: "string", Pattern: `^[0-9]+(B|KiB|MiB|GiB)$|^0$`}, {Const: 0},
		}},
		parse: func(text string) (int64, string, string) {
			if text == "0" {
				return 0, "", ""
			}
			digits := strings.TrimRight(text, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
			n, err := strconv.ParseInt(digits, 10, 64)
			if err != nil || n < 0 || digits != strconv.FormatInt(n, 10) {
				return 0, "not a whole number with a unit", ""
			}
			unit := text[len(digits):]
			for _, u := range units {
				if unit != u.name {
					continue
				}
				if n > math.MaxInt64/u.bytes {
					return 0, "too large", ""
				}
				return n * u.bytes, "", ""
			}
			if unit == "" {
				return 0, "a unit is missing", digits + "B"
			}
			for _, u := range units {
				if strings.EqualFold(strings.TrimSpace(unit)[:1], u.name[:1]) {
					return 0, "not a known unit", digits + u.name
				}
			}
			return 0, "not a known unit", ""
		},
	}
}
