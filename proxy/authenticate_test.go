package proxy

import (
	"context"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"pggateway/config"
	"pggateway/scram"
	"pggateway/sqlstate"
	"pggateway/wire"
)

func TestDriverLogsIn(t *testing.T) {
	td := openDoor(t, testConfig())
	tests := []struct {
		name     string
		listener int
		sslmode  string
		user     string
		database string
		secured  bool
		upstream string
		opened   string // the upstream's database
	}{
		{"plaintext", plain, "disable", "sync", "orders", false, "orders", "orders"},
		{"prefer, refused", plain, "prefer", "sync", "orders", false, "orders", "orders"},
		{"allow, plaintext", allow, "disable", "sync", "orders", false, "orders", "orders"},
		{"allow, TLS", allow, "require", "sync", "orders", true, "orders", "orders"},
		{"required TLS", require, "require", "sync", "orders", true, "orders", "orders"},
		{"prefer, where required", require, "prefer", "sync", "orders", true, "orders", "orders"},
		{"verifier written out", plain, "disable", "verified", "orders-prod", false, "orders", "orders"},
		{"verifier by reference", plain, "disable", "ofver", "tenant_12", false, "tenant_*", "tenant_12"},
		{"TLS as the writer must", allow, "require", "private", "orders", true, "orders", "orders"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ctx, stop := context.WithTimeout(t.Context(), patience)
			defer stop()
			conn, err := connect(ctx, td, tt.listener, tt.user, password, tt.database, tt.sslmode)
			if err != nil {
				t.Fatal(err)
			}
			defer conn.Close(ctx)
			c := <-td.clients
			if c.writer.Name != tt.user || c.upstream.Name != tt.upstream || c.access.Name != tt.upstream || c.database != tt.opened {
				t.Errorf("admitted as %s to %s (%s), database %s", c.writer.Name, c.upstream.Name, c.access.Name, c.database)
			}
			if (c.tls != nil) != tt.secured {
				t.Errorf("secured: %v", c.tls != nil)
			}
			if want := netip.MustParseAddrPort(conn.Conn().LocalAddr().String()); c.remote != want {
				t.Errorf("remote %v, want %v", c.remote, want)
			}
			if c.startup.Get("application_name") != "test" || c.startup.Version != wire.Version30 {
				t.Errorf("startup %+v", c.startup)
			}
		})
	}
}

func connect(ctx context.Context, td *testDoor, listener int, user, password, database, sslmode string) (*pgconn.PgConn, error) {
	return pgconn.Connect(ctx, fmt.Sprintf("postgres://%s:%s@%s/%s?sslmode=%s&application_name=test",
		user, strings.ReplaceAll(password, " ", "%20"), td.addresses()[listener], database, sslmode))
}

