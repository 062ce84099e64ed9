package congestion

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/jackc/pgx/v5/pgproto3"
)

// Tables in which the crowd leaves traces, owned by whoever it logs in as.
//
//   - Nothing that is written to undone is ever committed.
//   - In kept is what somebody was told is committed.
//   - What counter's only row says is what as many transactions have added.
const Schema = `create schema crowd;
create table crowd.undone (tag text, n int);
create table crowd.kept (tag text, n int);
create table crowd.counter (n int);
insert into crowd.counter values (0)`

// ledger is what the crowd was told about its transactions.
type ledger struct {
	kept   map[string]bool // tags by whether their commit was confirmed; false: nobody knows
	added  int             // to counter, confirmed
	unsure int             // to counter, perhaps
}

// undone writes rows and takes them back, in one of several ways.
func undone(c *client) error {
	tag := c.next()
	n := 1 + c.rng.IntN(5)
	insert := fmt.Sprintf("insert into crowd.undone select '%s', generate_series(1, %d)", tag, n)
	inserted := fmt.Sprintf("C INSERT 0 %d", n)
	count := fmt.Sprintf("select count(*) from crowd.undone where tag = '%s'", tag)
	others := "select count(*) from crowd.undone where tag <> '" + tag + "'"
	switch c.rng.IntN(4) {
	case 0: // in one message
		return c.do(query("transaction", "begin; "+insert+"; "+count+"; rollback",
			"C BEGIN|"+inserted+"|T count|D 1|C SELECT 1|C ROLLBACK", 'I', only(strconv.Itoa(n))))
	case 1: // by an error
		return c.do(query("transaction", insert+"; select '"+tag+"'::int", inserted+"|E 22P02", 'I', nil),
			query("transaction", count, "T count|D 1|C SELECT 1", 'I', only("0")))
	case 2: // by an error in a transaction, which then takes nothing but its end
		return c.transaction(query("transaction", "begin", "C BEGIN", 'T', nil),
			query("transaction", insert, inserted, 'T', nil),
			query("transaction", "select 1/0", "E 22012", 'E', nil),
			query("transaction", count, "E 25P02", 'E', nil),
			query("transaction", "commit", "C ROLLBACK", 'I', nil))
	default: // statement by statement, with a savepoint
		return c.transaction(query("transaction", "begin", "C BEGIN", 'T', nil),
			extended("transaction", "insert into crowd.undone select $1, generate_series(1, $2::int)", "1|2|n|"+inserted, 'T', nil, tag, strconv.Itoa(n)),
			query("transaction", "savepoint a", "C SAVEPOINT", 'T', nil),
			query("transaction", insert, inserted, 'T', nil),
			query("transaction", count, "T count|D 1|C SELECT 1", 'T', only(strconv.Itoa(2*n))),
			query("transaction", "rollback to a", "C ROLLBACK", 'T', nil),
			query("transaction", count, "T count|D 1|C SELECT 1", 'T', only(strconv.Itoa(n))),
			query("transaction", others, "T count|D 1|C SELECT 1", 'T', only("0")),
			query("transaction", "rollback", "C ROLLBACK", 'I', nil))
	}
}

// kept writes a row and commits it.
func kept(c *client) error {
	tag := c.next()
	insert := extended("transaction", "insert into crowd.kept values ($1, 1)", "1|2|n|C INSERT 0 1", 'I', nil, tag)
	var err error
	if c.rng.IntN(2) == 0 {
		err = c.do(insert)
	} else {
		insert.tx = 'T'
		err = c.transaction(query("transaction", "begin", "C BEGIN", 'T', nil), insert,
			query("transaction", "commit", "C COMMIT", 'I', nil))
	}
	if !errors.Is(err, errRefused) {
		c.crowd.keep(tag, err == nil)
	}
	return err
}

// add counts up a number that all clients share, under a lock that lasts as
// long as the transaction.
func add(c *client) error {
	c.next()
	before := -1
	err := c.transaction(query("transaction", "begin", "C BEGIN", 'T', nil),
		query("transaction", "select pg_advisory_xact_lock(1, 1)", "T pg_advisory_xact_lock|D 1|C SELECT 1", 'T', nil),
		query("transaction", "select n from crowd.counter", "T n|D 1|C SELECT 1", 'T', func(_ int, row [][]byte) string {
			before, _ = strconv.Atoi(string(row[0]))
			return ""
		}))
	if err != nil {
		return err
	}
	err = c.transaction(query("transaction", fmt.Sprintf("update crowd.counter set n = %d", before+1), "C UPDATE 1", 'T', nil),
		query("transaction", "commit", "C COMMIT", 'I', nil))
	c.crowd.added(err == nil)
	return err
}

