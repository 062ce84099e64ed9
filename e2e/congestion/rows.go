package congestion

import (
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
)

// filler is what large rows carry, so that a torn row shows.
func filler(n int) string { return strings.Repeat("0123456789", (n+9)/10)[:n] }

// tagged checks rows of the client's tag, a number that counts from one, and a filler.
func tagged(tag string, size int) func(int, [][]byte) string {
	fill := filler(size)
	return func(i int, row [][]byte) string {
		want := []string{tag, strconv.Itoa(i + 1), fill}
		if len(row) != len(want) {
			return fmt.Sprintf("%d columns, want %d", len(row), len(want))
		}
		for k, column := range row {
			if string(column) != want[k] {
				return fmt.Sprintf("column %d is %q, want %q", k, clip(string(column)), clip(want[k]))
			}
		}
		return ""
	}
}

// only checks that the answer's only row is this one.
func only(values ...string) func(int, [][]byte) string {
	return func(i int, row [][]byte) string {
		if i > 0 || len(row) != len(values) {
			return fmt.Sprintf("row %d with %d columns, want one with %d", i, len(row), len(values))
		}
		for k, column := range row {
			if string(column) != values[k] {
				return fmt.Sprintf("column %d is %q, want %q", k, clip(string(column)), clip(values[k]))
			}
		}
		return ""
	}
}

const seriesSQL = "select $1::text as tag, g as n, rpad('', $3::int, '0123456789') as fill from generate_series(1, $2::int) g"

// divide fails when it is executed with 0, and not before.
const divide = "select 1 / g from generate_series($1::int, 1) g"

// series is the text of a query for tagged rows.
func series(tag string, n, size int) string {
	return fmt.Sprintf("select '%s' as tag, g as n, rpad('', %d, '0123456789') as fill from generate_series(1, %d) g", tag, size, n)
}

// extended makes a request of the extended protocol with the unnamed statement.
func extended(kind, sql, want string, tx byte, row func(int, [][]byte) string, args ...string) request {
	return request{kind, want, tx, row, []pgproto3.FrontendMessage{
		&pgproto3.Parse{Query: sql}, bind("", args...), &pgproto3.Describe{ObjectType: 'P'}, &pgproto3.Execute{}, &pgproto3.Sync{},
	}}
}

func bind(statement string, args ...string) *pgproto3.Bind {
	b := &pgproto3.Bind{PreparedStatement: statement}
	for _, a := range args {
		b.Parameters = append(b.Parameters, []byte(a))
	}
	return b
}

// simple asks for some rows by the simple protocol.
func simple(c *client) error {
	tag, n := c.next(), c.rng.IntN(20)
	return c.do(query("rows", series(tag, n, 7), fmt.Sprintf("T tag,n,fill|D %d|C SELECT %d", n, n), 'I', tagged(tag, 7)))
}

// unnamed asks for rows by the extended protocol, now and then for many.
func unnamed(c *client) error {
	tag, n, size := c.next(), c.rng.IntN(30), c.rng.IntN(100)
	if c.rng.IntN(10) == 0 {
		n, size = c.rng.IntN(2000), c.rng.IntN(300)
	}
	return c.do(extended("rows", seriesSQL, fmt.Sprintf("1|2|T tag,n,fill|D %d|C SELECT %d", n, n), 'I', tagged(tag, size),
		tag, strconv.Itoa(n), strconv.Itoa(size)))
}

// slow reads a large result with pauses, so that it is held up on the way.
func slow(c *client) error {
	tag, n, size := c.next(), 1000, 1000
	check := tagged(tag, size)
	return c.do(query("rows", series(tag, n, size), fmt.Sprintf("T tag,n,fill|D %d|C SELECT %d", n, n), 'I', func(i int, row [][]byte) string {
		if i%250 == 0 {
			time.Sleep(10 * time.Millisecond)
		}
		return check(i, row)
	}))
}

