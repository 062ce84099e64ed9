package main

import (
	"fmt"
	"net"
	"testing"

	"pggateway/e2e/kit"
)

// TestSyncAgainstPostgres runs the demo's writer straight against a server: the
// state that it finds afterwards is the source's, and one changed cell is not.
func TestSyncAgainstPostgres(t *testing.T) {
	t.Parallel()
	pg := kit.StartPostgres(t, kit.PostgresOptions{})
	pg.CreateLogin("w", "pw")
	pg.CreateDatabase("shop", "w")
	w := writer{host: pg.Host, port: pg.Port, database: "shop", user: "w", password: "pw", machine: net.ParseIP(writerAddress)}
	c, err := w.connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close(t.Context())
	tables := dataset()
	if err := prepare(t.Context(), c, tables); err != nil {
		t.Fatal(err)
	}
	rows := 0
	for _, tbl := range tables {
		for _, b := range []batch{tbl.first(), tbl.changes()} {
			if _, err := sync(t.Context(), c, b); err != nil {
				t.Fatal(err)
			}
		}
		got, err := count(t.Context(), c, tbl)
		if err != nil {
			t.Fatal(err)
		}
		if want := tbl.expected(); got != want {
			t.Errorf("%s: %v, want %v", tbl.name, got, want)
		}
		rows += int(got.rows)
		pg.Exec("shop", fmt.Sprintf("update sales.%s set %s = %s where ctid = (select min(ctid) from sales.%s)",
			tbl.name, tbl.columns[2].name, tbl.columns[2].name+" || 'x'", tbl.name))
		if spoiled, err := count(t.Context(), c, tbl); err != nil || spoiled == got {
			t.Errorf("%s: a changed cell is not noticed (%v)", tbl.name, err)
		}
	}
	if rows < 150_000 {
		t.Errorf("%d rows are fewer than the demo promises", rows)
	}
}

// TestDataIsTheSameEveryTime pins a row of each table: a change of the generator is meant or a mistake.
func TestDataIsTheSameEveryTime(t *testing.T) {
	for i, want := range []int64{3673722952, 2523401268, 2346548905, 1400702516} {
		tbl := dataset()[i]
		if got := fingerprint(tbl.row(1234, 1)); got != want {
			t.Errorf("%s: row 1234 has fingerprint %d, want %d", tbl.name, got, want)
		}
	}
}
