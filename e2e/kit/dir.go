package kit

import (
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

const dirPrefix = "pggateway-"

// Dir makes a directory that other users may pass through but not list, and
// that is removed at the end. Its path is short enough for a unix socket below it.
func Dir(t T) string {
	t.Helper()
	dir, err := makeDir()
	if err != nil {
		t.Fatalf("make a directory: %v", err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// WriteFile writes a file of mode 0600 into dir and returns its path.
func WriteFile(t T, dir, name, text string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatalf("%v", err)
	}
	return path
}

func makeDir() (string, error) {
	base := baseDir()
	sweep(base)
	dir, err := os.MkdirTemp(base, fmt.Sprintf("%s%d-", dirPrefix, os.Getpid()))
	if err != nil {
		return "", err
	}
	return dir, os.Chmod(dir, 0o711)
}

// baseDir is the temporary directory, unless that is one where another user
// could not reach his files, or too long for a socket's path (108 bytes).
func baseDir() string {
	base := os.TempDir()
	if len(base) > 60 {
		return "/tmp"
	}
	if os.Geteuid() == 0 {
		for dir := base; ; dir = filepath.Dir(dir) {
			info, err := os.Stat(dir)
			if err != nil || info.Mode().Perm()&1 == 0 {
				return "/tmp"
			}
			if dir == filepath.Dir(dir) {
				break
			}
		}
	}
	return base
}

var swept sync.Once

// sweep removes what a killed run left: directories of the kit whose process is
// gone and that nobody touched for an hour.
func sweep(base string) {
	swept.Do(func() {
		paths, _ := filepath.Glob(filepath.Join(base, dirPrefix+"*-*"))
		for _, path := range paths {
			pid, err := strconv.Atoi(strings.Split(strings.TrimPrefix(filepath.Base(path), dirPrefix), "-")[0])
			if err != nil || syscall.Kill(pid, 0) != syscall.ESRCH {
				continue
			}
			if info, err := os.Lstat(path); err == nil && info.IsDir() && time.Since(info.ModTime()) > time.Hour {
				os.RemoveAll(path)
			}
		}
	})
}

// account is who a part runs as.
type account struct {
	name string
	cred *syscall.Credential // nil: as ourselves
}

func (a account) own(path string) error {
	if a.cred == nil {
		return nil
	}
	return os.Lchown(path, int(a.cred.Uid), int(a.cred.Gid))
}

// ownAll is own for all that is below a directory, too.
func (a account) ownAll(dir string) error {
	return filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return a.own(path)
	})
}

// unprivileged returns the first of the named users that exists when we are
// root, and ourselves when we are not.
func unprivileged(names ...string) (account, error) {
	if os.Geteuid() != 0 {
		u, err := user.Current()
		if err != nil {
			return account{}, err
		}
		return account{name: u.Username}, nil
	}
	for _, name := range names {
		u, err := user.Lookup(name)
		if err != nil {
			continue
		}
		uid, err1 := strconv.ParseUint(u.Uid, 10, 32)
		gid, err2 := strconv.ParseUint(u.Gid, 10, 32)
		if err1 != nil || err2 != nil {
			continue
		}
		return account{name, &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}, nil
	}
	return account{}, fmt.Errorf("none of the users %v exists", names)
}
