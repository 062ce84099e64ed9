package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// leg is one of the ways to the database.
type leg string

const (
	direct    leg = "direct"
	pgbouncer leg = "pgbouncer"
	gateway   leg = "gateway"
)

// allLegs is the order in which legs take turns and stand in tables.
var allLegs = []leg{direct, pgbouncer, gateway}

const (
	poolSize    = 20 // server connections with transaction pooling
	sessionPool = 80 // with session pooling: more than the most clients
)

// variant is what a measure needs of a proxy's configuration. Listeners always
// let the client choose between plaintext and TLS.
type variant struct {
	prepares    bool // clients prepare by name: session pooling where a proxy cannot carry that
	session     bool // session pooling instead of transaction pooling; follows from prepares
	upstreamTLS bool // TLS between proxy and PostgreSQL
	fresh       bool // a process that no other measure used, for memory
}

func (v variant) String() string {
	mode := "transaction"
	if v.session {
		mode = "session"
	}
	if v.upstreamTLS {
		mode += "-tls"
	}
	return mode
}

func (v variant) poolMode() string {
	if v.session {
		return "session"
	}
	return "transaction"
}

func (v variant) poolSize() int {
	if v.session {
		return sessionPool
	}
	return poolSize
}

// target is a leg that is ready to be measured.
type target struct {
	leg   leg
	login login
	proc  *process // nil for direct: its CPU is PostgreSQL's own
}

// fleet starts proxies when a measure first needs them and keeps them for
// later measures. It belongs to the main goroutine.
type fleet struct {
	dir     string
	acc     account
	keys    keyPair
	pg      *postgres
	gateway string // binaries
	bouncer string
	version string // PgBouncer's
	running map[string]*target
	starts  int
}

// get gives the target of a leg. The caller ends a fresh one with drop.
func (f *fleet) get(ctx context.Context, l leg, v variant) (*target, error) {
	v.session = v.prepares && l == pgbouncer && !carriesPrepared(f.version)
	if l == direct {
		return &target{leg: l, login: f.pg.direct()}, nil
	}
	name := string(l) + "-" + v.String()
	if !v.fresh {
		if t := f.running[name]; t != nil && t.proc.alive() {
			return t, nil
		}
	}
	f.starts++
	name = fmt.Sprintf("%s-%d", name, f.starts)
	t, err := f.launch(ctx, l, v, name)
	if err != nil {
		return nil, err
	}
	if v.fresh {
		f.running[name] = t
		return t, nil
	}
	f.running[string(l)+"-"+v.String()] = t
	// Fills the pool, so that no measure pays for the proxy's own logins.
	if _, err := runPgbench(ctx, f.pg.pgbench, f.dir, t.login, pgbenchJob{args: []string{"-S"}, clients: min(v.poolSize(), 64), seconds: 1}); err != nil {
		return nil, fmt.Errorf("%s does not work: %w: %s", name, err, t.proc.lastWords())
	}
	return t, nil
}

func (f *fleet) launch(ctx context.Context, l leg, v variant, name string) (*target, error) {
	port, err := freePort()
	if err != nil {
		return nil, err
	}
	var argv []string
	switch l {
	case pgbouncer:
		argv, err = f.bouncerCommand(v, name, port)
	case gateway:
		argv, err = f.gatewayCommand(v, name, port)
	default:
		err = fmt.Errorf("no proxy is called %q", l)
	}
	if err != nil {
		return nil, err
	}
	p, err := start(name, f.dir, f.acc, syscall.SIGKILL, argv...)
	if err != nil {
		return nil, err
	}
	if err := p.awaitPort(ctx, port, 15*time.Second); err != nil {
		p.stop(syscall.SIGTERM, time.Second)
		return nil, err
	}
	t := &target{leg: l, proc: p, login: f.pg.direct()}
	t.login.port = port
	return t, nil
}

