package main

import (
	"context"
	"errors"
	"net"
	"os"
	"os/signal"
	"runtime"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"

	"pggateway/config"
	"pggateway/proxy"
)

func newRun(o *options) *cobra.Command {
	var debug bool
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Serve",
		Long: `Serve the listeners of the configuration until SIGTERM or Ctrl-C.

The first SIGTERM or Ctrl-C drains: listening ends, idle clients are told to go,
transactions finish. The second ends everything at once. The log goes to standard
error, for people on a terminal, as JSON otherwise.

Every secret, key and certificate of the configuration is read before listening
begins, and all that is wrong with them is told at once. Only upstreams' passwords
that are in AWS are read while it serves: what is wrong with them goes to the log.

Exit code: 0 after a drain that everybody lived to see, 1 when clients were cut
off or an address could not be bound, 2 for a bad configuration or a secret, key
or certificate that cannot be used.`,
		Example: "  gateway run -c gateway.yaml",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := o.load(cmd)
			if err != nil {
				return err
			}
			log, done := newLogger(cmd.ErrOrStderr(), debug)
			defer done()
			signals := make(chan os.Signal, 2)
			signal.Notify(signals, syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP)
			defer signal.Stop(signals)
			return serve(cmd.Context(), conf, log, signals)
		},
	}
	cmd.Flags().BoolVar(&debug, "debug", false, "log server connections and pins, too")
	return cmd
}

// linger is how long a loop waits before it gives its processor back: longer
// than the pauses of a client that works, shorter than the ten milliseconds after
// which the runtime's monitor takes an interest, and short enough for an idle
// gateway to use no CPU.
const linger = 5 * time.Millisecond

// serve runs the gateway until the signals end it.
func serve(ctx context.Context, conf *config.Config, log *zap.Logger, signals <-chan os.Signal) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	targets := newTargets(ctx, conf, log)
	defer targets.close()
	faults := targets.try(conf)
	// A loop that lingers keeps its processor, so there is one more for each.
	loops := runtime.GOMAXPROCS(0)
	defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(2 * loops))
	p, err := proxy.New(ctx, proxy.Options{
		Config: conf, Secrets: targets.deps.Secrets, Target: targets.make, Log: log, Now: time.Now,
		Loops: loops, Linger: linger,
	})
	if err == nil {
		defer p.Close()
	}
	if err := errors.Join(append(faults, err)...); err != nil {
		return err
	}
	if err := checkSource(ctx, conf.Egress.SourceIP); err != nil {
		return wrong(err)
	}
	if err := p.Listen(ctx); err != nil {
		return wrong(explainListen(err))
	}
	p.Serve()
	trimming := make(chan struct{})
	go func() { defer close(trimming); trim(ctx) }()
	warming := make(chan struct{})
	go func() { defer close(warming); targets.warm(ctx, conf) }()
	defer func() { stop(); <-trimming; <-warming }()
	announce(conf, p, log)
	for {
		switch s := <-signals; s {
		case syscall.SIGHUP:
			log.Warn("reload is not supported yet: restart to use a changed configuration")
		default:
			log.Info("draining: waiting for transactions to finish; a second signal stops at once", zap.Stringer("signal", s))
			return drain(ctx, p, log, signals)
		}
	}
}

// drain waits until no client is left, or for the next signal.
func drain(ctx context.Context, p *proxy.Proxy, log *zap.Logger, signals <-chan os.Signal) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- p.Drain(ctx) }()
	for {
		select {
		case err := <-done:
			if err != nil {
				return wrong(err)
			}
			log.Info("drained")
			return nil
		case s := <-signals:
			if s == syscall.SIGHUP {
				continue
			}
			stop()
			<-done
			log.Warn("stopped before every client was done", zap.Stringer("signal", s))
			return &failure{code: exitWrong}
		}
	}
}

// announce logs what a person wants to know after a start.
func announce(conf *config.Config, p *proxy.Proxy, log *zap.Logger) {
	for i, a := range p.Addresses() {
		l := &conf.Listen[i]
		log.Info("listening", zap.Stringer("address", a), zap.String("tls", string(l.TLS.Mode)))
		if t, ok := a.(*net.TCPAddr); ok && l.TLS.Mode == config.ListenTLSDisable && !t.IP.IsLoopback() {
			log.Warn("data of clients crosses the network unencrypted: give the listener a certificate", zap.Stringer("address", a))
		}
	}
	for _, u := range conf.Upstreams {
		fields := []zap.Field{
			zap.String("upstream", u.Name), zap.String("host", u.Host), zap.Uint16("port", u.Port),
			zap.String("tls", string(u.TLS.Mode)), zap.String("role", u.Login.User),
		}
		if u.Via.SSH != nil {
			fields = append(fields, zap.String("via", u.Via.SSH.Host))
		}
		log.Info("routing", fields...)
	}
	if addresses := egressAddresses(conf); len(addresses) > 0 {
		log.Info("connecting from addresses that databases must allow: see 'gateway egress'", zap.String("allowlist", join(addresses)))
	} else {
		log.Info("connecting from whichever address the system chooses: set egress.source_ip to fix it")
	}
}
