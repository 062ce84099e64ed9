package config

import (
	"strconv"
	"time"
)

// derive fills in the defaults that depend on other keys. The rest stand in
// the grammar, beside their keys.
func (c *Config) derive(d *decoder) {
	for i := range c.Listen {
		l := &c.Listen[i]
		switch at := "listen[" + strconv.Itoa(i) + "].tls"; {
		case !d.written(at):
			l.TLS.Mode = ListenTLSDisable
		case l.TLS.Mode == "":
			l.TLS.Mode = ListenTLSRequire
		}
	}
	for _, u := range c.Upstreams {
		u.derive(c.SSH.Identity)
		if !d.written(place{}.key("upstreams").name(u.Name).key("pool").key("max_lifetime").path) {
			u.Pool.MaxLifetime = usualLifetime
			if u.Kind == KindDSQL {
				u.Pool.MaxLifetime = dsqlLifetime
			}
		}
	}
}

func (u *Upstream) derive(identity Secret) {
	if u.TLS.CA == "" {
		switch u.Kind {
		case KindRDS, KindAurora:
			u.TLS.CA = CARDS
		case KindPostgres, KindDSQL:
			u.TLS.CA = CASystem
		}
	}
	if u.Database == "" {
		switch {
		case u.Kind == KindDSQL:
			u.Database = "postgres"
		case !u.Pattern():
			u.Database = u.Name
		}
	}
	if b := u.Via.SSH; b != nil {
		b.inherit(identity)
		for _, j := range b.Jump {
			j.inherit(identity)
		}
	}
}

func (b *Bastion) inherit(identity Secret) {
	if b.Identity.IsZero() {
		b.Identity = identity
	}
}

// Default lifetimes of server connections. DSQL ends each at 60 minutes, in the middle
// of whatever it does (quotas page of Aurora DSQL).
const (
	usualLifetime = time.Hour
	dsqlLifetime  = 55 * time.Minute
)

// dsqlMostLifetime leaves a minute to close a connection before DSQL does.
const (
	dsqlMostLifetime = 59 * time.Minute
)
