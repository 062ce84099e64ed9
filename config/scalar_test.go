package config

import (
	"math"
	"strings"
	"testing"
	"time"
)

func TestScalars(t *testing.T) {
	d := duration(time.Second, time.Hour, "never")
	strict := duration(time.Second, time.Hour, "")
	for _, tt := range []struct {
		text    string
		parse   func(string) (any, string, string)
		want    any // nil: refused
		nearest string
	}{
		{"30s", any3(d), 30 * time.Second, ""},
		{"1h0m", any3(d), time.Hour, ""},
		{"0", any3(d), time.Duration(0), ""},
		{"0s", any3(d), time.Duration(0), ""},
		{"0", any3(strict), nil, ""},
		{"30", any3(d), nil, "30s"},
		{"2 minutes", any3(d), nil, "2m"},
		{"1d", any3(d), nil, "24h"},
		{"-5s", any3(d), nil, ""},
		{"2h", any3(d), nil, ""},
		{"1ms", any3(d), nil, ""},
		{"9999999999h", any3(d), nil, ""},
		{"", any3(d), nil, ""},
		{"64KiB", any3(size("x")), int64(65536), ""},
		{"10MiB", any3(size("x")), int64(10 << 20), ""},
		{"512B", any3(size("x")), int64(512), ""},
		{"0", any3(size("x")), int64(0), ""},
		{"64KB", any3(size("x")), nil, "64KiB"},
		{"64k", any3(size("x")), nil, "64KiB"},
		{"1 MiB", any3(size("x")), nil, "1MiB"},
		{"65536", any3(size("x")), nil, "65536B"},
		{"-1KiB", any3(size("x")), nil, ""},
		{"1.5MiB", any3(size("x")), nil, ""},
		{"9223372036854775807GiB", any3(size("x")), nil, ""},
		{"KiB", any3(size("x")), nil, ""},
		{"5432", any3(number[uint16]("p", 1, math.MaxUint16)), uint16(5432), ""},
		{"0", any3(number[uint16]("p", 1, math.MaxUint16)), nil, ""},
		{"65536", any3(number[uint16]("p", 1, math.MaxUint16)), nil, ""},
		{"0x10", any3(number[uint16]("p", 1, math.MaxUint16)), nil, ""},
		{"010", any3(number[uint16]("p", 1, math.MaxUint16)), nil, ""},
		{"1_000", any3(number[uint16]("p", 1, math.MaxUint16)), nil, ""},
		{"verfy-full", any3(choice(TLSVerifyCA, TLSVerifyFull)), nil, "verify-full"},
		{"VERIFY-CA", any3(choice(TLSVerifyCA, TLSVerifyFull)), nil, "verify-ca"},
		{"db.example.com.", any3(host("h")), "db.example.com.", ""},
		{"under_score.x", any3(host("h")), "under_score.x", ""},
		{"2001:db8::1", any3(host("h")), "2001:db8::1", ""},
		{"fe80::1%eth0", any3(host("h")), nil, ""},
		{"db:5432", any3(host("h")), nil, "db"},
		{"-db", any3(host("h")), nil, ""},
		{strings.Repeat("a.", 130), any3(host("h")), nil, ""},
		{":0", any3(address("a")), ":0", ""},
		{"[::1]:5432", any3(address("a")), "[::1]:5432", ""},
		{"::1:5432", any3(address("a")), nil, ""},
		{"db:05432", any3(address("a")), nil, ""},
		{"a\nb", any3(name("n")), nil, ""},
		{"tenant_*", any3(name("n")), "tenant_*", ""},
		{strings.Repeat("é", 32), any3(name("n")), nil, ""},
	} {
		got, why, nearest := tt.parse(tt.text)
		if tt.want == nil && why == "" {
			t.Errorf("%q is taken as %v", tt.text, got)
		}
		if tt.want != nil && (got != tt.want || why != "") {
			t.Errorf("%q: got %v %q, want %v", tt.text, got, why, tt.want)
		}
		if nearest != tt.nearest {
			t.Errorf("%q: suggests %q, want %q", tt.text, nearest, tt.nearest)
		}
	}
}

func any3[T any](s scalar[T]) func(string) (any, string, string) {
	return func(text string) (any, string, string) { return s.parse(text) }
}

func TestNearestWord(t *testing.T) {
	words := []string{"listen", "limits", "upstreams", "iam", "SELECT"}
	for word, want := range map[string]string{
		"listne": "listen", "limit": "limits", "upstream": "upstreams", "ami": "", "iamm": "iam", "select": "SELECT",
		"quite-else": "", "": "", "l": "", strings.Repeat("listen", 20): "",
	} {
		if got := nearestWord(word, words); got != want {
			t.Errorf("%q: got %q, want %q", word, got, want)
		}
	}
	for _, tt := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"abc", "acb", 1}, {"abc", "ab", 1}, {"kitten", "sitting", 3}, {"", "xy", 2}} {
		if got := distance(tt.a, tt.b); got != tt.want {
			t.Errorf("distance(%q, %q) = %d, want %d", tt.a, tt.b, got, tt.want)
		}
	}
}

func TestRegionOfHost(t *testing.T) {
	for host, want := range map[string]string{
		"acme.cluster-c9akciq32.us-east-1.rds.amazonaws.com":    "us-east-1",
		"acme.cluster-ro-c9akciq32.us-east-1.rds.amazonaws.com": "us-east-1",
		"db.c9akciq32.EU-central-1.rds.amazonaws.com.":          "eu-central-1",
		"p.proxy-c9akciq32.us-gov-west-1.rds.amazonaws.com":     "us-gov-west-1",
		"db.c9akciq32.us-west-2.rds-fips.amazonaws.com":         "us-west-2",
		"db.c9akciq32.rds.cn-north-1.amazonaws.com.cn":          "cn-north-1",
		"x.global-c9akciq32.global.rds.amazonaws.com":           "",
		"db.example.com": "",
		"db.c9akciq32.us-east-1.rds.amazonaws.com.evil.example": "",
		"10.0.0.1": "",
	} {
		if got, ok := regionOfHost(host); ok != (want != "") || ok && got != want {
			t.Errorf("%s: got %q %v, want %q", host, got, ok, want)
		}
	}
}

func TestMatchPattern(t *testing.T) {
	for _, tt := range []struct {
		pattern, name string
		want          bool
	}{
		{"a", "a", true},
		{"a", "ab", false},
		{"*", "", true},
		{"*", "x", true},
		{"a*", "a", true},
		{"a*", "ba", false},
		{"*_x", "a_x", true},
		{"*_x", "a_xy", false},
		{"a*b*c", "abc", true},
		{"a*b*c", "a1b2c", true},
		{"a*b*c", "acb", false},
		{"a*a", "a", false},
		{"a**b", "ab", true},
		{"*a*", "xay", true},
	} {
		if got := MatchPattern(tt.pattern, tt.name); got != tt.want {
			t.Errorf("MatchPattern(%q, %q) = %v", tt.pattern, tt.name, got)
		}
	}
}

func TestOuter(t *testing.T) {
	for path, want := range map[string]string{
		"a.b.c": "a.b", "a": "", "listen[0].tls": "listen[0]", "listen[0]": "listen",
		`upstreams."a.b[0]".tls`: `upstreams."a.b[0]"`, `upstreams."a\".b"`: "upstreams", "": "",
	} {
		if got := outer(path); got != want {
			t.Errorf("outer(%s) = %s, want %s", path, got, want)
		}
	}
}
