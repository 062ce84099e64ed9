package upstream

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"

	"pggateway/e2e/kit"
	"pggateway/wire"
)

// TestVersion meets servers that answer protocol 3.2 in every way, and opens three
// connections one after the other: which versions were asked for tells what was
// remembered.
func TestVersion(t *testing.T) {
	noLeaks(t)
	const v32, v30 = wire.Version32, wire.Version30
	fatal := func(code, text string) func(*kit.ScriptConn, uint32) bool {
		return func(c *kit.ScriptConn, version uint32) bool {
			if version == v30 {
				return true
			}
			c.Say(&pgproto3.ErrorResponse{Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: text})
			return false
		}
	}
	for name, tt := range map[string]struct {
		server func(c *kit.ScriptConn, version uint32) (in bool)
		asked  []uint32
		fails  bool
	}{
		"takes it": {func(*kit.ScriptConn, uint32) bool { return true }, []uint32{v32, v32, v32}, false},
		"negotiates": {func(c *kit.ScriptConn, _ uint32) bool {
			return c.Send(wire.AppendNegotiateProtocolVersion(nil, v30, nil))
		}, []uint32{v32, v32, v32}, false},
		"refuses":          {fatal("0A000", "unsupported frontend protocol 3.2: server supports 2.0 to 3.0"), []uint32{v32, v30, v30, v30}, false},
		"refuses oddly":    {fatal("28000", "Protocol version mismatch"), []uint32{v32, v30, v30, v30}, false},
		"refuses silently": {func(_ *kit.ScriptConn, v uint32) bool { return v == v30 }, []uint32{v32, v30, v30, v30}, false},
		"is full":          {fatal("53300", "sorry, too many clients already"), []uint32{v32, v32, v32}, true},
		"is starting":      {fatal("57P03", "the database system is starting up"), []uint32{v32, v32, v32}, true},
		"lets nobody in":   {fatal("28000", "no pg_hba.conf entry"), []uint32{v32, v32, v32}, true},
		"hangs up on everybody": {
			func(*kit.ScriptConn, uint32) bool { return false }, []uint32{v32, v30, v32, v30, v32, v30}, true,
		},
		"refuses, and then the login": {func(c *kit.ScriptConn, v uint32) bool {
			if v == v30 {
				c.Say(&pgproto3.AuthenticationOk{}, &pgproto3.ErrorResponse{Severity: "FATAL", Code: "3D000", Message: "no"})
			}
			return false
		}, []uint32{v32, v30, v30, v30}, true},
	} {
		t.Run(name, func(t *testing.T) {
			asked := make(chan uint32, 8)
			s := kit.StartScripted(t, func(c *kit.ScriptConn) {
				m, ok := c.Startup(nil)
				if !ok {
					return
				}
				asked <- m.ProtocolVersion
				if tt.server(c, m.ProtocolVersion) {
					c.Welcome()
					c.Silence()
				}
			})
			target := mustTarget(t, dependencies(), upstreamAt(s.Port, nil))
			for range 3 {
				c, err := target.Open(t.Context())
				if (err != nil) != tt.fails {
					t.Fatalf("error %v", err)
				}
				if err == nil {
					c.Close()
				}
			}
			if n := s.Seen(); n != len(tt.asked) {
				t.Fatalf("%d connections, want %d", n, len(tt.asked))
			}
			for i, want := range tt.asked {
				if got := <-asked; got != want {
					t.Errorf("connection %d asked for %s, want %s", i+1, wire.VersionString(got), wire.VersionString(want))
				}
			}
		})
	}
}

// TestVersionOnceAnswered: who spoke 3.2 before and hangs up now has another reason,
// unless it does so again.
func TestVersionOnceAnswered(t *testing.T) {
	s := kit.StartScripted(t, func(c *kit.ScriptConn) {
		if m, ok := c.Startup(nil); ok && (c.N == 1 || m.ProtocolVersion == wire.Version30) {
			c.Welcome()
			c.Silence()
		}
	})
	target := mustTarget(t, dependencies(), upstreamAt(s.Port, nil))
	mustOpen(t, target)
	_, err := target.Open(t.Context())
	wantError(t, err, StageLogin, "The connection to the upstream was lost during the login.")
	if n := s.Seen(); n != 2 {
		t.Errorf("%d connections, want 2", n)
	}
	mustOpen(t, target)
	mustOpen(t, target)
	if n := s.Seen(); n != 5 {
		t.Errorf("%d connections, want 5: one more refused, and two by 3.0", n)
	}
}
