// Package awssecret reads secrets from AWS Secrets Manager and Systems Manager
// Parameter Store, and keeps them for some minutes.
//
// It must not know what a secret is for. No error or log line of it has any of a
// secret's content in it. It owns the goroutines that fetch; each ends within
// fetchTimeout.
package awssecret

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"go.uber.org/zap"

	"pggateway/cloud"
	"pggateway/config"
)

const (
	// maxAge is how long a secret is given out before it is read again. Servers tell
	// us of a rotation by refusing the old one; this bounds how long nobody asks.
	maxAge = 5 * time.Minute
	// pause is how long AWS is left alone after it gave nothing, or nothing new to
	// replace what a server refused.
	pause = 5 * time.Second
	// patience is how long a caller waits for a secret to be read again while there
	// is an old one, which a server most likely still takes.
	patience = 2 * time.Second
	// fetchTimeout bounds one reading, retries included.
	fetchTimeout = 10 * time.Second
)

// name is a secret or parameter. What its JSON holds under several keys is read together.
type name struct {
	scheme config.Scheme
	ref    string
}

func nameOf(s config.Secret) name { return name{s.Scheme, s.Ref} }

// Store resolves references to AWS. It is safe for concurrent use.
type Store struct {
	log   *zap.Logger
	now   func() time.Time
	fetch func(context.Context, name) (string, error)

	mu   sync.Mutex
	kept map[name]*kept
}

// kept is the state of one secret, under Store.mu.
type kept struct {
	text    string // as AWS has it; empty: none was read yet
	until   time.Time
	err     error     // why there is no text
	quiet   time.Time // AWS is not asked before
	running *reading  // nil: none
}

// reading is one run, shared by all who wait for it. done is closed after the
// result was kept.
type reading struct{ done chan struct{} }

// NewStore returns an empty store that reads with the account's own credentials.
func NewStore(account *cloud.Account, log *zap.Logger, now func() time.Time) *Store {
	return &Store{log: log, now: now, fetch: client{account}.fetch, kept: map[name]*kept{}}
}

// Text returns a secret, read within the last five minutes unless AWS cannot be
// read: then what it last gave is still good. Concurrent calls share one request.
// ctx bounds the caller's wait only.
func (s *Store) Text(ctx context.Context, ref config.Secret) (string, error) {
	s.mu.Lock()
	k := s.of(ref)
	now := s.now()
	if k.text != "" && now.Before(k.until) {
		defer s.mu.Unlock()
		return pick(k.text, ref.Key)
	}
	r := s.start(ctx, ref, k)
	old := k.text != ""
	s.mu.Unlock()
	if err := wait(ctx, r, old); err != nil {
		return "", err
	}
	return s.result(ref)
}

// Renew returns what a secret is after a server refused what it was. AWS is asked
// only if nobody has learnt anything newer in the meantime, and once in five
// seconds while it knows nothing new.
func (s *Store) Renew(ctx context.Context, ref config.Secret, refused string) (string, error) {
	s.mu.Lock()
	k := s.of(ref)
	if text, err := pick(k.text, ref.Key); k.text != "" && err == nil && text != refused {
		s.mu.Unlock()
		return text, nil
	}
	before := k.text
	r := s.start(ctx, ref, k)
	s.mu.Unlock()
	if err := wait(ctx, r, false); err != nil {
		return "", err
	}

	s.mu.Lock()
	if k.text == before && r != nil {
		k.quiet = s.now().Add(pause)
	}
	s.mu.Unlock()
	return s.result(ref)
}

// Username is the user name that stands beside the password in a secret as RDS and
// the rotation functions make it, as of the last reading; else "".
func (s *Store) Username(ref config.Secret) string {
	if ref.Key == "" || ref.Key == usernameKey {
		return ""
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.kept[nameOf(ref)]
	if k == nil || k.text == "" {
		return ""
	}
	user, err := pick(k.text, usernameKey)
	if err != nil {
		return ""
	}
	return user
}

// of returns the state of a secret. s.mu is held.
func (s *Store) of(ref config.Secret) *kept {
	k := s.kept[nameOf(ref)]
	if k == nil {
		k = &kept{}
		s.kept[nameOf(ref)] = k
	}
	return k
}

func (s *Store) result(ref config.Secret) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k := s.of(ref)
	if k.text == "" {
		return "", k.err
	}
	return pick(k.text, ref.Key)
}

// start begins a reading or joins the one that runs. It returns nil while AWS is
// left alone. s.mu is held. The reading outlives the caller whose ctx it takes the
// values from: others wait for it, too.
func (s *Store) start(ctx context.Context, ref config.Secret, k *kept) *reading {
	if k.running != nil {
		return k.running
	}
	if s.now().Before(k.quiet) {
		return nil
	}
	r := &reading{make(chan struct{})}
	k.running = r
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), fetchTimeout)
	go func() {
		defer cancel()
		text, err := s.fetch(ctx, nameOf(ref))
		s.keep(ref, k, text, err)
		close(r.done)
	}()
	return r
}

// keep takes what a reading brought.
func (s *Store) keep(ref config.Secret, k *kept, text string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	k.running = nil
	if err == nil && text == "" {
		err = errors.New("empty")
	}
	if err == nil {
		k.text, k.err, k.until = text, nil, s.now().Add(maxAge)
		return
	}
	k.quiet = s.now().Add(pause)
	if k.text == "" {
		k.err = err
		return
	}
	ref.Key = ""
	s.log.Warn("cannot read a secret again; what it was is still used", zap.Stringer("secret", ref), zap.Error(err))
}

// wait waits for a reading, nil for none, and, with something old to go on with,
// not for long.
func wait(ctx context.Context, r *reading, old bool) error {
	if r == nil {
		return nil
	}
	var enough <-chan time.Time
	if old {
		t := time.NewTimer(patience)
		defer t.Stop()
		enough = t.C
	}
	select {
	case <-r.done:
	case <-enough:
	case <-ctx.Done():
		return fmt.Errorf("read it from AWS: %w", context.Cause(ctx))
	}
	return nil
}
