package check

import (
	"strings"
	"testing"

	"pggateway/config"
	"pggateway/e2e/kit"
)

// TestServer has stand-ins answer as servers do that are hard to come by.
func TestServer(t *testing.T) {
	replicates := func(c *config.Config, _ *config.Upstream) { c.Writers[0].Upstreams[0].Grants.Replication = true }
	managed := func(_ *config.Config, u *config.Upstream) { u.Kind = config.KindAurora }
	both := func(c *config.Config, u *config.Upstream) { managed(c, u); replicates(c, u) }
	reader := func(_ *config.Config, u *config.Upstream) {
		u.Kind, u.Host, u.HostAddr = config.KindAurora, strings.Replace(host, ".cluster-", ".cluster-ro-", 1), "127.0.0.1"
	}
	for name, tt := range map[string]struct {
		answers answers
		change  func(*config.Config, *config.Upstream)
		step    Step
		status  Status
		says    string
	}{
		"13":                  {answers{"server_version_num": "130000,13.0"}, nil, Version, OK, "13.0"},
		"12":                  {answers{"server_version_num": "120022,12.22"}, nil, Version, Warn, "upgrade"},
		"11":                  {answers{"server_version_num": "110022,11.22"}, nil, Version, Fail, "upgrade"},
		"9.6":                 {answers{"server_version_num": "90624,9.6.24"}, nil, Version, Fail, "upgrade"},
		"no version":          {answers{"server_version_num": "x,y"}, nil, Version, Fail, ""},
		"another form":        {answers{"server_version_num": "130000"}, nil, Version, Warn, "another form"},
		"no rows":             {answers{"server_version_num": ""}, nil, Version, Warn, "another form"},
		"replica":             {answers{"pg_is_in_recovery": "t,off,default"}, nil, Writable, Fail, "primary"},
		"replica of Aurora":   {answers{"pg_is_in_recovery": "t,on,override"}, reader, Writable, Fail, "reader endpoint"},
		"reader endpoint":     {nil, reader, Writable, Warn, "writer endpoint"},
		"read-only, file":     {answers{"pg_is_in_recovery": "f,on,configuration file"}, nil, Writable, Fail, "parameter group"},
		"read-only, database": {answers{"pg_is_in_recovery": "f,on,database"}, nil, Writable, Fail, `ALTER DATABASE "app" RESET`},
		"read-only, both":     {answers{"pg_is_in_recovery": "f,on,database user"}, nil, Writable, Fail, `IN DATABASE "app" RESET`},
		"all three":           {answers{"rolsuper": "f,t,t"}, nil, Superuser, Warn, "NOCREATEROLE NOBYPASSRLS"},
		"rds_superuser":       {answers{"rds_superuser": "rds_superuser"}, managed, Superuser, Warn, "REVOKE rds_superuser"},
		"rds_iam":             {answers{"rds_superuser": "rds_iam"}, managed, IAMRole, Warn, "login.iam"},
		"no rds_iam":          {nil, managed, IAMRole, OK, "password"},
		"replication":         {nil, replicates, Replication, OK, "logical"},
		"no logical":          {answers{"wal_level": "replica"}, replicates, Replication, Warn, "wal_level to logical"},
		"no logical, RDS":     {answers{"wal_level": "replica"}, both, Replication, Warn, "rds.logical_replication"},
		"seen":                {nil, nil, SeenFrom, OK, "203.0.113.7"},
		"seen through IPv6":   {answers{"inet_client_addr": "::ffff:203.0.113.7"}, nil, SeenFrom, OK, "203.0.113.7"},
		"seen as another":     {answers{"inet_client_addr": "198.51.100.1"}, nil, SeenFrom, Warn, "198.51.100.1"},
		"seen as private":     {answers{"inet_client_addr": "10.0.0.9"}, nil, SeenFrom, Warn, "NLB"},
		"not seen":            {answers{"inet_client_addr": ""}, nil, SeenFrom, Warn, "another form"},
		"seen not at all":     {answers{"inet_client_addr": "?"}, nil, SeenFrom, OK, "does not say"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := kit.StartScripted(t, func(c *kit.ScriptConn) { serve(c, usual().with(tt.answers)) })
			r := reports(t, s.Port, tt.change)
			l := r.line(tt.step)
			if l.Status != tt.status || !strings.Contains(l.Text+l.Remedy, tt.says) {
				t.Errorf("%+v", l)
			}
			if tt.status == OK && (r.Failed() || r.Warned()) || r.Failed() != (tt.status == Fail) {
				t.Errorf("failed %v, warned %v: %+v", r.Failed(), r.Warned(), r.Lines)
			}
		})
	}
}

// TestSilentServer: one that answers no question is not taken for a good one, nor for
// a bad one.
func TestSilentServer(t *testing.T) {
	s := kit.StartScripted(t, func(c *kit.ScriptConn) { serve(c, answers{}) })
	r := reports(t, s.Port, func(_ *config.Config, u *config.Upstream) {
		u.Kind, u.Schema = config.KindRDS, &config.UpstreamSchema{Name: "sales"}
	})
	asked := 0
	for _, l := range r.Lines {
		switch l.Step {
		case Version, Writable, Create, Schema, Superuser, IAMRole, SeenFrom:
			asked++
			if l.Status != Warn || !strings.Contains(l.Text, "could not be looked at: server: ERROR 0A000") {
				t.Errorf("%+v", l)
			}
		}
	}
	if asked != 7 || r.Failed() {
		t.Errorf("%d lines, failed %v: %+v", asked, r.Failed(), r.Lines)
	}
}
