package config

import (
	"net/netip"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"
)

const minimal = `listen: [{address: ":5432"}]
upstreams: {a: {host: db, login: {user: u, password: env:P}}}
writers: {w: {password: env:W, upstreams: {a: {grants: ALL}}}}
`

// The defaults are promised by the interface, so they are written out here
// rather than taken from the grammar.
func TestDefaults(t *testing.T) {
	c, err := Parse("gateway.yaml", []byte(minimal))
	if err != nil {
		t.Fatal(err)
	}
	want := &Config{
		File:   "gateway.yaml",
		Listen: []Listen{{Address: ":5432", TLS: ListenTLS{Mode: ListenTLSDisable}}},
		Limits: Limits{MaxClients: 10000, LoginTimeout: 15 * time.Second, IdleInTransaction: 10 * time.Minute, WaitNotice: 5 * time.Second},
		Upstreams: []*Upstream{{
			Name: "a", Kind: KindPostgres, Host: "db", Port: 5432, Database: "a",
			TLS:   UpstreamTLS{Mode: TLSVerifyFull, CA: CASystem, Negotiation: NegotiationPostgres},
			Login: Login{User: "u", Password: Secret{Scheme: SchemeEnv, Ref: "P"}},
			Pool: Pool{
				Mode: PoolTransaction, Size: 20, WaitTimeout: 30 * time.Second, IdleTimeout: 10 * time.Minute,
				MaxLifetime: time.Hour, Shards: 1, NewPerSecond: 50,
			},
		}},
		Writers: []*Writer{{
			Name: "w", Password: Secret{Scheme: SchemeEnv, Ref: "W"},
			Upstreams: []*WriterUpstream{{Name: "a", Grants: Grants{All: true}, Mode: GrantEnforce}},
		}},
	}
	if !reflect.DeepEqual(c, want) {
		t.Errorf("got %#v\n%#v\nwant %#v\n%#v", c, c.Upstreams[0], want, want.Upstreams[0])
	}
}

func TestFullFile(t *testing.T) {
	c, err := Load("testdata/good/full.yaml")
	if err != nil {
		t.Fatal(err)
	}
	up := map[string]*Upstream{}
	for _, u := range c.Upstreams {
		up[u.Name] = u
	}
	orders := up["orders"]
	bastion := orders.Via.SSH
	for _, tt := range []struct {
		what      string
		got, want any
	}{
		{"mode of tls without mode", c.Listen[2].TLS.Mode, ListenTLSRequire},
		{"mode without tls", c.Listen[1].TLS.Mode, ListenTLSDisable},
		{"allow", c.Listen[3].TLS.Mode, ListenTLSAllow},
		{"source", c.Egress.SourceIP, netip.MustParseAddr("203.0.113.7")},
		{"public", len(c.Egress.PublicIPs), 2},
		{"ca of aurora", orders.TLS.CA, CARDS},
		{"hostaddr", orders.HostAddr, "10.0.3.17"},
		{"aliases", orders.Aliases, []string{"orders-prod", "orders-eu"}},
		{"iam", *orders.Login.IAM, IAM{}},
		{"region", up["stand-in"].Login.IAM.Region, "eu-central-1"},
		{"ca file", up["stand-in"].TLS.CAFile, Secret{Scheme: SchemeFile, Ref: "ca.pem"}},
		{"ca source", up["stand-in"].TLS.CA, CAFile},
		{"inherited identity", bastion.Identity, Secret{Scheme: SchemeFile, Ref: "/etc/gateway/id_ed25519"}},
		{"own identity", bastion.Jump[0].Identity, Secret{Scheme: SchemeEnv, Ref: "HOP_KEY"}},
		{"ports", [2]uint16{bastion.Port, bastion.Jump[0].Port}, [2]uint16{22, 2222}},
		{"zero wait", orders.Pool.WaitTimeout, time.Duration(0)},
		{"zero lifetime", orders.Pool.MaxLifetime, time.Duration(0)},
		{"idle", orders.Pool.IdleTimeout, 90 * time.Second},
		{"server name", up["mutual"].TLS.ServerName, "db.example.com"},
		{"database", up["mutual"].Database, "other"},
		{"database of a pattern", up["tenant_*"].Database, ""},
		{"require", c.Writers[0].RequireTLS, true},
		{"verifier", c.Writers[0].Password.Scheme, SchemeVerifier},
		{"literal", up["local"].Login.Password, Secret{Scheme: SchemeLiteral, Ref: "trial"}},
		{"own login", c.Writers[0].Upstreams[1].Login.User, "own"},
		{"order", c.Upstreams[4].Name, "tenant_*"},
	} {
		if !reflect.DeepEqual(tt.got, tt.want) {
			t.Errorf("%s: got %v, want %v", tt.what, tt.got, tt.want)
		}
	}
}

