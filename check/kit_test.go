package check

import (
	"context"
	"net"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgproto3"
	"go.uber.org/zap"

	"pggateway/config"
	"pggateway/e2e/kit"
	"pggateway/secret"
	"pggateway/upstream"
)

const host = "acme.cluster-c9akciq32.us-east-1.rds.amazonaws.com"

// answers are what a stand-in for a server says to the first question that holds
// the key; rows are separated by ";" and columns by ",".
type answers map[string]string

// usual are the answers of a server with which everything is as it should be.
func usual() answers {
	return answers{
		"server_version_num": "160004,16.4", "pg_is_in_recovery": "f,off,default", "has_database_privilege": "t,t",
		"rolsuper": "f,f,f", "rds_superuser": "", "inet_client_addr": "203.0.113.7", "wal_level": "logical",
		"iam_auth_for_replication": "",
	}
}

func (a answers) with(more answers) answers {
	all := usual()
	for k, v := range more {
		all[k] = v
	}
	return all
}

// serve answers questions; one that no answer is known to is refused.
func serve(c *kit.ScriptConn, a answers) {
	if _, ok := c.Startup(nil); !ok || !c.Welcome() {
		return
	}
	b := pgproto3.NewBackend(c, c)
	sql := ""
	for {
		m, err := b.Receive()
		if err != nil {
			return
		}
		switch m := m.(type) {
		case *pgproto3.Parse:
			sql = m.Query
		case *pgproto3.Sync:
			if !c.Say(append(a.to(sql), &pgproto3.ReadyForQuery{TxStatus: 'I'})...) {
				return
			}
		}
	}
}

func (a answers) to(sql string) []pgproto3.BackendMessage {
	for key, rows := range a {
		if !strings.Contains(sql, key) {
			continue
		}
		out := []pgproto3.BackendMessage{&pgproto3.ParseComplete{}, &pgproto3.BindComplete{}}
		for row := range strings.SplitSeq(rows, ";") {
			if row == "" {
				continue
			}
			var columns [][]byte
			for column := range strings.SplitSeq(row, ",") {
				columns = append(columns, []byte(column))
			}
			out = append(out, &pgproto3.DataRow{Values: columns})
		}
		return append(out, &pgproto3.CommandComplete{}, &pgproto3.CloseComplete{})
	}
	return []pgproto3.BackendMessage{&pgproto3.ErrorResponse{Severity: "ERROR", Code: "0A000", Message: "unsupported: " + sql}}
}

type resolver struct{}

func (resolver) LookupNetIP(_ context.Context, _, name string) ([]netip.Addr, error) {
	if name == host {
		return []netip.Addr{netip.MustParseAddr("127.0.0.1")}, nil
	}
	return nil, &net.DNSError{Err: "no such host", Name: name, IsNotFound: true}
}

// options are of a gateway with one upstream, as change makes it, at a port.
func options(port int, change func(*config.Config, *config.Upstream)) (Options, *config.Upstream) {
	u := &config.Upstream{
		Name: "orders", Kind: config.KindPostgres, Host: host, Port: uint16(port), Database: "app",
		TLS:   config.UpstreamTLS{Mode: config.TLSDisable},
		Login: config.Login{User: "sync_writer", Password: config.Secret{Scheme: config.SchemeLiteral, Ref: "hunter22"}},
	}
	conf := &config.Config{
		Egress:    config.Egress{PublicIPs: []netip.Addr{netip.MustParseAddr("203.0.113.7")}},
		Upstreams: []*config.Upstream{u},
		Writers:   []*config.Writer{{Name: "w", Upstreams: []*config.WriterUpstream{{Name: "orders", Grants: config.Grants{All: true}}}}},
	}
	if change != nil {
		change(conf, u)
	}
	return Options{
		Config: conf, Ahead: func() time.Duration { return 0 }, Timeout: 20 * time.Second, AtOnce: 2,
		Upstream: upstream.Dependencies{
			Secrets: secret.NewResolver(os.Getenv, os.ReadFile), Log: zap.NewNop(), Now: time.Now, Resolver: resolver{}, Egress: conf.Egress,
		},
	}, u
}

// reports runs a check of one upstream.
func reports(t *testing.T, port int, change func(*config.Config, *config.Upstream)) *Report {
	t.Helper()
	o, u := options(port, change)
	var all []*Report
	Run(t.Context(), o, Subjects(o.Config, u, ""), func(r *Report) { all = append(all, r) })
	if len(all) != 1 {
		t.Fatalf("%d reports", len(all))
	}
	return all[0]
}

func (r *Report) line(step Step) Line {
	for _, l := range r.Lines {
		if l.Step == step {
			return l
		}
	}
	return Line{}
}
