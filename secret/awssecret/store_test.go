package awssecret

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"pggateway/config"
)

var reference = config.Secret{Scheme: config.SchemeAWSSM, Ref: "prod/db", Key: "password"}

// vault is what AWS has.
type vault struct {
	mu    sync.Mutex
	text  string
	err   error
	calls int
	wait  chan struct{} // when set, a fetch waits for it, or for ctx
}

func (v *vault) fetch(ctx context.Context, _ name) (string, error) {
	v.mu.Lock()
	v.calls++
	text, err, wait := v.text, v.err, v.wait
	v.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-ctx.Done():
			return "", ctx.Err()
		}
	}
	return text, err
}

func (v *vault) set(text string, err error) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.text, v.err = text, err
}

func (v *vault) count() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.calls
}

func secretText(password string) string {
	return fmt.Sprintf(`{"username":"sync_writer","password":%q}`, password)
}

func newTestStore(v *vault) (*Store, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	return &Store{log: zap.New(core), now: time.Now, fetch: v.fetch, kept: map[name]*kept{}}, logs
}

func text(t *testing.T, s *Store, want string) {
	t.Helper()
	if got, err := s.Text(t.Context(), reference); got != want || err != nil {
		t.Errorf("Text: %q, %v, want %q", got, err, want)
	}
}

func renew(t *testing.T, s *Store, refused, want string) {
	t.Helper()
	if got, err := s.Renew(t.Context(), reference, refused); got != want || err != nil {
		t.Errorf("Renew: %q, %v, want %q", got, err, want)
	}
}

func (v *vault) asked(t *testing.T, want int) {
	t.Helper()
	if n := v.count(); n != want {
		t.Errorf("AWS was asked %d times, want %d", n, want)
	}
}

func TestTextIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{text: secretText("one")}
		s, _ := newTestStore(v)
		text(t, s, "one")
		v.set(secretText("two"), nil)
		time.Sleep(maxAge - time.Second)
		text(t, s, "one")
		user := reference
		user.Key = "username"
		if got, err := s.Text(t.Context(), user); got != "sync_writer" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		v.asked(t, 1)
		time.Sleep(time.Second)
		text(t, s, "two")
		v.asked(t, 2)
	})
}

func TestOneFetchForAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{text: secretText("one"), wait: make(chan struct{})}
		s, _ := newTestStore(v)
		impatient, leave := context.WithCancel(t.Context())
		left := make(chan error, 1)
		go func() {
			_, err := s.Text(impatient, reference)
			left <- err
		}()
		synctest.Wait()
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { text(t, s, "one") })
		}
		synctest.Wait()
		leave()
		if err := <-left; !errors.Is(err, context.Canceled) {
			t.Errorf("the one that left: %v", err)
		}
		close(v.wait)
		all.Wait()
		v.asked(t, 1)
	})
}

// Everybody whose login was refused comes at the same time; one of them asks.
func TestRenew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{text: secretText("one")}
		s, _ := newTestStore(v)
		text(t, s, "one")
		v.set(secretText("two"), nil)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { renew(t, s, "one", "two") })
		}
		all.Wait()
		v.asked(t, 2)
		text(t, s, "two")
		v.set(secretText("three"), nil)
		renew(t, s, "two", "three") // rotated again, at once
		renew(t, s, "one", "three") // a login that took long
		v.asked(t, 3)
	})
}

// A password that is wrong for good costs one request in five seconds, however
// many logins fail with it.
func TestRenewIsNotHammering(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{text: secretText("wrong")}
		s, _ := newTestStore(v)
		text(t, s, "wrong")
		for range 50 {
			renew(t, s, "wrong", "wrong")
		}
		v.asked(t, 2)
		time.Sleep(pause)
		v.set(secretText("right"), nil)
		renew(t, s, "wrong", "right")
		v.asked(t, 3)
	})
}

