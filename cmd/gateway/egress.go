package main

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"pggateway/config"
)

func newEgress(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "egress [UPSTREAM...]",
		Short: "Print the addresses, ports and lines that a destination's owner must allow",
		Long: `Print, for each upstream or for those named, what its owner must allow: the
gateway's addresses, the ports, security group and network ACL rules, the
pg_hba.conf line and, behind a bastion, the authorized_keys restrictions.`,
		Example: `  gateway egress
  gateway egress orders`,
		RunE: func(cmd *cobra.Command, names []string) error {
			conf, err := o.load(cmd)
			if err != nil {
				return err
			}
			chosen, err := chooseUpstreams(conf, names)
			if err != nil {
				return err
			}
			addresses := egressAddresses(conf)
			if len(addresses) == 0 {
				return wrong(fmt.Errorf("the gateway's address is not known: set egress.source_ip or egress.public_ips in %s", o.file))
			}
			r := &report{conf: conf, from: addresses}
			r.line("The gateway connects from: %s", join(addresses))
			if len(conf.Egress.PublicIPs) == 0 && conf.Egress.SourceIP.IsPrivate() {
				r.line("That is a private address. If it is translated on the way (NAT, an Elastic IP), set egress.public_ips")
				r.line("to what destinations see.")
			}
			for _, u := range chosen {
				r.upstream(u)
			}
			return say(cmd, r.String())
		},
	}
}

// chooseUpstreams finds upstreams by their names and aliases; no names mean all.
func chooseUpstreams(conf *config.Config, names []string) ([]*config.Upstream, error) {
	if len(names) == 0 {
		return conf.Upstreams, nil
	}
	var chosen []*config.Upstream
	for _, name := range names {
		i := slices.IndexFunc(conf.Upstreams, func(u *config.Upstream) bool {
			return u.Name == name || slices.Contains(u.Aliases, name)
		})
		if i < 0 {
			return nil, fmt.Errorf("no upstream is named %q; there are: %s", name, upstreamNames(conf))
		}
		if u := conf.Upstreams[i]; !slices.Contains(chosen, u) {
			chosen = append(chosen, u)
		}
	}
	return chosen, nil
}

// egressAddresses are what destinations see: public_ips, else the source address.
func egressAddresses(conf *config.Config) []netip.Prefix {
	ips := conf.Egress.PublicIPs
	if len(ips) == 0 && conf.Egress.SourceIP.IsValid() {
		ips = []netip.Addr{conf.Egress.SourceIP}
	}
	var out []netip.Prefix
	for _, ip := range ips {
		out = append(out, netip.PrefixFrom(ip, ip.BitLen()))
	}
	return out
}

func upstreamNames(conf *config.Config) string {
	const most = 20
	var names []string
	for _, u := range conf.Upstreams {
		if len(names) == most {
			names = append(names, "…")
			break
		}
		names = append(names, u.Name)
	}
	return strings.Join(names, ", ")
}

func join(prefixes []netip.Prefix) string {
	var out []string
	for _, p := range prefixes {
		out = append(out, p.String())
	}
	return strings.Join(out, ", ")
}