// drop ends a fresh target.
func (f *fleet) drop(t *target) {
	if t.proc == nil {
		return
	}
	t.proc.stop(syscall.SIGTERM, 2*time.Second)
	for name, other := range f.running {
		if other == t {
			delete(f.running, name)
		}
	}
}

func (f *fleet) stop() {
	for _, t := range f.running {
		f.drop(t)
	}
}

// bouncerCommand: one verifier, PostgreSQL's own, serves both logins; PgBouncer
// then logs in upstream with the keys of the client's proof, without PBKDF2.
func (f *fleet) bouncerCommand(v variant, name string, port int) ([]string, error) {
	users, ini := filepath.Join(f.dir, name+".users"), filepath.Join(f.dir, name+".ini")
	if err := f.acc.write(users, fmt.Appendf(nil, "%q %q\n", roleName, f.pg.verifier)); err != nil {
		return nil, err
	}
	serverTLS := "disable"
	if v.upstreamTLS {
		serverTLS = "require"
	}
	text := fmt.Sprintf(`[databases]
%[1]s = host=127.0.0.1 port=%[2]d dbname=%[1]s

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %[3]d
unix_socket_dir =
auth_type = scram-sha-256
auth_file = %[4]s
pool_mode = %[5]s
default_pool_size = %[6]d
max_client_conn = 5000
ignore_startup_parameters = extra_float_digits
client_tls_sslmode = allow
client_tls_cert_file = %[7]s
client_tls_key_file = %[8]s
server_tls_sslmode = %[9]s
`, databaseName, f.pg.port, port, users, v.poolMode(), v.poolSize(), f.keys.cert, f.keys.key, serverTLS)
	if carriesPrepared(f.version) {
		text += "max_prepared_statements = 200\n" // off by default before 1.24
	}
	return []string{f.bouncer, ini}, f.acc.write(ini, []byte(text))
}

// gatewayCommand writes the gateway.yaml that says the same.
func (f *fleet) gatewayCommand(v variant, name string, port int) ([]string, error) {
	file := filepath.Join(f.dir, name+".yaml")
	tls := "disable"
	if v.upstreamTLS {
		tls = "require"
	}
	text := fmt.Sprintf(`listen:
  - address: 127.0.0.1:%[1]d
    tls: {mode: allow, cert: "file:%[2]s", key: "file:%[3]s"}

upstreams:
  %[4]s:
    kind: postgres
    host: 127.0.0.1
    port: %[5]d
    tls: {mode: %[6]s}
    login: {user: %[7]s, password: "literal:%[8]s"}
    pool: {mode: %[9]s, size: %[10]d}

writers:
  %[7]s:
    password: %[11]s
    upstreams:
      %[4]s:
        grants: ALL
`, port, f.keys.cert, f.keys.key, databaseName, f.pg.port, tls, roleName, f.pg.password, v.poolMode(), v.poolSize(), f.pg.verifier)
	return []string{f.gateway, "run", "-c", file}, f.acc.write(file, []byte(text))
}

// carriesPrepared reports whether this PgBouncer has named prepared statements with
// transaction pooling, as it does since 1.21.
func carriesPrepared(version string) bool {
	var major, minor int
	_, err := fmt.Sscanf(version, "PgBouncer %d.%d", &major, &minor)
	return err == nil && (major > 1 || minor >= 21)
}

// bouncerVersion is what PgBouncer calls itself, such as "PgBouncer 1.18.0".
func bouncerVersion(ctx context.Context, bin string) (string, error) {
	if _, err := os.Stat(bin); err != nil {
		return "", fmt.Errorf("PgBouncer: %w: apt-get install pgbouncer, name another binary with PGBOUNCER=, or leave it out with -legs direct,gateway", err)
	}
	out, err := exec.CommandContext(ctx, bin, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", bin, err)
	}
	first, _, _ := strings.Cut(string(out), "\n")
	if first = strings.TrimSpace(first); first == "" {
		return "", errors.New(strconv.Quote(bin) + " --version printed nothing")
	}
	return first, nil
}
