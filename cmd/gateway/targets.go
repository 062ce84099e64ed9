package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"syscall"
	"time"

	"go.uber.org/zap"

	"pggateway/cloud"
	"pggateway/config"
	"pggateway/proxy"
	"pggateway/upstream"
	"pggateway/upstream/bastion"
	"pggateway/upstream/iam"
)

// targets makes the upstream side of the proxy.
type targets struct {
	ctx  context.Context // bounds the reading of certificates
	deps upstream.Dependencies

	account *cloud.Account
}

func newTargets(ctx context.Context, conf *config.Config, log *zap.Logger) *targets {
	account := cloud.New(log, time.Now)
	secrets := newSecrets(account, log)
	return &targets{ctx: ctx, account: account, deps: upstream.Dependencies{
		Secrets: secrets,
		Tokens:  iam.NewTokens(account, time.Now),
		Bastions: bastion.NewSet(ctx, bastion.Options{
			Source: conf.Egress.SourceIP, Secrets: secrets, Log: log, Now: time.Now,
		}),
		Log:    log,
		Now:    time.Now,
		Egress: conf.Egress,
	}}
}

func (t *targets) close() { t.deps.Bastions.Close() }

func (t *targets) make(u *config.Upstream, login *config.Login, database string) (proxy.Opener, error) {
	return upstream.NewTarget(t.ctx, t.deps, u, login, database)
}

// try reads everything once that connections to upstreams will need, so that a
// missing file or variable is found at the start and not by the first client.
// Each error begins with its place in gateway.yaml.
func (t *targets) try(conf *config.Config) []error {
	var faults []error
	at := func(err error, format string, args ...any) {
		if err != nil {
			faults = append(faults, fmt.Errorf("%s%w", fmt.Sprintf(format, args...), err))
		}
	}
	for _, u := range conf.Upstreams {
		_, err := t.make(u, &u.Login, u.Database)
		at(err, "upstreams.%s.", u.Name)
		at(t.password(&u.Login), "upstreams.%s.login.password: ", u.Name)
		if u.Via.SSH == nil {
			continue
		}
		for _, err := range bastion.Check(t.ctx, t.deps.Secrets, u.Via.SSH) {
			at(err, "upstreams.%s.via.ssh.", u.Name)
		}
	}
	for _, w := range conf.Writers {
		for _, a := range w.Upstreams {
			if a.Login != nil {
				at(t.password(a.Login), "writers.%s.upstreams.%s.login.password: ", w.Name, a.Name)
			}
		}
	}
	return faults
}

// password reads a login's password unless AWS has it: see warm.
func (t *targets) password(l *config.Login) error {
	if l.Password.IsZero() || inAWS(l.Password) {
		return nil
	}
	_, err := t.deps.Secrets.Text(t.ctx, l.Password)
	return err
}

// checkSource finds out whether connections can come from the address.
func checkSource(ctx context.Context, source netip.Addr) error {
	if !source.IsValid() {
		return nil
	}
	var lc net.ListenConfig
	c, err := lc.ListenPacket(ctx, "udp", netip.AddrPortFrom(source, 0).String())
	switch {
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("egress.source_ip: %s is not an address of this machine: set one that is, and what destinations see in its place as egress.public_ips", source)
	case err != nil:
		return fmt.Errorf("egress.source_ip: %w", err)
	}
	return c.Close()
}

// explainListen adds what helps to the error of a listener.
func explainListen(err error) error {
	var remedy string
	var name *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		remedy = "another process listens there ('ss -ltnp' tells which); end it or choose another port"
	case errors.Is(err, syscall.EADDRNOTAVAIL), errors.As(err, &name):
		remedy = "choose an address of this machine, or 0.0.0.0 for all of them"
	case errors.Is(err, syscall.EACCES):
		remedy = "ports below 1024 need root or CAP_NET_BIND_SERVICE"
	default:
		return err
	}
	return fmt.Errorf("%w: %s", err, remedy)
}
