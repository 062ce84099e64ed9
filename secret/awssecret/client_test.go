package awssecret

import (
	"errors"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"pggateway/cloud"
	"pggateway/config"
	"pggateway/e2e/kit"
	"pggateway/secret"
)

// environment makes AWS the stand-in, whose region is us-east-1.
func environment(t *testing.T) (*kit.AWS, *secret.Resolver) {
	t.Helper()
	stand := kit.StartAWS(t, kit.AWSOptions{})
	for _, e := range append(stand.Env(), append(stand.KeyEnv(), "AWS_SESSION_TOKEN=", "AWS_PROFILE=", "AWS_CONFIG_FILE=/dev/null", "AWS_SHARED_CREDENTIALS_FILE=/dev/null", "AWS_ENDPOINT_URL=")...) {
		name, value, _ := strings.Cut(e, "=")
		t.Setenv(name, value)
	}
	store := NewStore(cloud.New(zap.NewNop(), time.Now), zap.NewNop(), time.Now)
	return stand, secret.NewResolver(nil, nil).WithRemote(store)
}

func sm(ref, key string) config.Secret {
	return config.Secret{Scheme: config.SchemeAWSSM, Ref: ref, Key: key}
}

func ssmRef(ref string) config.Secret { return config.Secret{Scheme: config.SchemeAWSSSM, Ref: ref} }

func TestAWS(t *testing.T) {
	const (
		arn      = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/db-AbCdEf"
		far      = "arn:aws:secretsmanager:eu-west-1:123456789012:secret:prod/db-AbCdEf"
		paramARN = "arn:aws:ssm:us-east-1:123456789012:parameter/gateway/pw"
	)
	stand, r := environment(t)
	stand.SetSecret("plain", "hunter2")
	stand.SetSecret("rds!cluster-1f2e", `{"username":"postgres","password":"hunter2"}`)
	stand.SetSecret(arn, `{"password":"hunter2 by arn"}`)
	stand.SetBinary("binary", "hunter2")
	stand.SetSecret("empty", "")
	stand.SetParameter("/gateway/pw", "hunter2")
	stand.SetParameter(paramARN, "hunter2 by arn")
	tests := []struct {
		secret config.Secret
		want   string
		says   []string
	}{
		{sm("plain", ""), "hunter2", nil},
		{sm("rds!cluster-1f2e", "password"), "hunter2", nil},
		{sm("rds!cluster-1f2e", "username"), "postgres", nil},
		{sm(arn, "password"), "hunter2 by arn", nil},
		{ssmRef("/gateway/pw"), "hunter2", nil},
		{ssmRef(paramARN), "hunter2 by arn", nil},
		{sm("rds!cluster-1f2e", "pw"), "", []string{"aws-sm:rds!cluster-1f2e#pw", `no key "pw"`}},
		{sm("rds!cluster-1f2e", ""), "", []string{"#password"}},
		{sm("plain", "password"), "", []string{"no JSON object"}},
		{sm("binary", ""), "", []string{"aws-sm:binary", "binary", "as text"}},
		{sm("empty", ""), "", []string{"aws-sm:empty", "empty"}},
		{sm("none", ""), "", []string{"aws-sm:none", "Secrets Manager in us-east-1", "ResourceNotFoundException", "by its ARN"}},
		{sm(far, "password"), "", []string{far, "Secrets Manager in eu-west-1", "InvalidSignatureException"}}, // the stand-in is in one region
		{ssmRef("none"), "", []string{"aws-ssm:none", "Parameter Store in us-east-1", "ParameterNotFound"}},
	}
	for _, tt := range tests {
		got, err := r.Text(t.Context(), tt.secret)
		if got != tt.want || (err != nil) != (tt.says != nil) {
			t.Errorf("%s: %q, %v", tt.secret, got, err)
		}
		for _, says := range tt.says {
			if err != nil && !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %v does not say %q", tt.secret, err, says)
			}
		}
		if err != nil && (strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%s: %v", tt.secret, err)
		}
	}
	key, err := r.PrivateKey(t.Context(), sm("plain", ""))
	if string(key) != "hunter2" || err != nil {
		t.Errorf("%q, %v", key, err)
	}
	if n := stand.Calls("GetParameter"); n != 3 {
		t.Errorf("%d calls of GetParameter", n)
	}
}

func TestAWSRefuses(t *testing.T) {
	for code, says := range map[string]string{
		"AccessDeniedException: User: arn:aws:iam::1:user/g is not authorized to perform: secretsmanager:GetSecretValue": "needs secretsmanager:GetSecretValue",
		"DecryptionFailure: Secrets Manager can't decrypt":                                                               "needs kms:Decrypt",
		"InvalidRequestException: You can't perform this operation on the secret because it was marked for deletion.":    "marked for deletion",
		"ExpiredTokenException: The security token included in the request is expired":                                   "have expired",
	} {
		stand, r := environment(t)
		stand.SetSecret("plain", "hunter2")
		stand.Fail("GetSecretValue", errors.New(code))
		if _, err := r.Text(t.Context(), sm("plain", "")); err == nil || !strings.Contains(err.Error(), says) || strings.Contains(err.Error(), "operation error") {
			t.Errorf("%s: %v", code, err)
		}
	}
}

// A renewed secret is what AWS has now.
func TestRenewFromAWS(t *testing.T) {
	stand, r := environment(t)
	stand.SetParameter("pw", "one")
	if got, err := r.Text(t.Context(), ssmRef("pw")); got != "one" || err != nil {
		t.Fatalf("%q, %v", got, err)
	}
	stand.SetParameter("pw", "two")
	if got, err := r.Text(t.Context(), ssmRef("pw")); got != "one" || err != nil {
		t.Errorf("not kept: %q, %v", got, err)
	}
	for range 3 {
		if got, err := r.Renew(t.Context(), ssmRef("pw"), "one"); got != "two" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
	}
	if n := stand.Calls("GetParameter"); n != 2 {
		t.Errorf("AWS was asked %d times", n)
	}
}
