package e2e

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"pggateway/e2e/kit"
)

// checklist is what `gateway check --json` prints, as docs/check.md has it.
type checklist struct {
	OK        bool
	Upstreams []struct {
		OK                   bool
		Upstream, Kind, Host string
		Port                 int
		Database, Role       string
		Writers              []string
		Checks               []struct{ Check, Status, Text, Remedy string }
	}
}

// check runs `gateway check --json` on the house's configuration, or one like it.
func (h *house) check(config string, args ...string) (checklist, int) {
	h.t.Helper()
	file := kit.WriteFile(h.t, h.dir, "check.yaml", config)
	r := kit.RunGatewayIn(h.t, h.env, "", append([]string{"check", "-c", file, "--json"}, args...)...)
	var list checklist
	if err := json.Unmarshal([]byte(r.Stdout), &list); err != nil || r.Stderr != "" {
		h.t.Fatalf("exit code %d, %v\n%s%s", r.Code, err, r.Stdout, r.Stderr)
	}
	for _, s := range []string{rolePassword, writerPassword} {
		if strings.Contains(r.Stdout, s) {
			h.t.Errorf("a secret is in the checklist:\n%s", r.Stdout)
		}
	}
	return list, r.Code
}

// finding is what is to be found of one step: its status and parts of its text and remedy.
type finding struct {
	step, status string
	says         []string
}

// expect checks that an upstream's checklist has these findings, that all before
// them is ok, and that only they fail.
func (l *checklist) expect(t *testing.T, name string, findings ...finding) {
	t.Helper()
	for _, u := range l.Upstreams {
		if u.Upstream != name {
			continue
		}
		wrong := slices.ContainsFunc(findings, func(f finding) bool { return f.status == "fail" })
		if u.OK == wrong {
			t.Errorf("%s: ok is %v", name, u.OK)
		}
		for _, c := range u.Checks {
			i := slices.IndexFunc(findings, func(f finding) bool { return f.step == c.Check })
			switch {
			case i < 0 && c.Status == "fail", i < 0 && c.Status == "warn", i >= 0 && findings[i].status != c.Status:
				t.Errorf("%s: %s is %s: %s (%s)", name, c.Check, c.Status, c.Text, c.Remedy)
			case i >= 0:
				for _, words := range findings[i].says {
					if !strings.Contains(c.Text+"\n"+c.Remedy, words) {
						t.Errorf("%s: %s does not say %q: %s (%s)", name, c.Check, words, c.Text, c.Remedy)
					}
				}
				if (c.Status == "fail" || c.Status == "warn") && c.Remedy == "" {
					t.Errorf("%s: %s has no remedy: %s", name, c.Check, c.Text)
				}
				findings = slices.Delete(slices.Clone(findings), i, i+1)
			case c.Status == "skip" && !wrong:
				t.Errorf("%s: %s was not looked at", name, c.Check)
			}
		}
		if len(findings) > 0 {
			t.Errorf("%s: not found: %v", name, findings)
		}
		return
	}
	t.Errorf("%s is not in the list", name)
}

