package login

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"math/big"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"pggateway/scram"
	"pggateway/wire"
)

// postgres is a real server with roles of every kind; see hba and roles.
type postgres struct {
	dir    string // its socket's, too
	port   int
	bin    string
	run    *syscall.SysProcAttr // as another user than root
	server *exec.Cmd
}

// hba: the superuser gets in over the unix socket, everybody else by its name over TCP.
const hba = `
local   all postgres                trust
host    all trusted    127.0.0.1/32 trust
host    all md5er      127.0.0.1/32 md5
hostssl all clear      127.0.0.1/32 password
host    all clear      127.0.0.1/32 password
host    all refused    127.0.0.1/32 reject
host    all all        127.0.0.1/32 scram-sha-256
`

const roles = `
CREATE ROLE trusted LOGIN;
SET password_encryption = 'md5';
CREATE ROLE md5er LOGIN PASSWORD 'correct horse';
SET password_encryption = 'scram-sha-256';
CREATE ROLE scrammer LOGIN PASSWORD 'correct horse';
CREATE ROLE clear LOGIN PASSWORD 'correct horse';
CREATE ROLE refused LOGIN PASSWORD 'correct horse';
CREATE ROLE nologin PASSWORD 'correct horse';
`

// pgBin finds the server's programs: in $PG_BIN, else where Debian puts them.
func pgBin() (string, error) {
	if dir := os.Getenv("PG_BIN"); dir != "" {
		return dir, nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/postgres")
	if err == nil && len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	path, err := exec.LookPath("postgres")
	if err != nil {
		return "", errors.New("no PostgreSQL server is installed")
	}
	return filepath.Dir(path), nil
}

func startPostgres(t *testing.T) *postgres {
	t.Helper()
	bin, err := pgBin()
	if err != nil {
		if os.Getenv("CI") != "" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	dir, err := os.MkdirTemp("", "login") //nolint:usetesting // t.TempDir is closed to others, and too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	p := &postgres{dir: dir, bin: bin, run: unprivileged(t, dir)}
	data := filepath.Join(dir, "data")
	p.must(t, "initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync", "--no-locale")
	write := func(name, text string) {
		t.Helper()
		path := filepath.Join(data, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		if c := p.run.Credential; c != nil {
			if err := os.Chown(path, int(c.Uid), int(c.Gid)); err != nil {
				t.Fatal(err)
			}
		}
	}
	cert, key := selfSigned(t)
	write("server.crt", cert)
	write("server.key", key)
	write("pg_hba.conf", hba)
	p.port = freePort(t)
	write("postgresql.auto.conf", fmt.Sprintf(
		"listen_addresses = '127.0.0.1'\nport = %d\nunix_socket_directories = '%s'\nssl = on\nfsync = off\nshared_buffers = 16MB\n", p.port, dir))

	p.server = p.command(t.Context(), "postgres", "-D", data)
	p.server.Cancel = func() error { return p.server.Process.Signal(syscall.SIGQUIT) }
	p.server.WaitDelay = 10 * time.Second
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	p.server.Stdout, p.server.Stderr = log, log
	if err := p.server.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = p.server.Wait() }) // t.Context has ended by then, and with it the server
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		out, err := p.command(t.Context(), "pg_isready", "-h", dir, "-p", strconv.Itoa(p.port)).CombinedOutput()
		if err == nil {
			break
		}
		if time.Now().After(deadline) {
			text, _ := os.ReadFile(log.Name())
			t.Fatalf("PostgreSQL does not start: %s\n%s", out, text)
		}
	}
	p.sql(t, roles)
	return p
}

// unprivileged is how to run a server when we are root, who must not: as the owner
// of dir, which it becomes.
func unprivileged(t *testing.T, dir string) *syscall.SysProcAttr {
	t.Helper()
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if os.Geteuid() != 0 {
		return attr
	}
	account, err := user.Lookup("postgres")
	if err != nil {
		if account, err = user.Lookup("nobody"); err != nil {
			t.Fatal(err)
		}
	}
	uid, err := strconv.Atoi(account.Uid)
	if err != nil {
		t.Fatal(err)
	}
	gid, err := strconv.Atoi(account.Gid)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(dir, uid, gid); err != nil {
		t.Fatal(err)
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr
}

func (p *postgres) command(ctx context.Context, name string, args ...string) *exec.Cmd {
	path := filepath.Join(p.bin, name)
	if _, err := os.Stat(path); err != nil {
		path = name // servers are packaged without psql, too
	}
	c := exec.CommandContext(ctx, path, args...)
	c.SysProcAttr = p.run
	c.Dir = p.dir
	c.Env = []string{"LC_ALL=C", "PATH=/usr/bin:/bin", "HOME=" + p.dir}
	return c
}

func (p *postgres) must(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := p.command(t.Context(), name, args...).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, out)
	}
}

