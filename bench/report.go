package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
)

func (l leg) title() string {
	switch l {
	case pgbouncer:
		return "PgBouncer"
	case direct:
		return "direct"
	default:
		return "gateway"
	}
}

// results answers questions about samples. Failed ones are not in any answer.
type results struct{ samples []sample }

func (s sample) figure(name string) float64 {
	switch name {
	case "rate":
		return s.Rate
	case "latency":
		return s.LatencyMS
	case "cpu":
		return s.CPU
	default:
		return s.KiB
	}
}

// rounds are the figures of a leg by round; none when any of them failed.
func (r results) rounds(measure string, l leg, figure string) map[int]float64 {
	m := map[int]float64{}
	if r.failure(measure, l) != "" {
		return m
	}
	for _, s := range r.samples {
		if s.Measure == measure && s.Leg == l {
			m[s.Round] = s.figure(figure)
		}
	}
	return m
}

func (r results) values(measure string, l leg, figure string) []float64 {
	var v []float64
	for _, x := range r.rounds(measure, l, figure) {
		v = append(v, x)
	}
	return v
}

func (r results) median(measure string, l leg, figure string) (float64, bool) {
	v := r.values(measure, l, figure)
	if len(v) == 0 {
		return 0, false
	}
	return median(v), true
}

func (r results) failure(measure string, l leg) string {
	for _, s := range r.samples {
		if s.Measure == measure && s.Leg == l && s.Error != "" {
			return s.Error
		}
	}
	return ""
}

// text is the ratio with its spread, such as "0.98 (0.95–1.02)".
func (q ratio) text() string {
	if q.Rounds < 2 {
		return fmt.Sprintf("%.2f", q.Median)
	}
	return fmt.Sprintf("%.2f (%.2f–%.2f)", q.Median, q.Min, q.Max)
}

// brief is a sample for the progress line.
func (s sample) brief(k kind) string {
	switch {
	case s.Error != "":
		return "failed: " + s.Error
	case k == kindIdle:
		return fmt.Sprintf("%.2f KiB", s.KiB)
	case k == kindCopy && s.Leg == direct:
		return fmt.Sprintf("%.0f MB/s", s.Rate)
	case k == kindCopy:
		return fmt.Sprintf("%.0f MB/s %.2f s/GB", s.Rate, s.CPU)
	case s.Leg == direct:
		return fmt.Sprintf("%.0f/s", s.Rate)
	default:
		return fmt.Sprintf("%.0f/s %.1f µs", s.Rate, s.CPU)
	}
}

// report is the whole outcome in Markdown.
func (b *bench) report() string {
	var w strings.Builder
	r := results{b.samples}
	b.writeAbout(&w)
	b.writeTable(&w, r, []kind{kindQuery}, "Transactions: per second; mean latency in ms; proxy's CPU in µs per transaction",
		"pgbench, clients", []figureFormat{{"rate", "tps", "%.0f"}, {"latency", "ms", "%.3f"}, {"cpu", "CPU µs", "%.1f"}})
	b.writeTable(&w, r, []kind{kindConnect}, "Logins: per second; proxy's CPU in µs per login",
		"pgbench, clients", []figureFormat{{"rate", "logins/s", "%.0f"}, {"cpu", "CPU µs", "%.0f"}})
	b.writeTable(&w, r, []kind{kindCopy}, "COPY: MB/s; proxy's CPU in seconds per GB",
		"psql", []figureFormat{{"rate", "MB/s", "%.0f"}, {"cpu", "CPU s/GB", "%.2f"}})
	b.writeTable(&w, r, []kind{kindIdle}, "Memory: KiB of resident memory per further idle client",
		"clients", []figureFormat{{"kib", "KiB", "%.2f"}})
	b.writeGoals(&w, r)
	b.writeFailures(&w, r)
	return w.String()
}

func (b *bench) writeAbout(w *strings.Builder) {
	a := b.about
	fmt.Fprintf(w, "# Benchmark of %s\n\n", a.Started.Format("2006-01-02 15:04 UTC"))
	fmt.Fprintf(w, "%d CPUs; load at start %s; %.1f %% of CPU time stolen by the hypervisor; medians of %d × %.0f s.\n", a.CPUs, a.Load, a.Steal*100, a.Rounds, a.Seconds)
	if a.Busy {
		fmt.Fprint(w, "**The machine had other work at the start: these figures are noise.**\n")
	}
	parts := []string{a.PostgreSQL}
	for _, p := range []string{a.PgBouncer, a.Gateway} {
		if p != "" {
			parts = append(parts, p)
		}
	}
	fmt.Fprintf(w, "%s; %s. Transaction pooling, %d server connections, unless a row says otherwise.\n", strings.Join(parts, "; "), a.Go, poolSize)
	var tls []string
	for _, l := range b.o.legs {
		tls = append(tls, l.title()+" "+a.TLS[l])
	}
	fmt.Fprintf(w, "TLS as psql negotiates it: %s.\n", strings.Join(tls, "; "))
}

