package login

import (
	"fmt"
	"strings"
	"unicode"

	"pggateway/wire"
)

// ServerError is an ErrorResponse: the server refused the login. Its texts are
// the server's, cut to 1 KiB each and free of control characters; they may name
// addresses and roles that a client must not see.
type ServerError struct{ Fields wire.Fields }

func (e *ServerError) Error() string {
	f := &e.Fields
	text := fmt.Sprintf("server: %s: %s", f.Severity, f.Message)
	if f.Code != "" {
		text = fmt.Sprintf("server: %s %s: %s", f.Severity, f.Code, f.Message)
	}
	if f.Detail != "" {
		text += " (" + f.Detail + ")"
	}
	return text
}

// RefusedError says that the server asked for proof in a way that the gateway does
// not answer. Nothing of the credential was sent.
type RefusedError struct{ Reason string }

func (e *RefusedError) Error() string { return "login refused by the gateway: " + e.Reason }

// StartupError says that the server answered the StartupMessage with an
// ErrorResponse, or by hanging up. One that does not know the protocol version asked
// for does that, unless it negotiates.
type StartupError struct{ Err error }

func (e *StartupError) Error() string { return e.Err.Error() }
func (e *StartupError) Unwrap() error { return e.Err }

// ProtocolError says that the server sent what has no place in a login.
type ProtocolError struct {
	Reason string
	Err    error // may be nil
}

func (e *ProtocolError) Error() string {
	if e.Err != nil {
		return "protocol error: " + e.Reason + ": " + e.Err.Error()
	}
	return "protocol error: " + e.Reason
}

func (e *ProtocolError) Unwrap() error { return e.Err }

func refused(format string, args ...any) error {
	return &RefusedError{fmt.Sprintf(format, args...)}
}

func broken(format string, args ...any) error {
	return &ProtocolError{Reason: fmt.Sprintf(format, args...)}
}

// maxText bounds each text kept of an ErrorResponse, in bytes.
const maxText = 1024

// ReadError reads an ErrorResponse's body, as far as it can be read: a
// *ServerError, or a *ProtocolError.
func ReadError(body []byte) error {
	f, whole := wire.ParseFields(body)
	if !whole && f.Message == "" {
		return broken("malformed ErrorResponse")
	}
	for _, text := range []*string{&f.Severity, &f.Message, &f.Detail, &f.Hint, &f.Routine} {
		*text = clean(*text)
	}
	if !sqlState(f.Code) {
		f.Code = ""
	}
	return &ServerError{f}
}

func clean(text string) string {
	if len(text) > maxText {
		text = text[:maxText]
	}
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return ' '
		}
		return r
	}, strings.ToValidUTF8(text, ""))
}

// sqlState reports whether the text has a SQLSTATE's form: five digits and capitals.
func sqlState(code string) bool {
	if len(code) != 5 {
		return false
	}
	for i := range len(code) {
		if c := code[i]; (c < '0' || c > '9') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}
