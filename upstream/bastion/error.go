package bastion

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"

	"golang.org/x/crypto/ssh"
)

// Kind says what went wrong, and so what helps.
type Kind int

// The kinds of Error.
const (
	Unreachable  Kind = iota + 1 // no TCP connection to the bastion
	Handshake                    // SSH could not be set up
	Unanswered                   // the bastion stopped answering
	HostKey                      // its host key is not a pinned one, or no pin can be read
	Identity                     // the gateway's own key cannot be used
	Unauthorized                 // it does not accept the gateway's key
	Prohibited                   // it forbids forwarding to this destination
	Destination                  // it could not reach the destination
	Lost                         // the SSH connection ended
	Closed                       // the Set was closed
)

// Error is a failure of a bastion. Its text is for logs and the gateway's
// owner; Public is for clients.
type Error struct {
	Bastion string // user@host:port
	Kind    Kind
	Err     error
}

func (e *Error) Error() string { return "bastion " + e.Bastion + ": " + e.Err.Error() }

// Unwrap returns the cause.
func (e *Error) Unwrap() error { return e.Err }

// Public names no host, key or user.
func (e *Error) Public() string {
	switch e.Kind {
	case Unreachable:
		return "The bastion cannot be reached."
	case Unanswered:
		return "The bastion does not answer."
	case HostKey:
		return "The bastion's host key is not the one that is pinned."
	case Identity:
		return "The gateway's SSH key cannot be used."
	case Unauthorized:
		return "The bastion does not accept the gateway's SSH key."
	case Prohibited:
		return "The bastion does not allow forwarding to the database."
	case Destination:
		return "The bastion could not connect to the database."
	case Closed:
		return "The gateway is shutting down."
	case Handshake, Lost:
	}
	return "The SSH connection to the bastion failed."
}

// refusal reports whether trying again soon cannot help and may harm: an
// OpenSSH server penalizes the address that failed logins come from, for
// everybody behind it.
func (e *Error) refusal() bool { return e.Kind == Unauthorized || e.Kind == HostKey }

// Codes of SSH_MSG_DISCONNECT (RFC 4253, section 11.1) have no exported type in
// x/crypto/ssh, and neither has a refused login: their texts are matched.
const (
	textRefused  = "ssh: unable to authenticate"
	textTooMany  = "Too many authentication failures"
	textNoMethod = "ssh: disconnect, reason 14" // no more authentication methods available
)

// errUnanswered is why a connection was given up without a word from the peer.
var errUnanswered = errors.New("no answer in time")

func timedOut(err error) bool {
	var n net.Error
	return errors.Is(err, context.DeadlineExceeded) || errors.Is(err, os.ErrDeadlineExceeded) ||
		errors.As(err, &n) && n.Timeout()
}

// openKind sorts and words why a channel could not be opened (RFC 4254, section 5.1).
func openKind(addr string, err error) (Kind, error) {
	var refused *ssh.OpenChannelError
	if !errors.As(err, &refused) {
		return Lost, fmt.Errorf("connection lost while opening a channel to %s: %w", addr, err)
	}
	switch refused.Reason {
	case ssh.Prohibited:
		return Prohibited, fmt.Errorf("forwarding to %s is prohibited "+
			"(sshd_config: AllowTcpForwarding and PermitOpen; authorized_keys: restrict needs port-forwarding, permitopen must name it): %w", addr, err)
	case ssh.ConnectionFailed:
		return Destination, fmt.Errorf("cannot connect to %s from there: %w", addr, err)
	case ssh.UnknownChannelType, ssh.ResourceShortage:
	}
	return Destination, fmt.Errorf("no channel to %s: %w", addr, err)
}
