package main

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"pggateway/config"
)

// report is the text of 'gateway egress'. Its from is what destinations see.
type report struct {
	conf *config.Config
	from []netip.Prefix
	strings.Builder
}

func (r *report) line(format string, args ...any) { fmt.Fprintf(r, format+"\n", args...) }

// upstream says what the owner of an upstream has to allow, host by host in the
// order of the way to it.
func (r *report) upstream(u *config.Upstream) {
	r.line("\n%s (%s, %s)", u.Name, u.Kind, hostPort(u.Host, u.Port))
	managed := u.Kind == config.KindRDS || u.Kind == config.KindAurora
	from, group := join(r.from), join(r.from) // who opens the next connection, in rules on addresses and on groups
	for _, hop := range way(u.Via.SSH) {
		r.line("  firewall or security group of %s, inbound: TCP %d from %s", hop.Host, hop.Port, group)
		r.line("  authorized_keys of %s on %s:", hop.User, hop.Host)
		r.line("    restrict,port-forwarding,%s %s", r.permits(hop), r.key(hop))
		from, group = "the address of "+hop.Host, "the security group of "+hop.Host
	}
	if managed {
		r.line("  database security group, inbound: TCP %d from %s", u.Port, group)
		r.line("  network ACL, inbound: TCP %d from %s; outbound: TCP 1024-65535 to %[2]s", u.Port, from)
	} else {
		r.line("  database firewall, inbound: TCP %d from %s", u.Port, from)
	}
	if u.Kind == config.KindPostgres {
		for _, line := range r.hba(u) {
			r.line("  pg_hba.conf: %s", line)
		}
	}
	for _, l := range r.logins(u) {
		if l.IAM != nil {
			r.line("  IAM login: in the database, GRANT rds_iam TO %s", quoteIdentifier(l.User))
			r.line("  IAM login: in the gateway's AWS policy, rds-db:connect as %s", l.User)
		}
		if r.replicates(u, l) {
			if managed {
				r.line("  replication: in the database, GRANT rds_replication TO %s", quoteIdentifier(l.User))
			} else {
				r.line("  replication: in the database, ALTER ROLE %s REPLICATION", quoteIdentifier(l.User))
			}
		}
	}
}

// way lists the SSH servers on the way, the bastion last.
func way(b *config.Bastion) []*config.Bastion {
	if b == nil {
		return nil
	}
	var all []*config.Bastion
	for _, j := range b.Jump {
		all = append(all, way(j)...)
	}
	return append(all, b)
}

// permits are the permitopen options of one key on one SSH server, for all
// upstreams at once: sshd heeds only the first line that has the key.
func (r *report) permits(at *config.Bastion) string {
	var all []string
	for _, u := range r.conf.Upstreams {
		hops := way(u.Via.SSH)
		for i, hop := range hops {
			if hop.Host != at.Host || hop.Port != at.Port || hop.User != at.User || hop.Identity != at.Identity {
				continue
			}
			next := hostPort(dialled(u), u.Port)
			if i+1 < len(hops) {
				next = hostPort(hops[i+1].Host, hops[i+1].Port)
			}
			if option := `permitopen="` + next + `"`; !slices.Contains(all, option) {
				all = append(all, option)
			}
		}
	}
	return strings.Join(all, ",")
}

// key says which key a server has to know.
func (r *report) key(hop *config.Bastion) string {
	if hop.Identity == r.conf.SSH.Identity {
		return "<the line that 'gateway pubkey' prints>"
	}
	return "<the public key of " + hop.Identity.String() + ">"
}

// dialled is the host that connections are opened to, as the last hop sees it.
func dialled(u *config.Upstream) string {
	if u.HostAddr != "" {
		return u.HostAddr
	}
	return u.Host
}

func hostPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}

// logins are the upstream's login and those that writers have of their own, one
// for each role.
func (r *report) logins(u *config.Upstream) []*config.Login {
	all := []*config.Login{&u.Login}
	for _, wr := range r.conf.Writers {
		for _, a := range wr.Upstreams {
			if a.Name == u.Name && a.Login != nil &&
				!slices.ContainsFunc(all, func(l *config.Login) bool { return l.User == a.Login.User }) {
				all = append(all, a.Login)
			}
		}
	}
	return all
}

// replicates reports whether the role is one that somebody replicates with.
func (r *report) replicates(u *config.Upstream, l *config.Login) bool {
	for _, wr := range r.conf.Writers {
		for _, a := range wr.Upstreams {
			own := a.Login
			if own == nil {
				own = &u.Login
			}
			if a.Name == u.Name && a.Grants.Replication && own.User == l.User {
				return true
			}
		}
	}
	return false
}

// hba are the pg_hba.conf records that let every login in that is used.
func (r *report) hba(u *config.Upstream) []string {
	kind := "hostssl"
	if u.TLS.Mode == config.TLSDisable {
		kind = "host"
	}
	database := quoteHBA(u.Database)
	if u.Database == "" { // a pattern's: the name asked for
		database = "all"
	}
	var addresses []string
	for _, p := range r.from {
		addresses = append(addresses, p.String())
	}
	if b := u.Via.SSH; b != nil {
		addresses = []string{"<address of " + b.Host + ">"}
	}
	var lines []string
	for _, l := range r.logins(u) {
		method := "scram-sha-256"
		if l.Cert {
			method = "cert"
		}
		databases := []string{database}
		if r.replicates(u, l) { // not a database: what physical replication is matched by
			databases = append(databases, "replication")
		}
		for _, a := range addresses {
			for _, d := range databases {
				lines = append(lines, strings.Join([]string{kind, d, quoteHBA(l.User), a, method}, "  "))
			}
		}
	}
	return lines
}

// quoteHBA spells a name in pg_hba.conf, where a bare word may be a keyword, a
// group or a file (documentation, "The pg_hba.conf File").
func quoteHBA(name string) string {
	bare := name != "" && !strings.ContainsAny(name[:1], "+/@") && !strings.ContainsAny(name, " \t,#\"") &&
		!slices.Contains([]string{"all", "sameuser", "samerole", "samegroup", "replication"}, strings.ToLower(name))
	if bare {
		return name
	}
	return quoteIdentifier(name)
}

// quoteIdentifier spells a name in SQL.
func quoteIdentifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }
