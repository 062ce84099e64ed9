package cloud

import (
	"context"
	"errors"
	"net"
	"strings"

	"github.com/aws/smithy-go"
)

// Error says what AWS did not do, in one line that a person can act on. The SDK's
// own words are left to Unwrap: they are long, and may quote a signed request.
type Error struct {
	text  string
	cause error
}

func (e *Error) Error() string { return e.text }

// Unwrap returns the SDK's error.
func (e *Error) Unwrap() error { return e.cause }

// Explain words an error of an AWS client. what is what was to be done ("read the
// secret"); remedies say what helps, by AWS's error codes.
func Explain(err error, what string, remedies map[string]string) error {
	var known *Error
	if errors.As(err, &known) { // of the credentials or the region that the call needed
		return &Error{what + ": " + known.text, err}
	}
	var api smithy.APIError
	if !errors.As(err, &api) {
		return &Error{what + ": " + network(err), err}
	}
	code := api.ErrorCode()
	text := what + ": " + code
	if message := sentence(api.ErrorMessage()); message != "" && message != code {
		text += ": " + message
	}
	remedy := remedies[code]
	if remedy == "" {
		remedy = common[code]
	}
	if remedy != "" {
		text += " (" + remedy + ")"
	}
	return &Error{text, err}
}

// common are remedies for errors that every service has ("Common Errors" in the
// services' API references).
var common = map[string]string{
	"ExpiredToken":                "the gateway's AWS credentials have expired: renew them",
	"ExpiredTokenException":       "the gateway's AWS credentials have expired: renew them",
	"InvalidClientTokenId":        "AWS does not know the gateway's access key",
	"UnrecognizedClientException": "AWS does not know the gateway's access key or session token",
	"SignatureDoesNotMatch":       "the secret access key is wrong, or this machine's clock",
	"InvalidSignatureException":   "the secret access key is wrong, or this machine's clock",
	"RequestExpired":              "this machine's clock is wrong",
}

// sentence is the first line of a message, which is not what AWS computed from a
// request whose signature is wrong.
func sentence(message string) string {
	message, _, _ = strings.Cut(message, "\n")
	message = strings.TrimSpace(message)
	const most = 400
	if len(message) > most {
		message = message[:most] + "…"
	}
	return message
}

// network words an error that is not an answer of AWS's.
func network(err error) string {
	var name *net.DNSError
	var op *net.OpError
	switch {
	case errors.As(err, &name):
		return "AWS is not reached: " + name.Error() + " (is there a service endpoint for the region, and a way to it?)"
	case errors.Is(err, context.DeadlineExceeded), isTimeout(err):
		return "AWS does not answer (is there a way to its service endpoint?)"
	case errors.As(err, &op):
		return "AWS is not reached: " + op.Error()
	}
	for next := errors.Unwrap(err); next != nil; next = errors.Unwrap(err) { // the SDK's layers repeat each other
		err = next
	}
	return sentence(err.Error())
}

func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
}

// explainChain words the failure of the default chain.
func explainChain(err error) error {
	var api smithy.APIError
	if errors.As(err, &api) { // web identity, SSO or a profile's role
		return Explain(err, "no AWS credentials", nil)
	}
	text := network(err)
	if strings.Contains(err.Error(), "ec2imds") {
		text = "neither the environment, a profile, web identity nor a container has any, and the EC2 instance's metadata gives none: " + text
	}
	return &Error{"no AWS credentials: " + text, err}
}

// explain words STS's refusal.
func (r *role) explain(err error) error {
	trust := "without an external id"
	if r.ExternalID != "" {
		trust = "with the external id of assume_role"
	}
	denied := "the role's trust policy must let the gateway's own identity assume it " + trust +
		", and that identity's policy must allow sts:AssumeRole on it; a role that does not exist looks the same"
	return Explain(err, "assume the role "+r.ARN, map[string]string{
		"AccessDenied":            denied,
		"AccessDeniedException":   denied,
		"RegionDisabledException": "STS is not activated in this region: set AWS_REGION to one where it is",
		"ValidationError":         "see assume_role",
	})
}

// tidy takes the SDK's cache out of an error's words.
func tidy(err error) error {
	var known *Error
	if errors.As(err, &known) {
		return known
	}
	return err
}
