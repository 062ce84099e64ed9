package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pggateway/e2e/kit"
)

// TestRunRefusesToStart: each fault is told with its place in gateway.yaml and
// what helps, all at once, and nothing is served.
func TestRunRefusesToStart(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	key, cert := selfSigned(t)
	for name, f := range map[string]struct {
		text string
		mode os.FileMode
	}{
		"cert.pem": {cert, 0o644}, "key.pem": {key, 0o600}, "loose.pem": {key, 0o644}, "junk": {"hunter2", 0o600}, "empty": {"", 0o600},
	} {
		if err := os.WriteFile(name, []byte(f.text), f.mode); err != nil {
			t.Fatal(err)
		}
	}
	gateway(t, "", "keygen", "--out", "id")
	t.Setenv("PGGATEWAY_TEST_SET", "x")
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()

	good := map[string]string{
		"address": "127.0.0.1:0", "cert": "file:cert.pem", "key": "file:key.pem", "source": "127.0.0.2", "identity": "file:id",
		"ca": "system", "password": "env:PGGATEWAY_TEST_SET", "writer": "env:PGGATEWAY_TEST_SET", "role": "env:PGGATEWAY_TEST_SET",
		"hosts": `host_keys: ["SHA256:uNiVztksCsDhcc0u9e8BrrgzvPDxbyXwKgIeB2vyPfQ"]`,
	}
	const unset = "env:PGGATEWAY_TEST_UNSET: not set, or empty"
	for _, tt := range []struct {
		change string // key=value …
		code   int
		want   []string
	}{
		{"ca=file:none.pem", exitUsage, []string{"upstreams.orders.tls.ca: file:none.pem: no such file or directory"}},
		{"ca=file:junk", exitUsage, []string{"upstreams.orders.tls.ca: file:junk has no PEM certificate in it"}},
		{"password=env:PGGATEWAY_TEST_UNSET", exitUsage, []string{"upstreams.orders.login.password: " + unset}},
		{"role=env:PGGATEWAY_TEST_UNSET", exitUsage, []string{"writers.orders-sync.upstreams.orders.login.password: " + unset}},
		{"writer=env:PGGATEWAY_TEST_UNSET", exitUsage, []string{"writers.orders-sync.password: " + unset}},
		{"password=file:empty", exitUsage, []string{"upstreams.orders.login.password: file:empty: empty"}},
		{"cert=file:none.pem", exitUsage, []string{"listen[0].tls.cert: file:none.pem: no such file or directory"}},
		{"key=file:none.pem", exitUsage, []string{"listen[0].tls.key: file:none.pem: no such file or directory"}},
		{"key=file:loose.pem", exitUsage, []string{"listen[0].tls.key: file:loose.pem: a private key that group or others can use (mode 0644): run chmod 0600 on it"}},
		{"cert=file:junk", exitUsage, []string{"listen[0].tls.cert: file:junk with the key file:key.pem: tls: failed to find any PEM data in certificate input"}},
		{"identity=file:none", exitUsage, []string{"upstreams.orders.via.ssh.identity: file:none: no such file or directory: make the key with 'gateway keygen'"}},
		{"identity=file:loose.pem", exitUsage, []string{"upstreams.orders.via.ssh.identity: file:loose.pem: a private key that group or others can use (mode 0644): run chmod 0600 on it"}},
		{"identity=file:junk", exitUsage, []string{"upstreams.orders.via.ssh.identity: file:junk: not a private key in PEM or OpenSSH's format"}},
		{"hosts=known_hosts:file:none", exitUsage, []string{"upstreams.orders.via.ssh.known_hosts: open none: no such file or directory"}},
		{"source=192.0.2.1", exitWrong, []string{"egress.source_ip: 192.0.2.1 is not an address of this machine: set one that is, and what destinations see in its place as egress.public_ips"}},
		{"address=" + taken.Addr().String(), exitWrong, []string{"listen[0].address: listen tcp4 " + taken.Addr().String() + ": bind: address already in use: another process listens there ('ss -ltnp' tells which); end it or choose another port"}},
		{"address=192.0.2.1:5432", exitWrong, []string{"listen[0].address: listen tcp4 192.0.2.1:5432: bind: cannot assign requested address: choose an address of this machine, or 0.0.0.0 for all of them"}},
		{"ca=file:junk password=file:empty identity=file:junk role=file:none key=file:none writer=file:none", exitUsage, []string{
			"upstreams.orders.tls.ca: file:junk has no PEM certificate in it",
			"upstreams.orders.login.password: file:empty: empty",
			"upstreams.orders.via.ssh.identity: file:junk: not a private key in PEM or OpenSSH's format",
			"writers.orders-sync.upstreams.orders.login.password: file:none: no such file or directory",
			"listen[0].tls.key: file:none: no such file or directory",
			"writers.orders-sync.password: file:none: no such file or directory",
		}},
	} {
		t.Run(tt.change, func(t *testing.T) {
			text := `
listen: [{address: "$address", tls: {cert: $cert, key: $key}}]
egress: {source_ip: $source}
ssh: {identity: $identity}
upstreams:
  orders:
    host: db.example.com
    tls: {ca: $ca}
    login: {user: sync_writer, password: $password}
    via: {ssh: {host: bastion.example.com, user: tunnel, $hosts}}
writers:
  orders-sync:
    password: $writer
    upstreams:
      orders: {grants: ALL, login: {user: orders_writer, password: $role}}
`
			values := map[string]string{}
			for key, value := range good {
				values[key] = value
			}
			for _, change := range strings.Fields(tt.change) {
				key, value, _ := strings.Cut(change, "=")
				values[key] = strings.Replace(value, "known_hosts:", "known_hosts: ", 1)
			}
			text = os.Expand(text, func(key string) string { return values[key] })
			if err := os.WriteFile("gateway.yaml", []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			gateway(t, "", "run").want(t, tt.code, "", "gateway: "+strings.Join(tt.want, "\ngateway: ")+"\n")
		})
	}
}

// selfSigned makes a private key and its certificate, both PEM.
func selfSigned(t *testing.T) (key, cert string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	text := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, text, text, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8})),
		string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

