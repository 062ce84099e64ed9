package iam

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"pggateway/cloud"
)

var key = Key{HostPort: "db.c9akciq32.us-east-1.rds.amazonaws.com:5432", Region: "us-east-1", User: "sync_writer"}

// vault hands out credentials, others each time: AKID1, AKID2, …
type vault struct {
	mu    sync.Mutex
	calls int
	life  time.Duration // zero: they do not expire
	err   error
	wait  chan struct{} // when set, Retrieve waits for it to close, or for ctx
}

// Credentials gives every role the same.
func (v *vault) Credentials(cloud.Role, string) aws.CredentialsProvider { return v }

func (v *vault) Retrieve(ctx context.Context) (aws.Credentials, error) {
	v.mu.Lock()
	v.calls++
	c := aws.Credentials{AccessKeyID: fmt.Sprint("AKID", v.calls), SecretAccessKey: "s3cret/+", SessionToken: "session+/="}
	if v.life != 0 {
		c.CanExpire, c.Expires = true, time.Now().Add(v.life)
	}
	err, wait := v.err, v.wait
	v.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return aws.Credentials{}, ctx.Err()
		}
	}
	return c, err
}

func (v *vault) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.calls
}

func (v *vault) set(f func()) {
	v.mu.Lock()
	defer v.mu.Unlock()
	f()
}

func get(t *testing.T, tokens *Tokens, k Key) string {
	t.Helper()
	text, err := tokens.Get(t.Context(), k)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func TestTokensVerify(t *testing.T) {
	secrets := map[string]string{"AKID1": "s3cret/+"}
	tests := []Key{
		key,
		{HostPort: "proxy.proxy-c9akciq32.eu-west-1.rds.amazonaws.com:5432", Region: "eu-west-1", User: "jane doe@x&y=z+é"},
		{HostPort: "db.example.com:6543", Region: "us-gov-west-1", User: "~._-"},
		{HostPort: "[2001:db8::1]:5432", Region: "us-east-1", User: "u"},
	}
	for _, k := range tests {
		token := get(t, NewTokens(&vault{}, time.Now), k)
		got, err := verify(token, time.Now(), secrets)
		want := grant{k.HostPort, k.Region, k.User, "AKID1", "session+/="}
		if err != nil || got != want {
			t.Errorf("%v: %+v, %v", k, got, err)
		}
		// The verifier is one that can say no.
		if _, err := verify(token, time.Now(), map[string]string{"AKID1": "other"}); err == nil {
			t.Error("another secret key verifies, too")
		}
		if _, err := verify(token, time.Now().Add(16*time.Minute), secrets); err == nil {
			t.Error("16 minutes later it verifies, too")
		}
		if _, err := verify(strings.Replace(token, "DBUser=", "DBUser=x", 1), time.Now(), secrets); err == nil {
			t.Error("for another user it verifies, too")
		}
		if _, err := verify("x"+token, time.Now(), secrets); err == nil {
			t.Error("for another host it verifies, too")
		}
	}
}

func TestTokensAreKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		tokens := NewTokens(v, time.Now)
		first := get(t, tokens, key)
		time.Sleep(maxAge - refreshAhead - time.Second)
		if again := get(t, tokens, key); again != first || v.count() != 1 {
			t.Errorf("another token within %v, %d mints", maxAge-refreshAhead, v.count())
		}
		other := key
		other.User = "somebody_else"
		if get(t, tokens, other) == first {
			t.Error("two users share a token")
		}
	})
}

// In its last two minutes a token is still given out, and its successor is made
// behind the caller's back.
func TestTokensAreRefreshedAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		tokens := NewTokens(v, time.Now)
		first := get(t, tokens, key)
		time.Sleep(maxAge - refreshAhead)
		if get(t, tokens, key) != first {
			t.Error("the caller waited for the new token")
		}
		synctest.Wait()
		second := get(t, tokens, key)
		if second == first || v.count() != 2 {
			t.Errorf("no new token, %d mints", v.count())
		}
		time.Sleep(maxAge - refreshAhead - time.Second) // of the second
		if get(t, tokens, key) != second || v.count() != 2 {
			t.Errorf("the second token does not last, %d mints", v.count())
		}
		time.Sleep(maxAge) // nobody asked in its last minutes
		if get(t, tokens, key) == second {
			t.Error("a token older than its age was given out")
		}
	})
}

func TestFailedRefreshKeepsTheToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{}
		tokens := NewTokens(v, time.Now)
		first := get(t, tokens, key)
		time.Sleep(maxAge - refreshAhead)
		v.set(func() { v.err = errors.New("throttled") })
		for range 5 {
			if get(t, tokens, key) != first {
				t.Error("the old token is gone")
			}
			synctest.Wait()
		}
		if v.count() != 2 {
			t.Errorf("%d mints, want one that failed: it is not to be hammered", v.count())
		}
		time.Sleep(retryAfter)
		v.set(func() { v.err = nil })
		get(t, tokens, key)
		synctest.Wait()
		if get(t, tokens, key) == first {
			t.Error("the refresh was not tried again")
		}

		v.set(func() { v.err = errors.New("throttled") })
		time.Sleep(maxAge)
		if _, err := tokens.Get(t.Context(), key); err == nil || !strings.Contains(err.Error(), "throttled") {
			t.Errorf("with no token left: %v", err)
		}
	})
}

