package config

import "time"

// grammar is the whole of gateway.yaml: the one place that says which keys
// there are, what they take, what they default to and what they are for.
func grammar() *mapping[Config] {
	return &mapping[Config]{what: "the gateway's configuration", keys: []key[Config]{
		want("listen", list[Listen]{item: listenShape(), what: "listeners", most: 64}, func(c *Config) *[]Listen { return &c.Listen },
			"The addresses that clients connect to, one or more.").must(),
		want("egress", egressShape(), func(c *Config) *Egress { return &c.Egress },
			"The address that destinations see."),
		want("ssh", sshShape(), func(c *Config) *SSH { return &c.SSH },
			"What all bastions share."),
		want("admin", adminShape(), func(c *Config) *Admin { return &c.Admin },
			"The console, the HTTP endpoint and the audit log."),
		want("limits", limitsShape(), func(c *Config) *Limits { return &c.Limits },
			"Limits that hold for the whole gateway."),
		want("upstreams", named[*Upstream]{
			item: optional[Upstream]{upstreamShape()}, what: "upstreams by name",
			name: func(u **Upstream, name string) { (*u).Name = name }, check: checkName,
		}, func(c *Config) *[]*Upstream { return &c.Upstreams },
			"The databases behind the gateway, by the name that clients ask for; a name with `*` is a pattern.").must(),
		want("writers", named[*Writer]{
			item: optional[Writer]{writerShape()}, what: "writers by name",
			name: func(w **Writer, name string) { (*w).Name = name }, check: checkExactName,
		}, func(c *Config) *[]*Writer { return &c.Writers },
			"The clients, by the user name that they log in with.").must(),
	}}
}

func listenShape() *mapping[Listen] {
	return &mapping[Listen]{what: "a listener", keys: []key[Listen]{
		want("address", address("host:port, such as 0.0.0.0:5432"), func(l *Listen) *string { return &l.Address },
			"Where to listen. No host stands for all addresses; port 0 lets the kernel choose one.").must(),
		want("tls", &mapping[ListenTLS]{what: "a listener's TLS", keys: []key[ListenTLS]{
			want("mode", choice(ListenTLSDisable, ListenTLSAllow, ListenTLSRequire, ListenTLSVerifyClient), func(t *ListenTLS) *ListenTLSMode { return &t.Mode },
				"`disable`: clients that ask for TLS are told there is none; `allow`: the client chooses; `require`: plaintext logins are refused; "+
					"`verify-client`: the client's certificate must name the writer, too.").
				orNote("`require`; for a listener without `tls`: `disable`"),
			want("cert", secretValue{what: "a PEM certificate chain, leaf first"}, func(t *ListenTLS) *Secret { return &t.Cert },
				"The listener's certificate chain. Needed unless the mode is `disable`."),
			want("key", secretValue{what: "a PEM private key"}, func(t *ListenTLS) *Secret { return &t.Key },
				"The private key of `cert`."),
			want("client_ca", secretValue{what: "PEM certificates"}, func(t *ListenTLS) *Secret { return &t.ClientCA },
				"The roots that clients' certificates must lead to. Needed for `verify-client`, and only there."),
		}}, func(l *Listen) *ListenTLS { return &l.TLS },
			"TLS towards clients."),
		want("proxy_protocol", networks(), listenProxies,
			"Peers whose PROXY v1 or v2 header is required and trusted, such as a load balancer's subnets."),
	}}
}

func egressShape() *mapping[Egress] {
	return &mapping[Egress]{what: "the egress", keys: []key[Egress]{
		want("source_ip", ipAddress("a local IP address"), egressSource,
			"The local address that every upstream and SSH socket is bound to.").
			orNote("the kernel chooses"),
		want("public_ips", publicIPs(), egressPublic,
			"What a destination's owner must allow; `gateway egress` shows it.").
			orNote("`source_ip`, if that is set"),
	}}
}

func sshShape() *mapping[SSH] {
	return &mapping[SSH]{what: "the gateway's SSH client", keys: []key[SSH]{
		want("identity", secretValue{what: "a private key"}, func(s *SSH) *Secret { return &s.Identity },
			"The gateway's own key pair; its public half (`gateway pubkey`) goes to the owners of bastions."),
	}}
}

func adminShape() *mapping[Admin] {
	return &mapping[Admin]{what: "the administration", keys: []key[Admin]{
		want("http", address("host:port, such as 127.0.0.1:9127"), func(a *Admin) *string { return &a.HTTP },
			"Where to serve `/metrics`, `/healthz`, `/readyz` and the status page."),
		want("users", list[string]{item: name("a writer's name"), what: "writers' names", same: func(s string) string { return s }},
			func(a *Admin) *[]string { return &a.Users },
			"Writers that may open the console database `gateway`."),
		want("audit", auditValue(), func(a *Admin) *string { return &a.Audit },
			"Where the audit log goes, one JSON object per line."),
	}}
}

func limitsShape() *mapping[Limits] {
	const never = "no limit"
	return &mapping[Limits]{what: "limits", keys: []key[Limits]{
		want("max_clients", number[int]("a number of clients", 1, 1_000_000), func(l *Limits) *int { return &l.MaxClients },
			"Clients connected at the same time; one more is refused with 53300.").or("10000"),
		want("login_timeout", duration(100*time.Millisecond, 10*time.Minute, ""), func(l *Limits) *time.Duration { return &l.LoginTimeout },
			"From accepting a client to the end of its startup, TLS and authentication.").or("15s"),
		want("max_statement", size(never), func(l *Limits) *int64 { return &l.MaxStatement },
			"The largest single Query or Parse message that is held for inspection; a larger one is refused with 54000.").or("0"),
		want("client_idle", duration(time.Second, week, never), func(l *Limits) *time.Duration { return &l.ClientIdle },
			"A client that sends nothing for this long, outside a transaction, is ended with 57P05.").or("0"),
		want("idle_in_transaction", duration(time.Second, week, never), func(l *Limits) *time.Duration { return &l.IdleInTransaction },
			"A client that holds a server connection and sends nothing for this long is ended with 25P03, and one that takes nothing of its results with 08006.").or("10m"),
		want("statement", duration(time.Millisecond, week, never), func(l *Limits) *time.Duration { return &l.Statement },
			"A statement that runs for this long is cancelled with 57014. If the server does not heed that, the session is ended with 08006.").or("0"),
		want("wait_notice", duration(100*time.Millisecond, time.Hour, "no notice"), func(l *Limits) *time.Duration { return &l.WaitNotice },
			"A client that waits this long for a server connection is told so by a NOTICE.").or("5s"),
	}}
}

const week = 7 * 24 * time.Hour
