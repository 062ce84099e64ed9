package awssecret

import (
	"context"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/secretsmanager"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"pggateway/cloud"
	"pggateway/config"
)

// client asks AWS.
type client struct{ account *cloud.Account }

func (c client) fetch(ctx context.Context, n name) (string, error) {
	conf, err := c.account.Config(ctx, regionOf(n.ref))
	if err != nil {
		return "", err
	}
	if n.scheme == config.SchemeAWSSSM {
		return parameter(ctx, conf, n.ref)
	}
	return secretValue(ctx, conf, n.ref)
}

// regionOf is the region in an ARN; "" for a name.
func regionOf(ref string) string {
	// arn:partition:service:region:account:resource
	if parts := strings.SplitN(ref, ":", 6); len(parts) == 6 && parts[0] == "arn" {
		return parts[3]
	}
	return ""
}

// secretValue reads a secret's current version.
func secretValue(ctx context.Context, conf aws.Config, ref string) (string, error) {
	out, err := secretsmanager.NewFromConfig(conf).GetSecretValue(ctx, &secretsmanager.GetSecretValueInput{SecretId: aws.String(ref)})
	if err != nil {
		return "", cloud.Explain(err, "Secrets Manager in "+conf.Region, map[string]string{
			"ResourceNotFoundException": "a secret in another region or account is given by its ARN",
			"AccessDeniedException":     "the gateway's AWS identity needs secretsmanager:GetSecretValue on it, and kms:Decrypt where it has a key of its own",
			"DecryptionFailure":         "the gateway's AWS identity needs kms:Decrypt on the secret's key",
		})
	}
	if out.SecretString == nil {
		return "", errBinary
	}
	return *out.SecretString, nil
}

// parameter reads a parameter, decrypted if it is a SecureString.
func parameter(ctx context.Context, conf aws.Config, ref string) (string, error) {
	out, err := ssm.NewFromConfig(conf).GetParameter(ctx, &ssm.GetParameterInput{Name: aws.String(ref), WithDecryption: aws.Bool(true)})
	if err != nil {
		return "", cloud.Explain(err, "Parameter Store in "+conf.Region, map[string]string{
			"ParameterNotFound":        "a parameter in another region or account is given by its ARN",
			"ParameterVersionNotFound": "leave out the version",
			"AccessDeniedException":    "the gateway's AWS identity needs ssm:GetParameter on it, and kms:Decrypt where it has a key of its own",
			"InvalidKeyId":             "the gateway's AWS identity needs kms:Decrypt on the parameter's key",
		})
	}
	if out.Parameter == nil {
		return "", nil
	}
	return aws.ToString(out.Parameter.Value), nil
}
