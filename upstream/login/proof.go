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

// request answers the server's request for proof, when the credential and the
// stream allow that. Only then the credential is fetched.
func (x *exchange) request(code uint32, data []byte) (answer []byte, err error) {
	switch code {
	case wire.AuthCleartext, wire.AuthMD5, wire.AuthSASL:
		if x.params.Credential == None {
			return nil, refused("the server asks for a password, and the login has none")
		}
	case wire.AuthSASLContinue, wire.AuthSASLFinal:
		return nil, broken("SASL message outside of an exchange")
	default:
		return nil, refused("the server asks for %s, which is not supported", unsupported(code))
	}
	if x.params.Credential == Token && code != wire.AuthCleartext {
		return nil, refused("the server does not ask for an IAM token but for a password: is IAM authentication turned on, and rds_iam granted to the user?")
	}
	switch code {
	case wire.AuthCleartext:
		return x.cleartext(data)
	case wire.AuthMD5:
		return x.md5(data)
	default:
		return x.sasl(data)
	}
}

func (x *exchange) cleartext(data []byte) ([]byte, error) {
	switch {
	case len(data) != 0:
		return nil, broken("malformed AuthenticationCleartextPassword")
	case !x.params.TLS:
		return nil, refused("the server asks for a cleartext password on an unencrypted connection")
	case x.params.Credential == Token && !x.params.TLSVerified:
		return nil, refused("an IAM token is sent only to a server whose certificate and name are verified (tls.mode verify-full)")
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

// sasl begins SCRAM-SHA-256 when the server offers it.
func (x *exchange) sasl(list []byte) ([]byte, error) {
	var offered []string
	for {
		name, rest, ok := wire.TakeCString(list)
		if !ok {
			return nil, broken("malformed AuthenticationSASL")
		}
		if len(name) == 0 {
			if len(rest) != 0 {
				return nil, broken("malformed AuthenticationSASL")
			}
			break
		}
		offered = append(offered, string(name))
		list = rest
	}
	if err := usable(offered); err != nil {
		return nil, err
	}
	secret, err := x.secret()
	if err != nil {
		return nil, err
	}
	// libpq sends no user name either: the server knows it from the StartupMessage.
	if x.client, err = scram.NewClient("", secret); err != nil {
		return nil, fmt.Errorf("SCRAM: %w", err)
	}
	first, err := x.client.Step("")
	if err != nil {
		return nil, fmt.Errorf("SCRAM: %w", err)
	}
	return wire.AppendSASLInitial(nil, scram.Mechanism, first), nil
}

func usable(offered []string) error {
	plus := false
	for _, name := range offered {
		switch name {
		case scram.Mechanism:
			return nil
		case scram.Mechanism + "-PLUS":
			plus = true
		}
	}
	if plus {
		return refused("the server offers only SCRAM-SHA-256-PLUS; channel binding is not supported yet")
	}
	return refused("the server offers no SASL mechanism that is supported (SCRAM-SHA-256)")
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
