// Package iam makes the tokens that log in to RDS and Aurora with IAM database
// authentication (Amazon RDS User Guide, "IAM database authentication").
//
// A token is a presigned request, good for 15 minutes and for connecting only. AWS
// throttles logins with new tokens at 200 a second, so tokens are kept and shared.
// The package must not know how a token gets to a server, or of hosts other than
// the one a token is signed for. It owns the goroutines that mint; each ends within
// mintTimeout.
package iam

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/rds/auth"

	"pggateway/cloud"
)

const (
	// maxAge is how long a token is given out, of the 15 minutes that AWS takes it:
	// what is left covers a slow login and clocks that differ.
	maxAge = 10 * time.Minute
	// refreshAhead is how long before a token's end its successor is minted, while
	// the old one is still given out.
	refreshAhead = 2 * time.Minute
	// skew is how long before their expiry credentials count as expired: AWS checks
	// them when the token arrives.
	skew = time.Minute
	// mintTimeout bounds one mint: credentials may come over the network.
	mintTimeout = 10 * time.Second
	// retryAfter is how long a failed refresh is left alone while the old token lasts.
	retryAfter = 10 * time.Second
)

// Key is what a token is signed for.
type Key struct {
	HostPort string // the real endpoint, host:port, whatever is dialled
	Region   string // of the database
	User     string // the database role; it counts letter by letter

	Assumed cloud.Role // whose credentials sign; zero: the gateway's own
}

// Identities have the credentials that sign. *cloud.Account is one.
type Identities interface {
	// Credentials returns a role's credentials, the gateway's own for the zero role.
	// The region is one that the role can be asked for in. It waits for nothing.
	Credentials(r cloud.Role, region string) aws.CredentialsProvider
}

// Tokens mints tokens and keeps them. It is safe for concurrent use.
type Tokens struct {
	identities Identities
	now        func() time.Time

	mu   sync.Mutex
	kept map[Key]*token
}

// token is the state of one key, under Tokens.mu.
type token struct {
	text      string
	until     time.Time // given out before that; zero: there is none
	refreshAt time.Time
	mint      *mint // running; nil: none
}

// mint is one run, shared by all who wait for it. text and err are set before done is closed.
type mint struct {
	done chan struct{}
	text string
	err  error
}

// NewTokens returns an empty store.
func NewTokens(identities Identities, now func() time.Time) *Tokens {
	return &Tokens{identities: identities, now: now, kept: make(map[Key]*token)}
}

// Get returns a token that is at most ten minutes old, and whose credentials have
// at least a minute to live unless they never had more. Concurrent calls for a key
// share one mint, and each waits for it no longer than its own ctx; a mint goes on
// when a caller leaves. In a token's last two minutes its successor is minted in
// the background.
func (t *Tokens) Get(ctx context.Context, k Key) (string, error) {
	if k.HostPort == "" || k.Region == "" || k.User == "" {
		return "", errors.New("IAM token: the endpoint, the region or the user is missing")
	}
	t.mu.Lock()
	e := t.kept[k]
	if e == nil {
		t.sweep()
		e = &token{}
		t.kept[k] = e
	}
	now := t.now()
	if now.Before(e.until) {
		if e.mint == nil && !now.Before(e.refreshAt) {
			t.start(ctx, k, e)
		}
		text := e.text
		t.mu.Unlock()
		return text, nil
	}
	if e.mint == nil {
		t.start(ctx, k, e)
	}
	m := e.mint
	t.mu.Unlock()

	select {
	case <-m.done:
		if m.err != nil {
			return "", fmt.Errorf("IAM token for %s as %s in %s: %w", k.HostPort, k.User, k.Region, m.err)
		}
		return m.text, nil
	case <-ctx.Done():
		return "", fmt.Errorf("IAM token for %s as %s: %w", k.HostPort, k.User, context.Cause(ctx))
	}
}

// Drop forgets the token after a login that was refused, so that the next Get
// mints. A token that has replaced it meanwhile stays.
func (t *Tokens) Drop(k Key, text string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if e := t.kept[k]; e != nil && e.text == text {
		e.text, e.until, e.refreshAt = "", time.Time{}, time.Time{}
	}
}

// start begins a mint for e. t.mu is held. The mint outlives the caller whose ctx
// it takes the values from: others wait for it, too.
func (t *Tokens) start(ctx context.Context, k Key, e *token) {
	m := &mint{done: make(chan struct{})}
	e.mint = m
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), mintTimeout)
	go func() {
		defer cancel()
		t.run(ctx, k, e, m)
	}()
}

// run mints and keeps the result.
func (t *Tokens) run(ctx context.Context, k Key, e *token, m *mint) {
	began := t.now()
	text, expires, err := t.sign(ctx, k)

	t.mu.Lock()
	defer t.mu.Unlock()
	defer close(m.done)
	e.mint = nil
	m.text, m.err = text, err
	if err != nil {
		e.refreshAt = t.now().Add(retryAfter)
		return
	}
	e.text = text
	e.until = began.Add(maxAge)
	if last := expires.Add(-skew); !expires.IsZero() && last.Before(e.until) {
		e.until = last // perhaps at once: then it serves those who wait, and nobody else
	}
	e.refreshAt = e.until.Add(-min(refreshAhead, e.until.Sub(began)/4))
}

// sign makes a token. expires is when its credentials do, or zero.
func (t *Tokens) sign(ctx context.Context, k Key) (text string, expires time.Time, err error) {
	creds, err := t.identities.Credentials(k.Assumed, k.Region).Retrieve(ctx)
	if err != nil {
		return "", time.Time{}, fmt.Errorf("AWS credentials: %w", err)
	}
	if creds.CanExpire {
		expires = creds.Expires
		if !t.now().Before(expires) {
			return "", time.Time{}, fmt.Errorf("AWS credentials expired at %s", expires.UTC().Format(time.RFC3339))
		}
	}
	// Signing is arithmetic: with the credentials at hand nothing waits.
	fixed := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) { return creds, nil })
	text, err = auth.BuildAuthToken(ctx, k.HostPort, k.Region, k.User, fixed)
	return text, expires, err
}

// sweep forgets what cannot be given out any more. t.mu is held.
func (t *Tokens) sweep() {
	now := t.now()
	for k, e := range t.kept {
		if e.mint == nil && !now.Before(e.until) {
			delete(t.kept, k)
		}
	}
}
