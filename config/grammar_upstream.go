package config

import (
	"regexp"
	"strings"
	"time"
)

func upstreamShape() *mapping[Upstream] {
	return &mapping[Upstream]{what: "an upstream", keys: []key[Upstream]{
		want("kind", choice(KindPostgres, KindRDS, KindAurora, KindDSQL), func(u *Upstream) *Kind { return &u.Kind },
			"The sort of database.").or("postgres"),
		want("host", host("a host name or IP address"), func(u *Upstream) *string { return &u.Host },
			"The database's own name: dialled, verified in its certificate, and signed in IAM tokens. Needed, but for `dsql`."),
		want("hostaddr", hostAddr(), func(u *Upstream) *string { return &u.HostAddr },
			"An address to dial in place of `host`, which keeps its meaning for TLS and token signing."),
		want("port", number[uint16]("a port", 1, 65535), func(u *Upstream) *uint16 { return &u.Port },
			"The database's port.").or("5432"),
		want("database", name("a database name"), func(u *Upstream) *string { return &u.Database },
			"The name of the database there.").orNote("the upstream's name; for a pattern the name that the client asked for; for `dsql`: `postgres`"),
		want("cluster", cluster(), func(u *Upstream) *string { return &u.Cluster },
			"The DSQL cluster's identifier. Needed for `dsql`, and only there."),
		want("region", region(), func(u *Upstream) *string { return &u.Region },
			"The DSQL cluster's region. Needed for `dsql`, and only there."),
		want("aliases", list[string]{item: text("a name without *", checkExactName), what: "names", same: same}, func(u *Upstream) *[]string { return &u.Aliases },
			"Further names that clients may ask for."),
		want("sni", list[string]{item: sniName(), what: "host names", same: strings.ToLower}, func(u *Upstream) *[]string { return &u.SNI },
			"TLS server names that select this upstream."),
		want("schema", optional[UpstreamSchema]{&mapping[UpstreamSchema]{what: "a schema", keys: []key[UpstreamSchema]{
			want("name", text("a schema's name", checkExactName), func(s *UpstreamSchema) *string { return &s.Name },
				"The schema that becomes the session's `search_path`, unless the client asks for its own.").must(),
			want("create", boolean(), func(s *UpstreamSchema) *bool { return &s.Create },
				"Whether it is created on first use when it is missing.").or("false"),
		}}}, func(u *Upstream) **UpstreamSchema { return &u.Schema },
			"The schema that sessions work in."),
		want("tls", upstreamTLSShape(), func(u *Upstream) *UpstreamTLS { return &u.TLS },
			"TLS towards the database."),
		want("login", loginShape(), func(u *Upstream) *Login { return &u.Login },
			"The role that the gateway logs in with.").must(),
		want("via", viaShape(), func(u *Upstream) *Via { return &u.Via },
			"The way to the database.").orNote("straight"),
		want("pool", poolShape(), func(u *Upstream) *Pool { return &u.Pool },
			"Server connections. Each role on each real database has a pool of its own."),
		want("failover", &mapping[Failover]{what: "failover", keys: []key[Failover]{
			want("hold", duration(time.Second, 10*time.Minute, "not at all"), func(f *Failover) *time.Duration { return &f.Hold },
				"How long clients wait while the upstream is down or read-only.").or("0"),
		}}, func(u *Upstream) *Failover { return &u.Failover },
			"What clients see while the upstream is down."),
	}}
}

func same(s string) string { return s }

// clusterID is the form of a DSQL cluster's identifier.
var clusterID = regexp.MustCompile(`^[a-z0-9]{26}$`)

func cluster() scalar[string] {
	s := text("a DSQL cluster's identifier, 26 lowercase letters and digits", func(text string) (string, string) {
		if !clusterID.MatchString(text) {
			return "not a cluster's identifier", ""
		}
		return "", ""
	})
	s.schema.Pattern = clusterID.String()
	return s
}