func TestRefusedLogins(t *testing.T) {
	td := openDoor(t, testConfig())
	noPassword := func(user string) string { return fmt.Sprintf("password authentication failed for user \"%s\"", user) }
	tests := []struct {
		name                     string
		user, password, database string
		code, message, hint      string
		reason                   string // in the log
	}{
		{"wrong password", "sync", "wrong", "orders", sqlstate.InvalidPassword, noPassword("sync"), "", "the proof is wrong"},
		{"unknown writer", "nobody", password, "orders", sqlstate.InvalidPassword, noPassword("nobody"), "", "no writer has this name"},
		{"wrong password, unknown database", "sync", "wrong", "nowhere", sqlstate.InvalidPassword, noPassword("sync"), "", ""},
		{"wrong password, wrong network", "faraway", "wrong", "orders", sqlstate.InvalidPassword, noPassword("faraway"), "", ""},
		{"wrong password, TLS missing", "private", "wrong", "orders", sqlstate.InvalidPassword, noPassword("private"), "", ""},
		{"wrong network", "faraway", password, "orders", sqlstate.InvalidAuthorization, `user "faraway" may not log in from address 127.0.0.1`, "", ""},
		{"TLS missing", "private", password, "orders", sqlstate.InvalidAuthorization, `user "private" may log in only over TLS`, "Connect with sslmode=require or stricter.", ""},
		{"unknown database", "sync", password, "nowhere", sqlstate.InvalidCatalogName, `database "nowhere" does not exist`, "This user's databases: orders, tenant_*.", "no such upstream"},
		{"another's database", "sync", password, "secret", sqlstate.InvalidCatalogName, `database "secret" does not exist`, "This user's databases: orders, tenant_*.", "not among the writer's upstreams"},
		{"the database defaults to the user", "sync", password, "", sqlstate.InvalidCatalogName, `database "sync" does not exist`, "This user's databases: orders, tenant_*.", "no such upstream"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			td.logs.TakeAll()
			p := td.dial(t, plain)
			p.send(startup(wire.Version30, "user", tt.user, "database", tt.database))
			p.prove(tt.password)
			f := p.fatal()
			if f.Code != tt.code || f.Message != tt.message || f.Hint != tt.hint || f.Detail != "" {
				t.Errorf("refused with %+v, want %s %q, hint %q", f, tt.code, tt.message, tt.hint)
			}
			lines := td.logs.FilterMessage("login failed").All()
			if len(lines) != 1 {
				t.Fatalf("%d lines in the log", len(lines))
			}
			m := lines[0].ContextMap()
			if m["writer"] != tt.user || m["client"] != p.conn.LocalAddr().String() || m["sqlstate"] != tt.code {
				t.Errorf("logged %v", m)
			}
			if reason := m["reason"].(string); !strings.Contains(reason, tt.reason) || !strings.HasPrefix(reason, tt.message) {
				t.Errorf("reason %q, want %q in it", reason, tt.reason)
			}
		})
	}
	if n := len(td.clients); n != 0 {
		t.Errorf("%d clients were admitted", n)
	}
}

func TestReachable(t *testing.T) {
	for n, want := range map[int]string{
		0:  "",
		1:  "This user's databases: d0.",
		10: "This user's databases: d0, d1, d2, d3, d4, d5, d6, d7, d8, d9.",
		11: "Some of this user's databases: d0, d1, d2, d3, d4, d5, d6, d7, d8, d9.",
	} {
		w := &config.Writer{}
		for i := range n {
			w.Upstreams = append(w.Upstreams, &config.WriterUpstream{Name: fmt.Sprintf("d%d", i)})
		}
		if got := reachable(w); got != want {
			t.Errorf("%d: %q, want %q", n, got, want)
		}
	}
}

// transcript is every byte that the door sends in a login with a wrong password,
// with the exchange's nonce and salt blanked.
func transcript(t *testing.T, td *testDoor, user string) string {
	t.Helper()
	p := td.dial(t, plain)
	var got strings.Builder
	p.r.Reset(io.TeeReader(p.conn, &got))
	p.send(startup(wire.Version30, "user", user, "database", "orders"))
	p.prove("wrong")
	p.fatal()
	text := got.String()
	for _, part := range []string{`r=[^,]*`, `s=[^,]*`} {
		re := regexp.MustCompile(part)
		if !re.MatchString(text) {
			t.Fatalf("no %s in %q", part, text)
		}
		text = re.ReplaceAllStringFunc(text, func(s string) string { return s[:2] + strings.Repeat("#", len(s)-2) })
	}
	return strings.ReplaceAll(text, user, strings.Repeat("u", len(user)))
}

func TestUnknownWriterLooksLikeWrongPassword(t *testing.T) {
	td := openDoor(t, testConfig())
	want := transcript(t, td, "nobody00")
	for _, user := range []string{"verified"} {
		if got := transcript(t, td, user); got != want {
			t.Errorf("%s: %q, an unknown writer: %q", user, got, want)
		}
	}
	salt := func(user string) string {
		p := td.dial(t, plain)
		p.send(startup(wire.Version30, "user", user))
		c, err := scram.NewClient("", "x")
		if err != nil {
			t.Fatal(err)
		}
		msg, _ := c.Step("")
		p.next(wire.Authentication)
		p.send(wire.AppendSASLInitial(nil, scram.Mechanism, msg))
		return regexp.MustCompile(`s=[^,]*`).FindString(string(p.next(wire.Authentication)))
	}
	if a, b := salt("nobody00"), salt("nobody00"); a != b || a == "" {
		t.Errorf("an unknown writer's salt changes from %s to %s", a, b)
	}
	if a, b := salt("nobody00"), salt("nobody01"); a == b {
		t.Errorf("two unknown writers have one salt, %s", a)
	}
}