// figureFormat is one figure's column title and number format.
type figureFormat struct{ figure, unit, format string }

// writeTable writes one table: the legs' medians of each figure side by side,
// then gateway/PgBouncer of rate and CPU, then how far the direct rounds spread.
func (b *bench) writeTable(w *strings.Builder, r results, kinds []kind, title, first string, figures []figureFormat) {
	var rows []measure
	for _, m := range b.measures {
		if slices.Contains(kinds, m.kind) {
			rows = append(rows, m)
		}
	}
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\n## %s\n\n", title)
	head := []string{first}
	for _, f := range figures {
		for _, l := range b.o.legs {
			if !shown(rows[0], l, f.figure) {
				continue
			}
			head = append(head, l.title()+" "+f.unit)
		}
	}
	both := slices.Contains(b.o.legs, pgbouncer) && slices.Contains(b.o.legs, gateway)
	withDirect := rows[0].kind == kindCopy && slices.Contains(b.o.legs, direct) && slices.Contains(b.o.legs, gateway)
	if both {
		for _, f := range figures {
			if f.figure != "latency" {
				head = append(head, "gateway/PgBouncer "+f.unit)
			}
		}
	}
	if withDirect {
		head = append(head, "gateway/direct MB/s")
	}
	noise := slices.Contains(b.o.legs, direct) && rows[0].has(direct)
	if noise {
		head = append(head, "noise")
	}
	line(w, head)
	line(w, slices.Repeat([]string{"---"}, len(head)))
	for _, m := range rows {
		cells := []string{m.title}
		for _, f := range figures {
			for _, l := range b.o.legs {
				if shown(m, l, f.figure) {
					cells = append(cells, cell(r, m, l, f))
				}
			}
		}
		if both {
			for _, f := range figures {
				if f.figure != "latency" {
					cells = append(cells, ratioCell(r, m, pgbouncer, f.figure))
				}
			}
		}
		if withDirect {
			cells = append(cells, ratioCell(r, m, direct, "rate"))
		}
		if noise {
			cells = append(cells, noiseCell(r, m))
		}
		line(w, cells)
	}
}

func line(w *strings.Builder, cells []string) {
	fmt.Fprintf(w, "| %s |\n", strings.Join(cells, " | "))
}

// shown reports whether a leg has the figure: direct has no proxy.
func shown(m measure, l leg, figure string) bool {
	return m.has(l) && (l != direct || figure == "rate" || figure == "latency")
}

func cell(r results, m measure, l leg, f figureFormat) string {
	if r.failure(m.name, l) != "" {
		return "failed"
	}
	v, ok := r.median(m.name, l, f.figure)
	if !ok {
		return "–"
	}
	return fmt.Sprintf(f.format, v)
}

func ratioCell(r results, m measure, against leg, figure string) string {
	q, ok := compare(r.rounds(m.name, gateway, figure), r.rounds(m.name, against, figure))
	if !ok {
		return "–"
	}
	return q.text()
}

// noiseCell is the spread of the direct leg, which no proxy touches.
func noiseCell(r results, m measure) string {
	v := r.values(m.name, direct, "rate")
	if len(v) < 2 {
		return "–"
	}
	return fmt.Sprintf("%.0f %%", spread(v)*100)
}

// writeGoals sets each goal beside what was measured. It is information: the
// exit code does not depend on it.
func (b *bench) writeGoals(w *strings.Builder, r results) {
	if !slices.Contains(b.o.legs, gateway) {
		return
	}
	first := true
	for _, g := range goals() {
		i := slices.IndexFunc(b.measures, func(m measure) bool { return m.name == g.measure })
		if i < 0 {
			continue
		}
		if first {
			fmt.Fprint(w, "\n## Goals\n\n")
			line(w, []string{"measure", "goal", "measured", "verdict"})
			line(w, slices.Repeat([]string{"---"}, 4))
			first = false
		}
		value, verdict := g.judge(r)
		line(w, []string{b.measures[i].title, g.text(), value, verdict})
	}
}

func (b *bench) writeFailures(w *strings.Builder, r results) {
	title := "\n## Failed\n\n"
	for _, m := range b.measures {
		for _, l := range b.o.legs {
			if f := r.failure(m.name, l); f != "" {
				fmt.Fprintf(w, "%s- %s, %s: %s\n", title, m.title, l.title(), f)
				title = ""
			}
		}
	}
}

// writeJSON keeps every sample, in the order taken.
func (b *bench) writeJSON(file string) error {
	data, err := json.MarshalIndent(struct {
		About   about    `json:"about"`
		Samples []sample `json:"samples"`
	}{b.about, b.samples}, "", "  ")
	if err != nil {
		return fmt.Errorf("-json: %w", err)
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}
