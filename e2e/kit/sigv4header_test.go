package kit

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// TestVerifyRequest sends requests that the SDK signed through the verifier, whole
// and spoiled; see TestVerifyAgainstSDK.
func TestVerifyRequest(t *testing.T) {
	key := AccessKey{ID: "ASIAEXAMPLE", Secret: "s3cr3t/+", Session: "session+/==", Expires: time.Now().Add(time.Hour)}
	const body = `{"SecretId":"db"}`
	for name, tt := range map[string]struct {
		spoil func(*http.Request, *RequestCheck)
		body  string
		want  error
	}{
		"good":              {nil, body, nil},
		"another body":      {nil, `{"SecretId":"other"}`, ErrBadSignature},
		"another host":      {func(r *http.Request, _ *RequestCheck) { r.Host = "elsewhere" }, body, ErrBadSignature},
		"another operation": {func(r *http.Request, _ *RequestCheck) { r.Header.Set("X-Amz-Target", "ssm.Other") }, body, ErrBadSignature},
		"another secret":    {func(_ *http.Request, c *RequestCheck) { c.Keys[0].Secret = "other" }, body, ErrBadSignature},
		"unknown key":       {func(_ *http.Request, c *RequestCheck) { c.Keys = nil }, body, ErrUnknownKey},
		"another session":   {func(r *http.Request, _ *RequestCheck) { r.Header.Set("X-Amz-Security-Token", "x") }, body, ErrUnknownKey},
		"expired":           {func(_ *http.Request, c *RequestCheck) { c.Keys[0].Expires = c.Now }, body, ErrExpiredToken},
		"another region":    {func(_ *http.Request, c *RequestCheck) { c.Region = "eu-west-1" }, body, ErrWrongScope},
		"another service":   {func(_ *http.Request, c *RequestCheck) { c.Service = "sts" }, body, ErrWrongScope},
		"six minutes late":  {func(_ *http.Request, c *RequestCheck) { c.Now = c.Now.Add(6 * time.Minute) }, body, ErrBadSignature},
		"six minutes early": {func(_ *http.Request, c *RequestCheck) { c.Now = c.Now.Add(-6 * time.Minute) }, body, ErrBadSignature},
		"unsigned":          {func(r *http.Request, _ *RequestCheck) { r.Header.Del("Authorization") }, body, ErrUnsigned},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequestWithContext(t.Context(), http.MethodPost, "http://127.0.0.1:8080/", strings.NewReader(body))
			r.Header.Set("X-Amz-Target", "secretsmanager.GetSecretValue")
			r.Header.Set("Content-Type", "application/x-amz-json-1.1")
			digest := sha256.Sum256([]byte(body))
			creds := aws.Credentials{AccessKeyID: key.ID, SecretAccessKey: key.Secret, SessionToken: key.Session}
			if err := v4.NewSigner().SignHTTP(t.Context(), creds, r, hex.EncodeToString(digest[:]), "secretsmanager", "us-east-1", time.Now()); err != nil {
				t.Fatal(err)
			}
			c := RequestCheck{Region: "us-east-1", Service: "secretsmanager", Keys: []AccessKey{key}, Now: time.Now()}
			if tt.spoil != nil {
				tt.spoil(r, &c)
			}
			got, err := c.Verify(r, []byte(tt.body))
			if !errors.Is(err, tt.want) || tt.want == nil && (err != nil || got.ID != key.ID) {
				t.Errorf("%v, %v, want %v", got.ID, err, tt.want)
			}
		})
	}
}
