package main

import (
	"bytes"
	"crypto/md5" //nolint:gosec // a fingerprint that PostgreSQL can compute as well, not a secret
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// null stands for SQL's NULL among a row's texts.
const null = "\x00"

// column is one column: its type, and how SQL writes it the way the generator does.
type column struct {
	name, kind string
	text       string // SQL expression; "": name::text
}

// table is one table of the data set. Row i is the same in every run; revision 1
// is what it looks like after it changed at the source.
type table struct {
	name    string
	columns []column
	key     []string
	rows    int // of the first sync
	fresh   int // rows that are new in the second
	every   int // and of the others, every how-manieth changed
	row     func(i, revision int) []string
}

// dataset is a shop's: some 160,000 rows with the types that sync workers carry,
// NULLs, quotes and letters beyond ASCII among them.
func dataset() []*table {
	utc := func(name string) column {
		return column{name, "timestamptz not null", `to_char(` + name + ` at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS"Z"')`}
	}
	return []*table{
		{
			name: "customers", key: []string{"id"}, rows: 10_000, fresh: 500, every: 50,
			columns: []column{
				{"id", "bigint not null", ""},
				{"name", "text not null", ""},
				{"email", "text", ""},
				{"country", "text not null", ""},
				utc("created_at"),
			},
			row: customer,
		},
		{
			name: "orders", key: []string{"id"}, rows: 40_000, fresh: 1_000, every: 20,
			columns: []column{
				{"id", "bigint not null", ""},
				{"customer_id", "bigint not null", ""},
				{"status", "text not null", ""},
				{"total", "numeric(12,2) not null", ""},
				{"note", "text", ""},
				utc("placed_at"),
			},
			row: order,
		},
		{
			name: "order_lines", key: []string{"order_id", "line"}, rows: 80_000, fresh: 2_000, every: 100,
			columns: []column{
				{"order_id", "bigint not null", ""},
				{"line", "integer not null", ""},
				{"sku", "text not null", ""},
				{"quantity", "integer not null", ""},
				{"unit_price", "numeric(12,2) not null", ""},
			},
			row: orderLine,
		},
		{
			name: "events", key: []string{"id"}, rows: 30_000, fresh: 1_500, every: 1_000,
			columns: []column{
				{"id", "uuid not null", ""},
				{"order_id", "bigint not null", ""},
				{"kind", "text not null", ""},
				{"payload", "jsonb not null", ""},
				utc("at"),
			},
			row: event,
		},
	}
}

var (
	firstNames = []string{"Ada", "Björn", "Chloë", "Dragoș", "Eleni", "Farid", "Grażyna", "Hồng", "Íñigo", "Jun 淳", "Kateřina", "Liam"}
	lastNames  = []string{"Åkesson", "Brontë", "D'Angelo", "García", "Ivanović", "Kowalski", "Müller", "Nguyễn", "O'Brien", "Sørensen", "\"Ziggy\" Zhou"}
	countries  = []string{"AT", "BR", "CA", "DE", "FR", "IN", "JP", "KE", "NO", "PL", "US"}
	statuses   = []string{"placed", "paid", "packed", "shipped", "returned"}
	notes      = []string{null, null, null, "leave at the door", "a gift: no invoice,\nplease", "ring twice; \"Hier bin ich\"", ""}
	kinds      = []string{"viewed", "carted", "checked_out", "delivered"}
	epoch      = time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)
)

// dice is a stream of numbers that depends on its seed alone (splitmix64).
type dice uint64

func roll(table, i, revision int) *dice {
	d := dice(uint64(table)<<56 ^ uint64(revision)<<48 ^ uint64(i))
	d.next()
	return &d
}

func (d *dice) next() uint64 {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return z ^ z>>31
}

func (d *dice) below(n int) int { return int(d.next() % uint64(n)) }

func pick[T any](d *dice, from []T) T { return from[d.below(len(from))] }

func money(cents int) string { return fmt.Sprintf("%d.%02d", cents/100, cents%100) }

func moment(seconds int) string {
	return epoch.Add(time.Duration(seconds) * time.Second).Format(time.RFC3339)
}

