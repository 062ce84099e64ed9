package cloud

import (
	"errors"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"pggateway/e2e/kit"
)

var syncRole = Role{ARN: "arn:aws:iam::210987654321:role/sync", ExternalID: "ext-1"}

// roleHome is a home with syncRole.
func roleHome(t *testing.T) *kit.AWS {
	t.Helper()
	stand := home(t, kit.AWSOptions{})
	set(t, stand.KeyEnv()...)
	stand.SetRole(syncRole.ARN, kit.RoleTrust{ExternalID: syncRole.ExternalID})
	return stand
}

// Twenty who want a role at the same time cost one call of STS, and so do all who
// come later while the session is young.
func TestRoleIsAssumedOnce(t *testing.T) {
	stand := roleHome(t)
	a := New(zap.NewNop(), time.Now)
	var wg sync.WaitGroup
	for range 20 {
		wg.Go(func() {
			c, err := a.Credentials(syncRole, "us-east-1").Retrieve(t.Context())
			if err != nil || c.AccessKeyID != stand.Sessions()[0].ID || c.SessionToken != stand.Sessions()[0].Session {
				t.Errorf("%+v, %v", c.AccessKeyID, err)
			}
		})
	}
	wg.Wait()
	c := retrieve(t, a.Credentials(syncRole, "eu-west-1"))
	if n := stand.Calls("AssumeRole"); n != 1 {
		t.Errorf("%d calls of STS", n)
	}
	if want := stand.Sessions()[0].Expires; !c.Expires.Equal(want) {
		t.Errorf("expires %v, want %v", c.Expires, want)
	}
	if got := stand.SessionNames(); len(got) != 1 || got[0] != SessionName {
		t.Errorf("CloudTrail shows %q", got)
	}
	named := syncRole
	named.SessionName = "team-a"
	retrieve(t, a.Credentials(named, "us-east-1"))
	if got := stand.SessionNames(); len(got) != 2 || got[1] != "team-a" {
		t.Errorf("CloudTrail shows %q", got)
	}
}

// A session is replaced before it could end within the life of a token, and kept
// to its end while STS gives no other.
func TestRoleIsRenewed(t *testing.T) {
	stand := roleHome(t)
	stand.SetSessionLife(sessionAhead - time.Minute)
	log, logs := logged()
	now := time.Now()
	a := New(log, func() time.Time { return now })
	p := a.Credentials(syncRole, "")
	retrieve(t, p)
	second := retrieve(t, p)
	if n := stand.Calls("AssumeRole"); n != 2 || second.AccessKeyID != stand.Sessions()[1].ID {
		t.Fatalf("%d calls of STS, key %s", n, second.AccessKeyID)
	}
	stand.Fail("AssumeRole", errors.New("ServiceUnavailable: later"))
	t.Setenv("AWS_MAX_ATTEMPTS", "1")
	for range 2 {
		if c := retrieve(t, p); c.AccessKeyID != second.AccessKeyID || !c.Expires.Equal(second.Expires) {
			t.Errorf("key %s until %v, want %s until %v", c.AccessKeyID, c.Expires, second.AccessKeyID, second.Expires)
		}
	}
	if logs.FilterMessageSnippet("cannot renew the session").Len() != 2 {
		t.Errorf("%v", logs.All())
	}
	now = second.Expires.Add(-sessionLast)
	_, err := p.Retrieve(t.Context())
	fails(t, err, syncRole.ARN, "ServiceUnavailable")
}

func TestRoleThatCannotBeAssumed(t *testing.T) {
	stand := roleHome(t)
	a := New(zap.NewNop(), time.Now)
	other := syncRole
	other.ExternalID = ""
	_, err := a.Credentials(other, "").Retrieve(t.Context())
	fails(t, err, "assume the role "+syncRole.ARN, "AccessDenied", "user/gateway", "without an external id", "trust policy")
	other.ExternalID = "ext-2"
	_, err = a.Credentials(other, "").Retrieve(t.Context())
	fails(t, err, "with the external id of assume_role")

	set(t, "AWS_SECRET_ACCESS_KEY=wrong")
	_, err = New(zap.NewNop(), time.Now).Credentials(syncRole, "").Retrieve(t.Context())
	fails(t, err, "SignatureDoesNotMatch", "secret access key is wrong")
	set(t, "AWS_ACCESS_KEY_ID=AKIAUNKNOWN")
	_, err = New(zap.NewNop(), time.Now).Credentials(syncRole, "").Retrieve(t.Context())
	fails(t, err, "InvalidClientTokenId", "access key")
	set(t, "AWS_ACCESS_KEY_ID=")
	_, err = New(zap.NewNop(), time.Now).Credentials(syncRole, "").Retrieve(t.Context())
	fails(t, err, "assume the role", "no AWS credentials")
	if len(stand.Sessions()) != 0 {
		t.Error("a session was given")
	}
}

// Without a region of its own the gateway asks STS in the database's.
func TestRoleWithoutRegion(t *testing.T) {
	stand := roleHome(t)
	t.Setenv("AWS_REGION", "")
	retrieve(t, New(zap.NewNop(), time.Now).Credentials(syncRole, stand.Region))
	_, err := New(zap.NewNop(), time.Now).Credentials(syncRole, "eu-north-1").Retrieve(t.Context())
	fails(t, err, "InvalidSignatureException", "us-east-1/sts") // it was asked there, which the stand-in is not
}
