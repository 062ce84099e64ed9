package drivers

import (
	"maps"
	"slices"
	"strings"
	"testing"
	"time"
)

// jobs are what each driver does, and what it must say of it. The number of
// clients is 8 where a job has several.
var jobs = map[string]string{
	// Log in with an application_name and a TimeZone, ask for them.
	"connect": "sync Asia/Tokyo",
	// $1::int, $2::text, $3::text (null), $4::bool.
	"parameters": `42|Zoë 🐘 'quoted' \|NULL|t`,
	// One row of everything, sent and read in the driver's own types; then as the server shows it.
	"types": `-32768|2147483647|9007199254740991|0.1|12345.67890|t|Zoë|2024-02-29 12:34:56.789|2024-02-29|\x00ff10|` +
		`{1,NULL,3}|{a,NULL,"b c"}|{"k": [1, 2]}|6ba7b810-9dad-11d1-80b4-00c04fd430c8|NULL`,
	// 8 clients run one statement each in 12 transactions, all of them at the same time and, as drivers name
	// statements by counting, under the same name. Each statement's text, and so its answer, differs.
	"prepared": "96 of 96 right, 96 rows",
	// Commit, roll back to a savepoint, roll back.
	"transactions": "1 3",
	// A unique violation, a syntax error, a division by zero in a transaction, then whatever in it; and on.
	"errors": "23505 42601 22012 25P02 alive",
	// 100 rows in one batch; then a batch that fails in the middle and leaves nothing.
	"batch": "100 rows, 22012, 100 rows",
	// 5,000 rows in and out; a COPY that the server refuses, one that the client gives up.
	"copy": "5000 rows, sum 12497500, 22P02, 57014, 5000 rows",
	// 10,000 rows in portions; another result given up after the first portion.
	"cursor": "10000 rows, sum 50005000, alive",
	// LISTEN, transactions of its own, and two notifications of another client.
	"notify": "row 1, row 2",
	// Two clients SET and keep their search_path and TimeZone in turns; a third has neither; RESET ends it.
	"settings": `one Asia/Tokyo, two America/Lima, "$user", public UTC, "$user", public UTC`,
	// A temporary table over several transactions, which another client does not find.
	"temporary": "3 rows, 42P01",
	// A statement that another thread cancels, as the driver does that; statement_timeout.
	"cancel":  "57014 alive",
	"timeout": "57014 alive",
	// 1 MiB of text and of bytes, there and back.
	"large": "1048576 1048576 same",
	// 1,000 rows INSERT … ON CONFLICT DO UPDATE, twice, by the driver's means for many rows.
	"upsert": "1000 rows, sum 1000000",
	// A prepared SELECT while its table is swapped for a new one under the same name.
	"swap": "old new",
	// information_schema.columns, with a parameter.
	"columns": "id integer, name text",
}

// answers are what a driver said of each job.
type answers map[string]string

// parseAnswers reads lines of "job: answer".
func parseAnswers(text string) answers {
	a := answers{}
	for line := range strings.Lines(text) {
		if job, answer, ok := strings.Cut(strings.TrimRight(line, "\n"), ": "); ok {
			a[job] = answer
		}
	}
	return a
}

// eachWay has a driver do its jobs by each way to a database. more are jobs of
// its own, without are common ones it has no means for.
func eachWay(t *testing.T, run func(t *testing.T, w way) answers, more map[string]string, without ...string) {
	t.Helper()
	want := maps.Clone(jobs)
	maps.Copy(want, more)
	for _, job := range without {
		delete(want, job)
	}
	p := newPlace(t)
	for _, w := range p.ways {
		t.Run(w.name, func(t *testing.T) {
			got := run(t, w)
			for _, job := range slices.Sorted(maps.Keys(want)) {
				if answer, done := got[job]; !done {
					t.Errorf("%s: not done", job)
				} else if answer != want[job] {
					t.Errorf("%s: %s\n  want %s", job, answer, want[job])
				}
			}
			for job := range got {
				if _, known := want[job]; !known {
					t.Errorf("%s: nobody expects that", job)
				}
			}
			p.unharmed(t, w)
		})
	}
}

// patience is how many pauses a wait has: 20 s.
const patience = 1000

func pause() { time.Sleep(20 * time.Millisecond) }
