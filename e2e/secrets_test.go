package e2e

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"

	"pggateway/e2e/kit"
)

// awsHouse is a house whose gateway has AWS.
func awsHouse(t *testing.T, o kit.AWSOptions) (*house, *kit.AWS) {
	t.Helper()
	h := newHouse(t)
	stand := kit.StartAWS(t, o)
	h.env = append(h.env, append(stand.Env(), stand.KeyEnv()...)...)
	return h, stand
}

// secretJSON is a secret as the rotation functions make it.
func secretJSON(password string) string {
	return fmt.Sprintf(`{"engine":"postgres","host":"db","port":"5432","username":%q,"password":%q}`, role, password)
}

// rotationHouse is a gateway whose upstream's password is in Secrets Manager,
// pooled by session so that each client means a login.
func rotationHouse(t *testing.T) (*house, *kit.AWS, *kit.Postgres) {
	t.Helper()
	h, stand := awsHouse(t, kit.AWSOptions{})
	pg := h.postgres(kit.PostgresOptions{})
	stand.SetSecret("prod/orders", secretJSON(rolePassword))
	h.upstream("up", "127.0.0.1", pg.Port, "tls: {mode: disable}", "pool: {mode: session, size: 20}",
		"login: {user: "+role+", password: aws-sm:prod/orders#password}")
	h.start("")
	return h, stand, pg
}

func setPassword(pg *kit.Postgres, password string) {
	pg.Exec("postgres", "alter role "+role+" password '"+strings.ReplaceAll(password, "'", "''")+"'")
}

// disconnect ends the role's connections and waits until the gateway knows: while
// a pool has any, clients wait for one of these.
func (h *house) disconnect(pg *kit.Postgres) {
	h.t.Helper()
	lost := len(h.gateway.Lines("server connection lost"))
	pg.Exec("postgres", "select pg_terminate_backend(pid) from pg_stat_activity where usename = '"+role+"'")
	h.gateway.WaitLine("server connection lost", lost+1)
}

// holder logs in a client that holds a server connection until it leaves.
func (h *house) holder(database string) *pgx.Conn {
	h.t.Helper()
	c := h.dial(database)
	ask(h.t, c, "select 'x'")
	return c
}

// refused logs in a client and has it ask for a server connection, which there is
// none of: either fails, the login when the gateway does not know the server yet.
func (h *house) refused(database string, secrets ...string) {
	h.t.Helper()
	c, err := h.try(writer, writerPassword, database)
	want := "08001"
	if err == nil {
		want = "57P03"
		_, err = c.Exec(h.t.Context(), "select 'x'")
	}
	e := pgError(h.t, err)
	if e.Code != want {
		h.t.Errorf("%+v, want %s", e, want)
	}
	discreet(h.t, e, append(secrets, role)...)
}

// silent checks that none of the texts is in the gateway's log.
func silent(t *testing.T, g *kit.Gateway, secrets ...string) {
	t.Helper()
	for _, s := range secrets {
		if strings.Contains(g.Logs(), s) {
			t.Errorf("%q is in the log", s)
		}
	}
}

// TestPasswordIsRotated changes a role's password while the gateway runs. Who is
// connected stays so, and who comes gets in with the new one without noticing:
// AWS is asked once at first and once more for all of them.
func TestPasswordIsRotated(t *testing.T) {
	t.Parallel()
	h, stand, pg := rotationHouse(t)
	before := h.holder("up")
	pg.Exec("app", "create table kept (i int); grant all on kept to "+role)

	const rotated = "the rotated one's text"
	stand.SetSecret("prod/orders", secretJSON(rotated))
	if n := stand.Calls("GetSecretValue"); n != 1 {
		t.Errorf("AWS was asked %d times before the rotation", n)
	}
	setPassword(pg, rotated)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			c, err := h.try(writer, writerPassword, "up")
			if err != nil {
				t.Errorf("after the rotation: %v", err)
				return
			}
			run(t, c, "insert into kept values (1)")
		})
	}
	wg.Wait()
	if got := ask(t, before, "select count(*)::text from kept"); got != "8" {
		t.Errorf("%s rows", got)
	}
	if n := stand.Calls("GetSecretValue"); n != 2 {
		t.Errorf("AWS was asked %d times, want twice", n)
	}
	h.gateway.WaitLine("server refused the password: it has changed, and the new one is tried", 1)
	silent(t, h.gateway, rolePassword, rotated)
}

// TestPasswordIsRotatedLate has the database know the new password before AWS
// does, as in the middle of a rotation. Clients are refused as long, AWS is not
// asked for each of them, and afterwards they get in.
func TestPasswordIsRotatedLate(t *testing.T) {
	t.Parallel()
	h, stand, pg := rotationHouse(t)
	h.holder("up")
	const rotated = "the rotated one's text"
	setPassword(pg, rotated)
	h.disconnect(pg)
	for range 5 {
		h.refused("up", rotated, "prod/orders")
	}
	failures := len(h.gateway.Lines("could not open a server connection"))
	if n := stand.Calls("GetSecretValue"); n < 2 || n > 1+failures {
		t.Errorf("AWS was asked %d times, after %d refused logins", n, failures)
	}
	stand.SetSecret("prod/orders", secretJSON(rotated))
	h.eventually("up")
	silent(t, h.gateway, rolePassword, rotated)
}

