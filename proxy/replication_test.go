package proxy

import (
	"bytes"
	"strings"
	"testing"

	"pggateway/config"
	"pggateway/sqlstate"
	"pggateway/wire"
)

func TestReplicationParameter(t *testing.T) {
	for value, want := range map[string]replication{
		"database": logicalReplication,
		"true":     physicalReplication, "TRUE": physicalReplication, "t": physicalReplication, "tru": physicalReplication,
		"on": physicalReplication, "yes": physicalReplication, "y": physicalReplication, "1": physicalReplication,
		"false": noReplication, "f": noReplication, "off": noReplication, "of": noReplication, "no": noReplication, "n": noReplication, "0": noReplication,
	} {
		got, f := replicationOf(&wire.Startup{Parameters: []wire.Parameter{{Name: "replication", Value: value}}})
		if f != nil || got != want {
			t.Errorf("%q: %q, %v, want %q", value, got, f, want)
		}
	}
	for _, value := range []string{"", "o", "2", "01", "truer", "databases", "Database", "d", " true", "onn"} {
		if got, f := replicationOf(&wire.Startup{Parameters: []wire.Parameter{{Name: "replication", Value: value}}}); f == nil || f.Code != sqlstate.InvalidParameterValue {
			t.Errorf("%q: %q, %v, want an error", value, got, f)
		}
	}
	if got, f := replicationOf(&wire.Startup{Parameters: []wire.Parameter{{Name: "replication", Value: "1"}, {Name: "user", Value: "u"}, {Name: "replication", Value: "database"}}}); f != nil || got != logicalReplication {
		t.Errorf("of two: %q, %v", got, f)
	}
	if got, f := replicationOf(&wire.Startup{}); f != nil || got != noReplication {
		t.Errorf("of none: %q, %v", got, f)
	}
}

// Nothing of the client's takes the place of what the gateway says at startup.
func TestReplicationSettings(t *testing.T) {
	for _, p := range []wire.Parameter{
		{Name: "OPTIONS", Value: "-c role=postgres"},
		{Name: "options", Value: "-c options=-crole=postgres"},
		{Name: "options", Value: "--replication=database"},
		{Name: "Replication", Value: "database"},
		{Name: "USER", Value: "postgres"},
		{Name: "Database", Value: "other"},
		{Name: "_PQ_.something", Value: "1"},
	} {
		got, f := replicationSettings(&wire.Startup{Parameters: []wire.Parameter{{Name: "user", Value: "sync"}, p}})
		if f == nil || f.Code != sqlstate.UndefinedObject {
			t.Errorf("%v: %v, %v", p, got, f)
		}
	}
	for _, p := range []wire.Parameter{{Name: "Role", Value: "postgres"}, {Name: "options", Value: "-c session-authorization=x"}} {
		got, f := replicationSettings(&wire.Startup{Parameters: []wire.Parameter{p}})
		if f == nil || f.Code != sqlstate.InsufficientPrivilege {
			t.Errorf("%v: %v, %v", p, got, f)
		}
	}
	got, f := replicationSettings(&wire.Startup{Parameters: []wire.Parameter{
		{Name: "user", Value: "sync"}, {Name: "database", Value: "x"}, {Name: "replication", Value: "true"}, {Name: "_pq_.x", Value: "1"}, {Name: "DateStyle", Value: "ISO"},
	}})
	if f != nil || len(got) != 1 || got[0] != (wire.Parameter{Name: "datestyle", Value: "ISO"}) {
		t.Errorf("%v, %v", got, f)
	}
}

func TestGrantsAdmit(t *testing.T) {
	all, only := config.Grants{All: true}, config.Grants{Replication: true}
	for _, c := range []struct {
		grants config.Grants
		mode   replication
		ok     bool
	}{
		{all, noReplication, true},
		{all, physicalReplication, false},
		{all, logicalReplication, false},
		{only, noReplication, false},
		{only, physicalReplication, true},
		{only, logicalReplication, true},
		{config.Grants{}, noReplication, false},
		{config.Grants{}, logicalReplication, false},
	} {
		l := &login{replication: c.mode, database: "orders"}
		f := l.admits(&config.WriterUpstream{Grants: c.grants})
		if (f == nil) != c.ok || f != nil && f.Code != sqlstate.InsufficientPrivilege {
			t.Errorf("%+v, %q: %v", c.grants, c.mode, f)
		}
	}
}

