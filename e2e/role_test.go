package e2e

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"pggateway/e2e/kit"
)

const dbRole = "arn:aws:iam::210987654321:role/database"

// roleHouse is an iamHouse whose upstream's tokens are signed by an assumed role.
func roleHouse(t *testing.T, o kit.AWSOptions, iam string, with func(*kit.RDSOptions)) (*house, *kit.AWS, *kit.RDS) {
	t.Helper()
	h, stand := awsHouse(t, o)
	rds, pg := h.rds(func(r *kit.RDSOptions) {
		r.Keys, r.Account = nil, stand
		if with != nil {
			with(r)
		}
	})
	pg.Exec("postgres", "alter role "+role+" replication")
	h.entry("up", "kind: rds", "host: "+rds.Host, "hostaddr: 127.0.0.1", fmt.Sprintf("port: %d", rds.Port()),
		"tls: {ca: file:"+h.ca.File+"}", "login: {user: "+role+", iam: "+iam+"}", "pool: {mode: session, size: 20}")
	return h, stand, rds
}

// TestRoleIsAssumedOnce logs in twenty clients, each with a server connection of
// its own, by a role of the database's account: STS is called once.
func TestRoleIsAssumedOnce(t *testing.T) {
	t.Parallel()
	h, stand, rds := roleHouse(t, kit.AWSOptions{}, "{assume_role: {arn: \""+dbRole+"\", external_id: ext-1, session_name: team-a}}", nil)
	stand.SetRole(dbRole, kit.RoleTrust{ExternalID: "ext-1"})
	h.start("")
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			c, err := h.try(writer, writerPassword, "up")
			if err != nil {
				t.Error(err)
				return
			}
			run(t, c, "select") // which holds a server connection
		})
	}
	wg.Wait()
	if n := rds.Logins(); n != 20 {
		t.Errorf("%d logins", n)
	}
	if n := stand.Calls("AssumeRole"); n != 1 {
		t.Errorf("%d calls of STS", n)
	}
	if names := stand.SessionNames(); len(names) != 1 || names[0] != "team-a" {
		t.Errorf("CloudTrail shows %q", names)
	}
	for _, token := range rds.Tokens() {
		if !strings.Contains(token, stand.Sessions()[0].ID) {
			t.Error("a token is not signed by the role's session")
		}
	}
	silent(t, h.gateway, stand.Key.Secret, stand.Sessions()[0].Secret, stand.Sessions()[0].Session, "X-Amz-Signature")
}

// TestRoleThatCannotBeAssumed is refused by STS.
func TestRoleThatCannotBeAssumed(t *testing.T) {
	t.Parallel()
	h, stand, rds := roleHouse(t, kit.AWSOptions{}, "{assume_role: {arn: \""+dbRole+"\"}}", nil)
	stand.SetRole(dbRole, kit.RoleTrust{ExternalID: "ext-1"})
	h.start("")
	_, err := h.try(writer, writerPassword, "up")
	e := pgError(t, err)
	if e.Severity != "FATAL" || e.Code != "08001" {
		t.Errorf("%+v", e)
	}
	discreet(t, e, "arn:", "AccessDenied", rdsHost)
	text := fmt.Sprint(h.gateway.WaitLine("could not open a server connection", 1)["error"])
	for _, want := range []string{"assume the role " + dbRole, "AccessDenied", "trust policy", "without an external id"} {
		if !strings.Contains(text, want) {
			t.Errorf("the log says %q, not %q", text, want)
		}
	}
	if len(rds.Tokens()) != 0 {
		t.Error("a token was sent")
	}
}

// TestClockIsOff: this machine is ten minutes ahead of AWS and the database.
func TestClockIsOff(t *testing.T) {
	t.Parallel()
	behind := func() time.Time { return time.Now().Add(-10 * time.Minute) }
	h, stand, rds := roleHouse(t, kit.AWSOptions{Now: behind}, "{assume_role: {arn: \""+dbRole+"\"}}",
		func(r *kit.RDSOptions) { r.Now = behind })
	stand.SetRole(dbRole, kit.RoleTrust{})
	h.start("")
	_, err := h.try(writer, writerPassword, "up")
	e := pgError(t, err)
	if e.Severity != "FATAL" || e.Code != "08001" {
		t.Errorf("%+v", e)
	}
	discreet(t, e, "clock")
	line := h.gateway.WaitLine("this machine's clock differs from AWS's, and databases will refuse IAM tokens: have it set by NTP", 1)
	if ahead, err := time.ParseDuration(fmt.Sprint(line["ahead"])); err != nil || (ahead-10*time.Minute).Abs() > time.Minute {
		t.Errorf("ahead by %v", line["ahead"])
	}
	if refused := rds.Refused(); len(refused) == 0 || !strings.Contains(refused[0].Error(), "future") {
		t.Errorf("the database says %v", refused)
	}
}

// TestOwnCredentials logs in with what a container or an instance is given.
func TestOwnCredentials(t *testing.T) {
	t.Parallel()
	for name, env := range map[string]func(*kit.AWS) []string{
		"container": func(a *kit.AWS) []string {
			return []string{"AWS_CONTAINER_CREDENTIALS_FULL_URI=" + a.URL + "/container", "AWS_CONTAINER_AUTHORIZATION_TOKEN=" + kit.ContainerToken}
		},
		"instance": func(a *kit.AWS) []string {
			return []string{"AWS_EC2_METADATA_DISABLED=false", "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + a.URL}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			h, stand, rds := roleHouse(t, kit.AWSOptions{}, "{}", nil)
			h.env = append(stand.Env(), env(stand)...)
			h.start("")
			for range 3 {
				h.holder("up")
			}
			if rds.Logins() != 3 || stand.Calls(name) != 1 {
				t.Errorf("%d logins, credentials fetched %d times", rds.Logins(), stand.Calls(name))
			}
		})
	}
}

// TestReplicationByRole replicates with IAM, by a role whose sessions last no
// longer than it takes to log in: each connection has a token of its own, and a
// refused one is tried again with another.
func TestReplicationByRole(t *testing.T) {
	t.Parallel()
	h, stand, rds := roleHouse(t, kit.AWSOptions{}, "{assume_role: {arn: \""+dbRole+"\"}}", nil)
	stand.SetRole(dbRole, kit.RoleTrust{})
	stand.SetSessionLife(time.Minute)
	h.start("", replicatorYAML)
	for i := range 3 {
		if i == 2 {
			rds.RefuseNext(1)
		}
		c := h.walsender("database")
		if _, err := c.Exec(t.Context(), "IDENTIFY_SYSTEM").ReadAll(); err != nil {
			t.Fatalf("connection %d: %v", i, err)
		}
		rds.DropConnections()
		if _, err := c.Exec(t.Context(), "IDENTIFY_SYSTEM").ReadAll(); err == nil {
			t.Error("the connection survives")
		}
	}
	different := map[string]bool{}
	for _, token := range rds.Tokens() {
		different[token] = true
	}
	if len(different) != 4 || rds.Logins() != 3 {
		t.Errorf("%d logins with %d different tokens, want 3 with 4", rds.Logins(), len(different))
	}
}