func TestMalformedExchanges(t *testing.T) {
	td := openDoor(t, testConfig())
	const first = "n,,n=,r=abcdefghijklmnop"
	tests := []struct {
		name string
		send []byte
		code string
	}{
		{"a query instead", wire.AppendQuery(nil, "select 1"), sqlstate.ProtocolViolation},
		{"a password instead", wire.AppendPassword(nil, "hunter2"), sqlstate.ProtocolViolation},
		{"another mechanism", wire.AppendSASLInitial(nil, "SCRAM-SHA-256-PLUS", "p=tls-server-end-point,,n=,r=abc"), sqlstate.ProtocolViolation},
		{"a long message", wire.AppendSASLInitial(nil, scram.Mechanism, first+strings.Repeat("x", maxSASL)), sqlstate.ProgramLimitExceeded},
		{"a message of 1 GiB", []byte{wire.Password, 0x40, 0, 0, 0}, sqlstate.ProgramLimitExceeded},
		{"a length under 4", []byte{wire.Password, 0, 0, 0, 3}, sqlstate.ProtocolViolation},
		{"an inner length beyond the message", []byte("p\x00\x00\x00\x17SCRAM-SHA-256\x00\x7f\xff\xff\xffn"), sqlstate.ProtocolViolation},
		{"not SCRAM", wire.AppendSASLInitial(nil, scram.Mechanism, "hello"), sqlstate.ProtocolViolation},
		{"a proof that is none", append(wire.AppendSASLInitial(nil, scram.Mechanism, first), wire.AppendSASLResponse(nil, "c=biws,r=abcdefghijklmnop,p=AAAA")...), sqlstate.ProtocolViolation},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var refusals []wire.Fields
			for _, user := range []string{"sync", "none"} { // neither is told from the other
				p := td.dial(t, plain)
				p.send(startup(wire.Version30, "user", user))
				p.next(wire.Authentication)
				p.send(tt.send)
				typ, body, err := p.r.Message(1 << 16)
				if err == nil && typ == wire.Authentication {
					typ, body, err = p.r.Message(1 << 16)
				}
				if err != nil || typ != wire.ErrorResponse {
					t.Fatalf("answered %c, %v", typ, err)
				}
				f, _ := wire.ParseFields(body)
				f.Message = strings.ReplaceAll(f.Message, user, "USER")
				refusals = append(refusals, f)
			}
			if refusals[0] != refusals[1] {
				t.Errorf("a writer sees %+v, nobody %+v", refusals[0], refusals[1])
			}
			if f := refusals[0]; f.Severity != "FATAL" || f.Code != tt.code {
				t.Errorf("refused with %+v, want %s", f, tt.code)
			}
		})
	}
}

// The initial response may come without data, to be sent for an empty challenge.
func TestEmptyInitialResponse(t *testing.T) {
	td := openDoor(t, testConfig())
	p := td.dial(t, plain)
	p.send(startup(wire.Version30, "user", "sync", "database", "orders"))
	p.next(wire.Authentication)
	p.send([]byte("p\x00\x00\x00\x16SCRAM-SHA-256\x00\xff\xff\xff\xff"))
	if body := p.next(wire.Authentication); string(body) != "\x00\x00\x00\x0b" {
		t.Fatalf("challenge %q, want an empty one", body)
	}
	c, err := scram.NewClient("", password)
	if err != nil {
		t.Fatal(err)
	}
	msg, _ := c.Step("")
	p.send(wire.AppendSASLResponse(nil, msg))
	if msg, err = c.Step(string(p.next(wire.Authentication)[4:])); err != nil {
		t.Fatal(err)
	}
	p.send(wire.AppendSASLResponse(nil, msg))
	if _, err = c.Step(string(p.next(wire.Authentication)[4:])); err != nil {
		t.Errorf("the server's proof: %v", err)
	}
}

