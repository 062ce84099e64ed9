package config

import (
	"net"
	"slices"
	"strconv"
	"strings"
)

// check applies the rules that tie keys together. It says nothing about a key
// that could not be read: that is reported already.
func (d *decoder) check(c *Config) {
	d.checkListeners(c)
	d.checkNames(c)
	for _, u := range c.Upstreams {
		d.checkUpstream(place{}.key("upstreams").name(u.Name), u)
	}
	d.checkWriters(c)
}

func (d *decoder) checkListeners(c *Config) {
	for i := range c.Listen {
		l := &c.Listen[i]
		at := place{}.key("listen").index(i)
		for j := range c.Listen[:i] {
			if l.Address != "" && clash(c.Listen[j].Address, l.Address) {
				d.at(at.key("address").path, "%s is taken by listen[%d] (%s)", l.Address, j, c.Listen[j].Address)
				break
			}
		}
		tls := at.key("tls")
		if !d.readable(tls.key("mode")) {
			continue
		}
		if l.TLS.Mode != ListenTLSDisable {
			for _, key := range []string{"cert", "key"} {
				if !d.written(tls.key(key).path) {
					d.at(tls.key(key).path, "missing; the mode %s needs cert and key", l.TLS.Mode)
				}
			}
		}
		switch ca := tls.key("client_ca").path; {
		case l.TLS.Mode == ListenTLSVerifyClient && !d.written(ca):
			d.at(ca, "missing; the mode verify-client needs it")
		case l.TLS.Mode != ListenTLSVerifyClient && d.written(ca):
			d.at(ca, "found with the mode %s; it belongs to verify-client", l.TLS.Mode)
		}
	}
}

// encrypted reports whether a listener has TLS, or none is known.
func (c *Config) encrypted() bool {
	return len(c.Listen) == 0 || slices.ContainsFunc(c.Listen, func(l Listen) bool { return l.TLS.Mode != ListenTLSDisable })
}

// clash reports whether two listening addresses cannot be bound side by side.
func clash(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	if portA != portB || portA == "0" {
		return false
	}
	v6 := func(h string) bool { return strings.Contains(h, ":") }
	for _, h := range []struct{ any, other string }{{hostA, hostB}, {hostB, hostA}} {
		switch {
		case h.any == "", h.any == "::": // both families
			return true
		case h.any == "0.0.0.0" && !v6(h.other):
			return true
		}
	}
	return strings.EqualFold(hostA, hostB)
}

// sound reports whether nothing is wrong with what a path holds.
func (d *decoder) sound(path string) bool {
	for _, p := range d.problems {
		if p.Path == path {
			return false
		}
	}
	return true
}

// checkNames sees to it that no name stands for two things.
func (d *decoder) checkNames(c *Config) {
	taken := map[string]string{}
	for _, u := range c.Upstreams {
		taken[u.Name] = "the upstream of that name"
	}
	servers := map[string]string{}
	encrypted := c.encrypted()
	for _, u := range c.Upstreams {
		at := place{}.key("upstreams").name(u.Name)
		if u.Name == consoleDatabase {
			d.atKey(at.path, "the name %q is taken by the console", consoleDatabase)
		}
		for i, alias := range u.Aliases {
			here := at.key("aliases").index(i).path
			switch owner := taken[alias]; {
			case alias == "":
			case alias == consoleDatabase:
				d.at(here, "the name %q is taken by the console", consoleDatabase)
			case owner != "":
				d.at(here, "%q already stands for %s", alias, owner)
			default:
				taken[alias] = "the upstream " + strconv.Quote(cut(u.Name))
			}
		}
		if !encrypted && d.written(at.key("sni").path) {
			d.at(at.key("sni").path, "found, but no listener has TLS: no client can send a server name")
		}
		for i, server := range u.SNI {
			server = strings.TrimSuffix(strings.ToLower(server), ".")
			if owner := servers[server]; owner != "" && server != "" {
				d.at(at.key("sni").index(i).path, "%q already selects the upstream %q", cut(server), cut(owner))
				continue
			}
			servers[server] = u.Name
		}
		if u.Pattern() && u.Database == "" {
			for _, key := range []string{"aliases", "sni"} {
				if d.written(at.key(key).path) {
					d.at(at.key(key).path, "found on a pattern, whose database is the name asked for; needed: a database, or an upstream with an exact name")
				}
			}
		}
	}
}

// consoleDatabase is the database name that opens the console.
const consoleDatabase = "gateway"

// atKey is at, but at the key of what was written rather than at its value.
func (d *decoder) atKey(path, format string, args ...any) {
	if m, ok := d.marks[path]; ok {
		d.problem(m.key, path, format, args...)
	}
}
