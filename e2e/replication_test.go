package e2e

import (
	"fmt"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

func TestReplicationNeedsItsGrant(t *testing.T) {
	t.Parallel()
	h, _ := replicationHouse(t)
	for _, mode := range []string{"database", "true", "on", "1", "yes"} {
		_, err := h.try(writer, writerPassword, "up", "sslmode=disable replication="+mode)
		if e := pgError(t, err); e.Severity != "FATAL" || e.Code != "42501" {
			t.Errorf("with grants ALL, replication=%s: %+v", mode, e)
		} else {
			discreet(t, e)
		}
	}
	for _, mode := range []string{"", "off", "false", "no", "0"} {
		more := "sslmode=disable"
		if mode != "" {
			more += " replication=" + mode
		}
		_, err := h.try(replicator, replicatorPassword, "up", more)
		if e := pgError(t, err); e.Severity != "FATAL" || e.Code != "42501" {
			t.Errorf("the replicator with %q: %+v", more, e)
		}
	}
	_, err := h.try(replicator, replicatorPassword, "up", "sslmode=disable replication=o")
	if e := pgError(t, err); e.Severity != "FATAL" || e.Code != "22023" {
		t.Errorf("replication=o: %+v", e)
	}
	h.dial("up")
}

// The commands get the server's answers; statements of SQL, which the server
// would run on a connection for logical replication, do not reach it.
func TestReplicationCommands(t *testing.T) {
	t.Parallel()
	h, pg := replicationHouse(t)
	for mode, database := range map[string]string{"database": "app", "true": ""} {
		c := h.walsender(mode, "application_name=mine options='-c wal_sender_timeout=55s'")
		if row := command(t, c, "IDENTIFY_SYSTEM"); len(row) != 4 || row[3] != database {
			t.Errorf("%s: IDENTIFY_SYSTEM: %q", mode, row)
		}
		if row := command(t, c, "SHOW wal_sender_timeout;"); len(row) != 1 || row[0] != "55s" {
			t.Errorf("%s: SHOW: %q", mode, row)
		}
		if c.ParameterStatus("server_version") == "" {
			t.Errorf("%s: no server_version was reported", mode)
		}
		if n := pg.Value("postgres", "select count(*) from pg_stat_activity where backend_type = 'walsender' and application_name = 'mine'"); n != "1" {
			t.Errorf("%s: %s WAL senders", mode, n)
		}
		for _, text := range []string{
			"select 1", "drop table events", "", ";", "-- ping", "begin", "show wal_sender_timeout", " identify_system",
			"IDENTIFY_SYSTEM; drop table events", "SHOW x; drop table events;", "/* */ IDENTIFY_SYSTEM", "SHOWx", "\"SHOW\" x",
			"SELECT pg_catalog.set_config('search_path', 'public', false);", "SHOW wal_sender_timeout -- '\n; drop table events --'",
		} {
			_, err := c.Exec(t.Context(), text).ReadAll()
			if e := pgError(t, err); e.Severity != "ERROR" || e.Code != "42501" {
				t.Errorf("%s: %q: %+v", mode, text, e)
			}
		}
		r := c.ExecParams(t.Context(), "drop table events", nil, nil, nil, nil).Read()
		if e := pgError(t, r.Err); e.Code != "08P01" {
			t.Errorf("%s: extended: %+v", mode, e)
		}
		if row := command(t, c, "IDENTIFY_SYSTEM"); len(row) != 4 {
			t.Errorf("%s: later: %q", mode, row)
		}
		if err := c.Close(t.Context()); err != nil {
			t.Error(err)
		}
		pg.WaitFor("postgres", "select count(*) from pg_stat_activity where backend_type = 'walsender'", "0")
	}
	if n := pg.Value("app", "select count(*) from events"); n != "0" {
		t.Errorf("events: %s", n)
	}
}

// TestReplicationParameters has the server refuse one of the client's parameters.
func TestReplicationParameters(t *testing.T) {
	t.Parallel()
	h, _ := replicationHouse(t)
	for setting, code := range map[string]string{"datestyle=nonsense": "22023", "nosuch=x": "42704", "role=postgres": "42501", "options='-c options=-crole=postgres'": "42704"} {
		_, err := pgconn.Connect(t.Context(), h.replicate("up", "replication=database", setting))
		if e := pgError(t, err); e.Severity != "FATAL" || e.Code != code {
			t.Errorf("%s: %+v", setting, e)
		} else {
			discreet(t, e)
		}
	}
}

// TestReplicationUnavailable meets a server that lets nobody replicate, and none at all.
func TestReplicationUnavailable(t *testing.T) {
	t.Parallel()
	h, pg := replicationHouse(t)
	attempt := func() (detail string) {
		t.Helper()
		_, err := pgconn.Connect(t.Context(), h.replicate("up", "replication=true"))
		e := pgError(t, err)
		if e.Severity != "FATAL" || e.Code != "08001" {
			t.Errorf("%+v", e)
		}
		discreet(t, e)
		return e.Detail
	}
	pg.Exec("postgres", "alter role "+role+" noreplication")
	if detail := attempt(); !strings.Contains(detail, "42501") {
		t.Error(detail)
	}
	pg.Kill()
	if detail := attempt(); !strings.Contains(detail, "refuses connections") {
		t.Error(detail)
	}
}

// TestLogicalStream follows a slot while rows come, acknowledges, and ends the
// stream in order, after which the connection takes the next command.
func TestLogicalStream(t *testing.T) {
	t.Parallel()
	h, pg := replicationHouse(t)
	c := h.walsender("database")
	command(t, c, `CREATE_REPLICATION_SLOT "s" TEMPORARY LOGICAL "test_decoding"`)
	hc := stream(t, c, `START_REPLICATION SLOT "s" LOGICAL 0/0 ("include-xids" '0')`)
	for i := range 5 {
		what := fmt.Sprintf("event %d of five", i)
		pg.Exec("app", "insert into events (what) values ($1)", what)
		changes(t, hc, what)
	}
	if n := pg.Value("postgres", "select count(*) from pg_replication_slots where slot_name = 's' and active"); n != "1" {
		t.Errorf("%s active slots", n)
	}
	hc.Frontend.Send(&pgproto3.CopyDone{})
	if err := hc.Frontend.Flush(); err != nil {
		t.Fatal(err)
	}
	for ready := false; !ready; {
		switch m := receive(t, hc).(type) {
		case *pgproto3.ReadyForQuery:
			ready = true
		case *pgproto3.ErrorResponse:
			t.Fatalf("%+v", m)
		}
	}
	next, err := pgconn.Construct(hc)
	if err != nil {
		t.Fatal(err)
	}
	command(t, next, "IDENTIFY_SYSTEM")
	_ = next.Close(t.Context())
	pg.WaitFor("postgres", "select count(*) from pg_replication_slots", "0") // it was temporary
}

// However a stream ends, the server learns of it and the client is told.
func TestReplicationEnds(t *testing.T) {
	t.Parallel()
	h, pg := replicationHouse(t)
	enter := func(slot string) *pgconn.HijackedConn {
		t.Helper()
		c := h.walsender("database")
		command(t, c, "CREATE_REPLICATION_SLOT "+slot+" LOGICAL test_decoding")
		hc := stream(t, c, "START_REPLICATION SLOT "+slot+" LOGICAL 0/0")
		pg.WaitFor("postgres", "select count(*) from pg_replication_slots where active and slot_name = '"+slot+"'", "1")
		return hc
	}
	inactive := func(slot string) {
		t.Helper()
		pg.WaitFor("postgres", "select count(*) from pg_replication_slots where not active and slot_name = '"+slot+"'", "1")
	}
	last := func(hc *pgconn.HijackedConn) *pgproto3.ErrorResponse {
		t.Helper()
		for {
			if e, ok := receive(t, hc).(*pgproto3.ErrorResponse); ok {
				return e
			}
		}
	}

	enter("gone").Conn.Close()
	inactive("gone")

	killed := enter("killed")
	pg.Exec("postgres", "select pg_terminate_backend(active_pid) from pg_replication_slots where slot_name = 'killed'")
	if e := last(killed); e.Severity != "FATAL" || e.Code != "57P01" {
		t.Errorf("killed: %+v", e)
	}

	canceled := enter("canceled")
	cancel(t, h, canceled)
	if e := last(canceled); e.Severity != "ERROR" || e.Code != "57014" {
		t.Errorf("canceled: %+v", e)
	}
	inactive("canceled")

	query := enter("query")
	query.Frontend.Send(&pgproto3.Query{String: "IDENTIFY_SYSTEM"})
	if err := query.Frontend.Flush(); err != nil {
		t.Fatal(err)
	}
	if e := last(query); e.Severity != "FATAL" || e.Code != "08P01" {
		t.Errorf("a query in the middle of COPY: %+v", e)
	}
	inactive("query")

	crashed := enter("crashed")
	pg.Kill()
	if e := last(crashed); e.Severity != "FATAL" || e.Code != "08006" {
		t.Errorf("crashed: %+v", e)
	}
	pg.Start()

	drained := enter("drained")
	idle := h.walsender("true")
	h.gateway.Signal(syscall.SIGTERM)
	if e := last(drained); e.Severity != "FATAL" || e.Code != "57P01" {
		t.Errorf("drained: %+v", e)
	}
	var err error
	for err == nil { // it may be told a moment later
		_, err = idle.Exec(t.Context(), "IDENTIFY_SYSTEM").ReadAll()
	}
	if !strings.Contains(err.Error(), "57P01") {
		t.Errorf("idle: %v", err)
	}
	if code, ended := h.gateway.Wait(20 * time.Second); !ended || code != 0 {
		t.Errorf("exit code %d, ended %v", code, ended)
	}
	inactive("drained")
}

// cancel sends a cancel request with the connection's key.
func cancel(t *testing.T, h *house, hc *pgconn.HijackedConn) {
	t.Helper()
	c, err := hc.Config.DialFunc(t.Context(), "tcp", h.gateway.Addrs[0])
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	b, err := (&pgproto3.CancelRequest{ProcessID: hc.PID, SecretKey: hc.SecretKey}).Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Write(b); err != nil {
		t.Fatal(err)
	}
	_, _ = c.Read(make([]byte, 1)) // the end
}
