package cloud

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"pggateway/e2e/kit"
)

// home is an environment in which AWS is the stand-in, and that has nothing else.
func home(t *testing.T, o kit.AWSOptions) *kit.AWS {
	t.Helper()
	stand := kit.StartAWS(t, o)
	for _, name := range []string{
		"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE", "AWS_REGION", "AWS_DEFAULT_REGION",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_ROLE_ARN", "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI", "AWS_CONTAINER_CREDENTIALS_FULL_URI",
		"AWS_CONTAINER_AUTHORIZATION_TOKEN", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE",
	} {
		t.Setenv(name, "")
	}
	dir := t.TempDir()
	set(t, "AWS_CONFIG_FILE="+filepath.Join(dir, "config"), "AWS_SHARED_CREDENTIALS_FILE="+filepath.Join(dir, "credentials"))
	set(t, stand.Env()...)
	return stand
}

func set(t *testing.T, env ...string) {
	t.Helper()
	for _, e := range env {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
}

func logged() (*zap.Logger, *observer.ObservedLogs) {
	core, logs := observer.New(zap.DebugLevel)
	return zap.New(core), logs
}

func retrieve(t *testing.T, p aws.CredentialsProvider) aws.Credentials {
	t.Helper()
	c, err := p.Retrieve(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// fails checks that an error says all of the texts, in one line.
func fails(t *testing.T, err error, texts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, text := range texts {
		if !strings.Contains(err.Error(), text) {
			t.Errorf("%q does not say %q", err, text)
		}
	}
	for _, text := range []string{"\n", "operation error", "https response error"} {
		if strings.Contains(err.Error(), text) {
			t.Errorf("%q says %q", err, text)
		}
	}
}

func TestAccountIsLookedUpLate(t *testing.T) {
	var loads int
	failing := true
	a := New(zap.NewNop(), time.Now)
	a.load = func(context.Context) (aws.Config, error) {
		loads++
		if failing {
			return aws.Config{}, errors.New("no such profile")
		}
		return aws.Config{Credentials: credentials.NewStaticCredentialsProvider("AKID", "s", "")}, nil
	}
	p := a.Credentials(Role{}, "us-east-1")
	if loads != 0 {
		t.Error("looked up before it was needed")
	}
	_, err := p.Retrieve(t.Context())
	fails(t, err, "no such profile")
	failing = false
	for range 3 {
		retrieve(t, p)
	}
	if loads != 2 {
		t.Errorf("looked up %d times, want twice: one failed", loads)
	}
	a.base, a.load = nil, func(context.Context) (aws.Config, error) { return aws.Config{}, nil }
	if _, err := p.Retrieve(t.Context()); err == nil {
		t.Error("no credentials, and no error")
	}
}

// Each source of the default chain, with what really answers there.
func TestDefaultChain(t *testing.T) {
	const role = "arn:aws:iam::123456789012:role/web"
	tests := []struct {
		name string
		env  func(*testing.T, *kit.AWS) []string
		want string // the access key
		from string // the operation that was asked for
	}{
		{"environment", func(_ *testing.T, a *kit.AWS) []string { return a.KeyEnv() }, "AKIATEST000000000000", ""},
		{"profile", func(t *testing.T, _ *kit.AWS) []string {
			return []string{"AWS_PROFILE=ops", "AWS_SHARED_CREDENTIALS_FILE=" + kit.WriteFile(t, t.TempDir(), "credentials", "[ops]\naws_access_key_id = AKIDFILE\naws_secret_access_key = s\n")}
		}, "AKIDFILE", ""},
		{"web identity", func(t *testing.T, a *kit.AWS) []string {
			a.SetRole(role, kit.RoleTrust{Web: true})
			return []string{"AWS_ROLE_ARN=" + role, "AWS_WEB_IDENTITY_TOKEN_FILE=" + kit.WriteFile(t, t.TempDir(), "token", kit.WebIdentityToken)}
		}, "ASIATEST000000000001", "AssumeRoleWithWebIdentity"},
		{"container", func(_ *testing.T, a *kit.AWS) []string {
			return []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + a.URL + "/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN=" + kit.ContainerToken}
		}, "ASIATEST000000000001", "container"},
		{"instance", func(_ *testing.T, a *kit.AWS) []string {
			return []string{"AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + a.URL, "AWS_EC2_METADATA_V1_DISABLED=true"}
		}, "ASIATEST000000000001", "instance"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			stand := home(t, kit.AWSOptions{})
			set(t, tt.env(t, stand)...)
			p := New(zap.NewNop(), time.Now).Credentials(Role{}, "")
			for range 3 {
				if c := retrieve(t, p); c.AccessKeyID != tt.want {
					t.Errorf("access key %s, want %s", c.AccessKeyID, tt.want)
				}
			}
			if tt.from != "" && stand.Calls(tt.from) != 1 {
				t.Errorf("%s was asked %d times", tt.from, stand.Calls(tt.from))
			}
		})
	}
}

func TestNoCredentials(t *testing.T) {
	home(t, kit.AWSOptions{})
	_, err := New(zap.NewNop(), time.Now).Credentials(Role{}, "").Retrieve(t.Context())
	fails(t, err, "no AWS credentials", "environment", "profile", "AWS_EC2_METADATA_DISABLED")

	stand := home(t, kit.AWSOptions{})
	set(t, "AWS_ROLE_ARN=arn:aws:iam::123456789012:role/web", "AWS_WEB_IDENTITY_TOKEN_FILE="+kit.WriteFile(t, t.TempDir(), "token", "stale"))
	_, err = New(zap.NewNop(), time.Now).Credentials(Role{}, "").Retrieve(t.Context())
	fails(t, err, "no AWS credentials", "InvalidIdentityToken")
	if stand.Calls("AssumeRoleWithWebIdentity") == 0 {
		t.Error("STS was not asked")
	}
}

func TestRegion(t *testing.T) {
	stand := home(t, kit.AWSOptions{Region: "eu-west-1"})
	set(t, stand.KeyEnv()...)
	region := func(a *Account, given string) string {
		t.Helper()
		c, err := a.Config(t.Context(), given)
		if err != nil {
			t.Fatal(err)
		}
		return c.Region
	}
	a := New(zap.NewNop(), time.Now)
	if got := region(a, ""); got != "eu-west-1" {
		t.Errorf("of the environment: %s", got)
	}
	if got := region(a, "us-east-2"); got != "us-east-2" {
		t.Errorf("given: %s", got)
	}
	t.Setenv("AWS_REGION", "")
	_, err := New(zap.NewNop(), time.Now).Config(t.Context(), "")
	fails(t, err, "no AWS region", "AWS_REGION")
	set(t, "AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT="+stand.URL)
	a = New(zap.NewNop(), time.Now)
	for range 2 {
		if got := region(a, ""); got != "eu-west-1" {
			t.Errorf("of the instance: %s", got)
		}
	}
}

// AWS's time is 10 minutes off ours: the SDK finds its way, and we say so, once.
func TestClock(t *testing.T) {
	for _, off := range []time.Duration{10 * time.Minute, -10 * time.Minute} {
		stand := home(t, kit.AWSOptions{Now: func() time.Time { return time.Now().Add(off) }})
		set(t, stand.KeyEnv()...)
		stand.SetRole("arn:aws:iam::123456789012:role/a", kit.RoleTrust{})
		stand.SetRole("arn:aws:iam::123456789012:role/b", kit.RoleTrust{})
		log, logs := logged()
		a := New(log, time.Now)
		retrieve(t, a.Credentials(Role{ARN: "arn:aws:iam::123456789012:role/a"}, ""))
		retrieve(t, a.Credentials(Role{ARN: "arn:aws:iam::123456789012:role/b"}, ""))
		lines := logs.FilterMessageSnippet("clock").All()
		if len(lines) != 1 {
			t.Fatalf("%d lines about the clock", len(lines))
		}
		if ahead, ok := lines[0].ContextMap()["ahead"].(time.Duration); !ok || (ahead+off).Abs() > time.Minute {
			t.Errorf("ahead by %v, want %v", lines[0].ContextMap()["ahead"], -off)
		}
	}
	log, logs := logged()
	c := clock{now: time.Now, log: log}
	for _, date := range []string{"", "yesterday", time.Now().UTC().Format("Mon, 02 Jan 2006 15:04:05 GMT")} {
		c.compare(date)
	}
	if logs.Len() != 0 {
		t.Errorf("%v", logs.All())
	}
}

func TestUnreachable(t *testing.T) {
	home(t, kit.AWSOptions{})
	set(t, "AWS_ENDPOINT_URL_STS=http://127.0.0.1:1", "AWS_ACCESS_KEY_ID=AKID", "AWS_SECRET_ACCESS_KEY=s", "AWS_MAX_ATTEMPTS=1")
	_, err := New(zap.NewNop(), time.Now).Credentials(Role{ARN: "arn:aws:iam::123456789012:role/a"}, "").Retrieve(t.Context())
	fails(t, err, "assume the role arn:aws:iam::123456789012:role/a", "AWS is not reached", "connection refused")
}
