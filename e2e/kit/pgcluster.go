package kit

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// pgBin returns the directory of PostgreSQL's server binaries: $PG_BIN, or the
// newest version that Debian's packages installed, or the one on PATH.
func pgBin() (string, error) {
	if dir := os.Getenv(EnvPGBin); dir != "" {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err != nil {
			return "", fmt.Errorf("%s: %w", EnvPGBin, err)
		}
		return dir, nil
	}
	dirs, _ := filepath.Glob("/usr/lib/postgresql/*/bin")
	sort.Slice(dirs, func(i, j int) bool { return pgMajor(dirs[i]) > pgMajor(dirs[j]) })
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, "initdb")); err == nil {
			return dir, nil
		}
	}
	if path, err := exec.LookPath("initdb"); err == nil {
		return filepath.Dir(path), nil
	}
	return "", fmt.Errorf("no PostgreSQL server: no /usr/lib/postgresql/*/bin/initdb, none on PATH, %s not set", EnvPGBin)
}

func pgMajor(bin string) int {
	n, _ := strconv.Atoi(filepath.Base(filepath.Dir(bin)))
	return n
}

// PostgresBinary returns the path of one of PostgreSQL's programs (psql,
// pgbench, …), or ends the test when it is not there.
func PostgresBinary(t T, name string) string {
	t.Helper()
	dir, err := pgBin()
	if err != nil {
		Missing(t, "%v", err)
	}
	path := filepath.Join(dir, name)
	if _, err := os.Stat(path); err == nil {
		return path
	}
	path, err = exec.LookPath(name)
	if err != nil {
		Missing(t, "no %s: %v", name, err)
	}
	return path
}

// template is one fresh cluster of this process that each Postgres copies:
// initdb takes a second, a copy some milliseconds. It lives as long as somebody
// holds it.
type template struct {
	mu   sync.Mutex
	refs int
	dir  string
}

var fresh template

// Hold keeps what the kit shares between tests (a fresh cluster, the built
// gateway) until release is called. A package that runs many tests calls it in
// its TestMain; without, the shared things are made anew whenever the last part
// that used them has gone.
func Hold() (release func()) {
	fresh.hold()
	gatewayBuild.hold()
	return func() {
		fresh.release()
		gatewayBuild.release()
	}
}

func (c *template) hold() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refs++
}

func (c *template) release() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.refs--; c.refs == 0 && c.dir != "" {
		os.RemoveAll(c.dir)
		c.dir = ""
	}
}

// copyTo makes data a fresh cluster. The caller holds the template.
func (c *template) copyTo(data, bin string, as account) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dir == "" {
		dir, err := makeDir()
		if err != nil {
			return err
		}
		c.dir = dir
		if err := as.own(dir); err != nil {
			return err
		}
		if err := runAs(as, libraries(bin), dir, filepath.Join(bin, "initdb"), "-D", filepath.Join(dir, "data"), "-U", "postgres",
			"-A", "reject", "-E", "UTF8", "--locale=C", "--no-sync"); err != nil {
			os.RemoveAll(dir)
			c.dir = ""
			return err
		}
	}
	return runAs(as, nil, c.dir, "cp", "-a", "--reflink=auto", filepath.Join(c.dir, "data"), data)
}

// libraries is what the environment of PostgreSQL's programs needs where they
// bring their own libraries along.
func libraries(bin string) []string {
	lib := filepath.Join(filepath.Dir(bin), "lib")
	if found, _ := filepath.Glob(filepath.Join(lib, "libpq.so.*")); len(found) == 0 {
		return nil
	}
	return []string{"LD_LIBRARY_PATH=" + lib}
}

// runAs runs a program to its end; its output is in the error.
func runAs(as account, env []string, dir, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	cmd.Env = append([]string{"PATH=" + os.Getenv("PATH"), "LC_ALL=C.UTF-8", "HOME=" + dir}, env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Credential: as.cred}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w\n%s", filepath.Base(name), err, strings.TrimSpace(string(out)))
	}
	return nil
}
