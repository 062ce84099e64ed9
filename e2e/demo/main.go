// Command demo shows a writer's first sync through the gateway on real parts:
// PostgreSQL servers that the writer cannot reach, sshd as a bastion, a stand-in
// for RDS that verifies IAM tokens itself, and the gateway between them. It
// checks every claim it prints and exits 1 when one does not hold. With KEEP=1
// everything stays up until Ctrl-C.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"pggateway/e2e/kit"
)

func main() { os.Exit(run()) }

func run() int {
	// The first Ctrl-C ends what goes on and cleans up; a second one kills us, and our parts with us.
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	go func() { <-ctx.Done(); stop() }()

	started := time.Now()
	scope := kit.NewScope("demo")
	defer scope.Close()
	defer kit.Hold()()
	err := scope.Try(func() error {
		s := &show{t: scope}
		if err := s.play(ctx); err != nil {
			return err
		}
		s.say("\nEvery row, every address and every refusal above was checked. It took %.0f s.", time.Since(started).Seconds())
		if os.Getenv("KEEP") != "" {
			s.keep(ctx)
		}
		return nil
	})
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "\ndemo: interrupted; everything it started is being ended")
		return 130
	default:
		var fatal kit.Fatal
		if !errors.As(err, &fatal) {
			_ = scope.Try(func() error { scope.Fatalf("%v", err); return nil }) // has the parts show their logs
		}
		fmt.Fprintf(os.Stderr, "\ndemo: FAILED: %v\n", err)
		return 1
	}
}

// show tells the story.
type show struct {
	t kit.T
	p *parts
}

func (s *show) say(format string, args ...any) { fmt.Printf(format+"\n", args...) }

func (s *show) play(ctx context.Context) error {
	s.say("Starting three PostgreSQL servers, an sshd, a stand-in for RDS and the gateway …")
	s.p = startDatabases(s.t)
	s.p.startGateway(s.t)
	s.say("\nThe gateway runs with this gateway.yaml:\n\n%s", indent(s.p.text(s.t), "    "))
	s.say("The sync worker is given: host %s, port %d, database, user %s, password. It runs on %s.",
		s.p.gateway.Host(), s.p.gateway.Port(), writerName, writerAddress)

	tables := dataset()
	total := load{}
	for i, w := range ways(s.p) {
		s.say("\n%d. %s: %s", i+1, strings.ToUpper(w.database), w.title)
		if err := ctx.Err(); err != nil {
			return err
		}
		moved, err := s.way(ctx, w, tables)
		if err != nil {
			return fmt.Errorf("%s: %w", w.database, err)
		}
		total.add(moved)
	}
	s.say("\nAll three: %s", total)
	return nil
}

// keep waits for Ctrl-C.
func (s *show) keep(ctx context.Context) {
	s.say("\nIt stays up until Ctrl-C. Look around (orders, billing, events):\n")
	s.say("    PGPASSWORD=%s psql -h %s -p %d -U %s -c '\\dt+ %s.*' orders",
		s.p.writerPassword, s.p.gateway.Host(), s.p.gateway.Port(), writerName, schema)
	s.say("\nThe configuration: %s", s.p.gateway.Config)
	<-ctx.Done()
	s.say("\nEnding everything.")
}

func indent(text, by string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		if strings.TrimSpace(line) != "" {
			b.WriteString(by)
		}
		b.WriteString(line)
	}
	return b.String()
}
