package config

// Scheme says where a secret's text is found.
type Scheme string

// The schemes of secret references.
const (
	SchemeEnv      Scheme = "env"      // env:NAME, an environment variable
	SchemeFile     Scheme = "file"     // file:PATH, a file's content; one trailing newline is dropped
	SchemeAWSSM    Scheme = "aws-sm"   // aws-sm:ARN-or-name#json_key, Secrets Manager
	SchemeAWSSSM   Scheme = "aws-ssm"  // aws-ssm:NAME, Parameter Store
	SchemeLiteral  Scheme = "literal"  // literal:TEXT, for trials
	SchemeVerifier Scheme = "verifier" // SCRAM-SHA-256$…, written out in writers.*.password
)

// Secret is a reference to a secret, never its resolved text (but for literal:
// and verifiers, whose text is the reference). The zero Secret is "not set".
type Secret struct {
	Scheme Scheme
	Ref    string // what follows the scheme's colon, less "#key"; a verifier's whole text
	Key    string // aws-sm's json key
}

// IsZero reports whether no secret was given.
func (s Secret) IsZero() bool { return s.Scheme == "" }

// String names the reference without giving a literal's or a verifier's text
// away, so that a Secret may appear in errors and logs.
func (s Secret) String() string {
	switch {
	case s.IsZero():
		return ""
	case s.Scheme == SchemeLiteral:
		return "literal:…"
	case s.Scheme == SchemeVerifier:
		return "SCRAM-SHA-256$…"
	case s.Key != "":
		return string(s.Scheme) + ":" + s.Ref + "#" + s.Key
	default:
		return string(s.Scheme) + ":" + s.Ref
	}
}

// GoString keeps %#v from printing what String hides.
func (s Secret) GoString() string { return s.String() }
