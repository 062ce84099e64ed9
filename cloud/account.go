// Package cloud is what the gateway is to AWS: its own credentials, found by the
// SDK's default chain (environment, shared profile, web identity, container,
// instance), the roles that it assumes with them, and the region that it is in.
//
// All that asks AWS for something shares one Account, so that each of these is
// looked up once. The package must not know what is asked, or of databases. It
// owns no goroutine.
package cloud

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/ec2/imds"
	"github.com/aws/smithy-go/middleware"
	"go.uber.org/zap"
)

const (
	// expiryWindow is how long before their expiry temporary credentials are fetched
	// anew. Containers and instances are handed their next ones some five minutes ahead.
	expiryWindow = 5 * time.Minute
	// attemptTimeout bounds one request to AWS: the SDK would wait for ever, and what
	// waits for it is a client's login.
	attemptTimeout = 5 * time.Second
	// regionTimeout bounds asking the instance for its region.
	regionTimeout = 5 * time.Second
)

// Account is the gateway's identity in AWS. It is safe for concurrent use. It is
// looked up at its first use: a gateway that needs nothing of AWS never asks for
// credentials, and one that starts before they are there finds them later.
type Account struct {
	load  func(context.Context) (aws.Config, error)
	log   *zap.Logger
	clock clock

	mu     sync.Mutex
	base   *aws.Config // nil until load succeeded
	region string      // the instance's, once it was asked
	roles  map[Role]*role
}

// New returns an account that looks itself up in the environment.
func New(log *zap.Logger, now func() time.Time) *Account {
	a := &Account{log: log, clock: clock{now: now, log: log}, roles: map[Role]*role{}}
	a.load = func(ctx context.Context) (aws.Config, error) {
		return config.LoadDefaultConfig(ctx,
			config.WithHTTPClient(awshttp.NewBuildableClient().WithTimeout(attemptTimeout)),
			config.WithAPIOptions([]func(*middleware.Stack) error{a.clock.watch}),
			config.WithCredentialsCacheOptions(func(o *aws.CredentialsCacheOptions) {
				o.ExpiryWindow = expiryWindow
				o.ExpiryWindowJitterFrac = 0.5
			}))
	}
	return a
}

// Ahead is by how much this machine's clock is ahead of AWS's, by AWS's latest
// answer; 0 when that is too little to matter, or AWS was not asked yet.
func (a *Account) Ahead() time.Duration {
	if d := time.Duration(a.clock.ahead.Load()); d.Abs() > clockTolerance {
		return d.Round(time.Second)
	}
	return 0
}

// own are the gateway's own credentials.
type own struct{ a *Account }

// Retrieve is aws.CredentialsProvider's.
func (o own) Retrieve(ctx context.Context) (aws.Credentials, error) {
	base, err := o.a.config(ctx)
	if err != nil {
		return aws.Credentials{}, err
	}
	return base.Credentials.Retrieve(ctx)
}

// Credentials returns the credentials of a role, or, for the zero role, the
// gateway's own. region is where STS is asked for the role when neither the
// environment nor the profile names a region. Nothing is looked up yet.
func (a *Account) Credentials(r Role, region string) aws.CredentialsProvider {
	if r == (Role{}) {
		return own{a}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	p := a.roles[r]
	if p == nil {
		p = newRole(a, r, region)
		a.roles[r] = p
	}
	return p
}

// Config returns what clients of AWS's services are made of, for a region or, with
// "", the gateway's own: that of the environment or the profile, else the EC2
// instance's.
func (a *Account) Config(ctx context.Context, region string) (aws.Config, error) {
	c, err := a.config(ctx)
	if err != nil {
		return aws.Config{}, err
	}
	if region != "" {
		c.Region = region
	}
	if c.Region == "" {
		if c.Region, err = a.instanceRegion(ctx, c); err != nil {
			return aws.Config{}, err
		}
	}
	return c, nil
}

// config looks the account up, unless that was done. It is looked up again by the
// next call when it could not be.
func (a *Account) config(ctx context.Context) (aws.Config, error) {
	a.mu.Lock()
	defer a.mu.Unlock() // load reads files and the environment only; what asks the network is Retrieve
	if a.base != nil {
		return *a.base, nil
	}
	loaded, err := a.load(ctx)
	if err != nil {
		return aws.Config{}, fmt.Errorf("look up AWS credentials: %w", err)
	}
	if loaded.Credentials == nil {
		return aws.Config{}, errors.New("look up AWS credentials: none")
	}
	loaded.Credentials = chain{loaded.Credentials}
	a.base = &loaded
	return loaded, nil
}

// instanceRegion asks the EC2 instance's metadata.
func (a *Account) instanceRegion(ctx context.Context, c aws.Config) (string, error) {
	a.mu.Lock()
	region := a.region
	a.mu.Unlock()
	if region != "" {
		return region, nil
	}
	ctx, stop := context.WithTimeout(ctx, regionTimeout)
	defer stop()
	out, err := imds.NewFromConfig(c).GetRegion(ctx, &imds.GetRegionInput{})
	if err != nil {
		return "", &Error{"no AWS region: set AWS_REGION, or region in the profile (and no EC2 instance metadata tells one)", err}
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.region = out.Region
	return out.Region, nil
}

// chain are the SDK's credentials with an error that a person can use: the SDK's
// is that of the last source, the instance's metadata, whatever was meant to be used.
type chain struct{ aws.CredentialsProvider }

func (c chain) Retrieve(ctx context.Context) (aws.Credentials, error) {
	creds, err := c.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		return creds, explainChain(err)
	}
	return creds, nil
}
