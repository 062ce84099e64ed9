package drivers

import (
	"context"
	"crypto/md5"
	"encoding/hex"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	clients = 8
	rounds  = 12
)

// What drivers in Go have in common with the other programs' SQL.
const (
	kinds = `create table kinds (i2 int2, i4 int4, i8 int8, f8 float8, n numeric(20, 5), b boolean, t text,
		ts timestamptz, d date, bytes bytea, ints int[], texts text[], doc jsonb, id uuid, nothing int)`
	shown = `select concat_ws('|', i2, i4, i8, f8, n, b, t, to_char(ts at time zone 'UTC', 'YYYY-MM-DD HH24:MI:SS.MS'),
		d, bytes, ints, texts, doc, id, coalesce(nothing::text, 'NULL')) from kinds`
	settings = "select current_setting('search_path') || ' ' || current_setting('TimeZone')"
	sleeping = "select count(*)::text from pg_stat_activity where state = 'active' and query like 'select pg_sleep(60)%'"
	columns  = `select string_agg(column_name || ' ' || data_type, ', ' order by ordinal_position)
		from information_schema.columns where table_schema = $1 and table_name = $2`
	steps = "select string_agg(n::text, ' ' order by n) from steps"
)

// goJobs does jobs that are functions in Go. Each ends with its answer, or panics with an error.
func goJobs(t *testing.T, all map[string]func(ctx context.Context) string) answers {
	t.Helper()
	got := answers{}
	for name, job := range all {
		func() {
			ctx, cancel := context.WithTimeout(t.Context(), 40*time.Second)
			defer cancel()
			defer func() {
				if p := recover(); p != nil {
					got[name] = fmt.Sprintf("failed: %v", p)
				}
			}()
			got[name] = job(ctx)
		}()
	}
	return got
}

// must ends a job that cannot go on.
func must(err error) {
	if err != nil {
		panic(err)
	}
}

// must1 is must for what returns a value, too.
func must1[V any](v V, err error) V {
	must(err)
	return v
}

// barrier lets n goroutines wait for each other, again and again; one that
// cannot go on breaks it, so that the others need not wait for ever.
type barrier struct {
	mu      sync.Mutex
	n       int
	waiting int
	turn    chan struct{}
	broken  chan struct{}
	once    sync.Once
}

func newBarrier(n int) *barrier {
	return &barrier{n: n, turn: make(chan struct{}), broken: make(chan struct{})}
}

func (b *barrier) wait() {
	b.mu.Lock()
	turn := b.turn
	if b.waiting++; b.waiting == b.n {
		b.waiting, b.turn = 0, make(chan struct{})
		close(turn)
	}
	b.mu.Unlock()
	select {
	case <-turn:
	case <-b.broken:
		panic("another client failed")
	}
}

func (b *barrier) breakUp() { b.once.Do(func() { close(b.broken) }) }

// together runs f for each of the clients, and returns how many times f counted
// a right answer.
func together(f func(client int, wait func(), right func())) int {
	b := newBarrier(clients)
	var wg sync.WaitGroup
	var mu sync.Mutex
	var first any
	n := 0
	for i := range clients {
		wg.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					mu.Lock()
					defer mu.Unlock()
					if first == nil {
						first = p
					}
					b.breakUp()
				}
			}()
			f(i, b.wait, func() { mu.Lock(); n++; mu.Unlock() })
		})
	}
	wg.Wait()
	if first != nil {
		panic(first)
	}
	return n
}

// once returns what is in the list, each entry when it first appears.
func once(list []string) string {
	var out []string
	seen := map[string]bool{}
	for _, s := range list {
		if !seen[s] {
			seen[s] = true
			out = append(out, s)
		}
	}
	return strings.Join(out, ", ")
}

// largeValues are a MiB of text and one of bytes.
func largeValues() (string, []byte) {
	data := make([]byte, 1<<20)
	for i := range data {
		data[i] = byte(i)
	}
	return strings.Repeat("é", 1<<19), data
}

// large tells whether they came back as they were sent; the server made the digest.
func large(text string, data []byte, digest string) string {
	wantText, wantData := largeValues()
	sum := md5.Sum(wantData)
	same := "different"
	if text == wantText && string(data) == string(wantData) && digest == hex.EncodeToString(sum[:]) {
		same = "same"
	}
	return fmt.Sprintf("%d %d %s", len(text), len(data), same)
}
