package config

import (
	"encoding/json"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
)

// Schema is the JSON Schema (draft 2020-12) of gateway.yaml, for editors: the
// same tree of keys that Parse reads with. Rules that tie keys of different
// mappings together are not in it.
func Schema() ([]byte, error) {
	s := schemaOf(grammar().form(), place{})
	s.Version = jsonschema.Version
	s.Title = "gateway.yaml"
	return json.MarshalIndent(s, "", "  ")
}

func schemaOf(f *form, at place) *jsonschema.Schema {
	switch {
	case f.mapping:
		return mappingSchema(f, at)
	case f.named:
		return &jsonschema.Schema{Type: "object", AdditionalProperties: schemaOf(f.item, at.name("*"))}
	case f.list:
		s := &jsonschema.Schema{Type: "array", Items: schemaOf(f.item, at.index(0)), MinItems: ptr(uint64(1))}
		if f.most > 0 {
			s.MaxItems = ptr(uint64(f.most))
		}
		return s
	case f.either != nil:
		s := &jsonschema.Schema{}
		for _, e := range f.either {
			s.AnyOf = append(s.AnyOf, schemaOf(e, at))
		}
		return s
	default:
		s := *f.scalar
		return &s
	}
}

func mappingSchema(f *form, at place) *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "object", Properties: jsonschema.NewProperties(), AdditionalProperties: jsonschema.FalseSchema}
	for _, k := range f.keys {
		here := at.key(k.name)
		p := schemaOf(k.form, here)
		p.Description = strings.ReplaceAll(k.describe(here), "`", "")
		if k.def != "" {
			p.Default = jsonDefault(k)
		}
		s.Properties.Set(k.name, p)
		if k.required {
			s.Required = append(s.Required, k.name)
		}
	}
	for _, n := range f.needs {
		var each []*jsonschema.Schema
		for _, key := range n.keys {
			each = append(each, &jsonschema.Schema{Required: []string{key}})
		}
		if n.exactly {
			s.OneOf = each
		} else {
			s.AnyOf = each
		}
	}
	return s
}

func jsonDefault(k keyForm) any {
	if k.form.number {
		if n, err := strconv.Atoi(k.def); err == nil {
			return n
		}
		if b, err := strconv.ParseBool(k.def); err == nil {
			return b
		}
	}
	return k.def
}

// describe is the key's sentence, and what of it is not supported yet.
func (k keyForm) describe(at place) string {
	text := k.doc
	if k.defNote != "" {
		text += " Default: " + k.defNote + "."
	}
	return strings.TrimSpace(text + " " + notYet(at))
}

// notYet says what of a key is not supported yet; empty when all of it is.
func notYet(at place) string {
	f, ok := unsupported[at.generic]
	switch {
	case !ok:
		return ""
	case f.note == "":
		return "Not supported yet."
	default:
		return "Not supported yet: " + f.note + "."
	}
}