// sql runs statements as the superuser.
func (p *postgres) sql(t *testing.T, text string) {
	t.Helper()
	c := p.command(t.Context(), "psql", "-h", p.dir, "-p", strconv.Itoa(p.port), "-U", "postgres", "-X", "-q", "-v", "ON_ERROR_STOP=1")
	c.Stdin = strings.NewReader(text)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("psql: %v\n%s", err, out)
	}
}

// login connects over TCP, with TLS when the parameters say so, and logs in.
func (p *postgres) login(t *testing.T, params Params) (*Result, error) {
	t.Helper()
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", net.JoinHostPort("127.0.0.1", strconv.Itoa(p.port)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if params.TLS {
		if _, err := conn.Write(wire.AppendSSLRequest(nil)); err != nil {
			t.Fatal(err)
		}
		var answer [1]byte
		if _, err := conn.Read(answer[:]); err != nil || answer[0] != 'S' {
			t.Fatalf("SSLRequest: %q, %v", answer, err)
		}
		secure := tls.Client(conn, &tls.Config{InsecureSkipVerify: true}) // what is verified is upstream's business
		if err := secure.Handshake(); err != nil {
			t.Fatal(err)
		}
		conn = secure
		if params.Binding.IsZero() {
			if params.Binding, err = scram.ServerEndPoint(secure.ConnectionState().PeerCertificates[0]); err != nil {
				t.Fatal(err)
			}
		}
	}
	r := wire.NewReader(conn)
	result, err := Do(t.Context(), conn, r, params)
	if err != nil {
		return nil, err
	}
	// The session is there, and it is the one asked for.
	if _, err := conn.Write(wire.AppendQuery(nil, "SELECT current_user || '/' || current_setting('application_name')")); err != nil {
		t.Fatal(err)
	}
	row := ""
	for typ := byte(0); typ != wire.ReadyForQuery; {
		var body []byte
		if typ, body, err = r.Message(maxMessage); err != nil {
			t.Fatal(err)
		}
		if typ == wire.DataRow {
			row = string(body[6:])
		}
	}
	if want := params.User + "/login test"; row != want {
		t.Errorf("the session is %q, not %q", row, want)
	}
	return result, nil
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

func selfSigned(t *testing.T) (cert, key string) {
	t.Helper()
	k, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, &template, &template, &k.PublicKey, k)
	if err != nil {
		t.Fatal(err)
	}
	pkcs8, err := x509.MarshalPKCS8PrivateKey(k)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})),
		string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: pkcs8}))
}

