package config

import (
	"regexp"
	"strings"

	"github.com/invopop/jsonschema"
	"go.yaml.in/yaml/v3"
)

const secretForms = "env:NAME, file:PATH, aws-sm:ARN-or-name#json_key, aws-ssm:NAME, or literal:TEXT for trials"

// secretValue reads a reference to a secret. What it refuses it never quotes:
// it may be the secret itself.
type secretValue struct {
	what      string
	verifiers bool // a SCRAM verifier may be written out
	filesOnly bool // only file: makes sense here
}

func (s secretValue) needed() string {
	switch {
	case s.filesOnly:
		return "file:PATH"
	case s.verifiers:
		return "a SCRAM-SHA-256 verifier (gateway passwd makes one), or " + secretForms
	default:
		return secretForms
	}
}

func (s secretValue) form() *form {
	pattern := `^(env:[A-Za-z_][A-Za-z0-9_]*|file:.+|aws-sm:.+|aws-ssm:.+|literal:.+`
	switch {
	case s.filesOnly:
		pattern = `^(file:.+`
	case s.verifiers:
		pattern += `|SCRAM-SHA-256\$.+`
	}
	return &form{what: s.what + ": " + s.needed(), scalar: &jsonschema.Schema{Type: "string", Pattern: pattern + `)$`}}
}

func (s secretValue) read(d *decoder, at place, n *yaml.Node, into *Secret) bool {
	if !d.scalar(at, n, s.needed()) {
		return false
	}
	v, why := s.parse(n)
	if why != "" {
		d.problem(n, at.path, "%s; needed: %s", why, s.needed())
		return false
	}
	if v.Scheme != SchemeLiteral && v.Scheme != SchemeVerifier {
		d.show(n)
	}
	*into = v
	return true
}

// envName is a portable name of an environment variable.
var envName = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)

// awsName are the characters of Secrets Manager's and Parameter Store's names and ARNs.
var awsName = regexp.MustCompile(`^[A-Za-z0-9/_+=.@!:-]+$`)

// secretARN and parameterARN are what an ARN must be: the region is taken from it.
var (
	secretARN    = regexp.MustCompile(`^arn:aws[a-z-]*:secretsmanager:[a-z]{2,5}(-[a-z]+)+-[0-9]+:[0-9]{12}:secret:.+$`)
	parameterARN = regexp.MustCompile(`^arn:aws[a-z-]*:ssm:[a-z]{2,5}(-[a-z]+)+-[0-9]+:[0-9]{12}:parameter/.+$`)
)

func (s secretValue) parse(n *yaml.Node) (v Secret, why string) {
	text := n.Value
	if s.verifiers && strings.HasPrefix(text, verifierPrefix) {
		return Secret{Scheme: SchemeVerifier, Ref: text}, checkVerifier(text)
	}
	if !s.verifiers && strings.HasPrefix(text, verifierPrefix) {
		return v, "found a SCRAM verifier, which cannot log in anywhere"
	}
	scheme, ref, colon := strings.Cut(text, ":")
	v = Secret{Scheme: Scheme(scheme), Ref: ref}
	known := []string{"env", "file", "aws-sm", "aws-ssm", "literal"}
	switch {
	case text == "":
		return v, "found an empty text"
	case !colon || !isOneOf(scheme, known):
		close := ""
		if colon {
			close = nearestWord(scheme, known)
		}
		if close == "" {
			return v, "found a plaintext (not shown), which is refused"
		}
		return v, "found an unknown scheme of secret reference (not shown); did you mean " + close + ":?"
	case ref == "":
		return v, "found " + scheme + ": with nothing after it"
	case s.filesOnly && v.Scheme != SchemeFile:
		return v, "found " + scheme + ":"
	}
	switch v.Scheme {
	case SchemeEnv:
		if !envName.MatchString(ref) {
			return v, "what follows env: is not the name of an environment variable"
		}
	case SchemeFile:
		if why := plain(ref); why != "" {
			return v, "what follows file: is not a usable path: " + why
		}
		if strings.HasPrefix(ref, "~") {
			return v, "what follows file: begins with ~, which no shell expands here"
		}
		if strings.HasPrefix(ref, "//") && !strings.HasPrefix(ref, "///") {
			return v, "what follows file: looks like a URL; write file:/path"
		}
	case SchemeAWSSM:
		v.Ref, v.Key, colon = strings.Cut(ref, "#")
		switch {
		case !awsName.MatchString(v.Ref):
			return v, "what follows aws-sm: is not a secret's name or ARN"
		case strings.HasPrefix(v.Ref, "arn:") && !secretARN.MatchString(v.Ref):
			return v, "what follows aws-sm: is not the ARN of a secret (arn:aws:secretsmanager:REGION:ACCOUNT:secret:NAME)"
		case colon && plain(v.Key) != "":
			return v, "the json key after # is not usable"
		}
	case SchemeAWSSSM:
		switch {
		case !awsName.MatchString(ref):
			return v, "what follows aws-ssm: is not a parameter's name or ARN"
		case strings.HasPrefix(ref, "arn:") && !parameterARN.MatchString(ref):
			return v, "what follows aws-ssm: is not the ARN of a parameter (arn:aws:ssm:REGION:ACCOUNT:parameter/NAME)"
		}
	case SchemeLiteral, SchemeVerifier:
	}
	return v, ""
}

func isOneOf(s string, all []string) bool {
	for _, a := range all {
		if a == s {
			return true
		}
	}
	return false
}