// libpq's programs ask for a database "replication" when they mean none.
func TestPhysicalReplicationFindsItsUpstream(t *testing.T) {
	plain, pattern := &config.Upstream{Name: "orders"}, &config.Upstream{Name: "tenant_*"}
	named := &config.Upstream{Name: "lake", Database: "water"}
	d := &door{doorParts: doorParts{config: &config.Config{Upstreams: []*config.Upstream{plain, pattern, named}}}}
	may := func(names ...string) *config.Writer {
		w := &config.Writer{}
		for _, n := range names {
			name, replicates := strings.CutSuffix(n, "+")
			w.Upstreams = append(w.Upstreams, &config.WriterUpstream{Name: name, Grants: config.Grants{Replication: replicates, All: !replicates}})
		}
		return w
	}
	for _, c := range []struct {
		mode     replication
		asked    string // "" is none, which stands for the user's name
		writer   *config.Writer
		upstream *config.Upstream
		database string
	}{
		{physicalReplication, "replication", may("orders+"), plain, "orders"},
		{physicalReplication, "replication", may("lake", "orders+"), plain, "orders"},
		{physicalReplication, "replication", may("lake+"), named, "water"},
		{physicalReplication, "replication", may("tenant_*+"), pattern, "replication"},
		{physicalReplication, "", may("orders+"), plain, "orders"},
		{physicalReplication, "replication", may("lake+", "orders+"), nil, ""},
		{physicalReplication, "replication", may("orders"), nil, ""},
		{physicalReplication, "other", may("orders+"), nil, ""},
		{logicalReplication, "replication", may("orders+"), nil, ""},
		{noReplication, "replication", may("orders+"), nil, ""},
	} {
		l := &login{door: d, replication: c.mode, startup: &wire.Startup{}, database: "sync"}
		if c.asked != "" {
			l.database = c.asked
			l.startup.Parameters = []wire.Parameter{{Name: "database", Value: c.asked}}
		}
		u, access, database := l.replicated(c.writer)
		if u != c.upstream || database != c.database || (access == nil) != (u == nil) {
			t.Errorf("%q for %q: %v, %q", c.mode, c.asked, u, database)
		}
	}
}

var commandsThatPass = []string{
	"IDENTIFY_SYSTEM", "IDENTIFY_SYSTEM;", " \t\r\nIDENTIFY_SYSTEM ; \n", "SHOW wal_segment_size", "TIMELINE_HISTORY 2",
	"BASE_BACKUP", "BASE_BACKUP(LABEL 'x')", "BASE_BACKUP ( LABEL 'pg_basebackup base backup',  PROGRESS,  CHECKPOINT 'fast')",
	"BASE_BACKUP LABEL 'pg_basebackup base backup' PROGRESS NOWAIT", "UPLOAD_MANIFEST",
	`CREATE_REPLICATION_SLOT "s" TEMPORARY LOGICAL "test_decoding" (SNAPSHOT 'nothing')`, `DROP_REPLICATION_SLOT "s" WAIT`,
	`READ_REPLICATION_SLOT "s"`, `ALTER_REPLICATION_SLOT "s" ( FAILOVER true )`,
	`START_REPLICATION SLOT "s" LOGICAL 0/0 ("proto_version" '4', "publication_names" '"Größe"')`,
	"SELECT pg_catalog.set_config('search_path', '', false);", "SELECT pg_catalog.set_config('search_path', '', false)",
}

func TestReplicationCommand(t *testing.T) {
	for _, text := range commandsThatPass {
		if !isReplicationCommand([]byte(text)) {
			t.Errorf("%q is refused", text)
		}
	}
	for _, text := range []string{
		"", ";", " ", "select 1", "identify_system", "Identify_System", "IDENTIFY_SYSTEMS", "IDENTIFY_SYSTEM1", "IDENTIFY_SYSTEM$", "IDENTIFY_SYSTEM\x00",
		"IDENTIFY_SYSTEM\xc3\xa4", "IDENTIFY_SYSTEM--", "IDENTIFY_SYSTEM/**/", "IDENTIFY_SYSTEM; drop table x", "IDENTIFY_SYSTEM;;",
		"SHOW x; drop table x", "SHOW x;drop table x;", "SHOW 'a;b'", "\x00SHOW x", "-- \nSHOW x", "/* */SHOW x", "(SHOW x)", "\"SHOW\" x", "\vSHOW x", "\ufeffSHOW x",
		"START_REPLICATIO", "START_REPLICATION_", "BASE_BACKUP'", "BASE_BACKUP\x00", "BASE_BACKUP\v", "BASE_BACKUP,",
		"SELECT pg_catalog.set_config('search_path', 'x', false)", "SELECT pg_catalog.set_config('search_path', '', false), f()",
		"select pg_catalog.set_config('search_path', '', false)", "SELECT 1", "BEGIN", "COPY x TO STDOUT", "EXPLAIN", "SET x = 1", "CREATE TABLE x ()",
	} {
		if isReplicationCommand([]byte(text)) {
			t.Errorf("%q passes", text)
		}
	}
}

// Whatever passes begins with one of the words and is one statement, by a reading
// that shares nothing with the one under test.
func FuzzReplicationCommand(f *testing.F) {
	for _, text := range commandsThatPass {
		f.Add([]byte(text))
		f.Add([]byte(text + "; drop table x"))
		f.Add([]byte(strings.ToLower(text)))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		before := bytes.Clone(text)
		if !isReplicationCommand(text) {
			return
		}
		if !bytes.Equal(before, text) {
			t.Error("the text was changed")
		}
		s := strings.Trim(string(text), " \t\r\n")
		if i := strings.IndexByte(s, ';'); i >= 0 && i != len(s)-1 {
			t.Errorf("%q has more than one statement", text)
		}
		if strings.TrimRight(s, "; \t\r\n") == "SELECT pg_catalog.set_config('search_path', '', false)" {
			return
		}
		word := s
		if i := strings.IndexAny(s, " \t\r\n(;"); i >= 0 {
			word = s[:i]
		}
		if !strings.Contains(" IDENTIFY_SYSTEM SHOW TIMELINE_HISTORY BASE_BACKUP UPLOAD_MANIFEST CREATE_REPLICATION_SLOT"+
			" ALTER_REPLICATION_SLOT READ_REPLICATION_SLOT DROP_REPLICATION_SLOT START_REPLICATION ", " "+word+" ") {
			t.Errorf("%q passes with the first word %q", text, word)
		}
	})
}