// serving is a gateway in a process of its own, before a server that trusts it.
func serving(t *testing.T) *kit.Gateway {
	t.Helper()
	verifier := strings.TrimSpace(gateway(t, "hunter2\n", "passwd").stdout)
	return kit.StartGateway(t, kit.GatewayOptions{
		Config: oneRoute(startPostgres(t), verifier), Env: []string{asMain + "=1"},
	})
}

func login(t *testing.T, g *kit.Gateway, password string) (*pgconn.PgConn, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	c, err := pgconn.Connect(ctx, g.ConnString("orders-sync", password, "orders"))
	if err == nil {
		t.Cleanup(func() { c.Conn().Close() })
	}
	return c, err
}

// query runs a statement that answers without rows.
func query(t *testing.T, c *pgconn.PgConn, sql string) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	return c.Exec(ctx, sql).Close()
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func wantCode(t *testing.T, err error, code string) {
	t.Helper()
	var e *pgconn.PgError
	if !errors.As(err, &e) || e.Code != code {
		t.Errorf("error %v, want SQLSTATE %s", err, code)
	}
}

// TestRun: what `gateway passwd` printed lets its password in and no other, the
// start says what is served, and reload that it is not there yet.
func TestRun(t *testing.T) {
	t.Parallel()
	g := serving(t)
	c, err := login(t, g, "hunter2")
	must(t, err)
	must(t, query(t, c, "select"))
	_, err = login(t, g, "hunter3")
	wantCode(t, err, "28P01")

	for msg, want := range map[string]map[string]any{
		"listening": {"address": g.Addrs[0], "tls": "disable"},
		"routing":   {"upstream": "orders", "host": "127.0.0.1", "tls": "disable", "role": "sync_writer"},
		"connecting from addresses that databases must allow: see 'gateway egress'": {"allowlist": "127.0.0.2/32"},
	} {
		line := g.WaitLine(msg, 1)
		for key, value := range want {
			if line[key] != value {
				t.Errorf("%s: %s is %v, want %v", msg, key, line[key], value)
			}
		}
	}
	g.Signal(syscall.SIGHUP)
	if line := g.WaitLine("reload is not supported yet: restart to use a changed configuration", 1); line["level"] != "warn" {
		t.Errorf("%v", line)
	}
	must(t, query(t, c, "select"))
	if strings.Contains(g.Logs(), "hunter") {
		t.Errorf("a password is in the log:\n%s", g.Logs())
	}
}

const draining = "draining: waiting for transactions to finish; a second signal stops at once"

func TestDrain(t *testing.T) {
	t.Parallel()
	g := serving(t)
	idle, err := login(t, g, "hunter2")
	must(t, err)
	busy, err := login(t, g, "hunter2")
	must(t, err)
	must(t, query(t, busy, "begin"))

	g.Signal(syscall.SIGTERM)
	if line := g.WaitLine(draining, 1); line["signal"] != "terminated" {
		t.Errorf("%v", line)
	}
	g.WaitLine("logout", 1)
	wantCode(t, query(t, idle, "select"), "57P01")
	if _, err := login(t, g, "hunter2"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("a new client: %v", err)
	}
	g.Signal(syscall.SIGHUP) // must not count as the second signal
	must(t, query(t, busy, "select"))
	if code, ended := g.Wait(100 * time.Millisecond); ended {
		t.Fatalf("ended with %d in the middle of a transaction", code)
	}
	must(t, query(t, busy, "commit"))
	if code, ended := g.Wait(patience); !ended || code != exitOK {
		t.Errorf("ended %v, exit code %d", ended, code)
	}
	g.WaitLine("drained", 1)
}

func TestSecondSignal(t *testing.T) {
	for _, signals := range [][2]syscall.Signal{{syscall.SIGTERM, syscall.SIGTERM}, {syscall.SIGINT, syscall.SIGTERM}} {
		t.Run(fmt.Sprint(signals), func(t *testing.T) {
			t.Parallel()
			g := serving(t)
			busy, err := login(t, g, "hunter2")
			must(t, err)
			must(t, query(t, busy, "begin"))
			g.Signal(signals[0])
			g.WaitLine(draining, 1)
			g.Signal(signals[1])
			if code, ended := g.Wait(patience); !ended || code != exitWrong {
				t.Errorf("ended %v, exit code %d", ended, code)
			}
			g.WaitLine("stopped before every client was done", 1)
			wantCode(t, query(t, busy, "commit"), "57P01")
		})
	}
}

// TestRunOnTerminal: lines for people, and Ctrl-C.
func TestRunOnTerminal(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "gateway.yaml")
	must(t, os.WriteFile(file, []byte(oneRoute(5432, "literal:x")), 0o600))
	x := onTerminal(t, "run", "-c", file)
	x.expect("listening\t{\"address\": \"127.0.0.1:")
	x.expect("see 'gateway egress'\t{\"allowlist\": \"127.0.0.2/32\"}")
	x.send("\x03")
	x.expect(draining)
	if code := x.wait().ExitCode(); code != exitOK {
		t.Errorf("exit code %d", code)
	}
	if x.expect("drained"); strings.Contains(x.screen(), `"level":`) {
		t.Errorf("JSON on a terminal: %s", x.screen())
	}
}
