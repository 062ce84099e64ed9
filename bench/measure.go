package main

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// kind says which figures a measure yields, and in what units.
type kind string

const (
	kindQuery   kind = "query"   // transactions/s, latency, CPU µs per transaction
	kindConnect kind = "connect" // logins/s, latency, CPU µs per login
	kindCopy    kind = "copy"    // MB/s, CPU s per GB
	kindIdle    kind = "idle"    // KiB per client
)

// measure is one row of the report.
type measure struct {
	name    string // what -only matches
	title   string
	kind    kind
	variant variant
	tls     bool     // client side
	args    []string // pgbench's
	clients int
	in      bool // COPY in
}

// sample is one leg's outcome in one round. Units by kind, see there.
type sample struct {
	Measure   string  `json:"measure"`
	Leg       leg     `json:"leg"`
	Round     int     `json:"round"`                // from 1
	Rate      float64 `json:"rate,omitempty"`       // transactions/s, logins/s or MB/s
	LatencyMS float64 `json:"latency_ms,omitempty"` // mean, as pgbench says
	CPU       float64 `json:"cpu,omitempty"`        // proxy's own: µs per transaction or login, s per GB
	Count     int64   `json:"count,omitempty"`      // transactions, logins, bytes or clients
	CPUTotal  float64 `json:"cpu_total_s,omitempty"`
	KiB       float64 `json:"kib_per_client,omitempty"`
	RSSBefore int64   `json:"rss_before,omitempty"` // bytes
	RSSAfter  int64   `json:"rss_after,omitempty"`  // bytes
	Error     string  `json:"error,omitempty"`      // why there is none
}

// allMeasures are the rows in the order of the report. script is the file with
// the read-write transaction.
func allMeasures(script string) []measure {
	var list []measure
	for _, mode := range []string{"simple", "extended", "prepared"} {
		for _, clients := range []int{1, 16, 64} {
			m := measure{
				name: fmt.Sprintf("select/%s/%d", mode, clients), title: fmt.Sprintf("-S, %s, %d", mode, clients),
				kind: kindQuery, args: []string{"-S", "-M", mode}, clients: clients,
			}
			if mode == "prepared" {
				m.variant.prepares = true
			}
			list = append(list, m)
		}
	}
	return append(list,
		measure{name: "transaction/16", title: "begin; insert; select 1; commit, 16", kind: kindQuery, args: []string{"-f", script}, clients: 16},
		measure{name: "tls/client/16", title: "-S, TLS clients, 16", kind: kindQuery, tls: true, args: []string{"-S"}, clients: 16},
		measure{name: "tls/both/16", title: "-S, TLS on both sides, 16", kind: kindQuery, tls: true, variant: variant{upstreamTLS: true}, args: []string{"-S"}, clients: 16},
		measure{name: "connect/plain/16", title: "a login per transaction, 16", kind: kindConnect, args: []string{"-S", "-C"}, clients: 16},
		measure{name: "connect/tls/16", title: "a login per transaction, TLS, 16", kind: kindConnect, tls: true, args: []string{"-S", "-C"}, clients: 16},
		measure{name: "copy/in", title: "COPY in", kind: kindCopy, in: true},
		measure{name: "copy/out", title: "COPY out", kind: kindCopy},
		measure{name: "idle/plain", title: "idle client, plaintext", kind: kindIdle, variant: variant{fresh: true}},
		measure{name: "idle/tls", title: "idle client, TLS", kind: kindIdle, tls: true, variant: variant{fresh: true}},
	)
}

// transactionScript is the read-write transaction: four round trips.
const transactionScript = `begin;
insert into bench_events (client, payload) values (:client_id, 'a payload of some sixty bytes, as a small event would have it');
select 1;
commit;
`

// has reports whether the leg takes part: direct has no memory to measure.
func (m measure) has(l leg) bool { return m.kind != kindIdle || l != direct }

// rounds is how often it runs: memory hardly varies, and takes long.
func (m measure) rounds(asked int) int {
	if m.kind == kindIdle {
		return min(asked, 1)
	}
	return asked
}

// seconds is the length of one pgbench run. Its clock starts before the first
// logins, and 64 of them take up to half a second.
func (m measure) seconds(asked time.Duration) int {
	s := int(asked / time.Second)
	if m.clients >= 64 {
		s++
	}
	return s
}

