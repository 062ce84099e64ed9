package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"pggateway/e2e/kit"
)

// bench is one run: the parts it started and the samples it took.
type bench struct {
	o        options
	out      io.Writer
	dir      string     // working directory; removed at the end
	scope    *kit.Scope // owns PostgreSQL
	pg       *postgres
	fleet    *fleet
	copy     *copyData
	measures []measure
	samples  []sample
	about    about
}

// about is what a reader of the figures must know of the machine and the run.
type about struct {
	Started    time.Time      `json:"started"`
	CPUs       int            `json:"cpus"`
	Load       string         `json:"load_at_start"` // /proc/loadavg's three means
	Busy       bool           `json:"busy_at_start"` // the machine had other work: figures are noise
	Steal      float64        `json:"steal"`         // share of CPU time the hypervisor took, over the run
	Go         string         `json:"go"`
	PostgreSQL string         `json:"postgresql"`
	PgBouncer  string         `json:"pgbouncer,omitempty"`
	Gateway    string         `json:"gateway,omitempty"`
	TLS        map[leg]string `json:"tls,omitempty"` // what psql negotiates with each leg
	Seconds    float64        `json:"seconds_per_run"`
	Rounds     int            `json:"rounds"`
}

// run measures and reports. It stops everything it started before it returns.
func run(ctx context.Context, o options, out io.Writer) (err error) {
	b := &bench{o: o, out: out, scope: kit.NewScope("bench")}
	for _, m := range allMeasures("transaction.sql") {
		if o.only == nil || o.only.MatchString(m.name) {
			b.measures = append(b.measures, m)
		}
	}
	if len(b.measures) == 0 {
		return fmt.Errorf("-only %s matches no measure; -list names them", o.only)
	}
	if o.list {
		for _, m := range b.measures {
			fmt.Fprintln(out, m.name)
		}
		return nil
	}
	if err := b.look(ctx); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, b.close()) }()
	defer func() { // the kit gives up by panicking
		switch p := recover().(type) {
		case nil:
		case kit.Fatal:
			err = p
		default:
			panic(p)
		}
	}()
	if err := b.setUp(ctx); err != nil {
		return err
	}
	b.say("%d measures, %d legs: about %v", len(b.measures), len(o.legs), estimate(o, b.measures).Round(10*time.Second))
	before := readCPUTimes()
	for i, m := range b.measures {
		if err := b.runMeasure(ctx, m, i+1); err != nil {
			return err
		}
	}
	b.about.Steal = before.stealUntil(readCPUTimes())
	fmt.Fprintf(out, "\n%s", b.report())
	if o.json != "" {
		return b.writeJSON(o.json)
	}
	return nil
}

// look notes the state of the machine before anything of ours loads it.
func (b *bench) look(ctx context.Context) error {
	b.about = about{
		Started: time.Now().UTC().Truncate(time.Second), CPUs: runtime.NumCPU(), Go: runtime.Version(),
		Seconds: b.o.duration.Seconds(), Rounds: b.o.rounds, TLS: map[leg]string{},
	}
	b.about.Load, b.about.Busy = loadAverage()
	if b.about.Busy {
		fmt.Fprintf(b.out, "warning: the machine has other work (load %s): expect noise\n", b.about.Load)
	}
	if slices.Contains(b.o.legs, pgbouncer) {
		v, err := bouncerVersion(ctx, b.o.bouncer)
		if err != nil {
			return err
		}
		b.about.PgBouncer = v
	}
	return nil
}

// setUp starts PostgreSQL, builds the gateway and prepares the data.
func (b *bench) setUp(ctx context.Context) error {
	if err := raiseFiles(4096); err != nil {
		return err
	}
	acc, err := serverAccount()
	if err != nil {
		return err
	}
	if b.dir, err = os.MkdirTemp("", "gateway-bench-"); err != nil {
		return err
	}
	// The account of the servers writes here; what it writes is its own alone.
	if err := errors.Join(os.Chmod(b.dir, 0o755), acc.own(b.dir)); err != nil {
		return err
	}
	binary := b.o.gateway
	if slices.Contains(b.o.legs, gateway) {
		if binary == "" {
			b.say("building the gateway")
			binary = kit.GatewayBinary(b.scope)
		}
		if binary, err = filepath.Abs(binary); err != nil {
			return err
		}
		if b.about.Gateway, err = gatewayVersion(ctx, binary); err != nil {
			return err
		}
	}
	keys, err := newKeyPair(b.dir, acc)
	if err != nil {
		return err
	}
	b.say("starting PostgreSQL, pgbench -i -s %d", scale)
	if b.pg, err = startPostgres(ctx, b.scope, b.dir, keys); err != nil {
		return err
	}
	b.about.PostgreSQL = b.pg.version
	b.fleet = &fleet{dir: b.dir, acc: acc, keys: keys, pg: b.pg, gateway: binary, bouncer: b.o.bouncer, version: b.about.PgBouncer, running: map[string]*target{}}
	if err := os.WriteFile(filepath.Join(b.dir, "transaction.sql"), []byte(transactionScript), 0o644); err != nil {
		return err
	}
	if slices.ContainsFunc(b.measures, func(m measure) bool { return m.kind == kindCopy }) {
		size := int64(copyBytes)
		if b.o.quick {
			size = copyQuick
		}
		b.say("making %d MB of csv", size/1e6)
		if b.copy, err = prepareCopy(ctx, b.pg, b.dir, size); err != nil {
			return err
		}
	}
	return b.firstContact(ctx)
}

