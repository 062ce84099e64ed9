package upstream

import (
	"context"

	"go.uber.org/zap"

	"pggateway/sqlstate"
	"pggateway/upstream/login"
)

// secret returns the password or a token.
func (t *Target) secret(ctx context.Context) (string, error) {
	if t.method == login.Token {
		return t.deps.Tokens.Get(ctx, t.token)
	}
	return t.deps.Secrets.Text(ctx, t.password)
}

// Credential fetches what the login is proved with, the password or a token, and
// sends it nowhere.
func (t *Target) Credential(ctx context.Context) error {
	if t.method == login.None {
		return nil
	}
	_, err := t.secret(ctx)
	return err
}

// renew decides what to do about a login that failed with e after the server had
// seen sent, and reports whether it is to be tried once more. Logins that others
// try meanwhile come to the same result without fetching again.
func (t *Target) renew(ctx context.Context, sent string, e *Error) bool {
	code := refusedWith(e)
	switch {
	case sent == "" || code == "":
		return false
	case t.method == login.Token:
		t.renewToken(sent, e)
		return true
	default:
		return code == sqlstate.InvalidPassword && t.renewPassword(ctx, sent, e)
	}
}

// renewToken has the next login mint a token: the old one may have been signed by
// credentials that were revoked, or in the moment before the role was granted.
func (t *Target) renewToken(sent string, e *Error) {
	t.deps.Tokens.Drop(t.token, sent)
	fields := []zap.Field{
		zap.String("signed_for", t.token.HostPort), zap.String("region", t.token.Region), zap.String("role", t.user),
	}
	if t.token.Assumed.ARN != "" {
		fields = append(fields, zap.String("assumed", t.token.Assumed.ARN))
	}
	t.log.Warn("server refused an IAM token", append(fields, zap.Error(e.Err))...)
}

// renewPassword reads the password again: it may have been rotated since it was
// read. The same one is not tried again, which could lock the role.
func (t *Target) renewPassword(ctx context.Context, sent string, e *Error) bool {
	log := t.log.With(zap.String("role", t.user), zap.Stringer("password", t.password))
	text, err := t.deps.Secrets.Renew(ctx, t.password, sent)
	switch {
	case err != nil:
		log.Warn("server refused the password, and it cannot be read again", zap.NamedError("refusal", e.Err), zap.Error(err))
		return false
	case text != sent:
		log.Info("server refused the password: it has changed, and the new one is tried")
		return true
	}
	if user := t.deps.Secrets.Username(t.password); user != "" && user != t.user {
		log.Warn("the password's secret belongs to another role: rotate it for a single user, or log in as that role", zap.String("secret_username", user))
	}
	return false
}
