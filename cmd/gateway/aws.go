package main

import (
	"context"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"pggateway/cloud"
	"pggateway/config"
	"pggateway/secret"
	"pggateway/secret/awssecret"
)

// newSecrets resolves all references that a configuration may hold.
func newSecrets(account *cloud.Account, log *zap.Logger) *secret.Resolver {
	return secret.NewResolver(os.Getenv, os.ReadFile).WithRemote(awssecret.NewStore(account, log, time.Now))
}

// inAWS reports whether AWS has to be asked for a secret.
func inAWS(s config.Secret) bool {
	return s.Scheme == config.SchemeAWSSM || s.Scheme == config.SchemeAWSSSM
}

// warmers are how many secrets are read from AWS at the same time.
const warmers = 4

// warm reads the passwords that AWS has, so that the first clients find them and
// what is wrong is told early. Unlike a file's, such a fault does not keep the
// gateway from serving: it may be AWS's and pass, and other upstreams may not
// depend on it. It returns when all are read, or with ctx.
func (t *targets) warm(ctx context.Context, conf *config.Config) {
	slots := make(chan struct{}, warmers)
	var all sync.WaitGroup
	defer all.Wait()
	logins(conf, func(place string, l *config.Login) {
		if !inAWS(l.Password) || ctx.Err() != nil {
			return
		}
		slots <- struct{}{}
		all.Go(func() {
			defer func() { <-slots }()
			if _, err := t.deps.Secrets.Text(ctx, l.Password); err != nil && ctx.Err() == nil {
				t.deps.Log.Error("cannot read a password: until it can be, writers are refused", zap.String("key", place+".password"), zap.Error(err))
			}
		})
	})
}

// logins calls f with each login of a configuration and its place there.
func logins(conf *config.Config, f func(place string, l *config.Login)) {
	for _, u := range conf.Upstreams {
		f("upstreams."+u.Name+".login", &u.Login)
	}
	for _, w := range conf.Writers {
		for _, a := range w.Upstreams {
			if a.Login != nil {
				f("writers."+w.Name+".upstreams."+a.Name+".login", a.Login)
			}
		}
	}
}