// portals fetches a result piece by piece, in one pipeline and in several.
func portals(c *client) error {
	tag, n := c.next(), 25
	// Whatever the pieces, the numbers go on.
	rows := 0
	check := func(_ int, row [][]byte) string {
		rows++
		return tagged(tag, 3)(rows-1, row)
	}
	begin := query("rows", "begin", "C BEGIN", 'T', nil)
	open := request{"rows", "1|2|D 10|s|D 10|s", 'T', check, []pgproto3.FrontendMessage{
		&pgproto3.Parse{Query: seriesSQL},
		&pgproto3.Bind{DestinationPortal: "p", Parameters: bind("", tag, strconv.Itoa(n), "3").Parameters},
		&pgproto3.Execute{Portal: "p", MaxRows: 10}, &pgproto3.Execute{Portal: "p", MaxRows: 10}, &pgproto3.Sync{},
	}}
	rest := request{"rows", "D 5|C SELECT 5|3", 'T', check, []pgproto3.FrontendMessage{
		&pgproto3.Execute{Portal: "p"}, &pgproto3.Close{ObjectType: 'P', Name: "p"}, &pgproto3.Sync{},
	}}
	return c.transaction(begin, open, rest, query("rows", "commit", "C COMMIT", 'I', nil))
}

// transaction does requests one after the other; the first opens a transaction
// and the last ends it.
func (c *client) transaction(requests ...request) error {
	for _, r := range requests {
		if err := c.do(r); err != nil {
			return err
		}
		if c.rng.IntN(8) == 0 {
			time.Sleep(time.Duration(c.rng.IntN(3)) * time.Millisecond)
		}
	}
	return nil
}

// large sends a large parameter.
func large(c *client) error {
	tag, size := c.next(), 1+c.rng.IntN(300_000)
	return c.do(extended("rows", "select $1::text as tag, length($2::text) as n, right($2, 5) as tail",
		"1|2|T tag,n,tail|D 1|C SELECT 1", 'I', only(tag, strconv.Itoa(size), filler(size)[max(0, size-5):]), tag, filler(size)))
}

// notice has the server say something.
func notice(c *client) error {
	tag := c.next()
	if err := c.do(query("notice", fmt.Sprintf("do $$ begin raise notice '%s'; end $$", tag), "C DO", 'I', nil)); err != nil {
		return err
	}
	if c.notices != 1 {
		return c.violation("notice", "%d notices, want 1", c.notices)
	}
	return nil
}

// pipeline sends several requests at once, some of which fail in the middle.
func pipeline(c *client) error {
	tag := c.next()
	var all []request
	for range 1 + c.rng.IntN(4) {
		n := c.rng.IntN(9)
		good := extended("rows", seriesSQL, fmt.Sprintf("1|2|T tag,n,fill|D %d|C SELECT %d", n, n), 'I', tagged(tag, 4), tag, strconv.Itoa(n), "4")
		bad := request{kind: "rows", tx: 'I', row: only(tag)}
		bad.messages = []pgproto3.FrontendMessage{
			&pgproto3.Parse{Query: "select $1::text"}, bind("", tag), &pgproto3.Execute{},
			&pgproto3.Parse{Query: divide}, bind("", "0"), &pgproto3.Execute{},
			&pgproto3.Parse{Query: "select 'never'"}, bind(""), &pgproto3.Execute{}, &pgproto3.Sync{},
		}
		bad.want = "1|2|D 1|C SELECT 1|1|2|E 22012"
		unparsable := request{"rows", "E 42601", 'I', nil, []pgproto3.FrontendMessage{
			&pgproto3.Parse{Query: "selekt '" + tag + "'"}, bind(""), &pgproto3.Execute{}, &pgproto3.Sync{},
		}}
		empty := request{"rows", "", 'I', nil, []pgproto3.FrontendMessage{&pgproto3.Sync{}}}
		said := query("rows", "select '"+tag+"'; select '"+tag+"'::int; select 1", "T ?column?|D 1|C SELECT 1|E 22P02", 'I', only(tag))
		all = append(all, []request{good, bad, unparsable, empty, said}[c.rng.IntN(5)])
	}
	return c.do(all...)
}
