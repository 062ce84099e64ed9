package main

import (
	"strings"
	"testing"
)

func TestEgress(t *testing.T) {
	all := gateway(t, "", "egress", "-c", "testdata/egress.yaml")
	if all.code != exitOK || all.stderr != "" {
		t.Fatalf("exit code %d, stderr %q", all.code, all.stderr)
	}
	golden(t, "egress.txt", all.stdout)

	// One by name, one by alias, in the order asked for and once each.
	some := gateway(t, "", "egress", "-c", "testdata/egress.yaml", "jump", "straight-prod", "straight", "jump")
	var names []string
	for section := range strings.SplitSeq(some.stdout, "\n\n") {
		name, _, _ := strings.Cut(section, " ")
		names = append(names, name)
		if !strings.Contains(all.stdout, strings.TrimSuffix(section, "\n")) {
			t.Errorf("not in the whole report:\n%s", section)
		}
	}
	if got := strings.Join(names, " "); got != "The jump straight" || some.code != exitOK {
		t.Errorf("sections %s, exit code %d", got, some.code)
	}
	gateway(t, "", "egress", "-c", "testdata/egress.yaml", "jmp").want(t, exitUsage, "",
		"gateway: no upstream is named \"jmp\"; there are: straight, plaintext, tenant_*, aurora, rds-behind-bastion, same-bastion, jump\n")
}

func TestEgressAddress(t *testing.T) {
	for source, want := range map[string]string{
		"egress: {source_ip: 198.51.100.1}":                         "198.51.100.1/32\n\norders",
		"egress: {source_ip: 10.0.0.5}":                             "10.0.0.5/32\nThat is a private address. If it is translated on the way",
		"egress: {source_ip: 10.0.0.5, public_ips: [198.51.100.1]}": "198.51.100.1/32\n\norders",
		"egress: {public_ips: [198.51.100.1, 198.51.100.2]}":        "198.51.100.1/32, 198.51.100.2/32\n\norders",
	} {
		text := strings.Replace(oneRoute(5432, "env:X"), "egress: {source_ip: 127.0.0.2}", source, 1)
		r := gateway(t, "", "egress", "-c", write(t, "gateway.yaml", text))
		if r.code != exitOK || !strings.HasPrefix(r.stdout, "The gateway connects from: "+want) {
			t.Errorf("%s: exit code %d\n%s%s", source, r.code, r.stdout, r.stderr)
		}
	}
	file := write(t, "gateway.yaml", strings.Replace(oneRoute(5432, "env:X"), "egress: {source_ip: 127.0.0.2}\n", "", 1))
	gateway(t, "", "egress", "-c", file).want(t, exitWrong, "",
		"gateway: the gateway's address is not known: set egress.source_ip or egress.public_ips in "+file+"\n")
}

func TestQuoteHBA(t *testing.T) {
	for name, want := range map[string]string{
		"orders": "orders", "Orders-2": "Orders-2", "": `""`, "all": `"all"`, "ALL": `"ALL"`, "replication": `"replication"`,
		"a b": `"a b"`, "a,b": `"a,b"`, "a#b": `"a#b"`, `a"b`: `"a""b"`, "+a": `"+a"`, "/a": `"/a"`, "@a": `"@a"`, "a+b": "a+b",
	} {
		if got := quoteHBA(name); got != want {
			t.Errorf("%q: %s, want %s", name, got, want)
		}
	}
}