// What a client sends without waiting for AuthenticationOk is not lost.
func TestLeftover(t *testing.T) {
	td := openDoor(t, testConfig())
	p := td.dial(t, plain)
	p.send(startup(wire.Version30, "user", "sync", "database", "orders"))
	c, err := scram.NewClient("", password)
	if err != nil {
		t.Fatal(err)
	}
	p.next(wire.Authentication)
	msg, _ := c.Step("")
	p.send(wire.AppendSASLInitial(nil, scram.Mechanism, msg))
	if msg, err = c.Step(string(p.next(wire.Authentication)[4:])); err != nil {
		t.Fatal(err)
	}
	query := wire.AppendQuery(nil, "select 1")
	p.send(append(wire.AppendSASLResponse(nil, msg), query...))
	if got := <-td.clients; string(got.leftover) != string(query) {
		t.Errorf("leftover %q, want %q", got.leftover, query)
	}
}

// psql closes the connection when it is asked for a password it has to ask for.
func TestLeavingIsNoFailure(t *testing.T) {
	td := openDoor(t, testConfig())
	p := td.dial(t, plain)
	p.send(startup(wire.Version30, "user", "sync"))
	p.next(wire.Authentication)
	p.conn.Close()
	eventually(t, "the end is logged", func() bool { return td.logs.FilterMessage("connection ended before login").Len() == 1 })
	if td.logs.FilterMessage("login failed").Len() != 0 {
		t.Error("logged as a failed login")
	}
}

func TestNoSecretIsLogged(t *testing.T) {
	td := openDoor(t, testConfig())
	for _, pw := range []string{"wr0ng-passw0rd", password} {
		p := td.dial(t, plain)
		p.send(startup(wire.Version30, "user", "sync", "database", "nowhere"))
		p.prove(pw)
		p.fatal()
	}
	p := td.dial(t, plain)
	p.send(startup(wire.Version30, "user", "sync"))
	p.next(wire.Authentication)
	p.send(wire.AppendPassword(nil, "wr0ng-passw0rd"))
	p.fatal()
	eventually(t, "all are logged", func() bool { return td.logs.FilterMessage("login failed").Len() == 3 })
	for _, e := range td.logs.All() {
		for k, v := range e.ContextMap() {
			if s := fmt.Sprint(v); strings.Contains(s, "wr0ng") || strings.Contains(s, password) || strings.Contains(s, "p=") {
				t.Errorf("%s: %s gives a secret away: %s", e.Message, k, s)
			}
		}
	}
}

func TestIdentities(t *testing.T) {
	s := fakeSecrets{"env:EMPTY": "", "env:CUT": "SCRAM-SHA-256$4096:abc", "env:PW": password}
	tests := []struct {
		name   string
		secret config.Secret
		want   string
	}{
		{"password", env("PW"), ""},
		{"missing", env("NONE"), "writers.w.password: env:NONE: not set"},
		{"empty", env("EMPTY"), "writers.w.password: empty"},
		{"broken verifier", env("CUT"), "writers.w.password: "},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			_, err := newIdentities(t.Context(), []*config.Writer{{Name: "w", Password: tt.secret}}, s, []byte("seed"))
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestAllowedFrom(t *testing.T) {
	nets := func(s ...string) (p []netip.Prefix) {
		for _, x := range s {
			p = append(p, netip.MustParsePrefix(x))
		}
		return p
	}
	tests := []struct {
		networks []netip.Prefix
		addr     string
		want     bool
	}{
		{nil, "203.0.113.9", true},
		{nets("10.1.0.0/16"), "10.1.255.255", true},
		{nets("10.1.0.0/16"), "10.2.0.0", false},
		{nets("10.1.0.0/16", "203.0.113.9/32"), "203.0.113.9", true},
		{nets("fe80::/10"), "fe80::1%eth0", true},
		{nets("10.0.0.0/8"), "2001:db8::1", false},
	}
	for _, tt := range tests {
		if got := allowedFrom(tt.networks, netip.MustParseAddr(tt.addr)); got != tt.want {
			t.Errorf("%v from %s: %v", tt.networks, tt.addr, got)
		}
	}
}
