package kit

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// PostgresOptions is how a PostgreSQL server is set up. The zero value is a
// server on 127.0.0.1 without TLS that takes scram passwords over TCP.
type PostgresOptions struct {
	// Listen are the addresses it listens on, all on the same port. Nil: 127.0.0.1.
	// Empty but not nil: only the unix socket.
	Listen []string
	Port   int // 0: a free one

	// HBA are the lines of pg_hba.conf for TCP and for other roles than the
	// superuser, who always gets in over the unix socket. Nil: every role from
	// 127.0.0.0/8 with scram-sha-256.
	HBA []string

	// TLS turns ssl on with this certificate.
	TLS *Cert
	// ClientCA is the file of roots for client certificates (ssl_ca_file).
	ClientCA string

	// Backup fills the data directory, which is not there yet, with a base backup of
	// another server in place of a fresh cluster.
	Backup func(data string)

	PasswordEncryption string            // scram-sha-256 (the default, as of PostgreSQL 14) or md5
	MaxConnections     int               // 0: 100
	Settings           map[string]string // further lines of postgresql.conf
}

// Postgres is a running PostgreSQL server.
type Postgres struct {
	Port      int
	Host      string // the first address it listens on; "" with only the unix socket
	SocketDir string // directory of its unix socket

	t    T
	dir  string
	data string
	bin  string
	as   account
	proc *process
}

// StartPostgres starts a server and ends the test when that cannot be done.
func StartPostgres(t T, o PostgresOptions) *Postgres {
	t.Helper()
	bin, err := pgBin()
	if err != nil {
		Missing(t, "%v", err)
	}
	as, err := unprivileged("postgres", "nobody")
	if err != nil {
		Missing(t, "PostgreSQL does not run as root: %v", err)
	}
	fresh.hold()
	t.Cleanup(fresh.release)
	dir := Dir(t)
	p := &Postgres{t: t, dir: dir, data: filepath.Join(dir, "data"), SocketDir: dir, bin: bin, as: as}
	if err := as.own(dir); err != nil {
		t.Fatalf("%v", err)
	}
	if o.Backup != nil {
		o.Backup(p.data)
		err = as.ownAll(p.data)
	} else {
		err = fresh.copyTo(p.data, bin, as)
	}
	if err != nil {
		t.Fatalf("make a cluster: %v", err)
	}
	if o.Listen == nil {
		o.Listen = []string{"127.0.0.1"}
	}
	if len(o.Listen) > 0 {
		p.Host = o.Listen[0]
	}
	p.configureTLS(&o)
	p.SetHBA(o.HBA)
	t.Cleanup(p.cleanup)

	// A port may be taken between our look and the server's bind: then another one is tried.
	for attempt := 1; ; attempt++ {
		p.Port = o.Port
		if p.Port == 0 {
			p.Port = FreePort(t)
		}
		p.write("kit.conf", settings(p, o))
		err := p.start()
		if err == nil {
			return p
		}
		if attempt == 3 || o.Port != 0 || !strings.Contains(p.Logs(), "Address already in use") {
			t.Fatalf("start PostgreSQL: %v\n%s", err, p.proc.log.tail(30))
		}
	}
}

func settings(p *Postgres, o PostgresOptions) string {
	s := map[string]string{
		"listen_addresses":        strings.Join(o.Listen, ","),
		"port":                    strconv.Itoa(p.Port),
		"unix_socket_directories": p.SocketDir,
		"max_connections":         "100",
		"shared_buffers":          "64MB",
		"log_connections":         "on",
		"log_line_prefix":         "%m %u@%d %h ",
		"log_timezone":            "UTC",
		// A test cluster is thrown away: nothing of it need survive a crash of the machine.
		"password_encryption": "scram-sha-256",
		"fsync":               "off",
		"full_page_writes":    "off",
		"synchronous_commit":  "off",
		"max_wal_size":        "1GB",
		"autovacuum":          "off",
	}
	if o.MaxConnections > 0 {
		s["max_connections"] = strconv.Itoa(o.MaxConnections)
	}
	if o.PasswordEncryption != "" {
		s["password_encryption"] = o.PasswordEncryption
	}
	maps.Copy(s, o.Settings)
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(s)) {
		fmt.Fprintf(&b, "%s = '%s'\n", name, strings.ReplaceAll(s[name], "'", "''"))
	}
	return b.String()
}

// configureTLS copies the certificate into the cluster, where the server may
// read its key whoever it runs as.
func (p *Postgres) configureTLS(o *PostgresOptions) {
	p.t.Helper()
	s := map[string]string{}
	if o.TLS != nil {
		p.SetTLS(o.TLS)
		s["ssl"], s["ssl_cert_file"], s["ssl_key_file"] = "on", "kit.crt", "kit.key"
	}
	if o.ClientCA != "" {
		p.copyFile(o.ClientCA, "kit-clients.pem")
		s["ssl_ca_file"] = "kit-clients.pem"
	}
	maps.Copy(s, o.Settings)
	o.Settings = s
}

