package login

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"pggateway/wire"
)

// Credential is what proves that the gateway is the user.
type Credential int

// The credentials.
const (
	// None: nothing is sent. The server lets the user in, or knows it by its certificate.
	None Credential = iota
	// Password answers SCRAM-SHA-256 and md5 requests on any stream, and a request
	// for cleartext when the stream is encrypted.
	Password
	// Token is an AWS IAM token, good for whoever holds it. It answers a request
	// for cleartext on a stream whose server has been verified, and nothing else.
	Token
)

// Params are one login.
type Params struct {
	User     string
	Database string // empty: the server's default, the user's name
	// Options are further startup parameters, such as application_name. "user" and
	// "database" are not among them.
	Options []wire.Parameter

	Credential Credential
	// Secret fetches the password or token. It is called at most once, and only
	// after a request that may be answered. Nil with None.
	Secret func(context.Context) (string, error)

	TLS         bool // the stream is encrypted
	TLSVerified bool // and the server's certificate and name have been verified
}

// Result is what the server told during a login.
type Result struct {
	Parameters []wire.Parameter // its ParameterStatus messages, in their order
	Key        wire.CancelKey   // zero when the server sent none, as RDS Proxy does
}

// startup builds the StartupMessage, protocol 3.0.
func (p *Params) startup() ([]byte, error) {
	if p.User == "" {
		return nil, errors.New("no user to log in as")
	}
	s := wire.Startup{Version: version, Parameters: []wire.Parameter{{Name: "user", Value: p.User}}}
	if p.Database != "" {
		s.Parameters = append(s.Parameters, wire.Parameter{Name: "database", Value: p.Database})
	}
	s.Parameters = append(s.Parameters, p.Options...)
	for i, o := range s.Parameters {
		switch {
		case o.Name == "" || strings.ContainsRune(o.Name+o.Value, 0):
			return nil, fmt.Errorf("startup parameter %q is empty or has a zero byte in it", o.Name)
		case i > 0 && o.Name == "user", i > 1 && o.Name == "database":
			return nil, fmt.Errorf("startup parameter %q is given twice", o.Name)
		}
	}
	packet := wire.AppendStartup(nil, &s)
	if len(packet) > wire.MaxStartup {
		return nil, fmt.Errorf("the startup packet has %d bytes, more than the %d that servers read", len(packet), wire.MaxStartup)
	}
	return packet, nil
}
