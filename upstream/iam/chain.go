package iam

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
)

// expiryWindow is how long before their expiry temporary credentials are fetched
// anew. A token lives no longer than the credentials that signed it; roles hand out
// their next credentials some five minutes ahead.
const expiryWindow = 5 * time.Minute

// chain is the SDK's default credential chain, looked up at its first use: a
// gateway without IAM logins never asks for credentials, and one that starts
// before they are there finds them later.
type chain struct {
	load func(context.Context) (aws.Config, error)

	mu    sync.Mutex
	creds aws.CredentialsProvider // nil until load succeeded
}

func newChain() *chain {
	return &chain{load: func(ctx context.Context) (aws.Config, error) {
		return config.LoadDefaultConfig(ctx, config.WithCredentialsCacheOptions(func(o *aws.CredentialsCacheOptions) {
			o.ExpiryWindow = expiryWindow
			o.ExpiryWindowJitterFrac = 0.5
		}))
	}}
}

// Retrieve is aws.CredentialsProvider's. A chain that could not be looked up is
// looked up again by the next call.
func (c *chain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	creds, err := c.provider(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	return creds.Retrieve(ctx)
}

func (c *chain) provider(ctx context.Context) (aws.CredentialsProvider, error) {
	c.mu.Lock()
	defer c.mu.Unlock() // load reads files and the environment only; what asks the network is Retrieve
	if c.creds != nil {
		return c.creds, nil
	}
	loaded, err := c.load(ctx)
	if err != nil {
		return nil, fmt.Errorf("look up AWS credentials: %w", err)
	}
	if loaded.Credentials == nil {
		return nil, errors.New("look up AWS credentials: none")
	}
	c.creds = loaded.Credentials
	return c.creds, nil
}
