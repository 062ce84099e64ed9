package e2e

import (
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"pggateway/e2e/kit"
)

// iamHouse is a gateway before a stand-in for RDS, pooled by session so that
// each client means a login.
func iamHouse(t *testing.T) (*house, *kit.RDS) {
	t.Helper()
	h := newHouse(t)
	rds, _ := h.rds(nil)
	h.entry("up", "kind: rds", "host: "+rds.Host, "hostaddr: 127.0.0.1", fmt.Sprintf("port: %d", rds.Port()),
		"tls: {ca: file:"+h.ca.File+"}", "login: {user: "+role+", iam: {}}", "pool: {mode: session, size: 10}")
	h.start("")
	return h, rds
}

// TestTokenIsShared logs several clients in at the same time and one later: one
// token serves them all, as AWS asks of whoever opens many connections.
func TestTokenIsShared(t *testing.T) {
	t.Parallel()
	h, rds := iamHouse(t)
	var wg sync.WaitGroup
	clients := make([]*pgx.Conn, 5)
	for i := range clients {
		wg.Go(func() {
			c, err := h.try(writer, writerPassword, "up")
			if err != nil {
				t.Errorf("client %d: %v", i, err)
			}
			clients[i] = c
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	time.Sleep(1100 * time.Millisecond) // a token signed now would bear another second
	clients = append(clients, h.dial("up"))
	for _, c := range clients {
		ask(t, c, "select 'x'")
	}
	tokens := rds.Tokens()
	if rds.Logins() < len(clients) || len(slices.Compact(tokens)) != 1 {
		t.Errorf("%d logins with %d different tokens, want %d with one", rds.Logins(), len(slices.Compact(tokens)), len(clients))
	}
}

// TestRefusedTokenIsMintedOnceMore has the database refuse a good token: once,
// and the login succeeds with a second one; twice, and it fails without a third.
func TestRefusedTokenIsMintedOnceMore(t *testing.T) {
	t.Parallel()
	t.Run("once", func(t *testing.T) {
		t.Parallel()
		h, rds := iamHouse(t)
		rds.RefuseNext(1)
		ask(t, h.dial("up"), "select 'x'")
		if n := len(rds.Tokens()); n != 2 || rds.Logins() != 1 {
			t.Errorf("%d tokens and %d logins, want 2 and 1", n, rds.Logins())
		}
	})
	t.Run("twice", func(t *testing.T) {
		t.Parallel()
		h, rds := iamHouse(t)
		rds.RefuseNext(2)
		_, err := h.try(writer, writerPassword, "up")
		e := pgError(t, err)
		if e.Severity != "FATAL" || e.Code != "08001" {
			t.Errorf("%+v", e)
		}
		discreet(t, e, "X-Amz", rdsHost)
		if n := len(rds.Tokens()); n != 2 || rds.Logins() != 0 {
			t.Errorf("%d tokens and %d logins, want 2 and none", n, rds.Logins())
		}
		h.eventually("up")
	})
}
