package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/term"

	"pggateway/check"
	"pggateway/config"
)

// checksAtOnce bounds how many logins are checked at the same time.
const checksAtOnce = 8

func newCheck(o *options) *cobra.Command {
	var asJSON bool
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "check [UPSTREAM...]",
		Short: "Walk the way to each upstream and print a checklist with remedies",
		Long: `Walk the way to each upstream, or to those named, as the gateway does, and print
a checklist: secrets, name, address, bastion, TLS, login, version, privileges and
the address that the database sees. Each line is ok, warn or FAIL, with what to
change and where. Nothing is changed, and no gateway has to run; run it where the
gateway runs, as its user, with its environment.

Each login on an upstream is checked: the upstream's own, and those of writers.
Of a pattern, name a database that clients would ask for.

Exit code: 0 when no line is FAIL, 1 when one is, 2 for a bad configuration.`,
		Example: `  gateway check
  gateway check orders tenant_42
  gateway check --json | jq '.upstreams[] | select(.ok | not)'`,
		RunE: func(cmd *cobra.Command, names []string) error {
			if timeout <= 0 {
				return misused(cmd, "--timeout has to be more than 0")
			}
			conf, err := o.load(cmd)
			if err != nil {
				return err
			}
			subjects, err := chooseSubjects(conf, names)
			if err != nil {
				return err
			}
			ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
			defer stop()
			return runCheck(ctx, cmd, conf, subjects, timeout, asJSON)
		},
	}
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON, for machines")
	cmd.Flags().DurationVar(&timeout, "timeout", time.Minute, "give up on a login after this `DURATION`")
	return cmd
}

// chooseSubjects finds upstreams as clients do, by name, alias or pattern, and the
// logins on them; no names mean all.
func chooseSubjects(conf *config.Config, names []string) ([]*check.Subject, error) {
	var subjects []*check.Subject
	if len(names) == 0 {
		for _, u := range conf.Upstreams {
			subjects = append(subjects, check.Subjects(conf, u, "")...)
		}
		return subjects, nil
	}
	chosen := map[string]bool{}
	for _, name := range names {
		database := ""
		named, err := chooseUpstreams(conf, []string{name})
		if u := patternFor(conf, name); err != nil && u != nil {
			named, database, err = []*config.Upstream{u}, name, nil
		}
		if err != nil {
			return nil, err
		}
		u := named[0]
		if key := u.Name + "\x00" + database; !chosen[key] {
			chosen[key] = true
			subjects = append(subjects, check.Subjects(conf, u, database)...)
		}
	}
	return subjects, nil
}

// patternFor finds the pattern that a client's name is covered by, the longest one.
func patternFor(conf *config.Config, name string) *config.Upstream {
	var found *config.Upstream
	for _, u := range conf.Upstreams {
		if u.Pattern() && config.MatchPattern(u.Name, name) && (found == nil || len(u.Name) > len(found.Name)) {
			found = u
		}
	}
	return found
}

func runCheck(ctx context.Context, cmd *cobra.Command, conf *config.Config, subjects []*check.Subject, timeout time.Duration, asJSON bool) error {
	targets := newTargets(ctx, conf, zap.NewNop())
	defer targets.close()
	show := newProgress(cmd.ErrOrStderr(), len(subjects))
	var reports []*check.Report
	var failed error // to write
	options := check.Options{
		Config: conf, Upstream: targets.deps, Ahead: targets.account.Ahead, Timeout: timeout, AtOnce: checksAtOnce,
	}
	check.Run(ctx, options, subjects, func(r *check.Report) {
		reports = append(reports, r)
		show.clear()
		if !asJSON && failed == nil {
			failed = say(cmd, checklist(r))
		}
		show.done(len(reports))
	})
	show.clear()
	switch {
	case failed != nil:
		return failed
	case ctx.Err() != nil:
		return wrong(fmt.Errorf("interrupted: %d of %d checked", len(reports), len(subjects)))
	}
	text := verdict(reports)
	if asJSON {
		b, err := json.MarshalIndent(document(reports), "", "  ")
		if err != nil {
			return wrong(err)
		}
		text = string(b) + "\n"
	}
	if err := say(cmd, text); err != nil {
		return err
	}
	if slices.ContainsFunc(reports, (*check.Report).Failed) {
		return &failure{code: exitWrong}
	}
	return nil
}

// checked is one report in JSON.
type checked struct {
	OK bool `json:"ok"` // no line is fail
	*check.Report
}

// document is the JSON of all reports (docs/check.md).
func document(reports []*check.Report) any {
	d := struct {
		OK        bool      `json:"ok"`
		Upstreams []checked `json:"upstreams"`
	}{OK: true, Upstreams: []checked{}}
	for _, r := range reports {
		d.OK = d.OK && !r.Failed()
		d.Upstreams = append(d.Upstreams, checked{!r.Failed(), r})
	}
	return d
}

// checklist is one report for people.
func checklist(r *check.Report) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s (%s, %s) as %s", r.Upstream, r.Kind, hostPort(r.Host, r.Port), r.Role)
	if r.Database != r.Upstream {
		fmt.Fprintf(&b, ", database %s", r.Database)
	}
	b.WriteString("\n")
	var skipped []string
	for _, l := range r.Lines {
		mark := map[check.Status]string{check.OK: "ok", check.Warn: "warn", check.Fail: "FAIL"}[l.Status]
		if mark == "" {
			skipped = append(skipped, string(l.Step))
			continue
		}
		fmt.Fprintf(&b, "  %-5s %-12s %s\n", mark, l.Step, oneLine(l.Text))
		if l.Remedy != "" {
			for _, line := range wrap(oneLine(l.Remedy), 90) {
				fmt.Fprintf(&b, "        %-12s %s\n", "", line)
			}
		}
	}
	if len(skipped) > 0 {
		fmt.Fprintf(&b, "  -     not looked at: %s\n", strings.Join(skipped, ", "))
	}
	b.WriteString("\n")
	return b.String()
}

// oneLine keeps what servers say from looking like lines of ours.
func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// wrap breaks a text into lines of at most so many characters, where it can.
func wrap(text string, width int) []string {
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		switch {
		case line == "":
			line = word
		case len(line)+1+len(word) > width:
			lines, line = append(lines, line), word
		default:
			line += " " + word
		}
	}
	return append(lines, line)
}

// verdict is the last line.
func verdict(reports []*check.Report) string {
	failed, warned := 0, 0
	for _, r := range reports {
		switch {
		case r.Failed():
			failed++
		case r.Warned():
			warned++
		}
	}
	return fmt.Sprintf("%s checked: %d ok, %d with warnings, %d that cannot be used as configured\n",
		count(len(reports), "login"), len(reports)-failed-warned, warned, failed)
}

// progress tells who waits at a terminal how far it is.
type progress struct {
	w   io.Writer // nil: nobody does
	all int
}

func newProgress(w io.Writer, all int) *progress {
	p := &progress{all: all}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		p.w = w
	}
	p.done(0)
	return p
}

func (p *progress) done(n int) {
	if p.w != nil && n < p.all {
		fmt.Fprintf(p.w, "checking: %d of %d", n, p.all)
	}
}

func (p *progress) clear() {
	if p.w != nil {
		fmt.Fprint(p.w, "\r\x1b[K")
	}
}
