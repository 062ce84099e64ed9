package check

import (
	"context"
	"sync"
	"time"

	"pggateway/config"
	"pggateway/upstream"
)

// Options are what a check needs.
type Options struct {
	Config   *config.Config
	Upstream upstream.Dependencies
	Ahead    func() time.Duration // by how much this clock is ahead of AWS's, 0 when that does not matter
	Timeout  time.Duration        // for each subject
	AtOnce   int                  // subjects, at most
}

// Run checks the subjects, several at once, and calls done with each report in the
// order of the subjects, as soon as it and those before it are there. It returns
// when all are, or ctx ends: those not done by then are not told of.
func Run(ctx context.Context, o Options, subjects []*Subject, done func(*Report)) {
	reports := make([]chan *Report, len(subjects))
	for i := range reports {
		reports[i] = make(chan *Report, 1)
	}
	places := make(chan struct{}, o.AtOnce)
	var all sync.WaitGroup
	defer all.Wait()
	all.Go(func() {
		for i, s := range subjects {
			select {
			case places <- struct{}{}:
			case <-ctx.Done():
				return
			}
			all.Go(func() {
				defer func() { <-places }()
				reports[i] <- o.check(ctx, s)
			})
		}
	})
	for i := range reports {
		select {
		case r := <-reports[i]:
			if ctx.Err() != nil {
				return // what is in it may be our own doing
			}
			done(r)
		case <-ctx.Done():
			return
		}
	}
}

// check checks one.
func (o *Options) check(ctx context.Context, s *Subject) *Report {
	ctx, stop := context.WithTimeoutCause(ctx, o.Timeout, context.DeadlineExceeded)
	defer stop()
	u := s.Upstream
	database := s.Database
	if database == "" {
		database = "postgres" // there is one on nearly every server
	}
	w := &walk{
		conf: o.Config, deps: o.Upstream, ahead: o.Ahead, s: s, u: u, database: database,
		Report: &Report{
			Upstream: u.Name, Kind: u.Kind, Host: u.Host, Port: u.Port, Database: database, Role: s.Login.User, Writers: s.Writers,
		},
	}
	w.run(ctx)
	return w.Report
}

// walk is one check under way.
type walk struct {
	*Report
	conf     *config.Config
	deps     upstream.Dependencies
	ahead    func() time.Duration
	s        *Subject
	u        *config.Upstream
	database string
	target   *upstream.Target // nil: it could not be made
}

// steps are those on the way, before the server can be asked anything, in their order.
func (w *walk) steps() []Step {
	steps := []Step{Name, Address}
	if w.u.Via.SSH != nil {
		steps = append(steps, Bastion, Forward)
	}
	if w.u.TLS.Mode != config.TLSDisable {
		steps = append(steps, TLS)
	}
	return append(steps, Login)
}

// questions are the steps that take a login.
func (w *walk) questions() []Step {
	steps := []Step{Version, Writable}
	if w.s.Database != "" {
		steps = append(steps, Create, Temporary)
		if w.u.Schema != nil {
			steps = append(steps, Schema)
		}
	}
	steps = append(steps, Superuser)
	if w.s.replicates {
		steps = append(steps, Replication)
	}
	if w.s.managed() {
		steps = append(steps, IAMRole)
	}
	return append(steps, SeenFrom)
}