// TestSecretsOfAllKinds has everything that may be a secret in AWS.
func TestSecretsOfAllKinds(t *testing.T) {
	t.Parallel()
	h, stand := awsHouse(t, kit.AWSOptions{})
	pg := h.postgres(kit.PostgresOptions{})
	cert := h.ca.Issue(t, kit.CertRequest{Names: []string{"127.0.0.1"}})
	stand.SetSecret("tls", fmt.Sprintf(`{"cert":%q,"key":%q}`, readFile(t, cert.CertFile), readFile(t, cert.KeyFile)))
	stand.SetParameter("/gateway/ops", "the operator's password")
	stand.SetParameter("/gateway/role", rolePassword)
	h.upstream("up", "127.0.0.1", pg.Port, "tls: {mode: disable}", "login: {user: "+role+", password: aws-ssm:/gateway/role}")
	h.start("{address: 127.0.0.1:0, tls: {mode: require, cert: aws-sm:tls#cert, key: aws-sm:tls#key}}",
		"  ops:\n    password: aws-ssm:/gateway/ops\n    upstreams: {up: {grants: ALL}}\n")
	c, err := h.try("ops", "the operator's password", "up", "sslmode=verify-full", "sslrootcert="+h.ca.File)
	if err != nil {
		t.Fatal(err)
	}
	if got := ask(t, c, "select session_user::text"); got != role {
		t.Errorf("logged in as %s", got)
	}
	if n := stand.Calls("GetSecretValue"); n != 1 {
		t.Errorf("%d readings of one secret", n)
	}
	silent(t, h.gateway, rolePassword, "the operator's password", "PRIVATE KEY")
}

func readFile(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// TestSecretsThatCannotBeUsed: each is one clear line of the log, while other
// upstreams are served.
func TestSecretsThatCannotBeUsed(t *testing.T) {
	t.Parallel()
	h, stand := awsHouse(t, kit.AWSOptions{})
	pg := h.postgres(kit.PostgresOptions{})
	stand.SetSecret("right", secretJSON(rolePassword))
	stand.SetBinary("bytes", rolePassword)
	bad := map[string]struct{ ref, says string }{
		"none":    {"aws-sm:nowhere#password", "ResourceNotFoundException"},
		"key":     {"aws-sm:right#passwd", `no key "passwd"`},
		"keyless": {"aws-sm:right", "append #password"},
		"bytes":   {"aws-sm:bytes", "binary secret"},
		"region":  {"aws-sm:arn:aws:secretsmanager:eu-west-1:123456789012:secret:right-AbCdEf#password", "Secrets Manager in eu-west-1"},
		"param":   {"aws-ssm:/nowhere", "ParameterNotFound"},
	}
	for name, b := range bad {
		h.upstream(name, "127.0.0.1", pg.Port, "tls: {mode: disable}", "login: {user: "+role+", password: \""+b.ref+"\"}")
	}
	h.upstream("right", "127.0.0.1", pg.Port, "tls: {mode: disable}", "login: {user: "+role+", password: aws-sm:right#password}")
	h.start("")
	ask(t, h.dial("right"), "select 'x'")
	h.gateway.WaitLine("cannot read a password: until it can be, writers are refused", len(bad))
	said := map[any]string{}
	for _, line := range h.gateway.Lines("cannot read a password: until it can be, writers are refused") {
		said[line["key"]] = fmt.Sprint(line["error"])
	}
	for name, b := range bad {
		if text := said["upstreams."+name+".login.password"]; !strings.Contains(text, b.says) || strings.Contains(text, "\n") {
			t.Errorf("%s: the log says %q, want %q", name, text, b.says)
		}
		_, err := h.try(writer, writerPassword, name)
		e := pgError(t, err)
		if e.Severity != "FATAL" || e.Code != "08001" {
			t.Errorf("%s: %+v", name, e)
		}
		discreet(t, e, "aws-", "Secrets Manager", "Exception", role)
	}
	silent(t, h.gateway, rolePassword)
}

// TestAWSIsAway ends AWS's answers. The password that was read is still good.
func TestAWSIsAway(t *testing.T) {
	t.Parallel()
	h, stand, pg := rotationHouse(t)
	h.holder("up")
	stand.Fail("GetSecretValue", errors.New("AccessDeniedException: not any more"))
	h.disconnect(pg)
	h.holder("up")
	setPassword(pg, "another")
	h.disconnect(pg)
	h.refused("up", "AccessDenied")
	line := h.gateway.WaitLine("cannot read a secret again; what it was is still used", 1)
	if text := fmt.Sprint(line["error"]); !strings.Contains(text, "secretsmanager:GetSecretValue") {
		t.Errorf("the log says %q", text)
	}
	setPassword(pg, rolePassword)
	h.eventually("up")
}