// TestCheck provokes each failure for real, and finds it told with its remedy.
func TestCheck(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	month := time.Now().Add(30 * 24 * time.Hour)
	pg := h.postgres(kit.PostgresOptions{
		HBA:      []string{"host app stranger 0.0.0.0/0 reject", "hostssl app secured 0.0.0.0/0 scram-sha-256", "hostnossl app secured 0.0.0.0/0 reject", "host all all 127.0.0.0/8 scram-sha-256"},
		TLS:      h.ca.Issue(t, kit.CertRequest{Names: []string{"db.example.com"}, NotAfter: month}),
		Settings: map[string]string{"wal_level": "logical"},
	})
	plain := kit.StartPostgres(t, kit.PostgresOptions{})
	plain.CreateLogin(role, rolePassword)
	plain.CreateDatabase("app", role)
	for _, name := range []string{"stranger", "secured", "boss", "frozen", "quiet", "full", "poor", "copier", "builder"} {
		pg.CreateLogin(name, rolePassword)
		pg.Exec("postgres", "grant connect, create, temporary on database app to "+name)
	}
	pg.Exec("postgres", `
		alter role boss superuser; alter role frozen set default_transaction_read_only = on; alter role quiet nologin;
		alter role full connection limit 0; alter role copier replication; alter role builder createrole;
		revoke create, temporary on database app from poor, public`)
	pg.Exec("app", `create schema given; grant usage on schema given to poor; create schema mine; grant all on schema mine to poor`)
	pg.CreateDatabase("tenant_1", role)
	pg.Exec("postgres", "create database closed")
	pg.Exec("postgres", "revoke connect on database closed from public")

	const off = "tls: {mode: disable}"
	secure := "tls: {ca: file:" + h.ca.File + "}"
	as := func(user string) string { return fmt.Sprintf("login: {user: %s, password: env:ROLE_PW}", user) }
	closed := kit.FreePort(t)
	hangsUp := kit.StartScripted(t, func(*kit.ScriptConn) {})
	silent := kit.StartScripted(t, func(c *kit.ScriptConn) { c.Silence() })
	expired := h.ca.Issue(t, kit.CertRequest{Names: []string{"db.example.com"}, NotAfter: time.Now().Add(-time.Minute)})
	old := kit.StartScripted(t, func(c *kit.ScriptConn) { c.Startup(expired) })
	sshd, way := h.bastion(kit.SSHDOptions{})
	strict := kit.StartSSHD(t, kit.SSHDOptions{AuthorizedKeys: []string{`restrict,port-forwarding,permitopen="127.0.0.1:1" ` + h.ssh.Public}})
	unknown := kit.StartSSHD(t, kit.SSHDOptions{})

	straight := func(name string, port int, more ...string) { h.upstream(name, "127.0.0.1", port, more...) }
	named := func(name string, port int, more ...string) {
		h.upstream(name, "db.example.com", port, append(more, "hostaddr: 127.0.0.1")...)
	}
	fails := func(step string, says ...string) finding { return finding{step, "fail", says} }
	warns := func(step string, says ...string) finding { return finding{step, "warn", says} }
	type expectation struct {
		name     string
		findings []finding
	}
	var wanted []expectation
	want := func(name string, findings ...finding) { wanted = append(wanted, expectation{name, findings}) }

	straight("good", pg.Port, off)
	want("good", finding{"seen_from", "ok", []string{egress}}, finding{"version", "ok", []string{"PostgreSQL"}})
	named("good-tls", pg.Port, secure)
	want("good-tls", finding{"tls", "ok", []string{"TLS 1.3", "verify", month.UTC().Format(time.DateOnly)}})
	straight("good-bastion", pg.Port, off, way)
	want("good-bastion", finding{"bastion", "ok", nil}, finding{"forward", "ok", nil}, finding{"seen_from", "ok", []string{"bastion: 127.0.0.1"}})

	straight("secret", pg.Port, off, "login: {user: x, password: env:PGGATEWAY_TEST_UNSET}")
	want("secret", fails("secrets", "login.password", "PGGATEWAY_TEST_UNSET"))
	straight("identity", pg.Port, off, strings.Replace(way, "via: {ssh: {", "via: {ssh: {identity: file:/nowhere/key, ", 1))
	want("identity", fails("secrets", "via.ssh.identity", "/nowhere/key"))
	h.upstream("name", "db.invalid", pg.Port, off)
	want("name", fails("name", "db.invalid", "dig"))
	h.upstream("bastion-name", "127.0.0.1", pg.Port, off, strings.Replace(way, "host: "+sshd.Host, "host: bastion.invalid", 1))
	want("bastion-name", fails("name", "bastion.invalid"))
	straight("closed", closed, off)
	want("closed", fails("address", "refused", fmt.Sprintf("port %d", closed), egress+"/32", "listen_addresses"))
	straight("bastion-closed", pg.Port, off, strings.Replace(way, fmt.Sprintf("port: %d", sshd.Port), fmt.Sprintf("port: %d", closed), 1))
	want("bastion-closed", fails("address", "refused", "bastion's firewall"))
	straight("bastion-key", pg.Port, off, via(sshd, unknown.HostKey.Public))
	want("bastion-key", fails("bastion", "host key mismatch", "somebody else answers"))
	straight("bastion-refuses", pg.Port, off, via(unknown, unknown.HostKey.Public))
	want("bastion-refuses", fails("bastion", "authorized_keys", "gateway egress bastion-refuses"))
	straight("bastion-forbids", pg.Port, off, via(strict, strict.HostKey.Public))
	want("bastion-forbids", fails("forward", fmt.Sprintf(`permitopen has to be "127.0.0.1:%d"`, pg.Port), "AllowTcpForwarding"))
	straight("bastion-cannot", closed, off, way)
	want("bastion-cannot", fails("forward", fmt.Sprintf("nc -vz 127.0.0.1 %d", closed)))

	h.upstream("tls-name", "other.example.com", pg.Port, "hostaddr: 127.0.0.1", secure)
	want("tls-name", fails("tls", "db.example.com", "other.example.com", "tls.server_name"))
	named("tls-expired", old.Port, secure)
	want("tls-expired", fails("tls", "expired at", "renew", "clock"))
	named("tls-authority", pg.Port)
	want("tls-authority", fails("tls", "tls.ca", "file:PATH"))
	named("tls-none", plain.Port, secure)
	want("tls-none", fails("tls", "does not take TLS", "turn ssl on"))
	named("tls-require", pg.Port, "tls: {mode: require}")
	want("tls-require", warns("tls", "not verified", "verify-full"))
	straight("hangs-up", hangsUp.Port, secure)
	want("hangs-up", fails("tls", "closed the connection", "NLB"))
	straight("hangs-up-later", hangsUp.Port, off)
	want("hangs-up-later", fails("login", "NLB"))
	straight("silent", silent.Port, off)
	want("silent", fails("login", "held up the login"))

	straight("password", pg.Port, off, fmt.Sprintf(`login: {user: %s, password: "literal:wrong"}`, role))
	want("password", fails("login", "28P01", "ALTER ROLE"))
	straight("hba", pg.Port, off, as("stranger"))
	want("hba", fails("login", "pg_hba.conf needs a record for stranger coming from "+egress, "gateway egress hba", "tls.mode"))
	straight("hba-plain", pg.Port, off, as("secured"))
	want("hba-plain", fails("login", "no encryption", "verify-full"))
	straight("role", pg.Port, off, as("nobody_here"))
	want("role", fails("login", "28P01"))
	straight("nologin", pg.Port, off, as("quiet"))
	want("nologin", fails("login", `ALTER ROLE "quiet" LOGIN`))
	straight("full", pg.Port, off, as("full"))
	want("full", fails("login", "53300", "CONNECTION LIMIT"))
	straight("database", pg.Port, off, "database: not_there")
	want("database", fails("login", `CREATE DATABASE "not_there"`))
	straight("connect", pg.Port, off, "database: closed")
	want("connect", fails("login", `GRANT CONNECT ON DATABASE "closed" TO "sync_writer"`))

	straight("privileges", pg.Port, off, as("poor"))
	want("privileges", fails("create", `GRANT CREATE ON DATABASE "app" TO "poor"`), fails("temporary", `GRANT TEMPORARY ON DATABASE "app" TO "poor"`))
	straight("read-only", pg.Port, off, as("frozen"))
	want("read-only", fails("writable", `ALTER ROLE "frozen" RESET default_transaction_read_only`))
	straight("superuser", pg.Port, off, as("boss"))
	want("superuser", fails("superuser", `ALTER ROLE "boss" NOSUPERUSER`))
	straight("createrole", pg.Port, off, as("builder"))
	want("createrole", warns("superuser", "NOCREATEROLE"))

	straight("schema-new", pg.Port, off, "schema: {name: Fresh, create: true}")
	want("schema-new", finding{"schema", "ok", []string{"is created on first use"}})
	straight("schema-missing", pg.Port, off, "schema: {name: Fresh}")
	want("schema-missing", fails("schema", `CREATE SCHEMA "Fresh" AUTHORIZATION "sync_writer"`, "schema.create"))
	straight("schema-denied", pg.Port, off, as("poor"), "schema: {name: Fresh, create: true}")
	want("schema-denied", fails("schema", "may not create it"), fails("create"), fails("temporary"))
	straight("schema-given", pg.Port, off, as("poor"), "schema: {name: given}")
	want("schema-given", fails("schema", `GRANT CREATE ON SCHEMA "given" TO "poor"`), fails("temporary"))
	straight("schema-own", pg.Port, off, as("poor"), "schema: {name: mine}")
	want("schema-own", finding{"create", "ok", []string{"does not need it"}}, finding{"schema", "ok", nil}, fails("temporary"))
	straight("tenant_*", pg.Port, off)
	want("tenant_*")

	config := h.config("")
	list, code := h.check(config, "--timeout", "10s")
	if code != 1 || list.OK {
		t.Errorf("exit code %d, ok %v", code, list.OK)
	}
	if len(list.Upstreams) != len(h.names) || len(wanted) != len(h.names) {
		t.Errorf("%d reports and %d expectations of %d upstreams", len(list.Upstreams), len(wanted), len(h.names))
	}
	for i, u := range list.Upstreams {
		if i < len(h.names) && u.Upstream != h.names[i] {
			t.Errorf("report %d is of %s, want %s: not in the file's order", i, u.Upstream, h.names[i])
		}
	}
	for _, w := range wanted {
		list.expect(t, w.name, w.findings...)
	}
	if n := pg.Value("app", "select count(*) from pg_namespace where nspname = 'Fresh'"); n != "0" {
		t.Error("a check has created a schema")
	}

	t.Run("named", func(t *testing.T) {
		list, code := h.check(config, "good", "tenant_1", "good")
		if code != 0 || !list.OK || len(list.Upstreams) != 2 || list.Upstreams[1].Database != "tenant_1" {
			t.Errorf("exit code %d, %+v", code, list)
		}
		list.expect(t, "tenant_*", finding{"create", "ok", nil})
		file := kit.WriteFile(t, h.dir, "check.yaml", config)
		if r := kit.RunGateway(t, "", "check", "-c", file, "nonesuch"); r.Code != 2 || !strings.Contains(r.Stderr, `no upstream is named "nonesuch"`) {
			t.Errorf("%+v", r)
		}
	})
	t.Run("for people", func(t *testing.T) {
		file := kit.WriteFile(t, h.dir, "check.yaml", config)
		r := kit.RunGatewayIn(t, h.env, "", "check", "-c", file, "good", "closed")
		for _, words := range []string{
			"good (postgres, 127.0.0.1:", "  ok    login        logged in as sync_writer with the password\n",
			"  FAIL  address      ", "  -     not looked at: login, version", "2 logins checked: 1 ok, 0 with warnings, 1 that cannot be used as configured\n",
		} {
			if !strings.Contains(r.Stdout, words) {
				t.Errorf("it does not say %q:\n%s", words, r.Stdout)
			}
		}
		if r.Code != 1 || r.Stderr != "" {
			t.Errorf("exit code %d, %s", r.Code, r.Stderr)
		}
	})
	t.Run("seen from", func(t *testing.T) {
		list, code := h.check(strings.Replace(config, "egress: {", "egress: {public_ips: [203.0.113.7], ", 1), "good")
		if code != 0 {
			t.Errorf("exit code %d", code)
		}
		list.expect(t, "good", warns("seen_from", egress, "203.0.113.7/32", "egress.public_ips"))
		list, _ = h.check(strings.Replace(config, "source_ip: "+egress, "source_ip: 203.0.113.9", 1), "good")
		list.expect(t, "good", fails("address", "is not an address of this machine", "egress.source_ip"))
		list, _ = h.check(strings.Replace(config, "egress: {source_ip: "+egress+"}\n", "", 1), "good")
		list.expect(t, "good", warns("seen_from", "egress.public_ips: [127.0.0.1]"))
	})
	t.Run("replication", func(t *testing.T) {
		writers := fmt.Sprintf(`  copy:
    password: "literal:%[1]s"
    upstreams: {good: {grants: {replication: true}, login: {user: copier, password: env:ROLE_PW}}}
  copy2:
    password: "literal:%[1]s"
    upstreams: {good: {grants: {replication: true}}}
`, writerPassword)
		list, code := h.check(h.config("", writers), "good")
		if code != 1 || len(list.Upstreams) != 2 || list.Upstreams[1].Role != "copier" || fmt.Sprint(list.Upstreams[1].Writers) != "[copy]" {
			t.Fatalf("exit code %d, %+v", code, list)
		}
		list.expect(t, "good", fails("replication", `ALTER ROLE "sync_writer" REPLICATION`))
		list.Upstreams = list.Upstreams[1:]
		list.expect(t, "good", finding{"replication", "ok", []string{"wal_level is logical"}})
	})
}

