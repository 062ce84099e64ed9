package kit

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/feature/rds/auth"
)

const testHost = "mydb.123456789012.us-east-1.rds.amazonaws.com:5432"

// sdkToken is the SDK's own token, signed now: the SDK takes no clock.
func sdkToken(t *testing.T, host, region, user string, k AccessKey) string {
	t.Helper()
	creds := aws.CredentialsProviderFunc(func(context.Context) (aws.Credentials, error) {
		return aws.Credentials{AccessKeyID: k.ID, SecretAccessKey: k.Secret, SessionToken: k.Session}, nil
	})
	token, err := auth.BuildAuthToken(t.Context(), host, region, user, creds)
	if err != nil {
		t.Fatal(err)
	}
	return token
}

// TestVerifyAgainstSDK sends the SDK's tokens through the verifier, whole and
// spoiled: the good ones show that the two readings of the algorithm agree, so
// that the bad ones fail for the reason named and not because everything fails.
func TestVerifyAgainstSDK(t *testing.T) {
	key := AccessKey{ID: "AKIDEXAMPLE", Secret: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"}
	temporary := AccessKey{ID: "ASIAEXAMPLE", Secret: "s3cr3t", Session: "FwoGZXIvYXdzE==/+a b", Expires: time.Now().Add(time.Hour)}
	check := TokenCheck{
		Hosts: []string{testHost}, Region: "us-east-1", User: "sync_writer",
		Keys: []AccessKey{key, temporary}, Now: time.Now(),
	}
	good := sdkToken(t, testHost, "us-east-1", "sync_writer", key)
	at := func(d time.Duration) func(*TokenCheck) { return func(c *TokenCheck) { c.Now = c.Now.Add(d) } }
	same := func(*TokenCheck) {}
	for _, tc := range []struct {
		name  string
		token string
		with  func(*TokenCheck)
		want  error
	}{
		{"good", good, same, nil},
		{"as the CLI writes it", strings.Replace(good, "?", "/?", 1), same, nil},
		{"session token", sdkToken(t, testHost, "us-east-1", "sync_writer", temporary), same, nil},
		{"odd user", sdkToken(t, testHost, "us-east-1", "jane doe@x+y~", key), func(c *TokenCheck) { c.User = "jane doe@x+y~" }, nil},
		{"second endpoint", good, func(c *TokenCheck) { c.Hosts = []string{"other:5432", testHost} }, nil},
		{"just in time", good, at(899 * time.Second), nil},
		{"16 minutes late", good, at(16 * time.Minute), ErrExpiredToken},
		{"6 minutes early", good, at(-6 * time.Minute), ErrInvalidToken},
		{"wrong host", sdkToken(t, "127.0.0.1:5432", "us-east-1", "sync_writer", key), same, ErrInvalidToken},
		{"wrong port", sdkToken(t, strings.Replace(testHost, "5432", "5433", 1), "us-east-1", "sync_writer", key), same, ErrInvalidToken},
		{"wrong region", sdkToken(t, testHost, "eu-west-1", "sync_writer", key), same, ErrInvalidToken},
		{"other user", sdkToken(t, testHost, "us-east-1", "admin", key), same, ErrNotAuthorized},
		{"user put in afterwards", strings.Replace(sdkToken(t, testHost, "us-east-1", "admin", key), "DBUser=admin", "DBUser=sync_writer", 1), same, ErrInvalidToken},
		{"wrong secret", sdkToken(t, testHost, "us-east-1", "sync_writer", AccessKey{ID: key.ID, Secret: "guess"}), same, ErrInvalidToken},
		{"unknown key", sdkToken(t, testHost, "us-east-1", "sync_writer", AccessKey{ID: "AKIDOTHER", Secret: key.Secret}), same, ErrInvalidToken},
		{"session token missing", sdkToken(t, testHost, "us-east-1", "sync_writer", AccessKey{ID: temporary.ID, Secret: temporary.Secret}), same, ErrInvalidToken},
		{"credentials expired", sdkToken(t, testHost, "us-east-1", "sync_writer", temporary), func(c *TokenCheck) {
			c.Keys = []AccessKey{{ID: temporary.ID, Secret: temporary.Secret, Session: temporary.Session, Expires: c.Now}}
		}, ErrExpiredToken},
		{"truncated", good[:len(good)-1], same, ErrInvalidToken},
		{"cut in the middle", good[:200], same, ErrInvalidToken},
		{"one digit changed", good[:len(good)-1] + flip(good[len(good)-1]), same, ErrInvalidToken},
		{"a longer life written in", strings.Replace(good, "X-Amz-Expires=900", "X-Amz-Expires=901", 1), same, ErrInvalidToken},
		{"a parameter twice", good + "&DBUser=sync_writer", same, ErrInvalidToken},
		{"a password", "hunter2", same, ErrInvalidToken},
		{"empty", "", same, ErrInvalidToken},
		{"no URL", "%zz", same, ErrInvalidToken},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := check
			tc.with(&c)
			if err := c.Verify(tc.token); !errors.Is(err, tc.want) {
				t.Errorf("got %v, want %v", err, tc.want)
			}
		})
	}
}

func flip(c byte) string {
	if c == '0' {
		return "1"
	}
	return "0"
}
