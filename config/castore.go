package config

import (
	"strings"

	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v3"
)

// caValue reads upstreams.*.tls.ca: a named set of roots, or a file of them.
type caValue struct{}

func (caValue) form() *form {
	return &form{
		what:   "system, rds or file:PATH",
		scalar: &jsonschema.Schema{Type: "string", Pattern: `^(system|rds|file:.+)$`},
		words:  []string{string(CASystem), string(CARDS), "file:PATH"},
	}
}

func (c caValue) read(d *decoder, at place, n *yaml.Node, into *UpstreamTLS) bool {
	if n.Kind == yaml.ScalarNode && strings.HasPrefix(n.Value, string(SchemeFile)+":") {
		into.CA = CAFile
		return secretValue{what: "a file", filesOnly: true}.read(d, at, n, &into.CAFile)
	}
	s := choice(CASystem, CARDS)
	s.what = c.form().what
	return s.read(d, at, n, &into.CA)
}

// auditValue reads admin.audit: standard output, or a file.
func auditValue() scalar[string] {
	s := text("stdout or file:PATH", nil)
	s.schema.Pattern = `^(stdout|file:.+)$`
	s.parse = func(text string) (string, string, string) {
		path, file := strings.CutPrefix(text, "file:")
		switch {
		case text == "stdout":
			return text, "", ""
		case file && plain(path) == "":
			return path, "", ""
		}
		return "", "not a place for the audit log", nearestWord(text, []string{"stdout"})
	}
	return s
}

// requireTLS reads writers.*.tls.
type requireTLS struct{ scalar[ListenTLSMode] }

func (r requireTLS) read(d *decoder, at place, n *yaml.Node, into *bool) bool {
	var mode ListenTLSMode
	*into = r.scalar.read(d, at, n, &mode)
	return *into
}