// SetTLS replaces the server's certificate; Reload makes it count.
func (p *Postgres) SetTLS(c *Cert) {
	p.t.Helper()
	p.copyFile(c.CertFile, "kit.crt")
	p.copyFile(c.KeyFile, "kit.key")
}

// SetHBA writes pg_hba.conf; a running server must Reload. See PostgresOptions.HBA.
func (p *Postgres) SetHBA(lines []string) {
	p.t.Helper()
	if lines == nil {
		lines = []string{"host all all 127.0.0.0/8 scram-sha-256"}
	}
	// The superuser is whoever runs the kit, told by the kernel; nobody else gets in that way.
	self, err := unprivileged("root")
	if err != nil {
		p.t.Fatalf("%v", err)
	}
	p.write("pg_ident.conf", fmt.Sprintf("kit %q postgres\nkit %q postgres\n", self.name, p.as.name))
	p.write("pg_hba.conf", "local all postgres peer map=kit\n"+strings.Join(lines, "\n")+"\n")
	conf := filepath.Join(p.data, "postgresql.conf")
	text, err := os.ReadFile(conf)
	if err != nil {
		p.t.Fatalf("%v", err)
	}
	if !strings.Contains(string(text), "kit.conf") {
		p.write("postgresql.conf", string(text)+"\ninclude 'kit.conf'\n")
	}
}

func (p *Postgres) copyFile(from, name string) {
	p.t.Helper()
	text, err := os.ReadFile(from)
	if err != nil {
		p.t.Fatalf("%v", err)
	}
	p.write(name, string(text))
}

// write puts a file of the server's own into the cluster.
func (p *Postgres) write(name, text string) {
	p.t.Helper()
	path := filepath.Join(p.data, name)
	err := os.WriteFile(path, []byte(text), 0o600)
	if err == nil {
		err = p.as.own(path)
	}
	if err != nil {
		p.t.Fatalf("%v", err)
	}
}

func (p *Postgres) start() error {
	proc, err := start(command{
		name: "postgres", path: filepath.Join(p.bin, "postgres"), args: []string{"-D", p.data},
		dir: p.dir, env: libraries(p.bin), as: p.as, death: syscall.SIGQUIT,
	})
	if err != nil {
		return err
	}
	p.proc = proc
	return proc.ready(func() error {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		c, err := p.connect(ctx, "postgres")
		if err != nil {
			return err
		}
		return c.Close(ctx)
	})
}

// Stop shuts the server down as pg_ctl stop -m fast does: clients are told (57P01).
func (p *Postgres) Stop() { p.proc.stop(syscall.SIGINT, 20*time.Second) }

// Kill ends the server at once, as a crash would: clients see their connections reset or closed.
func (p *Postgres) Kill() { p.proc.kill() }

// Start starts a stopped or killed server again, on the same port.
func (p *Postgres) Start() {
	p.t.Helper()
	// The kernel frees a killed server's shared memory only when its last child noticed the death.
	deadline := time.Now().Add(20 * time.Second)
	for {
		err := p.start()
		if err == nil {
			return
		}
		if !errors.Is(err, errEnded) || time.Now().After(deadline) {
			p.t.Fatalf("start PostgreSQL again: %v\n%s", err, p.proc.log.tail(30))
		}
		time.Sleep(100 * time.Millisecond)
	}
}

// Restart is Stop and Start.
func (p *Postgres) Restart() {
	p.t.Helper()
	p.Stop()
	p.Start()
}

// Reload makes the server read pg_hba.conf, its settings and its certificate
// again, and waits until it has.
func (p *Postgres) Reload() {
	p.t.Helper()
	before := p.Value("postgres", "select pg_conf_load_time()")
	p.Exec("postgres", "select pg_reload_conf()")
	for range 500 {
		if p.Value("postgres", "select pg_conf_load_time()") != before {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	p.t.Fatalf("PostgreSQL did not reload its configuration in 5 s")
}

// Addr returns host:port of the first address it listens on.
func (p *Postgres) Addr() string { return net.JoinHostPort(p.Host, strconv.Itoa(p.Port)) }

// Logs returns what the server wrote since it was last started.
func (p *Postgres) Logs() string { return p.proc.log.String() }

func (p *Postgres) cleanup() {
	if p.proc == nil {
		return
	}
	if p.t.Failed() {
		p.t.Logf("the last lines of PostgreSQL %s:\n%s", p.Addr(), p.proc.log.tail(30))
	}
	p.proc.stop(syscall.SIGQUIT, 5*time.Second)
}