// copyIn loads rows in a transaction that is rolled back, and has it fail in
// every way.
func copyIn(c *client) error {
	tag := c.next()
	n := 1 + c.rng.IntN(200)
	var data []byte
	for i := range n {
		data = fmt.Appendf(data, "%s\t%d\n", tag, i+1)
	}
	const sql = "copy crowd.undone from stdin"
	begin := query("copy", "begin", "C BEGIN", 'T', nil)
	rollback := query("copy", "rollback", "C ROLLBACK", 'I', nil)
	count := query("copy", fmt.Sprintf("select count(*), sum(n) from crowd.undone where tag = '%s'", tag),
		"T count,sum|D 1|C SELECT 1", 'T', only(strconv.Itoa(n), strconv.Itoa(n*(n+1)/2)))
	open := query("copy", sql, "G", 'T', nil)
	var rest request
	switch c.rng.IntN(5) {
	case 0: // by the extended protocol
		open.messages = []pgproto3.FrontendMessage{&pgproto3.Parse{Query: sql}, bind(""), &pgproto3.Execute{}, &pgproto3.Flush{}}
		open.want = "1|2|G"
		rest = request{"copy", fmt.Sprintf("C COPY %d", n), 'T', nil, append(pieces(c, data), &pgproto3.CopyDone{}, &pgproto3.Sync{})}
	case 1: // without waiting for the server to say that it is ready
		all := append([]pgproto3.FrontendMessage{&pgproto3.Query{String: sql}}, pieces(c, data)...)
		open = request{"copy", fmt.Sprintf("G|C COPY %d", n), 'T', nil, append(all, &pgproto3.CopyDone{})}
	case 2: // the client gives up
		rest = request{"copy", "E 57014", 'E', nil, append(pieces(c, data), &pgproto3.CopyFail{Message: tag})}
	case 3: // the server does
		at := c.rng.IntN(n)
		lines := strings.SplitAfter(string(data), "\n")
		lines[at] = tag + "\tno number\n"
		rest = request{"copy", "E 22P02", 'E', nil, append(pieces(c, []byte(strings.Join(lines, ""))), &pgproto3.CopyDone{})}
	default:
		rest = request{"copy", fmt.Sprintf("C COPY %d", n), 'T', nil, append(pieces(c, data), &pgproto3.CopyDone{})}
	}
	all := []request{begin, open}
	if rest.messages != nil {
		all = append(all, rest)
	}
	if rest.tx != 'E' {
		all = append(all, count)
	}
	return c.transaction(append(all, rollback)...)
}

// pieces cuts COPY data anywhere.
func pieces(c *client, data []byte) []pgproto3.FrontendMessage {
	var all []pgproto3.FrontendMessage
	for len(data) > 0 {
		n := 1 + c.rng.IntN(min(len(data), 2000))
		all = append(all, &pgproto3.CopyData{Data: data[:n]})
		data = data[n:]
	}
	return all
}

// copyOut reads rows as COPY, which now and then fails on the way.
func copyOut(c *client) error {
	tag, n, size := c.next(), 1+c.rng.IntN(300), c.rng.IntN(200)
	check := func(i int, piece [][]byte) string {
		if want := fmt.Sprintf("%s\t%d\t%s\n", tag, i+1, filler(size)); string(piece[0]) != want {
			return fmt.Sprintf("%q, want %q", clip(string(piece[0])), clip(want))
		}
		return ""
	}
	if c.rng.IntN(4) == 0 {
		sql := fmt.Sprintf("copy (select '%s', %d / (%d / g), rpad('', %d, '0123456789') from generate_series(1, %d) g) to stdout", tag, n, n, size, n+1)
		return c.do(query("copy", sql, fmt.Sprintf("H|d %d|E 22012", n), 'I', func(_ int, piece [][]byte) string {
			if !strings.HasPrefix(string(piece[0]), tag+"\t") {
				return fmt.Sprintf("%q", clip(string(piece[0])))
			}
			return ""
		}))
	}
	sql := "copy (" + series(tag, n, size) + ") to stdout"
	want := fmt.Sprintf("H|d %d|c|C COPY %d", n, n)
	if c.rng.IntN(2) == 0 {
		return c.do(query("copy", sql, want, 'I', check))
	}
	return c.do(extended("copy", sql, "1|2|n|"+want, 'I', check))
}
