package cloud

import (
	"context"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials/stscreds"
	"github.com/aws/aws-sdk-go-v2/service/sts"
	"go.uber.org/zap"
)

const (
	// SessionName is the name of a role's session when the configuration gives none:
	// what the role's owner finds in CloudTrail.
	SessionName = "pggateway"
	// sessionLife is how long a session lasts: a role's least maximum, and the most
	// where one role assumes another. STS's default of 15 minutes is a token's life.
	sessionLife = time.Hour
	// sessionAhead is how long before its end a session is replaced. It exceeds a
	// token's 15 minutes, because a token is worth no more than its session.
	sessionAhead = 20 * time.Minute
	// sessionLast is how long before its end a session is no longer used, though STS
	// gives no other.
	sessionLast = 2 * time.Minute
	// assumeTimeout bounds one call of STS with its retries.
	assumeTimeout = 10 * time.Second
)

// Role is an IAM role that is assumed. The zero Role is none.
type Role struct {
	ARN         string
	ExternalID  string // of the role's trust policy; empty: none
	SessionName string // empty: SessionName
}

// role has a role's credentials, shared by all who use the role: one call of STS
// in each 40 minutes.
type role struct {
	Role

	account *Account
	region  string // where STS is when the account has no region
	cache   *aws.CredentialsCache
}

func newRole(a *Account, r Role, region string) *role {
	if r.SessionName == "" {
		r.SessionName = SessionName
	}
	p := &role{Role: r, account: a, region: region}
	// stscreds does not cache by itself.
	p.cache = aws.NewCredentialsCache(session{p}, func(o *aws.CredentialsCacheOptions) { o.ExpiryWindow = sessionAhead })
	return p
}

// Retrieve is aws.CredentialsProvider's. The credentials' expiry is the real one.
func (p *role) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := p.cache.Retrieve(ctx)
	if err != nil {
		return c, tidy(err)
	}
	c.Expires = c.Expires.Add(sessionAhead) // which the cache has taken off
	return c, nil
}

// session is what the cache of a role asks.
type session struct{ *role }

// Retrieve assumes the role.
func (s session) Retrieve(ctx context.Context) (aws.Credentials, error) {
	ctx, stop := context.WithTimeout(ctx, assumeTimeout) // the cache keeps the caller's end from us
	defer stop()
	base, err := s.account.config(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	if base.Region == "" {
		base.Region = s.region
	}
	c, err := stscreds.NewAssumeRoleProvider(sts.NewFromConfig(base), s.ARN, func(o *stscreds.AssumeRoleOptions) {
		o.RoleSessionName = s.SessionName
		o.Duration = sessionLife
		if s.ExternalID != "" {
			o.ExternalID = aws.String(s.ExternalID)
		}
	}).Retrieve(ctx)
	if err != nil {
		return aws.Credentials{}, s.explain(err)
	}
	return c, nil
}

// HandleFailToRefresh keeps a session for as long as it lasts when STS gives no other.
func (s session) HandleFailToRefresh(_ context.Context, previous aws.Credentials, err error) (aws.Credentials, error) {
	end := previous.Expires.Add(sessionAhead)
	if !previous.HasKeys() || !s.account.clock.now().Before(end.Add(-sessionLast)) {
		return aws.Credentials{}, err
	}
	s.account.log.Warn("cannot renew the session of a role; the current one is used for as long as it lasts",
		zap.String("role", s.ARN), zap.Time("until", end), zap.Error(err))
	previous.Expires = end
	return previous, nil
}
