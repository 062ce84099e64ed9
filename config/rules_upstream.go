package config

import "strings"

// checkUpstream applies the rules within one upstream.
func (d *decoder) checkUpstream(at place, u *Upstream) {
	d.checkKind(at, u)
	d.checkSchema(at.key("schema"), u.Schema)
	d.checkTLS(at.key("tls"), u)
	d.checkLogin(at.key("login"), u, &u.Login)
	if u.Pool.MinIdle > u.Pool.Size {
		d.at(at.key("pool").key("min_idle").path, "found %d, more than the pool's size, %d", u.Pool.MinIdle, u.Pool.Size)
	}
	if u.Pool.Shards > u.Pool.Size {
		d.at(at.key("pool").key("shards").path, "found %d, more than the pool's size, %d", u.Pool.Shards, u.Pool.Size)
	}
	if u.Via.SSH != nil {
		ssh := at.key("via").key("ssh")
		d.checkBastion(ssh, u.Via.SSH)
		for i, j := range u.Via.SSH.Jump {
			d.checkBastion(ssh.key("jump").index(i), j)
		}
	}
}

func (d *decoder) checkKind(at place, u *Upstream) {
	if !d.readable(at.key("kind")) {
		return
	}
	needed, foreign := []string{"host"}, []string{"cluster", "region"}
	if u.Kind == KindDSQL {
		needed, foreign = foreign, []string{"host", "hostaddr", "port"}
	}
	for _, key := range needed {
		if !d.written(at.key(key).path) {
			d.at(at.key(key).path, "missing; the kind %s needs it", u.Kind)
		}
	}
	for _, key := range foreign {
		if path := at.key(key).path; d.written(path) {
			why := "it belongs to the kind dsql"
			if u.Kind == KindDSQL {
				why = "a DSQL cluster is found by cluster and region"
			}
			d.at(path, "found with the kind %s; %s", u.Kind, why)
		}
	}
	if u.Via.PrivateLink != nil && u.Kind != KindDSQL && u.Via.PrivateLink.Service != "auto" {
		d.at(at.key("via").key("privatelink").key("service").path, "found with the kind %s; it belongs to the kind dsql", u.Kind)
	}
	if u.Kind == KindDSQL {
		if u.Database != "postgres" {
			d.at(at.key("database").path, "found %q; DSQL's only database is postgres", cut(u.Database))
		}
		if u.Pool.MaxLifetime == 0 || u.Pool.MaxLifetime > dsqlMostLifetime {
			d.at(at.key("pool").key("max_lifetime").path, "found %s; DSQL ends connections at 60m, so at most 59m", short(u.Pool.MaxLifetime))
		}
	}
}

// checkSchema refuses names that mean something else as a search_path, or that no
// schema can be created by.
func (d *decoder) checkSchema(at place, s *UpstreamSchema) {
	switch {
	case s == nil:
	case s.Name == "$user":
		d.at(at.key("name").path, "found $user, which stands for the role's own name in a search_path; needed: that name")
	case s.Create && strings.HasPrefix(s.Name, "pg_"):
		d.at(at.key("name").path, "found %q with create; PostgreSQL keeps names that begin with pg_ for itself", cut(s.Name))
	}
}

// readable reports whether a key is absent, or present and not unreadable. A
// value that is only not supported yet is readable.
func (d *decoder) readable(at place) bool {
	m, ok := d.marks[at.path]
	if !ok {
		return true
	}
	_, waiting := unsupported[at.generic]
	return d.sound(at.path) || waiting && !refused(m.value)
}

