// Package secret resolves the references of gateway.yaml (config.Secret) to the
// text they stand for.
//
// Its errors name the reference and never the content. It must not know what a
// secret is for; it keeps nothing, so that each call sees a changed file. It owns
// no goroutine, and no file stays open. What is in AWS it leaves to a Remote, so
// that nobody who reads a file links the AWS SDK.
package secret

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"pggateway/config"
)

// maxText bounds a resolved secret, in bytes. CA bundles, the longest, have some 200 KiB.
const maxText = 1 << 20

// Resolver resolves references. It is safe for concurrent use when what it was
// made of is.
type Resolver struct {
	getenv   func(string) string
	readFile func(string) ([]byte, error)
	remote   Remote // nil: references to AWS are errors
}

// NewResolver returns a resolver that reads the environment and files with the
// two functions, os.Getenv and os.ReadFile outside of tests.
func NewResolver(getenv func(string) string, readFile func(string) ([]byte, error)) *Resolver {
	return &Resolver{getenv: getenv, readFile: readFile}
}

// Text resolves a reference to text. One newline at the end of a file is dropped.
// A verifier is its own text. An empty secret, one over 1 MiB and the zero
// reference are errors.
func (r *Resolver) Text(ctx context.Context, s config.Secret) (string, error) {
	if err := ctx.Err(); err != nil {
		return "", named(s, context.Cause(ctx))
	}
	var text string
	switch s.Scheme {
	case config.SchemeEnv:
		text = r.getenv(s.Ref)
	case config.SchemeFile:
		b, err := r.readFile(s.Ref)
		if err != nil {
			return "", named(s, plain(err))
		}
		text = chomp(string(b))
	case config.SchemeLiteral, config.SchemeVerifier:
		text = s.Ref
	case config.SchemeAWSSM, config.SchemeAWSSSM:
		if r.remote == nil {
			return "", named(s, errNoRemote)
		}
		var err error
		if text, err = r.remote.Text(ctx, s); err != nil {
			return "", named(s, err)
		}
	default:
		return "", unresolvable(s)
	}
	if err := check(s, len(text)); err != nil {
		return "", err
	}
	return text, nil
}

// chomp drops one line end, which editors and echo put there.
func chomp(text string) string {
	if line, ok := strings.CutSuffix(text, "\n"); ok {
		return strings.TrimSuffix(line, "\r")
	}
	return text
}

// PrivateKey resolves a reference to a private key, PEM and unchanged. A file is
// read only when it is a regular file that others cannot read: its mode is at most
// 0600, or 0640 when root owns it and the gateway is not root, which is how key
// files are handed to a service's group (libpq draws the same line). The file is
// read by itself, not with the resolver's readFile, so that what is checked is what
// is read.
func (r *Resolver) PrivateKey(ctx context.Context, s config.Secret) ([]byte, error) {
	if s.Scheme != config.SchemeFile {
		text, err := r.Text(ctx, s)
		if err != nil {
			return nil, err
		}
		return []byte(text), nil
	}
	if err := ctx.Err(); err != nil {
		return nil, named(s, context.Cause(ctx))
	}
	key, err := readPrivate(s.Ref)
	if err != nil {
		return nil, named(s, plain(err))
	}
	if err := check(s, len(key)); err != nil {
		return nil, err
	}
	return key, nil
}

func unresolvable(s config.Secret) error {
	if s.Scheme == "" {
		return errors.New("no secret is set")
	}
	return fmt.Errorf("secret reference of unknown kind %q", string(s.Scheme))
}

func check(s config.Secret, n int) error {
	switch {
	case n == 0 && s.Scheme == config.SchemeEnv:
		return named(s, errors.New("not set, or empty"))
	case n == 0:
		return named(s, errors.New("empty"))
	case n > maxText:
		return named(s, fmt.Errorf("longer than %d bytes", maxText))
	}
	return nil
}

func named(s config.Secret, err error) error { return fmt.Errorf("%s: %w", s, err) }

// plain strips the operation and path from a file's error: the reference has the path.
func plain(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
