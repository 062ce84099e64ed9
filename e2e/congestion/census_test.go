package congestion

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pggateway/e2e/kit"
)

// counted is what a gateway that serves nobody has.
type counted struct {
	gateway  *kit.Gateway
	files    int    // open
	settings string // what a client without parameters of its own finds
}

// leftovers are queries for what a server session must not have when it comes
// from the pool, in the words of the one who got it. They return nothing. What
// the gateway prepares under names of its own is no client's.
var leftovers = map[string]string{
	"prepared statements": "select name, statement from pg_prepared_statements where name not like 'pggw\\_%'",
	"cursors":             "select name, statement from pg_cursors where name <> ''",
	"channels":            "select pg_listening_channels()",
	"advisory locks":      "select classid, objid from pg_locks where locktype = 'advisory' and pid = pg_backend_pid()",
	"temporary tables":    "select relname from pg_class where relnamespace = pg_my_temp_schema()",
}

// settingsSQL lists the parameters that were set in the session.
const settingsSQL = "select string_agg(name || '=' || setting, ';' order by name) from pg_settings where source = 'session' or name = any(" +
	"'{application_name,search_path,statement_timeout,work_mem,TimeZone,DateStyle,extra_float_digits,role,session_authorization}')"

// census takes every server connection of the pool at once and looks at it, and
// then at what the server knows of them.
func census(t *testing.T, g *kit.Gateway, pg *kit.Postgres) counted {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	result := counted{gateway: g}
	all := make([]*pgconn.PgConn, servers)
	pids := map[string]bool{}
	for i := range all {
		all[i] = attend(ctx, t, g)
		if n := len(ask(ctx, t, all[i], "begin")); n != 0 {
			t.Fatalf("begin returned %d rows", n)
		}
		pids[fmt.Sprint(ask(ctx, t, all[i], "select pg_backend_pid()"))] = true
		for what, sql := range leftovers {
			if rows := ask(ctx, t, all[i], sql); len(rows) > 0 {
				t.Errorf("server connection %d has %s: %q", i, what, rows)
			}
		}
		settings := fmt.Sprint(ask(ctx, t, all[i], settingsSQL))
		if result.settings == "" {
			result.settings = settings
		}
		if settings != result.settings {
			t.Errorf("settings differ: %s, and in server connection %d %s", result.settings, i, settings)
		}
	}
	if len(pids) != servers {
		t.Errorf("the pool has %d server connections, want %d", len(pids), servers)
	}
	for _, c := range all {
		ask(ctx, t, c, "rollback")
		c.Close(ctx)
	}
	of := fmt.Sprintf("from pg_stat_activity where usename = '%s'", role)
	eventually(t, "as many server connections as the pool has", func() (bool, any) {
		n := pg.Value("app", "select count(*) "+of)
		return n == fmt.Sprint(servers), n
	})
	eventually(t, "no server connection busy", func() (bool, any) {
		rows := pg.Rows("app", "select pid, state, query "+of+" and (state <> 'idle' or xact_start is not null)")
		return len(rows) == 0, rows
	})
	eventually(t, "no advisory locks and no temporary tables", func() (bool, any) {
		rows := pg.Rows("app", "select objid, pid::text from pg_locks where locktype = 'advisory' union all"+
			" select oid, relname::text from pg_class where relpersistence = 't'")
		return len(rows) == 0, rows
	})
	for result.files = files(t, g) + 1; files(t, g) < result.files; time.Sleep(100 * time.Millisecond) {
		result.files = files(t, g)
	}
	return result
}

func (c counted) compare(t *testing.T, before counted) {
	t.Helper()
	if c.settings != before.settings {
		t.Errorf("a new client finds the settings %s, and found %s", c.settings, before.settings)
	}
	eventually(t, fmt.Sprintf("the gateway to have no more than %d files open", before.files), func() (bool, any) {
		n := files(t, before.gateway)
		return n <= before.files, n
	})
}

// attend logs in with no parameters of its own.
func attend(ctx context.Context, t *testing.T, g *kit.Gateway) *pgconn.PgConn {
	t.Helper()
	c, err := pgconn.Connect(ctx, g.ConnString(writer, writerPassword, "up"))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func ask(ctx context.Context, t *testing.T, c *pgconn.PgConn, sql string) [][][]byte {
	t.Helper()
	results, err := c.Exec(ctx, sql).ReadAll()
	if err != nil || len(results) != 1 {
		t.Fatalf("%s: %v", sql, err)
	}
	return results[0].Rows
}

// eventually waits until something is as it should be; what it was instead is
// told when that never comes.
func eventually(t *testing.T, what string, is func() (bool, any)) {
	t.Helper()
	var got any
	for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		var ok bool
		if ok, got = is(); ok {
			return
		}
	}
	t.Fatalf("waited %v for %s: %v", patience, what, got)
}

// servesAll has as many clients as there were log in and ask something.
func servesAll(t *testing.T, g *kit.Gateway, clients int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
	defer cancel()
	var wg sync.WaitGroup
	for i := range clients {
		wg.Go(func() {
			c, err := pgconn.Connect(ctx, g.ConnString(writer, writerPassword, "up"))
			if err != nil {
				t.Errorf("afterwards: %v", err)
				return
			}
			defer c.Close(ctx)
			r := c.ExecParams(ctx, "select $1::int", [][]byte{strconv.AppendInt(nil, int64(i), 10)}, nil, nil, nil).Read()
			if r.Err != nil || len(r.Rows) != 1 || string(r.Rows[0][0]) != strconv.Itoa(i) {
				t.Errorf("afterwards: client %d got %q, %v", i, r.Rows, r.Err)
			}
		})
	}
	wg.Wait()
}

// files is how many descriptors the gateway has.
func files(t *testing.T, g *kit.Gateway) int {
	t.Helper()
	entries, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.Pid()))
	if err != nil {
		t.Fatal(err)
	}
	return len(entries)
}

// quietGoroutines is how many a gateway without clients may have: its loops,
// its listener, its pools, not one for each of those who came.
const quietGoroutines = 30

var goroutine = regexp.MustCompile(`(?m)^goroutine [0-9]+ .*\[`)

// goroutines ends the gateway with the signal that makes it print them.
func goroutines(t *testing.T, g *kit.Gateway) int {
	t.Helper()
	g.Signal(syscall.SIGQUIT)
	if _, ended := g.Wait(patience); !ended {
		t.Fatal("the gateway survived SIGQUIT")
	}
	_, dump, found := strings.Cut(g.Logs(), "SIGQUIT: quit")
	n := len(goroutine.FindAllString(dump, -1))
	if !found || n == 0 {
		t.Fatal("the gateway printed no goroutines")
	}
	t.Logf("%d goroutines", n)
	return n
}
