package login

import (
	"crypto/md5"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"

	"pggateway/scram"
	"pggateway/wire"
)

// maxSecret bounds a password or token, in bytes. PostgreSQL reads 65,535; tokens
// have one to two thousand.
const maxSecret = 60_000

// unsupported names the requests that are never answered ("Message Formats", Authentication…).
func unsupported(code uint32) string {
	switch code {
	case 2:
		return "Kerberos V5"
	case 6:
		return "SCM credentials"
	case 7, 8:
		return "GSSAPI"
	case 9:
		return "SSPI"
	default:
		return fmt.Sprintf("an unknown authentication method (%d)", code)
	}
}

// proof is what a server asks of us before it lets us in.
type proof int

const (
	nothing proof = iota // AuthenticationOk comes at once
	cleartext
	md5Hash
	scramPlain
	scramPlus
)

// refusal says why the server gets nothing when that is what it asks for; "" lets
// it have that.
//
// A server that asks for less than it could may be somebody in between, or an
// impostor, who asks for what he can use. Where TLS has proved who the server is, it
// may ask as it likes. Where TLS has proved nothing, only SCRAM is answered: it tells
// no more than a guess can be checked against, and lets only a server in that knows
// the password's verifier, which an AuthenticationOk out of the blue does not. In
// plaintext the configuration trusts the network, where whoever is in between could
// take the session over after any login; cleartext is not told even there, since the
// password may open more than this.
func (p *Params) refusal(asked proof) string {
	switch p.Credential {
	case None:
		if asked != nothing {
			return "the server asks for a password, and the login has none"
		}
		return ""
	case Token:
		switch {
		case asked == nothing:
			return "the server lets us in without asking for the IAM token"
		case asked != cleartext:
			return "the server does not ask for an IAM token but for a password: is IAM authentication turned on, and rds_iam granted to the user?"
		case !p.TLS:
			return "the server asks for an IAM token on an unencrypted connection"
		case !p.TLSVerified:
			return "an IAM token is sent only to a server whose certificate and name are verified (tls.mode verify-full)"
		}
		return ""
	}
	words := [...]string{"nothing", "a cleartext password", "an MD5 hash", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"}[asked]
	switch {
	case p.Require == RequireBinding && asked < scramPlus:
		return "the server asks for " + words + ", and login.require_auth demands SCRAM-SHA-256-PLUS"
	case p.Require == RequireSCRAM && asked < scramPlain:
		return "the server asks for " + words + ", and login.require_auth demands SCRAM-SHA-256"
	case !p.TLS && asked == cleartext:
		return "the server asks for a cleartext password on an unencrypted connection"
	case p.TLS && !p.TLSVerified && asked < scramPlain:
		return "the server asks for " + words + "; one whose certificate is not verified has to ask for SCRAM-SHA-256 (or set tls.mode to verify-full)"
	}
	return ""
}

// request answers the server's request for proof, when the credential and the
// stream allow that. Only then the credential is fetched.
func (x *exchange) request(code uint32, data []byte) (answer []byte, err error) {
	switch code {
	case wire.AuthCleartext:
		return x.cleartext(data)
	case wire.AuthMD5:
		return x.md5(data)
	case wire.AuthSASL:
		return x.sasl(data)
	case wire.AuthSASLContinue, wire.AuthSASLFinal:
		return nil, broken("SASL message outside of an exchange")
	}
	return nil, refused("the server asks for %s, which is not supported", unsupported(code))
}

func (x *exchange) cleartext(data []byte) ([]byte, error) {
	if len(data) != 0 {
		return nil, broken("malformed AuthenticationCleartextPassword")
	}
	if reason := x.params.refusal(cleartext); reason != "" {
		return nil, refused("%s", reason)
	}
	secret, err := x.secret()
	if err != nil {
		return nil, err
	}
	return wire.AppendPassword(nil, secret), nil
}

// md5 answers with "md5" + md5(md5(password + user) + salt), in hexadecimal.
func (x *exchange) md5(salt []byte) ([]byte, error) {
	if len(salt) != 4 {
		return nil, broken("malformed AuthenticationMD5Password")
	}
	if reason := x.params.refusal(md5Hash); reason != "" {
		return nil, refused("%s", reason)
	}
	kept := string(salt) // a copy: salt is the reader's until the next read
	secret, err := x.secret()
	if err != nil {
		return nil, err
	}
	return wire.AppendPassword(nil, "md5"+md5Hex(md5Hex(secret+x.params.User)+kept)), nil
}

func md5Hex(text string) string {
	sum := md5.Sum([]byte(text))
	return hex.EncodeToString(sum[:])
}

// sasl begins SCRAM-SHA-256, bound to the channel when server and channel allow it.
func (x *exchange) sasl(list []byte) ([]byte, error) {
	plain, plus, ok := mechanisms(list)
	if !ok {
		return nil, broken("malformed AuthenticationSASL")
	}
	binding := x.params.Binding
	mechanism, asked := binding.Mechanism(plus), scramPlain
	switch {
	case mechanism == scram.MechanismPlus:
		asked = scramPlus
	case !plain && !plus:
		return nil, refused("the server offers no SASL mechanism that is supported (SCRAM-SHA-256)")
	case plus && !x.params.TLS:
		// PostgreSQL offers PLUS over TLS only: its TLS ends on the way to us.
		return nil, refused("the server offers SCRAM-SHA-256-PLUS on an unencrypted connection: somebody in between took TLS away")
	case plus && (!plain || !x.params.TLSVerified):
		// To go without would let somebody in between choose such a certificate.
		return nil, refused("the server offers SCRAM-SHA-256-PLUS, and its certificate has no channel binding (Ed25519 has none): needed: one that has, or tls.mode verify-full where it offers SCRAM-SHA-256, too")
	}
	if reason := x.params.refusal(asked); reason != "" {
		return nil, refused("%s", reason)
	}
	secret, err := x.secret()
	if err != nil {
		return nil, err
	}
	// libpq sends no user name either: the server knows it from the StartupMessage.
	if x.params.TLS {
		x.client, err = scram.NewBoundClient("", secret, binding, plus)
	} else {
		x.client, err = scram.NewClient("", secret)
	}
	if err != nil {
		return nil, fmt.Errorf("SCRAM: %w", err)
	}
	first, err := x.client.Step("")
	if err != nil {
		return nil, fmt.Errorf("SCRAM: %w", err)
	}
	return wire.AppendSASLInitial(nil, mechanism, first), nil
}

// mechanisms reads which of SCRAM's mechanisms an AuthenticationSASL offers.
func mechanisms(list []byte) (plain, plus, ok bool) {
	for {
		name, rest, ok := wire.TakeCString(list)
		switch {
		case !ok:
			return false, false, false
		case len(name) == 0:
			return plain, plus, len(rest) == 0
		}
		switch string(name) {
		case scram.Mechanism:
			plain = true
		case scram.MechanismPlus:
			plus = true
		}
		list = rest
	}
}

// saslStep goes on with the exchange that sasl began: one SASLContinue, which is
// answered, and one SASLFinal, in which the server proves itself.
func (x *exchange) saslStep(code uint32, data []byte) (answer []byte, err error) {
	switch {
	case code == wire.AuthSASLContinue && !x.continued:
		x.continued = true
	case code == wire.AuthSASLFinal && x.continued:
	default:
		return nil, broken("authentication message %d out of order in a SASL exchange", code)
	}
	reply, err := x.client.Step(string(data))
	switch {
	case err != nil:
		return nil, &ProtocolError{"SCRAM", err}
	case code == wire.AuthSASLFinal:
		return nil, nil
	}
	return wire.AppendSASLResponse(nil, reply), nil
}

// secret fetches the password or token.
func (x *exchange) secret() (string, error) {
	if x.params.Secret == nil {
		return "", errors.New("the login has no source for its credential")
	}
	secret, err := x.params.Secret(x.ctx)
	switch {
	case err != nil:
		return "", err
	case secret == "":
		return "", errors.New("the credential is empty")
	case len(secret) > maxSecret:
		return "", fmt.Errorf("the credential is longer than %d bytes", maxSecret)
	case strings.ContainsRune(secret, 0):
		return "", errors.New("the credential has a zero byte in it")
	}
	return secret, nil
}
