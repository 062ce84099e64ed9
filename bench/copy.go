package main

import (
	"bufio"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"time"
)

const (
	// Rows as pgbench_accounts has them: cheap for PostgreSQL to parse and to
	// print, so that what a proxy adds weighs as much as it can.
	copyTable = `(aid int, bid int, abalance int, filler char(84))`
	copyBytes = 190 << 20
	copyQuick = 48 << 20
)

// copyData is a CSV file and the tables it goes to and comes from.
type copyData struct {
	file string
	size int64 // bytes
	rows int64
}

// prepareCopy writes about size bytes of CSV, the same at every run, and loads
// them once into the table that COPY out reads.
func prepareCopy(ctx context.Context, pg *postgres, dir string, size int64) (*copyData, error) {
	d := &copyData{file: filepath.Join(dir, "copy.csv")}
	if err := d.generate(size); err != nil {
		return nil, fmt.Errorf("csv: %w", err)
	}
	for _, table := range []string{"bench_copy_in", "bench_copy_out"} {
		if _, err := pg.direct().query(ctx, "create unlogged table "+table+" "+copyTable); err != nil {
			return nil, err
		}
	}
	_, err := runPsqlCopy(ctx, pg.psql, dir, pg.direct(), "bench_copy_out from '"+d.file+"'", d.rows)
	return d, err
}

func (d *copyData) generate(size int64) error {
	f, err := os.Create(d.file)
	if err != nil {
		return err
	}
	defer f.Close()
	w := bufio.NewWriterSize(f, 1<<20)
	rng := rand.New(rand.NewPCG(1, 2))
	const words = "the quick brown fox jumps over the lazy dog while five boxing wizards jump and sphinxes judge their vows again "
	line := make([]byte, 0, 128)
	for d.size < size {
		d.rows++
		from := rng.IntN(len(words) - 84)
		line = strconv.AppendInt(line[:0], d.rows, 10)
		line = append(line, ',')
		line = strconv.AppendInt(line, d.rows/100_000, 10)
		line = append(line, ',')
		line = strconv.AppendInt(line, rng.Int64N(10_000)-5_000, 10)
		line = append(line, ',')
		line = append(line, words[from:from+84]...)
		line = append(line, '\n')
		n, err := w.Write(line)
		if err != nil {
			return err
		}
		d.size += int64(n)
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Close()
}

var (
	rxTime   = regexp.MustCompile(`(?m)^Time: ([0-9.]+) ms`)
	rxCopied = regexp.MustCompile(`(?m)^COPY (\d+)`)
)

// runPsqlCopy runs one \copy in psql and gives psql's own time for it, which
// has neither psql's start nor the login in it. rows is how many must go over.
func runPsqlCopy(ctx context.Context, program, dir string, l login, what string, rows int64) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	out, err := clientCommand(ctx, l, dir, program, "-X", "-v", "ON_ERROR_STOP=1",
		"-c", `\timing on`, "-c", `\copy `+what+` with (format csv)`).Output()
	if err != nil {
		return 0, fmt.Errorf("psql: %w%s", err, complaint(err))
	}
	return parsePsqlCopy(string(out), rows)
}

func parsePsqlCopy(out string, rows int64) (time.Duration, error) {
	copied, took := rxCopied.FindStringSubmatch(out), rxTime.FindStringSubmatch(out)
	if copied == nil || took == nil {
		return 0, fmt.Errorf("psql: unexpected output %q", out)
	}
	if copied[1] != strconv.FormatInt(rows, 10) {
		return 0, fmt.Errorf("psql: copied %s rows instead of %d", copied[1], rows)
	}
	ms, err := strconv.ParseFloat(took[1], 64)
	if err != nil {
		return 0, fmt.Errorf("psql: %w", err)
	}
	return time.Duration(ms * float64(time.Millisecond)), nil
}
