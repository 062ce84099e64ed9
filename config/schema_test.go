package config

import (
	"encoding/json"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

// Every row of the table of features names a key that exists, and holds what
// an example uses; a row left behind would refuse nothing, unnoticed.
func TestUnsupportedRowsAreInTheGrammar(t *testing.T) {
	keys := map[string]bool{}
	walk(grammar().form(), place{}, func(_ *form, k keyForm, at place) { keys[at.generic] = true })
	if len(keys) < 90 {
		t.Fatalf("the grammar has only %d keys", len(keys))
	}
	for row := range unsupported {
		if !keys[row] {
			t.Errorf("no key is %s", row)
		}
	}
}

func walk(f *form, at place, visit func(f *form, k keyForm, at place)) {
	for _, k := range f.keys {
		visit(f, k, at.key(k.name))
		walk(k.form, at.key(k.name), visit)
	}
	for _, e := range f.either {
		walk(e, at, visit)
	}
	if f.item != nil {
		if f.named {
			walk(f.item, at.name("*"), visit)
		} else {
			walk(f.item, at.index(0), visit)
		}
	}
}

// The schema takes the good files and refuses what Parse refuses by form.
func TestSchema(t *testing.T) {
	text, err := Schema()
	if err != nil {
		t.Fatal(err)
	}
	var schema map[string]any
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	if schema["$schema"] != "https://json-schema.org/draft/2020-12/schema" {
		t.Errorf("$schema is %v", schema["$schema"])
	}
	load := func(text string) any {
		var v any
		if err := yaml.Unmarshal([]byte(text), &v); err != nil {
			t.Fatal(err)
		}
		return v
	}
	for _, file := range []string{"testdata/good/full.yaml", "testdata/interface.yaml"} {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if why := validate(schema, load(string(text)), "$"); why != "" {
			t.Errorf("%s: %s", file, why)
		}
	}
	if why := validate(schema, load(minimal), "$"); why != "" {
		t.Error(why)
	}
	for _, change := range [][2]string{
		{"listen:", "lisen:"},
		{"host: db", "host: 5"},
		{"host: db", "host: db, port: 70000"},
		{"host: db", "host: db, prot: 1"},
		{"host: db", "host: db, kind: oracle"},
		{"host: db", "host: db, aliases: []"},
		{"host: db", "host: db, pool: {wait_timeout: 5 min}"},
		{"password: env:P", "password: plaintext"},
		{"password: env:P", "password: env:P, iam: {}"},
		{", password: env:P", ""},
		{"grants: ALL", "grants: all"},
		{"grants: ALL", "grants: {database: [SELECT]}"},
		{"host: db", "host: db, via: {ssh: {host: b, user: u}}"},
	} {
		bad := strings.Replace(minimal, change[0], change[1], 1)
		if bad == minimal || validate(schema, load(bad), "$") == "" {
			t.Errorf("the schema takes\n%s", bad)
		}
		if _, err := Parse("f", []byte(bad)); err == nil {
			t.Errorf("Parse takes\n%s", bad)
		}
	}
}

// validate is as much of JSON Schema as the schema uses.
func validate(schema map[string]any, v any, at string) string {
	sub := func(x any) map[string]any { m, _ := x.(map[string]any); return m }
	if t, ok := schema["type"].(string); ok && typeOf(v) != t {
		return fmt.Sprintf("%s is %s, not %s", at, typeOf(v), t)
	}
	if c, ok := schema["const"]; ok && fmt.Sprint(c) != fmt.Sprint(v) {
		return at + " is not the constant"
	}
	if enum, ok := schema["enum"].([]any); ok && !slices.Contains(enum, v) {
		return fmt.Sprintf("%s: %v is not listed", at, v)
	}
	if s, ok := v.(string); ok {
		if p, ok := schema["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(s) {
			return fmt.Sprintf("%s: %q does not match %s", at, s, p)
		}
	}
	if n, ok := v.(int); ok {
		if low, ok := schema["minimum"].(float64); ok && float64(n) < low {
			return at + " is too small"
		}
		if high, ok := schema["maximum"].(float64); ok && float64(n) > high {
			return at + " is too large"
		}
	}
	for keyword, want := range map[string]func(int, int) bool{
		"anyOf": func(n, _ int) bool { return n > 0 },
		"oneOf": func(n, _ int) bool { return n == 1 },
	} {
		all, ok := schema[keyword].([]any)
		if !ok {
			continue
		}
		n, why := 0, ""
		for _, one := range all {
			if w := validate(sub(one), v, at); w == "" {
				n++
			} else {
				why += "; " + w
			}
		}
		if !want(n, len(all)) {
			return fmt.Sprintf("%s: %d of %s%s", at, n, keyword, why)
		}
	}
	switch v := v.(type) {
	case map[string]any:
		required, _ := schema["required"].([]any)
		for _, r := range required {
			if _, ok := v[r.(string)]; !ok {
				return fmt.Sprintf("%s.%s is missing", at, r)
			}
		}
		for name, value := range v {
			property, known := sub(schema["properties"])[name]
			switch {
			case known:
			case schema["additionalProperties"] == false:
				return at + "." + name + " is unknown"
			default:
				property = schema["additionalProperties"]
			}
			if property == nil {
				continue
			}
			if why := validate(sub(property), value, at+"."+name); why != "" {
				return why
			}
		}
	case []any:
		if least, ok := schema["minItems"].(float64); ok && len(v) < int(least) {
			return at + " is too short"
		}
		for i, item := range v {
			if why := validate(sub(schema["items"]), item, fmt.Sprintf("%s[%d]", at, i)); why != "" {
				return why
			}
		}
	}
	return ""
}

func typeOf(v any) string {
	switch v.(type) {
	case map[string]any:
		return "object"
	case []any:
		return "array"
	case string:
		return "string"
	case bool:
		return "boolean"
	case int:
		return "integer"
	default:
		return fmt.Sprintf("%T", v)
	}
}