// TestCheckIAM checks a login by IAM token at the stand-in for RDS.
func TestCheckIAM(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	rds, pg := h.rds(func(o *kit.RDSOptions) {
		o.Cert = h.ca.Issue(t, kit.CertRequest{Names: []string{rdsHost}, NotAfter: time.Now().Add(30 * 24 * time.Hour)})
	})
	pg.Exec("postgres", "create role rds_iam; create role rds_replication; create role rds_superuser; grant rds_iam to "+role)
	entry := func(name, host, user string) {
		h.entry(name, "kind: rds", "host: "+host, "hostaddr: 127.0.0.1", fmt.Sprintf("port: %d", rds.Port()),
			"tls: {ca: file:"+h.ca.File+", server_name: "+rdsHost+"}", "login: {user: "+user+", iam: {}}")
	}
	entry("good", rdsHost, role)
	entry("user", rdsHost, "somebody_else")
	entry("alias", "alias.c9akciq32.us-east-1.rds.amazonaws.com", role)
	list, code := h.check(h.config(""))
	if code != 1 {
		t.Errorf("exit code %d", code)
	}
	list.expect(t, "good", finding{"credentials", "ok", []string{rdsHost}}, finding{"iam_role", "ok", nil}, finding{"login", "ok", []string{"IAM token"}})
	refused := []string{"PAM authentication failed", "iam-db-auth-error", "rds-db:connect", "clock"}
	list.expect(t, "user", finding{"login", "fail", append(refused, `GRANT rds_iam TO "somebody_else"`)})
	list.expect(t, "alias", finding{"login", "fail", append(refused, "signed for alias.c9akciq32")})

	pg.Exec("postgres", "grant rds_superuser to "+role)
	list, code = h.check(h.config(""), "good")
	if code != 0 {
		t.Errorf("exit code %d", code)
	}
	list.expect(t, "good", finding{"superuser", "warn", []string{"REVOKE rds_superuser"}})
	pg.Exec("postgres", "revoke rds_superuser, rds_iam from "+role)
	list, _ = h.check(h.config(""), "good")
	list.expect(t, "good", finding{"iam_role", "warn", []string{"GRANT rds_iam"}})

	h.env = []string{"AWS_EC2_METADATA_DISABLED=true", "ROLE_PW=" + rolePassword}
	list, _ = h.check(h.config(""), "good")
	list.expect(t, "good", finding{"credentials", "fail", []string{"AWS credentials", "instance, task or pod role"}})
}

