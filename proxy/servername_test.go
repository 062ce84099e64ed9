package proxy

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"

	"pggateway/config"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// namedConfig has upstreams that are found by server names.
func namedConfig() *config.Config {
	conf := testConfig()
	conf.Upstreams = []*config.Upstream{
		{Name: "orders", Aliases: []string{"orders-prod"}, Database: "sales", SNI: []string{"Orders.gw.example.com.", "orders.internal"}},
		{Name: "stock", SNI: []string{"stock.gw.example.com"}},
		{Name: "secret", SNI: []string{"secret.gw.example.com"}},
		{Name: "archive_*", Database: "archive", SNI: []string{"archive.gw.example.com"}},
		{Name: "tenant_*"},
		{Name: "sync", Database: "its own"},
	}
	all := config.Grants{All: true}
	var access []*config.WriterUpstream
	for _, name := range []string{"orders", "stock", "archive_*", "tenant_*", "sync"} {
		access = append(access, &config.WriterUpstream{Name: name, Grants: all})
	}
	for _, w := range conf.Writers {
		w.Upstreams = access
	}
	return conf
}

// call does the TLS handshake under a server name.
func (p *peer) call(direct bool, name string) {
	p.t.Helper()
	if !direct {
		p.send(sslRequest)
		p.answer()
	}
	c := tls.Client(p.conn, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{alpn}, ServerName: name})
	if err := c.Handshake(); err != nil {
		p.t.Fatal(err)
	}
	p.conn = c
	p.r.Reset(c)
}

func TestServerNames(t *testing.T) {
	td := openDoor(t, namedConfig())
	const (
		none = "This user's databases: orders, stock, archive_*, tenant_*, sync."
		host = "Connect to a host name of the database that is meant, or ask this one for its own."
	)
	missing := func(name string) string { return fmt.Sprintf("database %q does not exist", name) }
	for _, tt := range []struct {
		server, database      string
		upstream, opened      string // upstream "": refused
		message, detail, hint string
	}{
		{server: "orders.gw.example.com", database: "orders", upstream: "orders", opened: "sales"},
		{server: "ORDERS.gw.Example.com", database: "orders", upstream: "orders", opened: "sales"},
		{server: "orders.internal", database: "orders-prod", upstream: "orders", opened: "sales"},
		{server: "orders.gw.example.com", database: "", upstream: "orders", opened: "sales"},
		{server: "orders.gw.example.com", database: "whatever", upstream: "orders", opened: "sales"},
		{server: "orders.gw.example.com", database: "sales", upstream: "orders", opened: "sales"},
		{server: "orders.gw.example.com", database: "tenant_7", upstream: "orders", opened: "sales"},
		{server: "orders.gw.example.com", database: "secret", upstream: "orders", opened: "sales"}, // as any name it may not use
		{server: "orders.gw.example.com", database: "sync", upstream: "orders", opened: "sales"},   // the user's name is nobody's wish
		{server: "stock.gw.example.com", database: "x", upstream: "stock", opened: "stock"},
		{server: "archive.gw.example.com", database: "archive_1", upstream: "archive_*", opened: "archive"},
		{server: "archive.gw.example.com", database: "x", upstream: "archive_*", opened: "archive"},

		{server: "", database: "stock", upstream: "stock", opened: "stock"},
		{server: "gw.example.com", database: "stock", upstream: "stock", opened: "stock"},
		{server: "gw.example.com", database: "tenant_7", upstream: "tenant_*", opened: "tenant_7"},
		{server: "x.orders.gw.example.com", database: "stock", upstream: "stock", opened: "stock"},

		{
			server: "orders.gw.example.com", database: "stock", hint: host,
			message: `database "stock" is not the one at server name "orders.gw.example.com"`, detail: `The server name is that of database "orders".`,
		},
		{
			server: "stock.gw.example.com", database: "orders-prod", hint: host,
			message: `database "orders-prod" is not the one at server name "stock.gw.example.com"`, detail: `The server name is that of database "stock".`,
		},
		{server: "secret.gw.example.com", database: "secret", message: missing("secret"), hint: none},
		{server: "secret.gw.example.com", database: "orders", message: missing("orders"), hint: none},
		{server: "secret.gw.example.com", database: "", message: missing("sync"), hint: none},
		{server: "gw.example.com", database: "secret", message: missing("secret"), hint: none},
		{server: "gw.example.com", database: "whatever", message: missing("whatever"), hint: none},
	} {
		t.Run(tt.server+" "+tt.database, func(t *testing.T) {
			for _, direct := range []bool{false, true} {
				p := td.dial(t, allow)
				p.call(direct, tt.server)
				p.send(startup(wire.Version30, "user", "sync", "database", tt.database))
				p.prove(password)
				if tt.upstream == "" {
					if f := p.fatal(); f.Code != sqlstate.InvalidCatalogName || f.Message != tt.message || f.Detail != tt.detail || f.Hint != tt.hint {
						t.Errorf("refused with %+v", f)
					}
					continue
				}
				p.next(wire.Authentication)
				if c := <-td.clients; c.upstream.Name != tt.upstream || c.access.Name != tt.upstream || c.database != tt.opened {
					t.Errorf("goes to %s (%s), database %s", c.upstream.Name, c.access.Name, c.database)
				}
			}
		})
	}
	p := td.dial(t, allow) // and nothing of this without TLS
	p.send(startup(wire.Version30, "user", "sync", "database", "whatever"))
	p.prove(password)
	if f := p.fatal(); f.Code != sqlstate.InvalidCatalogName || f.Message != missing("whatever") {
		t.Errorf("refused with %+v", f)
	}
}

// A wrong password learns nothing of names.
func TestServerNameAndWrongPassword(t *testing.T) {
	td := openDoor(t, namedConfig())
	for _, server := range []string{"orders.gw.example.com", "secret.gw.example.com", "nowhere.example.com"} {
		p := td.dial(t, require)
		p.call(true, server)
		p.send(startup(wire.Version30, "user", "sync", "database", "stock"))
		p.prove("wrong")
		if f := p.fatal(); f.Code != sqlstate.InvalidPassword || f.Detail != "" {
			t.Errorf("%s: refused with %+v", server, f)
		}
	}
}

// Drivers send the host's name of their own accord.
func TestDriverSendsServerName(t *testing.T) {
	td := openDoor(t, namedConfig())
	for _, negotiation := range []string{"postgres", "direct"} {
		ctx, stop := context.WithTimeout(t.Context(), patience)
		defer stop()
		conf, err := pgconn.ParseConfig("postgres://sync@stock.gw.example.com/whatever?sslmode=require&sslnegotiation=" + negotiation)
		if err != nil {
			t.Fatal(err)
		}
		conf.Password = password
		conf.LookupFunc = func(context.Context, string) ([]string, error) { return []string{"127.0.0.1"}, nil }
		conf.DialFunc = func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, td.addresses()[require].String())
		}
		conn, err := pgconn.ConnectConfig(ctx, conf)
		if err != nil {
			t.Fatal(err)
		}
		if c := <-td.clients; c.upstream.Name != "stock" {
			t.Errorf("%s: goes to %s", negotiation, c.upstream.Name)
		}
		_ = conn.Close(ctx)
	}
}
