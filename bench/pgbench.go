package main

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// pgbenchJob is one run of pgbench.
type pgbenchJob struct {
	args    []string // what to run: -S, -f script, -M, -C
	clients int
	seconds int
}

// pgbenchResult is what pgbench says about a run.
type pgbenchResult struct {
	transactions int64
	failed       int64
	latency      time.Duration // mean
	tps          float64       // without the time of the first logins; with -C, with all logins
}

// runPgbench runs it to its end, at most 30 s longer than asked. A run of which
// a client was aborted or a transaction failed is an error.
func runPgbench(ctx context.Context, program, dir string, l login, job pgbenchJob) (pgbenchResult, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Duration(job.seconds+30)*time.Second)
	defer cancel()
	argv := append([]string{
		program, "-n", "-c", strconv.Itoa(job.clients), "-j", strconv.Itoa(min(job.clients, 2)),
		"-T", strconv.Itoa(job.seconds), "-s", strconv.Itoa(scale),
	}, job.args...)
	out, err := clientCommand(ctx, l, dir, argv...).Output()
	if err != nil {
		if ctx.Err() != nil {
			err = ctx.Err()
		}
		return pgbenchResult{}, fmt.Errorf("pgbench: %w%s", err, complaint(err))
	}
	r, err := parsePgbench(string(out))
	if err != nil {
		return r, fmt.Errorf("pgbench: %w", err)
	}
	if r.failed > 0 {
		return r, fmt.Errorf("pgbench: %d transactions failed", r.failed)
	}
	return r, nil
}

// complaint is the first error line that a program left on its stderr.
func complaint(err error) string {
	var exit *exec.ExitError
	if !errors.As(err, &exit) {
		return ""
	}
	for line := range strings.Lines(string(exit.Stderr)) {
		if strings.Contains(line, "error") || strings.Contains(line, "FATAL") || strings.Contains(line, "ERROR") {
			return ": " + strings.TrimSpace(line)
		}
	}
	return ""
}

// errNoTransactions happens on a busy machine.
var errNoTransactions = errors.New("no transaction was processed: the first logins took all the time")

var (
	rxTransactions = regexp.MustCompile(`(?m)^number of transactions actually processed: (\d+)`)
	rxFailed       = regexp.MustCompile(`(?m)^number of failed transactions: (\d+)`)
	rxLatency      = regexp.MustCompile(`(?m)^latency average = ([0-9.]+) ms`)
	rxTPS          = regexp.MustCompile(`(?m)^tps = ([0-9.]+) \((?:without initial connection time|including reconnection times)\)`)
)

// parsePgbench reads the summary as PostgreSQL 14 and later print it.
func parsePgbench(out string) (pgbenchResult, error) {
	var r pgbenchResult
	if strings.Contains(out, "aborted; the above results are incomplete") {
		return r, errors.New("the run was aborted")
	}
	number := func(rx *regexp.Regexp, what string) (float64, error) {
		m := rx.FindStringSubmatch(out)
		if m == nil {
			return 0, fmt.Errorf("no %s in its output", what)
		}
		return strconv.ParseFloat(m[1], 64)
	}
	n, err := number(rxTransactions, "number of transactions")
	if err != nil {
		return r, err
	}
	if n == 0 {
		return r, errNoTransactions
	}
	r.transactions = int64(n)
	if rxFailed.MatchString(out) {
		f, err := number(rxFailed, "number of failed transactions")
		if err != nil {
			return r, err
		}
		r.failed = int64(f)
	}
	ms, err := number(rxLatency, "mean latency")
	if err != nil {
		return r, err
	}
	r.latency = time.Duration(ms * float64(time.Millisecond))
	r.tps, err = number(rxTPS, "tps")
	return r, err
}
