package config

import "net/netip"

func writerShape() *mapping[Writer] {
	return &mapping[Writer]{what: "a writer", keys: []key[Writer]{
		want("password", secretValue{what: "the writer's password", verifiers: true}, func(w *Writer) *Secret { return &w.Password },
			"A SCRAM-SHA-256 verifier, or a reference to a verifier or a password.").must(),
		want("from", networks(), func(w *Writer) *[]netip.Prefix { return &w.From },
			"Networks that the writer may come from.").orNote("any"),
		want("tls", requireTLS{choice(ListenTLSRequire)}, func(w *Writer) *bool { return &w.RequireTLS },
			"`require` refuses plaintext logins of this writer.").orNote("the listener's rule"),
		want("max_clients", number[int]("a number of clients (0: no limit but the gateway's)", 0, 1_000_000), func(w *Writer) *int { return &w.MaxClients },
			"Clients of this writer at the same time.").or("0"),
		want("upstreams", named[*WriterUpstream]{
			item: optional[WriterUpstream]{accessShape()}, what: "upstreams by name",
			name: func(a **WriterUpstream, name string) { (*a).Name = name }, check: checkName,
		}, func(w *Writer) *[]*WriterUpstream { return &w.Upstreams },
			"What the writer may use, by the names (or patterns) of `upstreams`."),
	}}
}

func accessShape() *mapping[WriterUpstream] {
	return &mapping[WriterUpstream]{what: "access to an upstream", keys: []key[WriterUpstream]{
		want("login", optional[Login]{loginShape()}, func(a *WriterUpstream) **Login { return &a.Login },
			"A role of the writer's own on the upstream.").orNote("the upstream's `login`"),
		want("grants", grantsShape(), func(a *WriterUpstream) *Grants { return &a.Grants },
			"What the writer may do, in the terms of PostgreSQL's GRANT. `ALL`: statements are not inspected, the database's own grants decide.").
			orNote("nothing is allowed"),
		want("mode", choice(GrantEnforce, GrantObserve), func(a *WriterUpstream) *GrantMode { return &a.Mode },
			"What happens to a statement that is not granted: refused with 42501, or let through and reported.").or("enforce"),
	}}
}

func networks() list[netip.Prefix] {
	return list[netip.Prefix]{item: network(), what: "networks such as 10.1.0.0/16", same: netip.Prefix.String}
}

func publicIPs() list[netip.Addr] {
	return list[netip.Addr]{item: ipAddress("an IP address"), what: "IP addresses", same: netip.Addr.String}
}

func listenProxies(l *Listen) *[]netip.Prefix { return &l.ProxyProtocol }

func egressSource(e *Egress) *netip.Addr { return &e.SourceIP }

func egressPublic(e *Egress) *[]netip.Addr { return &e.PublicIPs }

// hostAddr is an IP address kept as the text that is dialled.
func hostAddr() scalar[string] {
	s := ipAddress("an IP address")
	return scalar[string]{what: s.what, schema: s.schema, parse: func(text string) (string, string, string) {
		ip, why, close := s.parse(text)
		return ip.String(), why, close
	}}
}
