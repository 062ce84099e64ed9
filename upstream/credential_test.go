package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"pggateway/config"
	"pggateway/e2e/kit"
)

// rotation is a password in AWS, where it may be another one by now.
type rotation struct {
	kept, now, username string
	err                 error
	renewed             int
}

func (r *rotation) Text(context.Context, config.Secret) (string, error) { return r.kept, nil }

func (r *rotation) Renew(_ context.Context, _ config.Secret, refused string) (string, error) {
	r.renewed++
	if refused == r.kept && r.err == nil {
		r.kept = r.now
	}
	return r.kept, r.err
}

func (r *rotation) Username(config.Secret) string { return r.username }

// TestRotation logs in at a real server with a password that AWS has.
func TestRotation(t *testing.T) {
	pg := kit.StartPostgres(t, kit.PostgresOptions{})
	pg.CreateLogin("sync_writer", "right hunter22")
	pg.CreateDatabase("orders", "sync_writer")
	const refused = "The upstream refused the gateway's login."
	for name, tt := range map[string]struct {
		rotation rotation
		database string
		public   string // "": it succeeds
		renewed  int
		says     string // in the log; "": nothing
		reaches  int    // connections that the server saw
	}{
		"right":              {rotation{kept: "right hunter22"}, "orders", "", 0, "", 1},
		"rotated":            {rotation{kept: "old hunter22", now: "right hunter22"}, "orders", "", 1, "the new one is tried", 2},
		"still the same":     {rotation{kept: "old hunter22", now: "old hunter22"}, "orders", refused, 1, "", 1},
		"wrong for good":     {rotation{kept: "old hunter22", now: "other hunter22"}, "orders", refused, 1, "the new one is tried", 2},
		"cannot be read":     {rotation{kept: "old hunter22", err: errors.New("no way")}, "orders", refused, 1, "cannot be read again", 1},
		"another user's":     {rotation{kept: "old hunter22", now: "old hunter22", username: "sync_writer_clone"}, "orders", refused, 1, "belongs to another role", 1},
		"refused otherwise":  {rotation{kept: "right hunter22", now: "right hunter22"}, "none", "The database does not exist on the upstream.", 0, "", 1},
		"of the very login":  {rotation{kept: "right hunter22", username: "sync_writer"}, "orders", "", 0, "", 1},
		"same, of the login": {rotation{kept: "old hunter22", now: "old hunter22", username: "sync_writer"}, "orders", refused, 1, "", 1},
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zap.InfoLevel)
			d := dependencies()
			d.Log = zap.New(core)
			d.Secrets = d.Secrets.WithRemote(&tt.rotation)
			u := upstreamAt(pg.Port, func(u *config.Upstream) {
				u.Login.Password = config.Secret{Scheme: config.SchemeAWSSM, Ref: "db", Key: "password"}
			})
			target, err := NewTarget(t.Context(), d, u, &u.Login, tt.database)
			if err != nil {
				t.Fatal(err)
			}
			reached := func() int { return strings.Count(pg.Logs(), "connection received") }
			before := reached()
			c, err := target.Open(t.Context())
			if err == nil {
				c.Close()
			}
			if tt.public != "" {
				wantError(t, err, StageLogin, tt.public)
			} else if err != nil {
				t.Error(err)
			}
			if tt.rotation.renewed != tt.renewed {
				t.Errorf("read again %d times, want %d", tt.rotation.renewed, tt.renewed)
			}
			for range 1000 { // the server's log comes a moment later
				if reached()-before >= tt.reaches {
					break
				}
				time.Sleep(10 * time.Millisecond)
			}
			if n := reached() - before; n != tt.reaches {
				t.Errorf("%d connections, want %d", n, tt.reaches)
			}
			var said []string
			for _, line := range logs.All() {
				said = append(said, line.Message+fmt.Sprint(line.ContextMap()))
			}
			all := strings.Join(said, "\n")
			if (tt.says == "") != (all == "") || !strings.Contains(all, tt.says) || strings.Contains(all, "hunter22") {
				t.Errorf("the log says %q, want %q", all, tt.says)
			}
		})
	}
}