func customer(i, revision int) []string {
	d := roll(1, i, 0)
	name := pick(d, firstNames) + " " + pick(d, lastNames)
	email := fmt.Sprintf("c%d@example.com", i)
	if d.below(10) == 0 {
		email = null
	}
	if revision > 0 {
		email = fmt.Sprintf("c%d@new.example.org", i)
	}
	return []string{strconv.Itoa(i), name, email, pick(d, countries), moment(d.below(20_000_000))}
}

func order(i, revision int) []string {
	d := roll(2, i, revision)
	return []string{
		strconv.Itoa(i), strconv.Itoa(1 + d.below(10_000)), pick(d, statuses), money(d.below(500_000)), pick(d, notes), moment(20_000_000 + 11*i),
	}
}

func orderLine(i, revision int) []string {
	d := roll(3, i, revision)
	return []string{
		strconv.Itoa(1 + i/2), strconv.Itoa(1 + i%2), fmt.Sprintf("SKU-%06d", d.below(900_000)), strconv.Itoa(1 + d.below(9)), money(99 + d.below(99_900)),
	}
}

func event(i, revision int) []string {
	d := roll(4, i, 0)
	h := fmt.Sprintf("%016x%016x", d.next(), d.next())
	id := strings.Join([]string{h[:8], h[8:12], h[12:16], h[16:20], h[20:]}, "-")
	// As jsonb writes itself: shorter keys first.
	payload := fmt.Sprintf(`{"ms": %d, "path": "/p/%d?q=ü", "agent": "shop/%d.%d", "revision": %d}`,
		d.below(3_000), d.below(5_000), d.below(9), d.below(20), revision)
	return []string{id, strconv.Itoa(1 + d.below(40_000)), pick(d, kinds), payload, moment(20_000_000 + 13*i)}
}

// batch is what one sync carries of one table: CSV, ready to COPY.
type batch struct {
	table *table
	rows  int
	csv   []byte
}

// first returns the table as it is before the first sync.
func (t *table) first() batch {
	var b bytes.Buffer
	for i := 1; i <= t.rows; i++ {
		appendCSV(&b, t.row(i, 0))
	}
	return batch{t, t.rows, b.Bytes()}
}

// changes returns what changed at the source since: some rows, and new ones.
func (t *table) changes() batch {
	var b bytes.Buffer
	n := 0
	for i := 1; i <= t.rows+t.fresh; i++ {
		if i > t.rows || i%t.every == 0 {
			appendCSV(&b, t.row(i, 1))
			n++
		}
	}
	return batch{t, n, b.Bytes()}
}

// state is what a table holds: how many rows, and a sum over all their contents.
type state struct{ rows, fingerprint int64 }

// expected returns the state of the table at the source after both syncs.
func (t *table) expected() state {
	var s state
	for i := 1; i <= t.rows+t.fresh; i++ {
		revision := 0
		if i > t.rows || i%t.every == 0 {
			revision = 1
		}
		s.rows++
		s.fingerprint += fingerprint(t.row(i, revision))
	}
	return s
}

// fingerprint is what stateQuery computes for one row: the first 32 bits of the MD5 of its texts.
func fingerprint(row []string) int64 {
	texts := make([]string, len(row))
	for i, v := range row {
		texts[i] = v
		if v == null {
			texts[i] = "~"
		}
	}
	sum := md5.Sum([]byte(strings.Join(texts, "|"))) //nolint:gosec // see the import
	n, _ := strconv.ParseInt(hex.EncodeToString(sum[:4]), 16, 64)
	return n
}

// stateQuery is the SQL that returns a table's state.
func (t *table) stateQuery(schema string) string {
	var texts []string
	for _, c := range t.columns {
		text := c.text
		if text == "" {
			text = c.name + "::text"
		}
		texts = append(texts, "coalesce("+text+", '~')")
	}
	return fmt.Sprintf(`select count(*), coalesce(sum(('x' || substr(md5(concat_ws('|', %s)), 1, 8))::bit(32)::bigint), 0)::bigint from %s.%s`,
		strings.Join(texts, ", "), schema, t.name)
}

func appendCSV(b *bytes.Buffer, row []string) {
	for i, v := range row {
		if i > 0 {
			b.WriteByte(',')
		}
		if v != null {
			b.WriteByte('"')
			b.WriteString(strings.ReplaceAll(v, `"`, `""`))
			b.WriteByte('"')
		}
	}
	b.WriteByte('\n')
}
