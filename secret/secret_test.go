package secret

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"pggateway/config"
)

func TestText(t *testing.T) {
	env := map[string]string{"PW": "from env\n", "EMPTY": ""}
	files := map[string]string{
		"/pw": "hunter2", "/newline": "hunter2\n", "/crlf": "hunter2\r\n", "/two": "hunter2\n\n", "/cr": "hunter2\r",
		"/empty": "", "/blank": "\n", "/big": strings.Repeat("hunter2", maxText/7+1),
	}
	r := NewResolver(func(name string) string { return env[name] }, func(path string) ([]byte, error) {
		text, ok := files[path]
		if !ok {
			return nil, &fs.PathError{Op: "open", Path: path, Err: syscall.ENOENT}
		}
		return []byte(text), nil
	})
	tests := []struct {
		secret config.Secret
		want   string
		says   []string // of the error; nil: none
	}{
		{config.Secret{Scheme: config.SchemeEnv, Ref: "PW"}, "from env\n", nil},
		{config.Secret{Scheme: config.SchemeEnv, Ref: "EMPTY"}, "", []string{"env:EMPTY", "not set, or empty"}},
		{config.Secret{Scheme: config.SchemeEnv, Ref: "UNSET"}, "", []string{"env:UNSET", "not set, or empty"}},
		{config.Secret{Scheme: config.SchemeFile, Ref: "/pw"}, "hunter2", nil},
		{config.Secret{Scheme: config.SchemeFile, Ref: "/newline"}, "hunter2", nil},
		{config.Secret{Scheme: config.SchemeFile, Ref: "/crlf"}, "hunter2", nil},
		{config.Secret{Scheme: config.SchemeFile, Ref: "/two"}, "hunter2\n", nil},
		{config.Secret{Scheme: config.SchemeFile, Ref: "/cr"}, "hunter2\r", nil},
		{config.Secret{Scheme: config.SchemeFile, Ref: "/empty"}, "", []string{"file:/empty", "empty"}},
		{config.Secret{Scheme: config.SchemeFile, Ref: "/blank"}, "", []string{"file:/blank", "empty"}},
		{config.Secret{Scheme: config.SchemeFile, Ref: "/big"}, "", []string{"file:/big", "longer than"}},
		{config.Secret{Scheme: config.SchemeFile, Ref: "/none"}, "", []string{"file:/none: no such file"}},
		{config.Secret{Scheme: config.SchemeLiteral, Ref: "hunter2"}, "hunter2", nil},
		{config.Secret{Scheme: config.SchemeLiteral}, "", []string{"literal:…", "empty"}},
		{config.Secret{Scheme: config.SchemeVerifier, Ref: "SCRAM-SHA-256$x"}, "SCRAM-SHA-256$x", nil},
		{config.Secret{Scheme: config.SchemeAWSSM, Ref: "db", Key: "password"}, "", []string{"aws-sm:db#password", "AWS is not asked here"}},
		{config.Secret{Scheme: config.SchemeAWSSSM, Ref: "/db"}, "", []string{"aws-ssm:/db", "AWS is not asked here"}},
		{config.Secret{}, "", []string{"no secret is set"}},
		{config.Secret{Scheme: "vault", Ref: "hunter2"}, "", []string{`unknown kind "vault"`}},
	}
	for _, tt := range tests {
		got, err := r.Text(t.Context(), tt.secret)
		if got != tt.want || (err != nil) != (tt.says != nil) {
			t.Errorf("%s: %.20q, %v", tt.secret, got, err)
		}
		for _, word := range tt.says {
			if err != nil && !strings.Contains(err.Error(), word) {
				t.Errorf("%s: %v does not say %q", tt.secret, err, word)
			}
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error has the secret in it: %v", tt.secret, err)
		}
	}
	if _, err := r.Text(t.Context(), config.Secret{Scheme: config.SchemeFile, Ref: "/none"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("%v does not wrap the file's error", err)
	}
}

// A file that changes is seen by the next call: nothing is kept.
func TestTextIsReadAnew(t *testing.T) {
	path := filepath.Join(t.TempDir(), "pw")
	r := NewResolver(os.Getenv, os.ReadFile)
	for _, text := range []string{"one", "two"} {
		if err := os.WriteFile(path, []byte(text+"\n"), 0o644); err != nil {
			t.Fatal(err)
		}
		if got, err := r.Text(t.Context(), config.Secret{Scheme: config.SchemeFile, Ref: path}); got != text || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
}

func TestContext(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	r := NewResolver(os.Getenv, os.ReadFile)
	s := config.Secret{Scheme: config.SchemeFile, Ref: "/dev/null"}
	if _, err := r.Text(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("Text: %v", err)
	}
	if _, err := r.PrivateKey(ctx, s); !errors.Is(err, context.Canceled) {
		t.Errorf("PrivateKey: %v", err)
	}
}

func TestPrivateKey(t *testing.T) {
	dir := t.TempDir()
	r := NewResolver(func(string) string { return "key from env\n" }, os.ReadFile)
	tests := []struct {
		mode fs.FileMode
		ok   bool
	}{
		{0o600, true},
		{0o400, true},
		{0o700, true},
		{0o640, false},
		{0o604, false},
		{0o620, false},
		{0o610, false},
		{0o601, false},
		{0o644, false},
		{0o666, false},
	}
	for _, tt := range tests {
		path := filepath.Join(dir, tt.mode.String())
		if err := os.WriteFile(path, []byte("hunter2\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, tt.mode); err != nil { // past the umask
			t.Fatal(err)
		}
		key, err := r.PrivateKey(t.Context(), config.Secret{Scheme: config.SchemeFile, Ref: path})
		switch {
		case tt.ok && (err != nil || string(key) != "hunter2\n"):
			t.Errorf("%v: %q, %v", tt.mode, key, err)
		case !tt.ok && (err == nil || key != nil):
			t.Errorf("%v was taken", tt.mode)
		case err != nil && (!strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "chmod 0600") || strings.Contains(err.Error(), "hunter2")):
			t.Errorf("%v: %v", tt.mode, err)
		}
	}

	key, err := r.PrivateKey(t.Context(), config.Secret{Scheme: config.SchemeEnv, Ref: "KEY"})
	if err != nil || string(key) != "key from env\n" {
		t.Errorf("from the environment: %q, %v", key, err)
	}
	if _, err := r.PrivateKey(t.Context(), config.Secret{Scheme: config.SchemeAWSSM, Ref: "x"}); !errors.Is(err, errNoRemote) {
		t.Errorf("from AWS: %v", err)
	}
	for ref, says := range map[string]string{
		filepath.Join(dir, "none"): "no such file",
		dir:                        "not a regular file",
		"/dev/null":                "not a regular file",
	} {
		if _, err := r.PrivateKey(t.Context(), config.Secret{Scheme: config.SchemeFile, Ref: ref}); err == nil || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", ref, err)
		}
	}
	empty := filepath.Join(dir, "empty")
	if err := os.WriteFile(empty, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := r.PrivateKey(t.Context(), config.Secret{Scheme: config.SchemeFile, Ref: empty}); err == nil {
		t.Error("an empty key was taken")
	}
}

// A FIFO that nobody writes to must not hold the gateway's start.
func TestPrivateKeyFIFO(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fifo")
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := NewResolver(os.Getenv, os.ReadFile).PrivateKey(t.Context(), config.Secret{Scheme: config.SchemeFile, Ref: path})
		done <- err
	}()
	select {
	case err := <-done:
		if err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("got %v", err)
		}
	case <-time.After(10 * time.Second):
		t.Fatal("still waiting for a FIFO")
	}
}

// info is a file of any owner.
type info struct {
	fs.FileInfo
	mode fs.FileMode
	uid  uint32
}

func (i info) Mode() fs.FileMode { return i.mode }
func (i info) Sys() any          { return &syscall.Stat_t{Uid: i.uid} }

func TestOwners(t *testing.T) {
	tests := []struct {
		mode      fs.FileMode
		uid, self int
		ok        bool
	}{
		{0o600, 1000, 1000, true},
		{0o640, 1000, 1000, false},
		{0o640, 0, 1000, true}, // root's, for the service's group
		{0o440, 0, 1000, true},
		{0o660, 0, 1000, false},
		{0o644, 0, 1000, false},
		{0o640, 0, 0, false},
		{0o640, 1000, 0, false},
		{0o600, 1000, 0, true},
	}
	for _, tt := range tests {
		err := checkMode(info{mode: tt.mode, uid: uint32(tt.uid)}, tt.self)
		if (err == nil) != tt.ok {
			t.Errorf("%v of %d, read by %d: %v", tt.mode, tt.uid, tt.self, err)
		}
	}
}