// Wherever a secret may stand, in a right place, a wrong one or beside broken
// YAML, no message and no shown line holds it.
func TestSecretsAreNeverShown(t *testing.T) {
	const secret = "hunter2"
	frame := func(login string) string {
		return "listen: [{address: ':5432'}]\nupstreams:\n  a:\n    host: db\n    login:\n" + login + "\nwriters: {}\n"
	}
	for _, text := range []string{
		frame("      {user: u, password: hunter2}"),
		frame("      user: u\n      password: hunter2"),
		frame("      user: u\n      password: |\n        x\n        hunter2"),
		frame("      user: u\n      password: [hunter2]"),
		frame("      user: u\n      password: {hunter2: hunter2}"),
		frame("      user: u\n      password: {env: hunter2}"),
		frame("      user: u\n      password: hunter2: x"),
		frame("      user: u\n      password: x: hunter2"),
		frame("      user: u\n      password: *hunter2"),
		frame("      user: u\n      password: &hunter2 x"),
		frame("      user: u\n      password: !hunter2 x"),
		frame("      user: u\n      password: !<hunter2> x"),
		frame("      user: u\n      password: @hunter2"),
		frame("      user: u\n      password: %hunter2"),
		frame("      user: u\n      password: 'hunter2"),
		frame("      user: u\n      password: \"hunter2\\q\""),
		frame("      user: u\n      password: literal:hunter2\n      iam: {}"),
		frame("      user: u\n      password: hunter2\n     iam: {}"),
		frame("      user: u\n      password: hunter2\n\tiam: {}"),
		frame("      user: u\n      pasword: hunter2"),
		frame("      user: u\n      pw: hunter2"),
		frame("      {user: u, password: literal:a,hunter2}"),
		frame("      {user: u, password: literal:a, iam: {}} # hunter2"),
		frame("      {user: u, password: env:A, password: hunter2}"),
		frame("      password:hunter2"),
		frame("      - hunter2"),
		frame("      hunter2"),
		frame("      user: u\n      password: SCRAM-SHA-256$hunter2"),
		frame("      user: u\n      password: aws-sm:hunter2 x"),
		frame("      user: u\n      password: env:hunter2 x"),
		frame("      user: u\n      password: hunter2\x01"),
		frame("      user: u\n      password: hunter2\xff"),
		minimal + "# hunter2 \x01\n",
		strings.Replace(minimal, "env:W", "hunter2", 1),
		strings.Replace(minimal, "env:W", "SCRAM-SHA-256$4096:hunter2$hunter2:hunter2", 1),
		strings.Replace(minimal, "env:W", "literal:hunter2, form: x", 1),
		"hunter2", "- hunter2", "'hunter2",
	} {
		_, err := Parse("gateway.yaml", []byte(text))
		problems := AsErrors(err)
		if len(problems) == 0 {
			t.Errorf("no problem in\n%s", text)
			continue
		}
		if shown := problems.Explain(); strings.Contains(shown, secret) {
			t.Errorf("shown of\n%s\n%s", text, shown)
		}
	}
}

func TestFileLimits(t *testing.T) {
	big := minimal + strings.Repeat("# a comment\n", maxFile/12+1)
	if _, err := Parse("f", []byte(big)); err == nil || !strings.Contains(err.Error(), "too large") {
		t.Errorf("a file of %d bytes: %v", len(big), err)
	}
	var many strings.Builder
	many.WriteString(minimal)
	for range 3 * maxProblems {
		many.WriteString("? [x]\n: y\n")
	}
	_, err := Parse("f", []byte(many.String()))
	if n := len(AsErrors(err)); n < maxProblems-10 || n > maxProblems {
		t.Errorf("%d problems are reported", n)
	}
	for _, form := range []string{"\ufeff" + minimal, strings.ReplaceAll(minimal, "\n", "\r\n"), "---\n" + minimal + "...\n"} {
		if _, err := Parse("f", []byte(form)); err != nil {
			t.Errorf("%q: %v", form[:10], err)
		}
	}
}

// A large file full of mistakes is answered in seconds: what is worth most to
// one mistake (the nearest of thousands of names, the very line) is bounded.
func TestLargeFilesOfMistakes(t *testing.T) {
	var up, wr strings.Builder
	for i := range 3000 {
		n := strconv.Itoa(i)
		up.WriteString("  up" + n + ": {host: db, login: {user: u, password: env:P}}\n")
		wr.WriteString("  w" + n + ": {password: env:W, upstreams: {upp" + n + ": {grants: ALL}}}\n")
	}
	head := "listen: [{address: ':5432'}]\nupstreams:\n" + up.String() + "writers:\n"
	_, err := Parse("f", []byte(head+wr.String()))
	problems := AsErrors(err)
	if len(problems) != maxProblems || !strings.Contains(problems[0].Message, "did you mean") {
		t.Errorf("%d problems", len(problems))
	}
	if _, err := Parse("f", []byte(head+wr.String()+"x: [\n")); len(AsErrors(err)) != 1 {
		t.Errorf("%d problems in a file that is not YAML", len(AsErrors(err)))
	}
}
