package check

import (
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"pggateway/config"
	"pggateway/e2e/kit"
)

// TestRefusals has stand-ins refuse the login as RDS, DSQL and others do
// (the words are of their documentation, and of what others have seen).
func TestRefusals(t *testing.T) {
	rds := func(_ *config.Config, u *config.Upstream) { u.Kind = config.KindRDS }
	for name, tt := range map[string]struct {
		code, message, hint string
		change              func(*config.Config, *config.Upstream)
		says                string
	}{
		"rds_iam and a password": {"28000", `PAM authentication failed for user "sync_writer"`, "", rds, "set login.iam"},
		"force_ssl":              {"28000", `no pg_hba.conf entry for host "203.0.113.7", user "sync_writer", database "app", no encryption`, "", rds, "rds.force_ssl"},
		"force_ssl, long ago":    {"28000", `no pg_hba.conf entry for host "203.0.113.7", user "sync_writer", database "app", SSL off`, "", rds, "rds.force_ssl"},
		"rejected":               {"28000", `pg_hba.conf rejects connection for host "203.0.113.7", user "sync_writer", database "app", SSL encryption`, "", rds, "does not let 203.0.113.7 in"},
		"rejected elsewhere":     {"28000", `pg_hba.conf rejects connection for host "198.51.100.4", user "sync_writer", database "app", SSL encryption`, "", nil, "coming from 198.51.100.4"},
		"md5 is off":             {"28P01", `password authentication failed for user "sync_writer"`, "", rds, "rds.accepted_password_auth_method"},
		"no role":                {"28000", `role "sync_writer" does not exist`, "", nil, `CREATE ROLE "sync_writer" LOGIN`},
		"RDS Proxy":              {"28000", "RDS Proxy supports only IAM, MD5, or SCRAM authentication.", "", rds, "own words"},
		"too many":               {"53300", "remaining connection slots are reserved for non-replication superuser and rds_superuser connections", "", rds, "pool.size"},
		"starting":               {"57P03", "the database system is starting up", "", nil, "try again"},
		"certificate":            {"28000", `certificate authentication failed for user "sync_writer"`, "", nil, "ssl_ca_file"},
		"DSQL, denied":           {"08006", "unable to accept connection, access denied", "", rds, "AWS IAM GRANT"},
		"DSQL, late":             {"08006", "unable to accept connection, access denied", "Signature expired: 20261120T115300Z", rds, "clock is wrong"},
		"DSQL, admin":            {"08006", "unable to accept connection, access denied", "Wrong user to action mapping. user: admin, action: DbConnect", rds, "DbConnectAdmin"},
		"DSQL, no SNI":           {"08006", "unable to accept connection, sni was not received", "", rds, "TLS server name"},
		"DSQL, asleep":           {"08006", "unable to accept connection, waking up cluster, please retry later", "", rds, "try again"},
		"DSQL, too fast":         {"53400", "Unable to accept connection, rate exceeded.", "", rds, "new_per_second"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := kit.StartScripted(t, func(c *kit.ScriptConn) {
				if _, ok := c.Startup(nil); ok {
					c.Say(&pgproto3.ErrorResponse{Severity: "FATAL", Code: tt.code, Message: tt.message, Hint: tt.hint})
				}
			})
			l := reports(t, s.Port, tt.change).line(Login)
			if l.Status != Fail || !strings.Contains(l.Remedy, tt.says) || !strings.Contains(l.Text, tt.message) || strings.Contains(l.Text, "hunter22") {
				t.Errorf("%+v", l)
			}
		})
	}
	t.Run("a pattern's database", func(t *testing.T) {
		s := kit.StartScripted(t, func(c *kit.ScriptConn) {
			if m, ok := c.Startup(nil); ok && m.Parameters["database"] == "postgres" {
				c.Say(&pgproto3.ErrorResponse{Severity: "FATAL", Code: "3D000", Message: `database "postgres" does not exist`})
			}
		})
		r := reports(t, s.Port, func(c *config.Config, u *config.Upstream) {
			u.Name, u.Database, c.Writers[0].Upstreams[0].Name = "tenant_*", "", "tenant_*"
		})
		if l := r.line(Login); l.Status != Warn || !strings.Contains(l.Remedy, "gateway check NAME") || r.Failed() {
			t.Errorf("%+v", r.Lines)
		}
	})
	t.Run("a method that is not answered", func(t *testing.T) {
		s := kit.StartScripted(t, func(c *kit.ScriptConn) {
			if _, ok := c.Startup(nil); ok {
				c.Say(&pgproto3.AuthenticationCleartextPassword{})
				c.Silence()
			}
		})
		if l := reports(t, s.Port, nil).line(Login); l.Status != Fail || !strings.Contains(l.Text, "cleartext") || !strings.Contains(l.Remedy, "gave nothing away") {
			t.Errorf("%+v", l)
		}
	})
	t.Run("a name of AWS", func(t *testing.T) {
		r := reports(t, 1, func(_ *config.Config, u *config.Upstream) { u.Kind, u.Host = config.KindRDS, "x."+host })
		if l := r.line(Name); l.Status != Fail || !strings.Contains(l.Remedy, "AWS console") || r.line(Login).Status != Skip {
			t.Errorf("%+v", r.Lines)
		}
	})
}
