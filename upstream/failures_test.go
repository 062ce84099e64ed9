package upstream

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"

	"pggateway/config"
	"pggateway/e2e/kit"
)

// TestFailures goes through what a server, or the way to it, can do instead of
// letting us in. Each ends in bounded time, with its stage.
func TestFailures(t *testing.T) {
	noLeaks(t)
	refuse := func(code, text string) func(*kit.ScriptConn) {
		return func(c *kit.ScriptConn) {
			if _, ok := c.Startup(nil); ok {
				c.Say(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: text})
			}
		}
	}
	for name, tt := range map[string]struct {
		script func(*kit.ScriptConn)
		change func(*config.Upstream)
		stage  Stage
		public string
		texts  []string
	}{
		"unknown name": {
			change: func(u *config.Upstream) { u.Host = "no.example" },
			stage:  StageResolve, public: "The upstream's host name cannot be resolved.", texts: []string{"no.example"},
		},
		"nobody listens": {
			change: func(u *config.Upstream) { u.Port = 1 },
			stage:  StageDial, public: "The upstream refuses connections.", texts: []string{"127.0.0.1:1"},
		},
		"silent from the start": {
			script: func(c *kit.ScriptConn) { c.Silence() },
			stage:  StageLogin, public: "The upstream did not finish the login in time.", texts: []string{"no answer within 500ms"},
		},
		"silent in mid-login": {
			script: func(c *kit.ScriptConn) {
				if _, ok := c.Startup(nil); ok {
					c.Say(&pgproto3.AuthenticationMD5Password{Salt: [4]byte{1}})
					c.Silence()
				}
			},
			stage: StageLogin, public: "The upstream did not finish the login in time.",
		},
		"a byte at a time": {
			script: func(c *kit.ScriptConn) {
				if _, ok := c.Startup(nil); !ok {
					return
				}
				for c.Send([]byte{'R'}) && c.Send([]byte{0, 0, 0, 8, 0, 0, 0, 0}) {
					for i := 0; c.Send([]byte("S\x00\x00\x00\x08a\x00b\x00"[i : i+1])); i = (i + 1) % 9 {
						time.Sleep(20 * time.Millisecond)
					}
				}
			},
			stage: StageLogin, public: "The upstream did not finish the login in time.",
		},
		"closes at once": {
			script: func(c *kit.ScriptConn) {},
			stage:  StageLogin, public: "The connection to the upstream was lost during the login.",
		},
		"speaks HTTP": {
			script: func(c *kit.ScriptConn) { c.Send([]byte("HTTP/1.1 400 Bad Request\r\n\r\n")); c.Silence() },
			stage:  StageLogin, public: "The upstream did not answer the login as a PostgreSQL server does.",
		},
		"oversized message": {
			script: func(c *kit.ScriptConn) { c.Send([]byte("E\x7f\xff\xff\xff")); c.Silence() },
			stage:  StageLogin, public: "The upstream did not answer the login as a PostgreSQL server does.",
		},
		"wrong password": {
			script: refuse("28P01", `password authentication failed for user "sync_writer"`),
			stage:  StageLogin, public: "The upstream refused the gateway's login.", texts: []string{`user "sync_writer"`},
		},
		"pg_hba": {
			script: refuse("28000", `no pg_hba.conf entry for host "127.0.0.1", user "sync_writer"`),
			stage:  StageLogin, public: "The upstream refused the gateway's login.",
		},
		"no such database": {
			script: refuse("3D000", `database "orders" does not exist`),
			stage:  StageLogin, public: "The database does not exist on the upstream.",
		},
		"no slot": {
			script: refuse("53300", "remaining connection slots are reserved"),
			stage:  StageLogin, public: "The upstream has no connection left.",
		},
		"starting": {
			script: refuse("57P03", "the database system is starting up"),
			stage:  StageLogin, public: "The upstream is starting up or shutting down.",
		},
		"other code": {
			script: refuse("42704", "db.example is odd"),
			stage:  StageLogin, public: "The upstream refused the login with SQLSTATE 42704.",
		},
		"code that is none": {
			script: refuse("db.example", "x"),
			stage:  StageLogin, public: "The upstream refused the login without giving a reason.",
		},
		"cleartext without TLS": {
			script: func(c *kit.ScriptConn) {
				if _, ok := c.Startup(nil); ok {
					c.Say(&pgproto3.AuthenticationCleartextPassword{})
					c.Silence()
				}
			},
			stage: StageLogin, public: "The upstream asks for a kind of login that the gateway's configuration does not allow.",
		},
		"no password": {
			script: func(c *kit.ScriptConn) {
				if _, ok := c.Startup(nil); ok {
					c.Say(&pgproto3.AuthenticationMD5Password{Salt: [4]byte{1}})
					c.Silence()
				}
			},
			change: func(u *config.Upstream) { u.Login.Password = file("/nonexistent/hunter") },
			stage:  StageLogin, public: "The gateway's credentials for the upstream are not available.",
		},
	} {
		t.Run(name, func(t *testing.T) {
			port := 1
			if tt.script != nil {
				port = kit.StartScripted(t, tt.script).Port
			}
			d := dependencies()
			if strings.Contains(tt.public, "in time") {
				d = impatient()
			}
			target := mustTarget(t, d, upstreamAt(port, tt.change))
			began := time.Now()
			c, err := target.Open(t.Context())
			if c != nil {
				t.Fatal("opened")
			}
			wantError(t, err, tt.stage, tt.public, tt.texts...)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("took %s", took)
			}
		})
	}
}

func TestContextEndsAnyStage(t *testing.T) {
	noLeaks(t)
	s := kit.StartScripted(t, func(c *kit.ScriptConn) { c.Silence() })
	d := dependencies()
	for _, mode := range []config.UpstreamTLSMode{config.TLSDisable, config.TLSRequire} {
		target := mustTarget(t, d, upstreamAt(s.Port, func(u *config.Upstream) { u.TLS.Mode = mode }))
		ctx, stop := context.WithTimeout(t.Context(), 100*time.Millisecond)
		began := time.Now()
		_, err := target.Open(ctx)
		stop()
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(began) > 3*time.Second {
			t.Errorf("tls %s: %v after %s", mode, err, time.Since(began))
		}
		ctx, stop = context.WithCancel(t.Context())
		time.AfterFunc(50*time.Millisecond, stop)
		if _, err := target.Open(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("tls %s: %v after cancel", mode, err)
		}
	}
}