func TestPostgres(t *testing.T) {
	p := startPostgres(t)
	const right, wrong = password, "wrong horse"
	tests := []struct {
		user     string
		kind     Credential
		password string
		tls      bool
		verified bool
		want     string // error's kind
		code     string // its SQLSTATE, with "server"
	}{
		{"trusted", None, "", false, false, "none", ""},
		{"trusted", None, "", true, false, "none", ""},
		{"trusted", Password, right, false, false, "none", ""},
		{"md5er", Password, right, false, false, "none", ""},
		{"md5er", Password, right, true, false, "refused", ""},
		{"md5er", Password, right, true, true, "none", ""},
		{"trusted", Password, right, true, false, "refused", ""},
		{"trusted", Password, right, true, true, "none", ""},
		{"trusted", Token, right, true, true, "refused", ""},
		{"md5er", Password, wrong, false, false, "server", "28P01"},
		{"md5er", Token, right, true, true, "refused", ""},
		{"scrammer", Password, right, false, false, "none", ""},
		{"scrammer", Password, right, true, false, "none", ""},
		{"scrammer", Password, wrong, true, false, "server", "28P01"},
		{"scrammer", Token, right, true, true, "refused", ""},
		{"scrammer", None, "", false, false, "refused", ""},
		{"nobody", Password, right, false, false, "server", "28P01"},
		{"nologin", Password, right, false, false, "server", "28000"},
		{"refused", Password, right, false, false, "server", "28000"},
		{"clear", Password, right, true, false, "refused", ""},
		{"clear", Password, right, true, true, "none", ""},
		{"clear", Password, wrong, true, true, "server", "28P01"},
		{"clear", Token, right, true, true, "none", ""},
		{"clear", Token, right, true, false, "refused", ""},
		{"clear", Password, right, false, false, "refused", ""},
	}
	for _, tt := range tests {
		t.Run(fmt.Sprintf("%s %d %.5s %v %v", tt.user, tt.kind, tt.password, tt.tls, tt.verified), func(t *testing.T) {
			params := parameters(tt.user, tt.password)
			params.Credential, params.TLS, params.TLSVerified = tt.kind, tt.tls, tt.verified
			result, err := p.login(t, params)
			if kind(err) != tt.want {
				t.Fatalf("got %s error %v", kind(err), err)
			}
			var refusal *ServerError
			if errors.As(err, &refusal) && refusal.Fields.Code != tt.code {
				t.Errorf("SQLSTATE %s, not %s", refusal.Fields.Code, tt.code)
			}
			if err != nil {
				return
			}
			if result.Key.PID == 0 || len(result.Key.Secret) < 4 {
				t.Errorf("key %v", result.Key)
			}
			have := map[string]string{}
			for _, o := range result.Parameters {
				have[o.Name] = o.Value
			}
			if have["server_version"] == "" || have["session_authorization"] != tt.user || have["application_name"] != "login test" {
				t.Errorf("parameters %v", have)
			}
		})
	}
	t.Run("other database", func(t *testing.T) {
		params := parameters("trusted", "")
		params.Database = "nowhere"
		_, err := p.login(t, params)
		var refusal *ServerError
		if !errors.As(err, &refusal) || refusal.Fields.Code != "3D000" {
			t.Errorf("got %v", err)
		}
	})
	t.Run("channel binding", func(t *testing.T) { testBinding(t, p) })
	t.Run("passwords", func(t *testing.T) { testPasswords(t, p) })
}

func parameters(user, password string) Params {
	return Params{
		User: user, Database: "postgres",
		Options:    []wire.Parameter{{Name: "application_name", Value: "login test"}},
		Credential: Password,
		Secret:     func(context.Context) (string, error) { return password, nil },
	}
}

// testPasswords holds our SASLprep against PostgreSQL's: passwords that the server
// prepared let our client in, and verifiers of ours let libpq in.
func testPasswords(t *testing.T, p *postgres) {
	passwords := []string{
		"plain", "tab\there\x7f", "naïve", "cafe\u0301", "I\u00adX", "\u00ad", "\u00aa\u2168", "a\u00a0b", "a\u200bb", "\u3000",
		"\u0627\u0031", "\u0627\u0628", "a\u0007ü", "😀", "😀\u00aa", "\U0001F100", "\u0340\u00aa", "ﬁ", "it's \\ quoted $$",
		"\u1e9b\u0323", "ＡＢＣ", "한글", "\u1112\u1161\u11ab",
	}
	var create strings.Builder
	create.WriteString("SET password_encryption = 'scram-sha-256';\n")
	for i, text := range passwords {
		verifier, err := scram.NewVerifier(text, scram.DefaultIterations)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&create, "CREATE ROLE theirs%d LOGIN PASSWORD E'%s'; CREATE ROLE ours%d LOGIN PASSWORD '%s';\n",
			i, strings.NewReplacer(`\`, `\\`, `'`, `''`).Replace(text), i, verifier)
	}
	p.sql(t, create.String())
	for i, text := range passwords {
		if _, err := p.login(t, parameters(fmt.Sprint("theirs", i), text)); err != nil {
			t.Errorf("%+q, prepared by the server: %v", text, err)
		}
		c := p.command(t.Context(), "psql", "-h", "127.0.0.1", "-p", strconv.Itoa(p.port), "-U", fmt.Sprint("ours", i), "-X", "-w", "-c", "SELECT 1", "postgres")
		c.Env = append(c.Env, "PGPASSWORD="+text, "PGCLIENTENCODING=UTF8")
		if out, err := c.CombinedOutput(); err != nil {
			t.Errorf("%+q, in our verifier: %v: %s", text, err, out)
		}
	}
}
