package secret

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pggateway/config"
)

// cloud is a Remote that answers with what it was asked.
type cloud struct{ err error }

func (c cloud) Text(_ context.Context, s config.Secret) (string, error) {
	return "text of " + s.Ref, c.err
}

func (c cloud) Renew(_ context.Context, s config.Secret, refused string) (string, error) {
	return "not " + refused, c.err
}

func (c cloud) Username(s config.Secret) string { return "user of " + s.Ref }

func TestRemote(t *testing.T) {
	plain := NewResolver(os.Getenv, os.ReadFile)
	r := plain.WithRemote(cloud{})
	for _, scheme := range []config.Scheme{config.SchemeAWSSM, config.SchemeAWSSSM} {
		s := config.Secret{Scheme: scheme, Ref: "db"}
		if got, err := r.Text(t.Context(), s); got != "text of db" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if got, err := r.PrivateKey(t.Context(), s); string(got) != "text of db" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if got, err := r.Renew(t.Context(), s, "old"); got != "not old" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if got := r.Username(s); got != "user of db" {
			t.Errorf("%q", got)
		}
		failing := plain.WithRemote(cloud{errors.New("no way")})
		for _, f := range []func() (string, error){
			func() (string, error) { return failing.Text(t.Context(), s) },
			func() (string, error) { return failing.Renew(t.Context(), s, "old") },
		} {
			if got, err := f(); got != "" || err == nil || !strings.HasPrefix(err.Error(), string(scheme)+":db: no way") {
				t.Errorf("%q, %v", got, err)
			}
		}
		if _, err := plain.Renew(t.Context(), s, "old"); !errors.Is(err, errNoRemote) {
			t.Errorf("got %v", err)
		}
	}
}

// What is on this machine is read again, and never sent away.
func TestRenewLocally(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pw")
	r := NewResolver(os.Getenv, os.ReadFile).WithRemote(cloud{errors.New("asked")})
	file := config.Secret{Scheme: config.SchemeFile, Ref: path}
	for _, text := range []string{"one", "two"} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Renew(t.Context(), file, "one"); got != text || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if got := r.Username(file); got != "" {
		t.Errorf("%q", got)
	}
}
