package iam

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
)

func TestChainIsLookedUpLate(t *testing.T) {
	var loads int
	failing := true
	c := &chain{load: func(context.Context) (aws.Config, error) {
		loads++
		if failing {
			return aws.Config{}, errors.New("no such profile")
		}
		return aws.Config{Credentials: &vault{}}, nil
	}}
	tokens := NewTokens(c, time.Now)
	if loads != 0 {
		t.Error("looked up before it was needed")
	}
	if _, err := tokens.Get(t.Context(), key); err == nil || !strings.Contains(err.Error(), "no such profile") {
		t.Errorf("got %v", err)
	}
	failing = false
	for range 3 {
		tokens.Drop(key, get(t, tokens, key))
	}
	if loads != 2 {
		t.Errorf("looked up %d times, want twice: one failed", loads)
	}
	none := &chain{load: func(context.Context) (aws.Config, error) { return aws.Config{}, nil }}
	if _, err := none.Retrieve(t.Context()); err == nil {
		t.Error("no credentials, and no error")
	}
}

// The SDK's own chain, with what the environment and a profile have.
func TestDefaultChain(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
	} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", filepath.Join(dir, "credentials"))

	tokens := NewTokens(nil, time.Now)
	if _, err := tokens.Get(t.Context(), key); err == nil || !strings.Contains(err.Error(), "AWS credentials") {
		t.Errorf("with nothing there: %v", err)
	}

	profile := "[default]\naws_access_key_id = AKIDFILE\naws_secret_access_key = filesecret\n"
	if err := os.WriteFile(filepath.Join(dir, "credentials"), []byte(profile), 0o600); err != nil {
		t.Fatal(err)
	}
	secrets := map[string]string{"AKIDFILE": "filesecret", "AKIDENV": "envsecret"}
	got, err := verify(get(t, NewTokens(nil, time.Now), key), time.Now(), secrets)
	if err != nil || got.accessKey != "AKIDFILE" || got.session != "" {
		t.Errorf("from a profile: %+v, %v", got, err)
	}

	t.Setenv("AWS_ACCESS_KEY_ID", "AKIDENV")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "envsecret")
	t.Setenv("AWS_SESSION_TOKEN", "session")
	got, err = verify(get(t, NewTokens(nil, time.Now), key), time.Now(), secrets)
	if err != nil || got.accessKey != "AKIDENV" || got.session != "session" {
		t.Errorf("from the environment: %+v, %v", got, err)
	}
}

func TestRegionOf(t *testing.T) {
	tests := map[string]string{
		"db.c9akciq32.us-east-1.rds.amazonaws.com":                       "us-east-1",
		"DB.C9akciq32.EU-West-1.RDS.amazonaws.com.":                      "eu-west-1",
		"acme.cluster-c9akciq32.ap-southeast-2.rds.amazonaws.com":        "ap-southeast-2",
		"acme.cluster-ro-c9akciq32.us-gov-west-1.rds.amazonaws.com":      "us-gov-west-1",
		"acme.cluster-custom-c9akciq32.us-east-1.rds-fips.amazonaws.com": "us-east-1",
		"pool.proxy-c9akciq32.me-central-1.rds.amazonaws.com":            "me-central-1",
		"pool.endpoint.proxy-c9akciq32.us-west-2.rds.amazonaws.com":      "us-west-2",
		"acme.shardgrp-c9akciq32.us-east-1.rds.amazonaws.com":            "us-east-1",
		"db.c9akciq32.rds.cn-north-1.amazonaws.com.cn":                   "cn-north-1",
		"db.c9akciq32.eusc-de-east-1.rds.amazonaws.eu":                   "eusc-de-east-1",
		"acme.global-c9akciq32.global.rds.amazonaws.com":                 "",
		"us-east-1.rds.amazonaws.com":                                    "",
		"rds.us-east-1.amazonaws.com":                                    "",
		"db.example.com":                                                 "",
		"db.c9akciq32.us-east-1.rds.amazonaws.com.evil.example":          "",
		"10.0.0.7": "",
		"":         "",
	}
	for host, want := range tests {
		if got, ok := RegionOf(host); got != want || ok != (want != "") {
			t.Errorf("%s: %q, %v, not %q", host, got, ok, want)
		}
	}
}