// TestCheckAWS checks what AWS has of the gateway's: secrets, roles, and the time.
func TestCheckAWS(t *testing.T) {
	t.Parallel()
	t.Run("secrets", func(t *testing.T) {
		t.Parallel()
		h, stand := awsHouse(t, kit.AWSOptions{})
		pg := h.postgres(kit.PostgresOptions{})
		stand.SetSecret("prod/orders", secretJSON(rolePassword))
		for name, ref := range map[string]string{"good": "prod/orders#password", "key": "prod/orders#passwort", "none": "prod/nothing#password"} {
			h.upstream(name, "127.0.0.1", pg.Port, "tls: {mode: disable}", "login: {user: "+role+", password: aws-sm:"+ref+"}")
		}
		list, _ := h.check(h.config(""))
		list.expect(t, "good", finding{"secrets", "ok", []string{"password"}})
		list.expect(t, "key", finding{"secrets", "fail", []string{`no key "passwort"`, "secretsmanager:GetSecretValue"}})
		list.expect(t, "none", finding{"secrets", "fail", []string{"ResourceNotFoundException", "in the gateway's region"}})
	})
	t.Run("role", func(t *testing.T) {
		t.Parallel()
		h, stand, _ := roleHouse(t, kit.AWSOptions{}, "{assume_role: {arn: \""+dbRole+"\"}}", nil)
		stand.SetRole(dbRole, kit.RoleTrust{ExternalID: "ext-1"})
		list, code := h.check(h.config(""))
		if code != 1 {
			t.Errorf("exit code %d", code)
		}
		list.expect(t, "up", finding{"credentials", "fail", []string{dbRole, "trust policy has to name", "external id"}}, finding{"login", "skip", nil},
			finding{"tls", "ok", nil})
	})
	t.Run("clock", func(t *testing.T) {
		t.Parallel()
		behind := func() time.Time { return time.Now().Add(-10 * time.Minute) }
		h, stand, _ := roleHouse(t, kit.AWSOptions{Now: behind}, "{assume_role: {arn: \""+dbRole+"\"}}", func(r *kit.RDSOptions) { r.Now = behind })
		stand.SetRole(dbRole, kit.RoleTrust{})
		list, _ := h.check(h.config(""))
		list.expect(t, "up", finding{"credentials", "warn", []string{"ahead of AWS's", "NTP"}}, finding{"login", "fail", []string{"NTP"}})
	})
}