func upstreamTLSShape() *mapping[UpstreamTLS] {
	return &mapping[UpstreamTLS]{what: "an upstream's TLS", keys: []key[UpstreamTLS]{
		want("mode", choice(TLSDisable, TLSRequire, TLSVerifyCA, TLSVerifyFull), func(t *UpstreamTLS) *UpstreamTLSMode { return &t.Mode },
			"As libpq's `sslmode`: `disable`: plaintext; `require`: encrypted, the server not verified; `verify-ca`: its certificate leads to a root of `ca`; "+
				"`verify-full`: and is for `server_name`. Nothing falls back to plaintext.").or("verify-full"),
		want("ca", caValue{}, func(t *UpstreamTLS) *UpstreamTLS { return t },
			"The roots to verify with: the system's, the Amazon RDS bundle built into the gateway (instances and clusters; RDS Proxy has public roots: `system`), "+
				"or a PEM file.").orNote("`rds` for the kinds `rds` and `aurora`, else `system`"),
		want("cert", secretValue{what: "a PEM certificate chain, leaf first"}, func(t *UpstreamTLS) *Secret { return &t.Cert },
			"The gateway's own certificate chain, for mutual TLS; goes with `key`."),
		want("key", secretValue{what: "a PEM private key"}, func(t *UpstreamTLS) *Secret { return &t.Key },
			"The private key of `cert`."),
		want("server_name", serverName("a host name or IP address"), func(t *UpstreamTLS) *string { return &t.ServerName },
			"The name that is sent as SNI and verified in the certificate.").orNote("`host`"),
		want("negotiation", choice(NegotiationPostgres, NegotiationDirect), func(t *UpstreamTLS) *Negotiation { return &t.Negotiation },
			"As libpq's `sslnegotiation`: `postgres` asks first, `direct` starts with TLS at once (PostgreSQL 17 and later).").or("postgres"),
	}}
}

func loginShape() *mapping[Login] {
	return &mapping[Login]{
		what: "a login", needs: []need{{keys: []string{"password", "iam", "cert"}, exactly: true}},
		keys: []key[Login]{
			want("user", name("a role's name"), func(l *Login) *string { return &l.User },
				"The role on the upstream.").must(),
			want("password", secretValue{what: "a password"}, func(l *Login) *Secret { return &l.Password },
				"The role's password."),
			want("iam", optional[IAM]{iamShape()}, func(l *Login) **IAM { return &l.IAM },
				"AWS IAM database authentication; needs verified TLS. `{}` stands for the region in the host name and the gateway's own credentials."),
			want("cert", onlyTrue(), func(l *Login) *bool { return &l.Cert },
				"The certificate of `tls.cert` proves the role, to a server that asks for one."),
			want("require_auth", choice(RequireSCRAM, RequireBinding), func(l *Login) *RequireAuth { return &l.RequireAuth },
				"The least that the server must ask of the password: `scram-sha-256`, or `scram-sha-256-plus`, which only works where nobody sits in between. "+
					"A server that asks for less gets nothing.").orNote("`scram-sha-256` over TLS that is not verified; MD5 or no password at all in plaintext; anything where TLS is verified"),
		},
	}
}

// onlyTrue is a key that is left out where it does not hold.
func onlyTrue() scalar[bool] {
	s := boolean()
	s.what = "true, or leave the key out"
	s.schema.Const = true
	s.parse = func(text string) (bool, string, string) {
		if text != "true" {
			return false, "not a known value", ""
		}
		return true, "", ""
	}
	return s
}

func iamShape() *mapping[IAM] {
	return &mapping[IAM]{what: "IAM authentication", keys: []key[IAM]{
		want("region", region(), func(i *IAM) *string { return &i.Region },
			"The region that tokens are signed for.").orNote("taken from the host name"),
		want("assume_role", optional[AssumeRole]{&mapping[AssumeRole]{what: "a role to assume", keys: []key[AssumeRole]{
			want("arn", pattern("an IAM role's ARN", `^arn:aws[a-z-]*:iam::[0-9]{12}:role/[\w+=,.@/-]+$`), func(a *AssumeRole) *string { return &a.ARN },
				"The role.").must(),
			want("external_id", pattern("letters, digits and +=,.@:/-_, at least two", `^[\w+=,.@:/-]{2,}$`), func(a *AssumeRole) *string { return &a.ExternalID },
				"The external id that the role's trust policy asks for."),
			want("session_name", pattern("2 to 64 letters, digits and +=,.@-_", `^[\w+=,.@-]{2,64}$`), func(a *AssumeRole) *string { return &a.SessionName },
				"The session's name in CloudTrail.").or("pggateway"),
		}}}, func(i *IAM) **AssumeRole { return &i.AssumeRole },
			"A role, perhaps in the database's account, whose credentials sign the tokens. It is assumed with the gateway's own credentials."),
	}}
}

// pattern is a text that an expression describes.
func pattern(what, expression string) scalar[string] {
	r := regexp.MustCompile(expression)
	s := text(what, func(text string) (string, string) {
		if !r.MatchString(text) {
			return "not of that form", ""
		}
		return "", ""
	})
	s.schema.Pattern = expression
	return s
}