// firstContact starts every leg and notes what TLS it negotiates. A leg that
// does not answer now ends the run: it would be missing from every row.
func (b *bench) firstContact(ctx context.Context) error {
	for _, l := range b.o.legs {
		t, err := b.fleet.get(ctx, l, variant{})
		if err != nil {
			return fmt.Errorf("%s: %w", l, err)
		}
		at := t.login
		at.tls = true
		out, err := clientCommand(ctx, at, b.dir, b.pg.psql, "-X", "-c", `\conninfo`).Output()
		if err != nil {
			return fmt.Errorf("%s over TLS: %w%s", l, err, complaint(err))
		}
		b.about.TLS[l] = negotiated(string(out))
	}
	return nil
}

// negotiated is protocol and cipher as psql's \conninfo shows them.
func negotiated(conninfo string) string {
	_, s, ok := strings.Cut(conninfo, "SSL connection (protocol: ")
	if !ok {
		return "unknown"
	}
	s, _, _ = strings.Cut(s, ", compression")
	s, _, _ = strings.Cut(s, ", bits") // PostgreSQL 13's psql
	return strings.Replace(s, ", cipher: ", " ", 1)
}

// runMeasure takes its rounds, the legs in turn. A leg that fails is left out
// of the measure's further rounds; only an interruption ends the run.
func (b *bench) runMeasure(ctx context.Context, m measure, number int) error {
	failed := map[leg]bool{}
	rounds := m.rounds(b.o.rounds)
	for round := 1; round <= rounds; round++ {
		line := fmt.Sprintf("[%d/%d] %s  round %d/%d ", number, len(b.measures), m.name, round, rounds)
		for _, l := range b.o.legs {
			if failed[l] || !m.has(l) {
				continue
			}
			s, err := b.take(ctx, m, l)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			s.Round = round
			if err != nil {
				failed[l], s.Error = true, err.Error()
			}
			b.samples = append(b.samples, s)
			line += fmt.Sprintf(" | %s %s", l, s.brief(m.kind))
		}
		fmt.Fprintln(b.out, line)
	}
	if b.o.perf == "" || m.kind == kindIdle {
		return nil
	}
	for _, l := range b.o.legs {
		if l == direct || failed[l] {
			continue
		}
		if err := b.profile(ctx, m, l); err != nil {
			return err
		}
	}
	return nil
}

// profile runs the measure once more, not counted, under perf record.
func (b *bench) profile(ctx context.Context, m measure, l leg) error {
	t, err := b.fleet.get(ctx, l, m.variant)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(b.o.perf, 0o755); err != nil {
		return err
	}
	file := filepath.Join(b.o.perf, strings.ReplaceAll(m.name, "/", "-")+"."+string(l)+".data")
	perf := exec.CommandContext(ctx, "perf", "record", "-q", "-g", "-F", "499", "-o", file, "-p", fmt.Sprint(t.proc.pid()))
	perf.Stderr = os.Stderr
	if err := perf.Start(); err != nil {
		return fmt.Errorf("-perf: %w (apt-get install linux-perf)", err)
	}
	_, err = b.take(ctx, m, l)
	_ = perf.Process.Signal(os.Interrupt) // perf writes its file and ends with a signal's status
	_ = perf.Wait()
	if err != nil {
		return fmt.Errorf("%s under perf: %w", m.name, err)
	}
	b.say("perf report -i %s", file)
	return nil
}

func (b *bench) say(format string, args ...any) {
	fmt.Fprintf(b.out, "# "+format+"\n", args...)
}

// close stops the proxies, then PostgreSQL, and removes the working directory.
func (b *bench) close() error {
	if b.fleet != nil {
		b.fleet.stop()
	}
	b.scope.Close()
	if b.dir == "" {
		return nil
	}
	if b.o.keep {
		b.say("kept %s", b.dir)
		return nil
	}
	return os.RemoveAll(b.dir)
}