// estimate is about how long the measures take, set-up not counted.
func estimate(o options, measures []measure) time.Duration {
	var sum time.Duration
	for _, m := range measures {
		var one time.Duration
		switch m.kind {
		case kindIdle:
			one = 18 * time.Second
			if o.quick {
				one = 9 * time.Second
			}
		case kindCopy:
			one = 2 * time.Second
		default:
			one = time.Duration(m.seconds(o.duration))*time.Second + 400*time.Millisecond
		}
		for _, l := range o.legs {
			if m.has(l) {
				sum += one * time.Duration(m.rounds(o.rounds))
			}
		}
	}
	return sum
}

// take measures one leg once.
func (b *bench) take(ctx context.Context, m measure, l leg) (sample, error) {
	s := sample{Measure: m.name, Leg: l}
	t, err := b.fleet.get(ctx, l, m.variant)
	if err != nil {
		return s, err
	}
	if m.variant.fresh {
		defer b.fleet.drop(t)
	}
	at := *t
	at.login.tls = m.tls
	switch m.kind {
	case kindCopy:
		err = b.takeCopy(ctx, m, &at, &s)
	case kindIdle:
		err = b.takeIdle(ctx, m, &at, &s)
	default:
		err = b.takePgbench(ctx, m, &at, &s)
	}
	if err != nil && t.proc != nil && !t.proc.alive() {
		err = fmt.Errorf("%w; the proxy ended: %s", err, t.proc.lastWords())
	}
	return s, err
}

func (b *bench) takePgbench(ctx context.Context, m measure, t *target, s *sample) error {
	if m.name == "transaction/16" {
		if _, err := b.pg.direct().query(ctx, "truncate bench_events"); err != nil {
			return err
		}
	}
	job := pgbenchJob{args: m.args, clients: m.clients, seconds: m.seconds(b.o.duration)}
	var r pgbenchResult
	once := func() (err error) {
		r, err = runPgbench(ctx, b.pg.pgbench, b.dir, t.login, job)
		return err
	}
	used, err := t.watchCPU(once)
	if errors.Is(err, errNoTransactions) {
		job.seconds += 2
		used, err = t.watchCPU(once)
	}
	if err != nil {
		return err
	}
	s.Rate, s.Count = r.tps, r.transactions
	s.LatencyMS = float64(r.latency) / float64(time.Millisecond)
	s.CPUTotal = used.Seconds()
	s.CPU = used.Seconds() * 1e6 / float64(r.transactions)
	return nil
}

func (b *bench) takeCopy(ctx context.Context, m measure, t *target, s *sample) error {
	what := "bench_copy_out to '/dev/null'"
	if m.in {
		what = "bench_copy_in from '" + b.copy.file + "'"
		if _, err := b.pg.direct().query(ctx, "truncate bench_copy_in"); err != nil {
			return err
		}
	}
	var took time.Duration
	used, err := t.watchCPU(func() (err error) {
		took, err = runPsqlCopy(ctx, b.pg.psql, b.dir, t.login, what, b.copy.rows)
		return err
	})
	if err != nil {
		return err
	}
	s.Count = b.copy.size
	s.Rate = float64(b.copy.size) / 1e6 / took.Seconds()
	s.CPUTotal = used.Seconds()
	s.CPU = used.Seconds() / (float64(b.copy.size) / 1e9)
	return nil
}

func (b *bench) takeIdle(ctx context.Context, m measure, t *target, s *sample) error {
	plan := idlePlan{first: 200, clients: 4000, settle: 5 * time.Second}
	if m.tls {
		plan.clients = 1000
	}
	if b.o.quick {
		plan.settle = 2 * time.Second // fewer clients would measure a heap's state, not the clients
	}
	r, err := measureIdle(ctx, t, plan)
	if err != nil {
		return err
	}
	s.Count, s.KiB = int64(plan.clients), r.perClient/1024
	s.RSSBefore, s.RSSAfter = r.before, r.after
	return nil
}

// watchCPU runs do and gives the CPU time that the target's process used
// meanwhile; zero for direct.
func (t *target) watchCPU(do func() error) (time.Duration, error) {
	if t.proc == nil {
		return 0, do()
	}
	before, err := t.proc.cpu()
	if err != nil {
		return 0, err
	}
	if err := do(); err != nil {
		return 0, err
	}
	after, err := t.proc.cpu()
	return after - before, err
}
