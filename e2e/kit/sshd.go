package kit

import (
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// SSHDOptions is how an SSH server is set up. It lets one user in, by key, for
// port forwarding; see SSHD.User.
type SSHDOptions struct {
	Listen         string   // address; "": 127.0.0.1
	Port           int      // 0: a free one
	AuthorizedKeys []string // lines of authorized_keys, options included
	// Config are lines of sshd_config. sshd takes the first value it meets for a
	// keyword, so these win over the kit's own.
	Config []string
}

// SSHD is a running OpenSSH server.
type SSHD struct {
	Host string
	Port int
	// User is the one who may log in: ourselves, or, as root, "nobody", who has
	// no shell and no home, as a tunnel's user should.
	User    string
	HostKey *SSHKey

	t    T
	dir  string
	bin  string
	proc *process
}

// StartSSHD starts a server and ends the test when that cannot be done.
func StartSSHD(t T, o SSHDOptions) *SSHD {
	t.Helper()
	bin, err := sshdBin()
	if err != nil {
		Missing(t, "%v", err)
	}
	as, err := unprivileged("nobody")
	if err != nil {
		Missing(t, "no user for an SSH tunnel: %v", err)
	}
	if os.Geteuid() == 0 {
		// sshd as root insists on its privilege separation directory, which Debian's service makes.
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatalf("%v", err)
		}
	}
	s := &SSHD{Host: o.Listen, User: as.name, t: t, dir: Dir(t), bin: bin}
	if s.Host == "" {
		s.Host = "127.0.0.1"
	}
	s.HostKey = &SSHKey{File: filepath.Join(s.dir, "host_ed25519")}
	s.HostKey.write(t)
	s.SetAuthorizedKeys(o.AuthorizedKeys...)
	t.Cleanup(s.cleanup)
	for attempt := 1; ; attempt++ {
		s.Port = o.Port
		if s.Port == 0 {
			s.Port = FreePort(t)
		}
		s.configure(o.Config)
		err := s.start()
		if err == nil {
			return s
		}
		if attempt == 3 || o.Port != 0 || !strings.Contains(s.Logs(), "Address already in use") {
			t.Fatalf("start sshd: %v\n%s", err, s.proc.log.tail(30))
		}
	}
}

// sshd re-executes itself and wants its absolute path for that.
func sshdBin() (string, error) {
	for _, path := range []string{"/usr/sbin/sshd", "/usr/local/sbin/sshd"} {
		if _, err := os.Stat(path); err == nil {
			return path, nil
		}
	}
	path, err := exec.LookPath("sshd")
	if err != nil {
		return "", errors.New("no OpenSSH server: no /usr/sbin/sshd, none on PATH")
	}
	return filepath.Abs(path)
}

func (s *SSHD) configure(first []string) {
	s.t.Helper()
	lines := append(append([]string{}, first...),
		"ListenAddress "+s.Addr(),
		"HostKey "+s.HostKey.File,
		"AuthorizedKeysFile "+filepath.Join(s.dir, "authorized_keys"),
		"PidFile none",
		"AuthenticationMethods publickey",
		"PasswordAuthentication no",
		"KbdInteractiveAuthentication no",
		"UsePAM no",
		// The files lie in a temporary directory that sshd would not trust.
		"StrictModes no",
		"AllowTcpForwarding yes",
		"X11Forwarding no",
		"PermitTTY no",
		"PrintMotd no",
		"LogLevel VERBOSE",
	)
	WriteFile(s.t, s.dir, "sshd_config", strings.Join(lines, "\n")+"\n")
}

// SetAuthorizedKeys replaces the keys that may log in; sshd reads them at each login.
func (s *SSHD) SetAuthorizedKeys(lines ...string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "authorized_keys")
	// Read by sshd as the user who logs in.
	if err := os.WriteFile(path, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		s.t.Fatalf("%v", err)
	}
}

func (s *SSHD) start() error {
	proc, err := start(command{
		name: "sshd", path: s.bin, args: []string{"-D", "-e", "-f", filepath.Join(s.dir, "sshd_config")},
		dir: s.dir, death: syscall.SIGKILL,
	})
	if err != nil {
		return err
	}
	s.proc = proc
	return proc.ready(func() error {
		// Its own first line says so; a probe by connection would count against MaxStartups.
		if strings.Contains(s.Logs(), "Server listening on ") {
			return nil
		}
		return errors.New("sshd is not listening yet")
	})
}

// Kill ends the server and every connection at once.
func (s *SSHD) Kill() { s.proc.kill() }

// Start starts a killed server again, on the same port.
func (s *SSHD) Start() {
	s.t.Helper()
	if err := s.start(); err != nil {
		s.t.Fatalf("start sshd again: %v\n%s", err, s.proc.log.tail(30))
	}
}

// Restart is Kill and Start: every tunnel breaks.
func (s *SSHD) Restart() {
	s.t.Helper()
	s.Kill()
	s.Start()
}

// DropConnections ends every connection, while the server goes on to take new ones.
func (s *SSHD) DropConnections() {
	for _, pid := range descendants(s.proc.cmd.Process.Pid) {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
}

// Freeze stops every process of the server: connections stay open and nothing
// answers any more, as with a host that vanished. Thaw lets them go on.
func (s *SSHD) Freeze() { s.signalAll(syscall.SIGSTOP) }

// Thaw undoes Freeze.
func (s *SSHD) Thaw() { s.signalAll(syscall.SIGCONT) }

func (s *SSHD) signalAll(sig syscall.Signal) {
	s.proc.signal(sig)
	for _, pid := range descendants(s.proc.cmd.Process.Pid) {
		_ = syscall.Kill(pid, sig)
	}
}

// Connections returns the number of SSH connections that are open, logged in or not.
func (s *SSHD) Connections() int {
	return len(children()[s.proc.cmd.Process.Pid])
}

// ChangeHostKey gives the server another host key and restarts it, as a
// reinstalled or an impersonated bastion would look.
func (s *SSHD) ChangeHostKey() {
	s.t.Helper()
	s.Kill()
	s.HostKey.write(s.t)
	s.Start()
}

// Addr returns host:port.
func (s *SSHD) Addr() string { return net.JoinHostPort(s.Host, strconv.Itoa(s.Port)) }

// KnownHosts returns the server's line of a known_hosts file.
func (s *SSHD) KnownHosts() string {
	return fmt.Sprintf("[%s]:%d %s", s.Host, s.Port, s.HostKey.Public)
}

// Logs returns what the server wrote since it was last started.
func (s *SSHD) Logs() string { return s.proc.log.String() }

func (s *SSHD) cleanup() {
	if s.proc == nil {
		return
	}
	if s.t.Failed() {
		s.t.Logf("the last lines of sshd %s:\n%s", s.Addr(), s.proc.log.tail(30))
	}
	s.proc.kill()
}
