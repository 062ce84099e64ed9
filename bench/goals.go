package main

import "fmt"

// goal is what the gateway is built to reach in one measure.
type goal struct {
	measure string
	figure  string // "cpu", "rate" or "kib"
	against leg    // empty: the figure itself, not a ratio
	bound   float64
	atLeast bool // otherwise: at most
}

// goals: the CPU bounds are for 16 clients, plaintext and TLS apart.
func goals() []goal {
	return []goal{
		{measure: "select/simple/16", figure: "cpu", against: pgbouncer, bound: 1.15},
		{measure: "select/extended/16", figure: "cpu", against: pgbouncer, bound: 1.3},
		{measure: "select/prepared/16", figure: "cpu", against: pgbouncer, bound: 1.3},
		{measure: "transaction/16", figure: "cpu", against: pgbouncer, bound: 1.15},
		{measure: "tls/client/16", figure: "cpu", against: pgbouncer, bound: 1.0},
		{measure: "copy/in", figure: "rate", against: direct, bound: 0.95, atLeast: true},
		{measure: "copy/out", figure: "rate", against: direct, bound: 0.95, atLeast: true},
		{measure: "connect/tls/16", figure: "rate", against: pgbouncer, bound: 1.0, atLeast: true},
		{measure: "idle/plain", figure: "kib", bound: 1.5},
		{measure: "idle/tls", figure: "kib", bound: 7},
	}
}

// text is the goal in words.
func (g goal) text() string {
	sign := "≤"
	if g.atLeast {
		sign = "≥"
	}
	switch g.figure {
	case "kib":
		return fmt.Sprintf("memory %s %g KiB", sign, g.bound)
	case "cpu":
		return fmt.Sprintf("CPU per transaction %s %.2f × %s", sign, g.bound, g.against.title())
	default:
		return fmt.Sprintf("rate %s %.2f × %s", sign, g.bound, g.against.title())
	}
}

// judge gives the measured value in words and the verdict: met, NOT met, or a
// dash when the run has no value.
func (g goal) judge(r results) (value, verdict string) {
	const none = "–"
	var v float64
	if g.against == "" {
		var ok bool
		if v, ok = r.median(g.measure, gateway, g.figure); !ok {
			return none, none
		}
		value = fmt.Sprintf("%.2f KiB", v)
	} else {
		q, ok := compare(r.rounds(g.measure, gateway, g.figure), r.rounds(g.measure, g.against, g.figure))
		if !ok {
			return none, none
		}
		v, value = q.Median, q.text()
	}
	if g.met(v) {
		return value, "met"
	}
	return value, "**NOT met**"
}

func (g goal) met(v float64) bool {
	if g.atLeast {
		return v >= g.bound
	}
	return v <= g.bound
}
