package main

import (
	"io"
	"math"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestMedian(t *testing.T) {
	for _, tc := range []struct {
		in   []float64
		want float64
	}{
		{[]float64{7}, 7},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		before := append([]float64(nil), tc.in...)
		if got := median(tc.in); got != tc.want {
			t.Errorf("median(%v) = %v, want %v", tc.in, got, tc.want)
		}
		for i := range before {
			if tc.in[i] != before[i] {
				t.Fatalf("median reordered its argument: %v", tc.in)
			}
		}
	}
	if !math.IsNaN(median(nil)) {
		t.Error("the median of nothing is a number")
	}
	if got := spread([]float64{90, 100, 120}); got != 0.3 {
		t.Errorf("spread = %v, want 0.3", got)
	}
}

func TestCompare(t *testing.T) {
	// The quotient of medians (20/10) is neither quotient within a round's
	// extremes, so mixing the two up shows.
	a := map[int]float64{1: 10, 2: 20, 3: 90}
	b := map[int]float64{1: 10, 2: 5, 3: 30}
	got, ok := compare(a, b)
	if want := (ratio{Median: 2, Min: 1, Max: 4, Rounds: 3}); !ok || got != want {
		t.Errorf("got %+v %v, want %+v", got, ok, want)
	}
	// Only rounds that both legs have count.
	got, ok = compare(map[int]float64{1: 10, 2: 1000}, map[int]float64{1: 5, 3: 1})
	if want := (ratio{Median: 2, Min: 2, Max: 2, Rounds: 1}); !ok || got != want {
		t.Errorf("got %+v %v, want %+v", got, ok, want)
	}
	if _, ok := compare(a, nil); ok {
		t.Error("a ratio against nothing")
	}
	if _, ok := compare(a, map[int]float64{1: 0}); ok {
		t.Error("a ratio against zero")
	}
}

func TestGoals(t *testing.T) {
	cpu := func(l leg, round int, v float64) sample {
		return sample{Measure: "select/simple/16", Leg: l, Round: round, CPU: v}
	}
	g := goal{measure: "select/simple/16", figure: "cpu", against: pgbouncer, bound: 1.15}
	for name, tc := range map[string]struct {
		samples []sample
		verdict string
	}{
		"met at the bound": {[]sample{cpu(gateway, 1, 115), cpu(pgbouncer, 1, 100)}, "met"},
		"missed":           {[]sample{cpu(gateway, 1, 116), cpu(pgbouncer, 1, 100)}, "**NOT met**"},
		"one leg missing":  {[]sample{cpu(gateway, 1, 1)}, "–"},
		"a failed round does not count as good": {
			[]sample{cpu(gateway, 1, 1), cpu(pgbouncer, 1, 100), {Measure: "select/simple/16", Leg: gateway, Round: 2, Error: "gone"}},
			"–",
		},
	} {
		if _, got := g.judge(results{tc.samples}); got != tc.verdict {
			t.Errorf("%s: %q, want %q", name, got, tc.verdict)
		}
	}
	if g := (goal{bound: 0.95, atLeast: true}); g.met(0.94) || !g.met(0.95) {
		t.Error("at least 0.95 is misjudged")
	}
	// A goal for a measure that does not exist would never be reported.
	known := map[string]bool{}
	for _, m := range allMeasures("x") {
		known[m.name] = true
	}
	for _, g := range goals() {
		if !known[g.measure] {
			t.Errorf("goal for %q, which nothing measures", g.measure)
		}
	}
}

func TestReport(t *testing.T) {
	b := &bench{o: options{legs: allLegs}, measures: allMeasures("x")}
	for _, m := range b.measures {
		for _, l := range allLegs {
			if m.has(l) {
				b.samples = append(b.samples, sample{Measure: m.name, Leg: l, Round: 1, Rate: 100, LatencyMS: 1, CPU: 10, KiB: 3})
			}
		}
	}
	b.samples = append(b.samples, sample{Measure: "copy/in", Leg: gateway, Round: 2, Error: "connection lost"})
	text := b.report()
	for _, want := range []string{"| -S, simple, 16 | 100 | 100 | 100 |", "idle client, TLS", "COPY in, gateway: connection lost", "**NOT met**"} {
		if !strings.Contains(text, want) {
			t.Errorf("the report lacks %q:\n%s", want, text)
		}
	}
	// Every row of a table has as many cells as its head.
	cells := 0
	for row := range strings.Lines(text) {
		n := strings.Count(row, " |")
		switch {
		case !strings.HasPrefix(row, "|"):
			cells = 0
		case cells == 0:
			cells = n
		case n != cells:
			t.Errorf("%d cells instead of %d: %s", n, cells, row)
		}
	}
}

// The clock must be the process's, of all threads: it agrees with getrusage.
func TestProcessCPU(t *testing.T) {
	var ru syscall.Rusage
	for deadline := time.Now().Add(50 * time.Millisecond); time.Now().Before(deadline); {
	}
	low := rusage(t, &ru)
	got, err := processCPU(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	high := rusage(t, &ru)
	const tick = 10 * time.Millisecond
	if got < low-tick || got > high+tick {
		t.Errorf("cpu %v, getrusage says between %v and %v", got, low, high)
	}
	if got <= 0 {
		t.Error("no CPU time used")
	}
}

func rusage(t *testing.T, ru *syscall.Rusage) time.Duration {
	t.Helper()
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, ru); err != nil {
		t.Fatal(err)
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

func TestParseCPUTimes(t *testing.T) {
	a := parseCPUTimes("cpu  100 0 50 800 10 0 0 40 7 0")
	if want := (cpuTimes{total: 1000, steal: 40}); a != want {
		t.Fatalf("got %+v, want %+v", a, want)
	}
	if got := a.stealUntil(cpuTimes{total: 1200, steal: 60}); got != 0.1 {
		t.Errorf("steal %v, want 0.1", got)
	}
}

func TestOptions(t *testing.T) {
	none := func(string) string { return "" }
	o, err := parseOptions([]string{"-quick", "-d", "3s", "-legs", "gateway, direct,gateway"}, none, io.Discard)
	if err != nil || o.duration != 3*time.Second || o.rounds != 1 || len(o.legs) != 2 {
		t.Errorf("got %+v, %v", o, err)
	}
	o, err = parseOptions(nil, func(string) string { return "/opt/pgbouncer" }, io.Discard)
	if err != nil || o.bouncer != "/opt/pgbouncer" {
		t.Errorf("PGBOUNCER is not heeded: %+v, %v", o, err)
	}
	for _, bad := range [][]string{{"-d", "1500ms"}, {"-d", "0s"}, {"-rounds", "0"}, {"-only", "("}, {"-legs", "odyssey"}, {"extra"}, {"-nosuch"}} {
		if _, err := parseOptions(bad, none, io.Discard); err == nil {
			t.Errorf("%v was accepted", bad)
		}
	}
}