func viaShape() *mapping[Via] {
	return &mapping[Via]{
		what: "a way", needs: []need{{keys: []string{"ssh", "privatelink"}, exactly: true}},
		keys: []key[Via]{
			want("ssh", optional[Bastion]{bastionShape(true)}, func(v *Via) **Bastion { return &v.SSH },
				"An SSH server that connections are forwarded through; it resolves the database's name."),
			want("privatelink", optional[PrivateLink]{&mapping[PrivateLink]{what: "a VPC endpoint", keys: []key[PrivateLink]{
				want("endpoint", host("a VPC endpoint's name"), func(p *PrivateLink) *string { return &p.Endpoint },
					"The endpoint's DNS name, which is dialled.").must(),
				want("service", pattern("auto, or the DSQL service such as dsql-fnh4", `^(auto|dsql[a-z0-9-]*)$`), func(p *PrivateLink) *string { return &p.Service },
					"The endpoint service; `auto` asks the DSQL API.").or("auto"),
			}}}, func(v *Via) **PrivateLink { return &v.PrivateLink },
				"A VPC endpoint in front of the database."),
		},
	}
}

// maxJumps bounds the hosts before a bastion: each is a handshake within one login.
const maxJumps = 8

func bastionShape(outermost bool) *mapping[Bastion] {
	m := &mapping[Bastion]{
		what:  "a bastion",
		needs: []need{{keys: []string{"host_keys", "known_hosts"}, when: " (a bastion whose host key is not known is not talked to)"}},
		keys: []key[Bastion]{
			want("host", host("a host name or IP address"), func(b *Bastion) *string { return &b.Host },
				"The bastion.").must(),
			want("port", number[uint16]("a port", 1, 65535), func(b *Bastion) *uint16 { return &b.Port },
				"Its SSH port.").or("22"),
			want("user", name("a user's name"), func(b *Bastion) *string { return &b.User },
				"The user to log in as.").must(),
			want("identity", secretValue{what: "a private key"}, func(b *Bastion) *Secret { return &b.Identity },
				"The private key to log in with.").orNote("`ssh.identity`"),
			want("host_keys", list[string]{item: text(`a public key such as "ssh-ed25519 AAAA…", or its SHA256:… fingerprint`, checkHostKey), what: "host keys", same: same},
				func(b *Bastion) *[]string { return &b.HostKeys },
				"The bastion's public host keys, any of which it may show; this or `known_hosts` is needed."),
			want("known_hosts", secretValue{what: "a known_hosts file", filesOnly: true}, func(b *Bastion) *Secret { return &b.KnownHosts },
				"A file in OpenSSH's known_hosts form."),
		},
	}
	if outermost {
		m.keys = append(m.keys, want("jump", list[*Bastion]{item: optional[Bastion]{bastionShape(false)}, what: "bastions", most: maxJumps},
			func(b *Bastion) *[]*Bastion { return &b.Jump },
			"Hosts to pass through before this one, in that order, each with the keys above."))
	}
	return m
}

func poolShape() *mapping[Pool] {
	return &mapping[Pool]{what: "a pool", keys: []key[Pool]{
		want("mode", choice(PoolSession, PoolTransaction), func(p *Pool) *PoolMode { return &p.Mode },
			"When a server connection is given back: at the client's logout, or at the end of each transaction.").or("transaction"),
		want("size", number[int]("a number of connections", 1, 10_000), func(p *Pool) *int { return &p.Size },
			"Server connections at most.").or("20"),
		want("min_idle", number[int]("a number of connections", 0, 10_000), func(p *Pool) *int { return &p.MinIdle },
			"Idle server connections that are kept open.").or("0"),
		want("wait_timeout", duration(time.Millisecond, 24*time.Hour, "for ever"), func(p *Pool) *time.Duration { return &p.WaitTimeout },
			"How long a client waits for a server connection before it gets 53300.").or("30s"),
		want("idle_timeout", duration(time.Second, week, "never"), func(p *Pool) *time.Duration { return &p.IdleTimeout },
			"Idle server connections beyond `min_idle` are closed after this long.").or("10m"),
		want("max_lifetime", duration(time.Second, 30*24*time.Hour, "never"), func(p *Pool) *time.Duration { return &p.MaxLifetime },
			"Server connections are closed at this age, less up to a tenth by chance, once no client holds them.").orNote("`1h`; for `dsql`: `55m`"),
		want("shards", number[int]("a number of event loops", 1, 256), func(p *Pool) *int { return &p.Shards },
			"Splits one very hot pool over several event loops.").or("1"),
		want("new_per_second", number[int]("a number of connections", 1, 10_000), func(p *Pool) *int { return &p.NewPerSecond },
			"New server connections per second at most.").or("50"),
	}}
}
