package config

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"

	"github.com/invopop/jsonschema"
)

// dnsName is a host name as DNS carries it (RFC 1123), with underscores, which
// private zones have; a final dot is taken.
var dnsName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$`)

// checkHost accepts a host name or an IP address, and knows what people write instead.
func checkHost(host string) (why, nearest string) {
	if ip, err := netip.ParseAddr(host); err == nil {
		return checkIP(ip)
	}
	switch {
	case strings.Contains(host, "://"):
		return "a URL is not a host name", ""
	case strings.HasPrefix(host, "/"):
		return "Unix sockets are not supported", ""
	case strings.HasPrefix(host, "[") || strings.Count(host, ":") > 1:
		return "not an IPv6 address (without brackets, without a zone, the port in the key port)", ""
	case strings.Contains(host, ":"):
		bare, _, _ := strings.Cut(host, ":")
		return "the port goes into the key port", bare
	case len(host) > 253 || !dnsName.MatchString(host):
		return "not a host name", ""
	case allDigitsAndDots(host):
		return "not an IPv4 address", ""
	}
	return "", ""
}

func allDigitsAndDots(s string) bool { return strings.Trim(s, "0123456789.") == "" }

func checkIP(ip netip.Addr) (why, nearest string) {
	switch {
	case ip.Zone() != "":
		return "an address with a zone is not supported", ""
	case ip.Is4In6():
		return "an IPv4 address in IPv6 form", ip.Unmap().String()
	}
	return "", ""
}

func host(what string) scalar[string] { return text(what, checkHost) }

// serverName is a name that a certificate may be for.
func serverName(what string) scalar[string] {
	return text(what, func(text string) (string, string) {
		if strings.Contains(text, "*") {
			return "a wildcard names no server", ""
		}
		return checkHost(text)
	})
}

// sniName is a name that a TLS client may ask for (RFC 6066, section 3).
func sniName() scalar[string] {
	return text("a host name", func(text string) (string, string) {
		if _, err := netip.ParseAddr(text); err == nil {
			return "clients send no server name when they connect to an IP address", ""
		}
		if strings.Contains(text, "*") {
			return "a wildcard names no server", ""
		}
		return checkHost(text)
	})
}

// address is host:port as net.Listen takes it.
func address(what string) scalar[string] {
	return text(what, func(text string) (string, string) {
		h, port, err := net.SplitHostPort(text)
		if err != nil {
			if _, numeric := strconv.Atoi(text); numeric == nil {
				return "the colon is missing", ":" + text
			}
			return "not host:port (IPv6 addresses in brackets)", ""
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || strconv.FormatUint(n, 10) != port {
			return "the port is not a number from 0 to 65535", ""
		}
		if h == "" {
			return "", ""
		}
		return checkHost(h)
	})
}

// ipAddress is an address that one host can have.
func ipAddress(what string) scalar[netip.Addr] {
	return scalar[netip.Addr]{
		what: what, schema: jsonschema.Schema{Type: "string", AnyOf: []*jsonschema.Schema{{Format: "ipv4"}, {Format: "ipv6"}}},
		parse: func(text string) (netip.Addr, string, string) {
			ip, err := netip.ParseAddr(text)
			if err != nil {
				if p, err := netip.ParsePrefix(text); err == nil {
					return ip, "a network", p.Addr().String()
				}
				return ip, "not an IP address", ""
			}
			if why, close := checkIP(ip); why != "" {
				return ip, why, close
			}
			if ip.IsUnspecified() || ip.IsMulticast() || ip == netip.AddrFrom4([4]byte{255, 255, 255, 255}) {
				return ip, "no single host has this address", ""
			}
			return ip, "", ""
		},
	}
}

// network is a CIDR without host bits.
func network() scalar[netip.Prefix] {
	return scalar[netip.Prefix]{
		what: "a network such as 10.1.0.0/16", schema: jsonschema.Schema{Type: "string", Pattern: `^[0-9a-fA-F:.]+/[0-9]{1,3}$`},
		parse: func(text string) (netip.Prefix, string, string) {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				if ip, err := netip.ParseAddr(text); err == nil && ip.Zone() == "" {
					return p, "the prefix length is missing", netip.PrefixFrom(ip, ip.BitLen()).String()
				}
				return p, "not a network", ""
			}
			if p.Addr().Is4In6() {
				return p, "an IPv4 network in IPv6 form", ""
			}
			if p.Masked() != p {
				return p, "bits beyond the prefix length are set", p.Masked().String()
			}
			return p, "", ""
		},
	}
}

// rdsHost are the endpoint names of RDS and Aurora: AWS's own expression in
// its drivers, with the name of the region captured, and China's order of labels.
var rdsHost = regexp.MustCompile(`(?i)^.+\.(?:proxy-|cluster-ro-|cluster-custom-|cluster-|shardgrp-)?[a-z0-9]+\.` +
	`(?:([a-z0-9-]+)\.(?:rds|rds-fips)\.amazonaws\.(?:com|au|eu|uk)|rds\.([a-z0-9-]+)\.amazonaws\.com\.cn)\.?$`)

// awsRegion is the form of a region's name: us-east-1, us-gov-west-1.
var awsRegion = regexp.MustCompile(`^[a-z]{2,}(-[a-z]+)+-[0-9]+$`)

// regionOfHost is the region in an RDS endpoint's name; false when the host is
// not such a name, or a global endpoint, which is in no region.
func regionOfHost(host string) (string, bool) {
	m := rdsHost.FindStringSubmatch(host)
	if m == nil {
		return "", false
	}
	region := strings.ToLower(m[1] + m[2])
	return region, awsRegion.MatchString(region)
}

func region() scalar[string] {
	s := text("an AWS region such as us-east-1", func(text string) (string, string) {
		if !awsRegion.MatchString(text) {
			return "not a region's name", ""
		}
		return "", ""
	})
	s.schema.Pattern = awsRegion.String()
	return s
}
