package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"syscall"
	"time"

	"pggateway/sqlstate"
	"pggateway/upstream/bastion"
	"pggateway/upstream/login"
	"pggateway/wire"
)

// Stage is how far a connection came.
type Stage string

// The stages, in their order.
const (
	StageResolve Stage = "resolve" // the host's name
	StageDial    Stage = "dial"    // TCP
	StageSSH     Stage = "ssh"     // the bastion, and the channel through it
	StageTLS     Stage = "tls"     // negotiation, handshake, verification
	StageLogin   Stage = "login"   // startup and authentication
	StageSchema  Stage = "schema"  // the schema that sessions work in
)

// Error says why there is no connection. Its text is for the log and the
// gateway's owner; Public is for clients.
type Error struct {
	Stage  Stage
	Err    error
	public string
}

func (e *Error) Error() string { return string(e.Stage) + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Public is a sentence that names no host, address, role or secret.
func (e *Error) Public() string { return e.public }

// Parameter returns the server's own words when it refused the login because of a
// startup parameter's name or value. They concern nobody but who set it.
func (e *Error) Parameter() (wire.Fields, bool) {
	var server *login.ServerError
	if !errors.As(e.Err, &server) {
		return wire.Fields{}, false
	}
	switch server.Fields.Code {
	case sqlstate.InvalidParameterValue, sqlstate.UndefinedObject, cantChangeParameter:
		return server.Fields, true
	}
	return wire.Fields{}, false
}

// SQLState is what a client should act on in place of "cannot connect", or "": the
// server is there, and to try again does not help before its owner has done something.
func (e *Error) SQLState() string {
	var server *login.ServerError
	if e.Stage == StageSchema && errors.As(e.Err, &server) && server.Fields.Code == sqlstate.InsufficientPrivilege {
		return server.Fields.Code
	}
	return ""
}

const cantChangeParameter = "55P02" // cant_change_runtime_param

// ErrNoCancel says that the server gave no key to cancel with, as RDS Proxy does.
var ErrNoCancel = errors.New("the server takes no cancel requests on this connection")

// timeoutError ends a stage that took too long.
type timeoutError struct{ after time.Duration }

func (e *timeoutError) Error() string { return fmt.Sprintf("no answer within %s", e.after) }

// Timeout makes it a net.Error's equal.
func (e *timeoutError) Timeout() bool { return true }

// Is makes it a deadline that passed.
func (e *timeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &n) && n.Timeout()
}

func resolveError(err error) *Error {
	return &Error{StageResolve, err, "The upstream's host name cannot be resolved."}
}

func dialError(err error) *Error {
	public := "The upstream cannot be reached."
	switch {
	case errors.Is(err, syscall.ECONNREFUSED):
		public = "The upstream refuses connections."
	case timedOut(err):
		public = "The upstream does not answer."
	}
	return &Error{StageDial, err, public}
}

func sshError(err error) *Error {
	public := "The upstream cannot be reached through its bastion."
	var b *bastion.Error
	if errors.As(err, &b) {
		public = b.Public()
	}
	return &Error{StageSSH, err, public}
}

// credentialError says that the gateway has nothing to prove itself with.
type credentialError struct{ err error }

func (e *credentialError) Error() string { return e.err.Error() }
func (e *credentialError) Unwrap() error { return e.err }

func loginError(err error) *Error {
	var server *login.ServerError
	var refused *login.RefusedError
	var credential *credentialError
	public := "The connection to the upstream was lost during the login."
	switch {
	case errors.As(err, &server):
		public = serverText(server.Fields.Code)
	case errors.As(err, &refused):
		public = "The upstream asks for a kind of login that the gateway's configuration does not allow."
	case errors.As(err, &credential):
		public = "The gateway's credentials for the upstream are not available."
	case errors.As(err, new(*login.ProtocolError)):
		public = "The upstream did not answer the login as a PostgreSQL server does."
	case remote(err): // in TLS 1.3 a server looks at our certificate after the handshake
		public = refusedTLS
	case timedOut(err):
		public = "The upstream did not finish the login in time."
	}
	return &Error{StageLogin, err, public}
}

// serverText words a server's refusal. Its own message may name hosts and roles.
func serverText(code string) string {
	switch code {
	case sqlstate.InvalidAuthorization, sqlstate.InvalidPassword:
		return "The upstream refused the gateway's login."
	case sqlstate.InvalidCatalogName:
		return "The database does not exist on the upstream."
	case sqlstate.TooManyConnections:
		return "The upstream has no connection left."
	case sqlstate.CannotConnectNow:
		return "The upstream is starting up or shutting down."
	case "":
		return "The upstream refused the login without giving a reason."
	}
	return "The upstream refused the login with SQLSTATE " + code + "."
}

// refusedWith is the SQLSTATE of a server that did not accept who we are; else "".
func refusedWith(err error) string {
	var server *login.ServerError
	if errors.As(err, &server) && (server.Fields.Code == sqlstate.InvalidAuthorization || server.Fields.Code == sqlstate.InvalidPassword) {
		return server.Fields.Code
	}
	return ""
}