func (d *decoder) checkTLS(at place, u *Upstream) {
	t := &u.TLS
	if !d.readable(at.key("mode")) {
		return
	}
	cert, key := d.written(at.key("cert").path), d.written(at.key("key").path)
	switch {
	case t.Mode == TLSDisable:
	case cert && !key:
		d.at(at.key("key").path, "missing; cert needs its key")
	case key && !cert:
		d.at(at.key("cert").path, "missing; key needs its cert")
	}
	if t.Mode == TLSDisable {
		for _, k := range []string{"ca", "cert", "key", "server_name", "negotiation"} {
			if d.written(at.key(k).path) {
				d.at(at.key(k).path, "found with the mode disable, where it has no effect")
			}
		}
		if u.Kind == KindDSQL {
			d.at(at.key("mode").path, "found disable; DSQL speaks TLS only")
		}
	}
	if t.Mode == TLSRequire && d.written(at.key("ca").path) {
		d.at(at.key("ca").path, "found with the mode require, which verifies nothing; needed: verify-full or verify-ca, or leave ca out")
	}
}

// checkLogin applies the rules of a login, the upstream's own or a writer's.
func (d *decoder) checkLogin(at place, u *Upstream, l *Login) {
	if l.IAM != nil {
		d.checkIAM(at.key("iam"), u, l.IAM)
	}
	if u.Kind == KindDSQL && l.IAM == nil {
		for _, key := range []string{"password", "cert"} {
			if d.written(at.key(key).path) {
				d.at(at.key(key).path, "found with the kind dsql, which knows IAM only; needed: iam")
			}
		}
	}
	if path := at.key("require_auth").path; d.written(path) {
		switch {
		case !d.written(at.key("password").path):
			d.at(path, "found without password, which it is about")
		case l.RequireAuth == RequireBinding && u.TLS.Mode == TLSDisable:
			d.at(path, "found scram-sha-256-plus with tls.mode disable; it binds the login to a TLS connection")
		}
	}
	if l.Cert && u.TLS.Cert.IsZero() {
		d.at(at.key("cert").path, "found without tls.cert and tls.key, the certificate that would prove the role")
	}
}

// checkIAM: a token is a bearer's password in the clear, so it goes to no
// server that has not proved its name. A chain alone proves it only where the
// roots are the owner's own: every RDS customer has a certificate from the RDS
// roots.
func (d *decoder) checkIAM(at place, u *Upstream, iam *IAM) {
	switch mode := u.TLS.Mode; {
	case mode == TLSDisable || mode == TLSRequire:
		d.at(at.path, "found with tls.mode %s; an IAM token is only sent over verified TLS: needed: verify-full (or verify-ca with a ca of your own, file:PATH)", mode)
	case mode == TLSVerifyCA && u.TLS.CA != CAFile:
		d.at(at.path, "found with tls.mode verify-ca and ca %s, whose roots vouch for anybody's server; needed: verify-full (or verify-ca with a ca of your own, file:PATH)", u.TLS.CA)
	}
	if !d.readable(place{path: place{}.key("upstreams").name(u.Name).key("kind").path, generic: "upstreams.*.kind"}) {
		return
	}
	switch u.Kind {
	case KindPostgres:
		d.at(at.path, "found with the kind postgres; IAM authentication belongs to the kinds rds, aurora and dsql")
	case KindDSQL:
		if iam.Region != "" && u.Region != "" && iam.Region != u.Region {
			d.at(at.key("region").path, "found %s; the cluster is in %s", iam.Region, u.Region)
		}
	case KindRDS, KindAurora:
		if u.Host == "" {
			return
		}
		inHost, ok := regionOfHost(u.Host)
		written := d.written(at.key("region").path)
		switch {
		case !ok && !written:
			d.at(at.key("region").path, "missing; the host %s is no RDS endpoint name that a region could be taken from", u.Host)
		case ok && iam.Region != "" && iam.Region != inHost:
			d.at(at.key("region").path, "found %s; the host is in %s", iam.Region, inHost)
		}
	}
}

func (d *decoder) checkBastion(at place, b *Bastion) {
	if m := d.marks[at.path]; m.value == nil || !isMapping(m.value) {
		return
	}
	if b.Identity.IsZero() && !d.written(at.key("identity").path) {
		d.at(at.key("identity").path, "missing; needed: a private key here, or in ssh.identity for all bastions")
	}
}
