package main

import (
	"crypto/rand"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"pggateway/e2e/kit"
)

// The parties, each on an address of its own, as if these were five machines.
const (
	gatewayAddress = "127.0.0.2" // where the gateway's connections come from
	writerAddress  = "127.0.0.9" // where the sync worker runs
	bastionAddress = "127.0.0.1" // where connections out of sshd come from: it cannot be told
)

const (
	writerName   = "orders-sync"
	ordersHost   = "orders.db.example.com"
	billingHost  = "billing.internal.example.com"
	eventsHost   = "events.c9akciq32.us-east-1.rds.amazonaws.com"
	upstreamRole = "sync_writer"
	region       = "us-east-1"
)

// parts is everything that runs.
type parts struct {
	dir                     string
	ca                      *kit.CA
	orders, billing, events *kit.Postgres
	bastion                 *kit.SSHD
	rds                     *kit.RDS
	gateway                 *kit.Gateway
	key                     kit.AccessKey

	ordersPassword, billingPassword, writerPassword string
}

// startDatabases starts the three databases and what stands before them.
func startDatabases(t kit.T) *parts {
	p := &parts{
		dir: kit.Dir(t), ca: kit.NewCA(t, "demo root"),
		ordersPassword: rand.Text(), billingPassword: rand.Text(), writerPassword: rand.Text(),
		key: kit.AccessKey{ID: "AKIADEMO000000000000", Secret: rand.Text() + rand.Text()},
	}
	p.orders = p.database(t, "orders", p.ordersPassword, kit.PostgresOptions{
		HBA: []string{"hostssl orders " + upstreamRole + " " + gatewayAddress + "/32 scram-sha-256"},
		TLS: p.ca.Issue(t, kit.CertRequest{Names: []string{ordersHost}}),
	})
	p.billing = p.database(t, "billing", p.billingPassword, kit.PostgresOptions{
		HBA: []string{"hostssl billing " + upstreamRole + " " + bastionAddress + "/32 scram-sha-256"},
		TLS: p.ca.Issue(t, kit.CertRequest{Names: []string{billingHost}}),
	})
	// What stands behind the stand-in takes a password that nobody but the stand-in knows.
	behind := rand.Text()
	p.events = p.database(t, "events", behind, kit.PostgresOptions{
		HBA: []string{"host events " + upstreamRole + " " + gatewayAddress + "/32 scram-sha-256"},
	})
	p.rds = kit.StartRDS(t, kit.RDSOptions{
		Hosts: []string{eventsHost}, Region: region, Cert: p.ca.Issue(t, kit.CertRequest{Names: []string{eventsHost}}),
		Keys: []kit.AccessKey{p.key}, Users: map[string]string{upstreamRole: behind}, Backend: p.events, KeepSource: true,
		From: []netip.Prefix{netip.MustParsePrefix(gatewayAddress + "/32")},
	})
	return p
}

func (p *parts) database(t kit.T, name, password string, o kit.PostgresOptions) *kit.Postgres {
	pg := kit.StartPostgres(t, o)
	pg.CreateLogin(upstreamRole, password)
	pg.CreateDatabase(name, upstreamRole)
	return pg
}

// startGateway makes the gateway's SSH key and the writer's verifier with the
// gateway's own commands, then the bastion that knows the key, then the gateway.
func (p *parts) startGateway(t kit.T) {
	identity := filepath.Join(p.dir, "id_ed25519")
	public := command(t, "", "keygen", "--out", identity)
	p.bastion = kit.StartSSHD(t, kit.SSHDOptions{
		AuthorizedKeys: []string{`restrict,port-forwarding,permitopen="` + p.billing.Addr() + `" ` + public},
	})
	verifier := command(t, p.writerPassword, "passwd")
	cert := p.ca.Issue(t, kit.CertRequest{Names: []string{"127.0.0.1", "localhost"}})
	p.copy(t, cert.CertFile, "gateway.crt")
	p.copy(t, cert.KeyFile, "gateway.key")
	p.copy(t, p.ca.File, "roots.pem")
	kit.WriteFile(t, p.dir, "billing.pw", p.billingPassword+"\n")
	yaml := p.yaml(t, verifier)
	p.gateway = kit.StartGateway(t, kit.GatewayOptions{
		Config: yaml, Dir: p.dir,
		Env: []string{
			"ORDERS_PW=" + p.ordersPassword,
			"AWS_ACCESS_KEY_ID=" + p.key.ID, "AWS_SECRET_ACCESS_KEY=" + p.key.Secret, "AWS_EC2_METADATA_DISABLED=true",
		},
	})
}

// copy puts a file beside gateway.yaml.
func (p *parts) copy(t kit.T, from, name string) {
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatalf("%v", err)
	}
	kit.WriteFile(t, p.dir, name, string(b))
}

// command runs one of the gateway's commands and returns what it printed.
func command(t kit.T, stdin string, args ...string) string {
	r := kit.RunGateway(t, stdin, args...)
	if r.Code != 0 {
		t.Fatalf("gateway %s: exit code %d\n%s", strings.Join(args, " "), r.Code, r.Stderr)
	}
	return strings.TrimSpace(r.Stdout)
}

// text reads gateway.yaml as it was written.
func (p *parts) text(t kit.T) string {
	b, err := os.ReadFile(p.gateway.Config)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return string(b)
}
