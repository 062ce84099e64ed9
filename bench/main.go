// Command bench compares three ways to one PostgreSQL on one machine in one
// run: straight, through PgBouncer, and through the gateway.
//
// All parts are real. It starts a PostgreSQL of its own, PgBouncer, and a
// gateway built from this module, drives them with pgbench and psql, and reads
// the proxies' CPU time and memory from the kernel. The legs take turns within
// every round, so that whatever else the machine does hits all of them alike;
// the report is medians, and ratios between legs with their spread.
//
// It knows the gateway only as a binary with a gateway.yaml: no package of the
// product is imported, only the tests' launcher of real parts. Every child process is started by the main goroutine,
// which is locked to the main thread, and is stopped by it before the program
// ends; a child that outlives the program's death is signalled by the kernel.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

const usage = `bench: direct PostgreSQL, PgBouncer and the gateway, side by side.

usage: go run ./bench [flags]

examples:
  go run ./bench                                  everything; about eleven minutes
  go run ./bench -quick                           everything once, briefly; under two minutes
  go run ./bench -list                            the names of the measures
  go run ./bench -only '/16$' -d 5s -rounds 5     whatever has 16 clients, at length
  go run ./bench -only '^copy' -json copy.json    COPY only, every sample kept as JSON
  go run ./bench -only select/simple/16 -perf /tmp/perf     profile both proxies as well
  go run ./bench -gateway ./bin/gateway -legs gateway,direct
  PGBOUNCER=/opt/pgbouncer-1.25/pgbouncer go run ./bench

Needs PostgreSQL's server programs (Debian: postgresql), PgBouncer (pgbouncer) and Go.
PGBOUNCER names another PgBouncer, PG_BIN the directory of another PostgreSQL, GATEWAY_BIN or -gateway a built gateway.
Exits 0 when it measured, whether or not a goal is met; 1 when it could not; 2 on bad usage.

flags:
`

// options are the command line, checked.
type options struct {
	duration time.Duration // of one pgbench run, whole seconds
	rounds   int
	only     *regexp.Regexp // nil: all
	quick    bool
	list     bool
	json     string // file for every sample; empty: none
	perf     string // directory for perf.data files; empty: no profiling
	legs     []leg
	gateway  string // binary; empty: build it
	bouncer  string // binary
	keep     bool
}

func parseOptions(args []string, getenv func(string) string, out io.Writer) (options, error) {
	o := options{bouncer: "/usr/sbin/pgbouncer"}
	if p := getenv("PGBOUNCER"); p != "" {
		o.bouncer = p
	}
	fs := flag.NewFlagSet("bench", flag.ContinueOnError)
	fs.SetOutput(out)
	fs.Usage = func() {
		fmt.Fprint(out, usage)
		fs.PrintDefaults()
	}
	var only, legs string
	fs.DurationVar(&o.duration, "d", 2*time.Second, "length of one pgbench `run`, in whole seconds")
	fs.IntVar(&o.rounds, "rounds", 5, "rounds per measure; figures are medians over them")
	fs.StringVar(&only, "only", "", "measure only names that match this `regexp` (see -list)")
	fs.BoolVar(&o.quick, "quick", false, "one round of 1 s each, smaller COPY, shorter waits: a check that everything runs; -d and -rounds still override")
	fs.BoolVar(&o.list, "list", false, "print the names of the measures and exit")
	fs.StringVar(&o.json, "json", "", "write every sample to this `file` as JSON")
	fs.StringVar(&o.perf, "perf", "", "after the counted rounds, run each proxy once more under perf record -g; files go to this `directory`")
	fs.StringVar(&legs, "legs", "direct,pgbouncer,gateway", "the legs to run, a comma-separated `list`")
	fs.StringVar(&o.gateway, "gateway", "", "gateway `binary` to measure (default: built from ./cmd/gateway)")
	fs.BoolVar(&o.keep, "keep", false, "keep the working directory with configurations and logs")
	if err := fs.Parse(args); err != nil {
		return o, err
	}
	if fs.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", fs.Arg(0))
	}
	given := map[string]bool{}
	fs.Visit(func(f *flag.Flag) { given[f.Name] = true })
	if o.quick && !given["d"] {
		o.duration = time.Second
	}
	if o.quick && !given["rounds"] {
		o.rounds = 1
	}
	if o.duration < time.Second || o.duration%time.Second != 0 {
		return o, fmt.Errorf("-d %v: pgbench runs for whole seconds, at least 1s", o.duration)
	}
	if o.rounds < 1 {
		return o, fmt.Errorf("-rounds %d: at least 1", o.rounds)
	}
	if only != "" {
		re, err := regexp.Compile(only)
		if err != nil {
			return o, fmt.Errorf("-only: %w", err)
		}
		o.only = re
	}
	for _, name := range strings.Split(legs, ",") {
		l := leg(strings.TrimSpace(name))
		if !slices.Contains(allLegs, l) {
			return o, fmt.Errorf("-legs: %q is none of direct, pgbouncer, gateway", name)
		}
		if !slices.Contains(o.legs, l) {
			o.legs = append(o.legs, l)
		}
	}
	return o, nil
}

func main() {
	// Pdeathsig of a child is tied to the thread that started it; the main
	// thread lives as long as the process.
	runtime.LockOSThread()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP)
	o, err := parseOptions(os.Args[1:], os.Getenv, os.Stderr)
	switch {
	case errors.Is(err, flag.ErrHelp):
		os.Exit(0)
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v (go run ./bench -h lists the flags)\n", err)
		os.Exit(2)
	}
	err = run(ctx, o, os.Stdout)
	interrupted := ctx.Err() != nil
	stop()
	switch {
	case interrupted:
		fmt.Fprintln(os.Stderr, "bench: interrupted; everything it started is stopped")
		os.Exit(130)
	case err != nil:
		fmt.Fprintf(os.Stderr, "bench: %v\n", err)
		os.Exit(1)
	}
}
