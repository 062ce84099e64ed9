package secret

import (
	"context"
	"errors"

	"pggateway/config"
)

// Remote resolves the references that lead to AWS. What it returns may be some
// minutes old. awssecret.Store is one.
type Remote interface {
	// Text resolves a reference.
	Text(ctx context.Context, s config.Secret) (string, error)
	// Renew resolves it anew after refused, which Text returned, was refused. What
	// it returns may be the same.
	Renew(ctx context.Context, s config.Secret, refused string) (string, error)
	// Username is who a secret with a user name in it belongs to, as of the last
	// Text or Renew; else "".
	Username(s config.Secret) string
}

// WithRemote returns a resolver that resolves references to AWS, too.
func (r *Resolver) WithRemote(remote Remote) *Resolver {
	other := *r
	other.remote = remote
	return &other
}

// remote reports whether a secret is in AWS.
func remote(s config.Secret) bool {
	return s.Scheme == config.SchemeAWSSM || s.Scheme == config.SchemeAWSSSM
}

// Renew resolves a reference anew after the text that it stood for was refused by
// a server. It may return that very text: it then is to be refused again.
func (r *Resolver) Renew(ctx context.Context, s config.Secret, refused string) (string, error) {
	if !remote(s) || r.remote == nil {
		return r.Text(ctx, s) // which keeps nothing
	}
	text, err := r.remote.Renew(ctx, s, refused)
	if err != nil {
		return "", named(s, err)
	}
	return text, check(s, len(text))
}

// Username is the user name that stands beside a password in the same secret; ""
// where there is none.
func (r *Resolver) Username(s config.Secret) string {
	if !remote(s) || r.remote == nil {
		return ""
	}
	return r.remote.Username(s)
}

var errNoRemote = errors.New("AWS is not asked here")
