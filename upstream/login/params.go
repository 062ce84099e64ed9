package login

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"pggateway/scram"
	"pggateway/wire"
)

// Credential is what proves that the gateway is the user.
type Credential int

// The credentials.
const (
	// None: nothing is sent. The server lets the user in, or knows it by its certificate.
	None Credential = iota
	// Password proves itself by SCRAM-SHA-256 on any stream, in which the server has
	// to prove itself, too. What else it answers depends on what is known of the
	// server; see Params.refusal.
	Password
	// Token is an AWS IAM token, good for whoever holds it. It answers a request
	// for cleartext on a stream whose server has been verified, and nothing else.
	Token
)

// Require is the least that a server must ask of a password, beyond what the
// stream demands.
type Require int

// The requirements.
const (
	RequireNothing Require = iota
	RequireSCRAM           // SCRAM-SHA-256, bound to the channel or not
	RequireBinding         // SCRAM-SHA-256-PLUS: only who holds the TLS certificate's key can pass it on
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

	Require Require // of Password

	TLS         bool // the stream is encrypted
	TLSVerified bool // and the server's certificate and name have been verified
	// Binding is the stream's, to the server's certificate; zero where there is none.
	Binding scram.Binding

	Version uint32 // asked for: wire.Version30, or 0 for the newest, 3.2
}

// newest is the protocol version that is asked for unless Params say otherwise.
// Beyond 3.0 it has longer cancel keys, and nothing else that concerns us.
const newest = wire.Version32

// Result is what the server told during a login.
type Result struct {
	Parameters []wire.Parameter // its ParameterStatus messages, in their order
	Key        wire.CancelKey   // zero when the server sent none, as RDS Proxy does
}

// startup builds the StartupMessage.
func (p *Params) startup() ([]byte, error) {
	if p.User == "" {
		return nil, errors.New("no user to log in as")
	}
	s := wire.Startup{Version: cmp.Or(p.Version, newest), Parameters: []wire.Parameter{{Name: "user", Value: p.User}}}
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