// While AWS cannot be read, what it last gave counts, and nobody waits long.
func TestAWSIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{text: secretText("hunter2")}
		s, logs := newTestStore(v)
		text(t, s, "hunter2")
		v.set("", errors.New("no way"))
		time.Sleep(maxAge)
		for range 10 {
			text(t, s, "hunter2")
		}
		v.asked(t, 2)
		renew(t, s, "hunter2", "hunter2")
		v.asked(t, 2)
		time.Sleep(pause)
		v.mu.Lock()
		v.wait = make(chan struct{})
		v.mu.Unlock()
		began := time.Now()
		text(t, s, "hunter2")
		if took := time.Since(began); took != patience {
			t.Errorf("waited %v", took)
		}
		time.Sleep(fetchTimeout)
		if logs.FilterMessageSnippet("cannot read a secret again").Len() != 2 {
			t.Errorf("%v", logs.All())
		}
		for _, line := range logs.All() {
			if said := fmt.Sprint(line.Message, line.ContextMap()); strings.Contains(said, "hunter2") || !strings.Contains(said, "aws-sm:prod/db") {
				t.Error(said)
			}
		}
	})
}

func TestNothingToGiveOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v := &vault{err: errors.New("no such secret")}
		s, _ := newTestStore(v)
		for range 10 {
			if got, err := s.Text(t.Context(), reference); got != "" || err == nil || !strings.Contains(err.Error(), "no such secret") {
				t.Errorf("%q, %v", got, err)
			}
		}
		v.asked(t, 1)
		v.set("", nil)
		time.Sleep(pause)
		if _, err := s.Text(t.Context(), reference); err == nil || !strings.Contains(err.Error(), "empty") {
			t.Errorf("got %v", err)
		}
		v.set(secretText("there"), nil)
		time.Sleep(pause)
		text(t, s, "there")

		v.set("", nil)
		s, _ = newTestStore(&vault{wait: make(chan struct{})})
		if _, err := s.Text(t.Context(), reference); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestUsername(t *testing.T) {
	v := &vault{text: `{"username":"sync_writer_clone","password":"p"}`}
	s, _ := newTestStore(v)
	if got := s.Username(reference); got != "" {
		t.Errorf("before it was read: %q", got)
	}
	text(t, s, "p")
	if got := s.Username(reference); got != "sync_writer_clone" {
		t.Errorf("got %q", got)
	}
	user, whole := reference, reference
	user.Key, whole.Key = usernameKey, ""
	if s.Username(user) != "" || s.Username(whole) != "" {
		t.Error("a user name that says nothing about a password")
	}
}

func TestPick(t *testing.T) {
	tests := []struct {
		text, key string
		want      string
		says      []string // of the error; nil: none
	}{
		{"hunter2", "", "hunter2", nil},
		{`"hunter2"`, "", `"hunter2"`, nil},
		{`12345678`, "", "12345678", nil},
		{"{hunter2", "", "{hunter2", nil},
		{`null`, "", "null", nil},
		{`{"engine":"postgres","host":"h","username":"u","password":"hunter2","dbname":"d","port":5432}`, "password", "hunter2", nil},
		{`{"port":5432}`, "port", "5432", nil},
		{`{"port":"5432"}`, "port", "5432", nil},
		{` {"password":"h\u00fcnter2\\\""}` + "\n", "password", `hünter2\"`, nil},
		{`{"username":"u","password":"hunter2","my":1}`, "", "", []string{"JSON object", "#password", "password, username"}},
		{`{"username":"u","password":"hunter2","my":1}`, "pasword", "", []string{`no key "pasword"`, "password, username"}},
		{`{"hunter2":"u"}`, "password", "", []string{`no key "password"`}},
		{"hunter2", "password", "", []string{"no JSON object", "leave out #password"}},
		{`["hunter2"]`, "password", "", []string{"no JSON object"}},
		{`null`, "password", "", []string{"no JSON object"}},
		{`{"password":null}`, "password", "", []string{"no text"}},
		{`{"password":{"hunter2":1}}`, "password", "", []string{"no text"}},
		{`{"password":["hunter2"]}`, "password", "", []string{"no text"}},
		{`{"password":true}`, "password", "", []string{"no text"}},
		{`{"password":""}`, "password", "", []string{"empty"}},
	}
	for _, tt := range tests {
		got, err := pick(tt.text, tt.key)
		if got != tt.want || (err != nil) != (tt.says != nil) {
			t.Errorf("%s, %q: %q, %v", tt.text, tt.key, got, err)
		}
		for _, says := range tt.says {
			if err != nil && !strings.Contains(err.Error(), says) {
				t.Errorf("%s, %q: %v does not say %q", tt.text, tt.key, err, says)
			}
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the secret is in the error: %v", tt.text, err)
		}
	}
}
