package scram

import (
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/xdg-go/scram"
)

// Verifier is what a server keeps of a password: enough to check a proof, not
// enough to make one. The zero Verifier is one that nothing proves.
type Verifier struct {
	iterations int
	salt       []byte
	storedKey  []byte
	serverKey  []byte
	mock       bool
}

// NewVerifier derives a verifier with a fresh salt, in the form that PostgreSQL
// keeps in pg_authid: "SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>".
func NewVerifier(password string, iterations int) (string, error) {
	salt := make([]byte, saltLen)
	_, _ = rand.Read(salt) // never fails
	return newVerifier(password, iterations, salt)
}

func newVerifier(password string, iterations int, salt []byte) (string, error) {
	if password == "" {
		return "", errors.New("the password is empty")
	}
	if err := checkIterations(iterations); err != nil {
		return "", err
	}
	c, err := scram.SHA256.NewClientUnprepped("", prepared(password), "")
	if err != nil {
		return "", fmt.Errorf("derive keys: %w", err)
	}
	keys, err := c.GetStoredCredentialsWithError(scram.KeyFactors{Salt: string(salt), Iters: iterations})
	if err != nil {
		return "", fmt.Errorf("derive keys: %w", err)
	}
	b64 := base64.StdEncoding.EncodeToString
	return fmt.Sprintf("%s$%d:%s$%s:%s", Mechanism, iterations, b64(salt), b64(keys.StoredKey), b64(keys.ServerKey)), nil
}

// ParseVerifier reads the form that NewVerifier writes. It is strict: iterations
// from MinIterations to MaxIterations, a salt of 1 to 1024 bytes, two keys of 32
// bytes. Its errors never quote the text.
func ParseVerifier(text string) (Verifier, error) {
	rest, ok := strings.CutPrefix(text, Mechanism+"$")
	front, keys, dollar := strings.Cut(rest, "$")
	count, salt64, colon := strings.Cut(front, ":")
	stored64, server64, both := strings.Cut(keys, ":")
	if !ok || !dollar || !colon || !both {
		return Verifier{}, errors.New("not a SCRAM verifier: SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>")
	}
	n, err := parseIterations(count)
	if err != nil {
		return Verifier{}, fmt.Errorf("SCRAM verifier: %w", err)
	}
	v := Verifier{iterations: n}
	if v.salt, err = decode(salt64); err != nil || len(v.salt) == 0 || len(v.salt) > maxSalt {
		return Verifier{}, fmt.Errorf("SCRAM verifier: the salt is not base64 of 1 to %d bytes", maxSalt)
	}
	if v.storedKey, err = decode(stored64); err != nil || len(v.storedKey) != keyLen {
		return Verifier{}, fmt.Errorf("SCRAM verifier: StoredKey is not base64 of %d bytes", keyLen)
	}
	if v.serverKey, err = decode(server64); err != nil || len(v.serverKey) != keyLen {
		return Verifier{}, fmt.Errorf("SCRAM verifier: ServerKey is not base64 of %d bytes", keyLen)
	}
	return v, nil
}

// Mock is a verifier for a user who does not exist, PostgreSQL's mock
// authentication: its salt is the same for the same seed and name, and no password
// satisfies it. An exchange with it takes the work and shows the messages of one
// in which a real user's password was wrong.
//
// It looks like a verifier with DefaultIterations and a salt of 16 bytes, which is
// what NewVerifier and PostgreSQL make by default: users whose verifiers have other
// numbers can be told from users who do not exist. The seed is a secret, and one
// that changes tells mocks from users to whoever asks twice.
func Mock(seed []byte, user string) Verifier {
	derive := func(what string) []byte {
		m := hmac.New(sha256.New, seed)
		m.Write([]byte(what))
		m.Write([]byte{0})
		m.Write([]byte(user))
		return m.Sum(nil)
	}
	return Verifier{
		iterations: DefaultIterations,
		salt:       derive("salt")[:saltLen],
		storedKey:  derive("StoredKey"),
		serverKey:  derive("ServerKey"),
		mock:       true,
	}
}

// String does not give the keys away.
func (v Verifier) String() string { return Mechanism + "$…" }

// GoString keeps %#v from printing what String hides.
func (v Verifier) GoString() string { return v.String() }

func parseIterations(digits string) (int, error) {
	n, err := strconv.Atoi(digits)
	if err != nil || strconv.Itoa(n) != digits {
		return 0, errors.New("the iteration count is not a number")
	}
	return n, checkIterations(n)
}

func checkIterations(n int) error {
	if n < MinIterations || n > MaxIterations {
		return fmt.Errorf("%d iterations: must be from %d to %d", n, MinIterations, MaxIterations)
	}
	return nil
}

// decode is strict base64: the standard library passes over line ends.
func decode(text string) ([]byte, error) {
	if strings.ContainsAny(text, "\r\n") {
		return nil, errors.New("line end in base64")
	}
	return base64.StdEncoding.Strict().DecodeString(text)
}

// printable reports whether a nonce has only the characters that RFC 5802 allows
// in one: ASCII from "!" to "~" but for the comma.
func printable(nonce string) bool {
	for i := range len(nonce) {
		if c := nonce[i]; c < '!' || c > '~' || c == ',' {
			return false
		}
	}
	return nonce != ""
}