// A token is worth no more than the credentials that signed it.
func TestCredentialsExpiry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{life: 5 * time.Minute}
		tokens := NewTokens(v, time.Now)
		first := get(t, tokens, key)
		time.Sleep(2 * time.Minute)
		if get(t, tokens, key) != first {
			t.Error("not kept")
		}
		synctest.Wait()
		time.Sleep(5*time.Minute - skew - 2*time.Minute)
		if get(t, tokens, key) == first {
			t.Error("given out though its credentials are about to expire")
		}

		v.set(func() { v.life = skew / 2 }) // good for now, not to be kept
		time.Sleep(maxAge)
		before := v.count()
		get(t, tokens, key)
		get(t, tokens, key)
		if n := v.count() - before; n != 2 {
			t.Errorf("%d mints for two calls with credentials that are about to expire", n)
		}

		v.set(func() { v.life = -time.Second })
		if _, err := tokens.Get(t.Context(), key); err == nil || !strings.Contains(err.Error(), "expired") {
			t.Errorf("with expired credentials: %v", err)
		}
	})
}

// A storm of logins costs one mint, and nobody waits longer than it wants to.
func TestOneMintForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{wait: make(chan struct{})}
		tokens := NewTokens(v, time.Now)
		first, cancel := context.WithCancel(t.Context())
		impatient := make(chan error, 1)
		go func() { // it starts the mint, and leaves
			_, err := tokens.Get(first, key)
			impatient <- err
		}()
		synctest.Wait()
		got := make(chan string, 50)
		for range cap(got) {
			go func() {
				text, err := tokens.Get(t.Context(), key)
				if err != nil {
					t.Error(err)
				}
				got <- text
			}()
		}
		synctest.Wait()
		cancel()
		if err := <-impatient; !errors.Is(err, context.Canceled) {
			t.Errorf("the one that left: %v", err)
		}
		close(v.wait)
		text := <-got
		for range cap(got) - 1 {
			if other := <-got; other != text || text == "" {
				t.Error("two tokens")
			}
		}
		if v.count() != 1 {
			t.Errorf("%d mints", v.count())
		}
	})
}

// Credentials that do not come end every waiter, and the next call tries anew.
func TestMintFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{wait: make(chan struct{})}
		tokens := NewTokens(v, time.Now)
		began := time.Now()
		results := make(chan error, 3)
		for range cap(results) {
			go func() {
				_, err := tokens.Get(t.Context(), key)
				results <- err
			}()
		}
		for range cap(results) {
			if err := <-results; !errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), key.HostPort) {
				t.Errorf("got %v", err)
			}
		}
		if took := time.Since(began); took != mintTimeout {
			t.Errorf("took %v", took)
		}
		v.set(func() { v.wait = nil })
		get(t, tokens, key)
		if v.count() != 2 {
			t.Errorf("%d mints", v.count())
		}
	})
}

func TestDrop(t *testing.T) {
	tokens := NewTokens(&vault{}, time.Now)
	tokens.Drop(key, "") // nothing there
	first := get(t, tokens, key)
	tokens.Drop(key, "another")
	if get(t, tokens, key) != first {
		t.Error("dropped by another's text")
	}
	tokens.Drop(key, first)
	second := get(t, tokens, key)
	if second == first {
		t.Error("not dropped")
	}
	tokens.Drop(key, first) // a second login that failed with it
	if get(t, tokens, key) != second {
		t.Error("the successor was dropped")
	}
}

func TestBadKeys(t *testing.T) {
	tokens := NewTokens(&vault{}, time.Now)
	for _, k := range []Key{
		{},
		{HostPort: key.HostPort, Region: key.Region},
		{HostPort: key.HostPort, User: key.User},
		{Region: key.Region, User: key.User},
		{HostPort: "db.example.com", Region: "us-east-1", User: "u"}, // no port
	} {
		if text, err := tokens.Get(t.Context(), k); err == nil || text != "" {
			t.Errorf("%v: %q, %v", k, text, err)
		}
	}
}

func TestOldKeysAreForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		tokens := NewTokens(&vault{}, time.Now)
		for i := range 10 {
			k := key
			k.User = fmt.Sprint("user", i)
			get(t, tokens, k)
		}
		time.Sleep(maxAge)
		get(t, tokens, key)
		if n := len(tokens.kept); n != 1 {
			t.Errorf("%d keys kept", n)
		}
	})
}

// roles gives each role its own.
type roles map[cloud.Role]*vault

func (r roles) Credentials(role cloud.Role, _ string) aws.CredentialsProvider { return r[role] }

// A token is signed by the role's credentials, and roles do not share tokens.
func TestTokensOfRoles(t *testing.T) {
	role := cloud.Role{ARN: "arn:aws:iam::123456789012:role/sync", ExternalID: "x"}
	all := roles{{}: {}, role: {}}
	tokens := NewTokens(all, time.Now)
	assumed := key
	assumed.Assumed = role
	for range 20 {
		get(t, tokens, key)
		get(t, tokens, assumed)
	}
	if all[role].count() != 1 || all[cloud.Role{}].count() != 1 {
		t.Errorf("%d and %d lookups for 20 tokens each, want one each", all[role].count(), all[cloud.Role{}].count())
	}
}
