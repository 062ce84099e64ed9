// Command notice writes NOTICE: every module whose code is in the gateway's
// binary, with the licence texts found beside that code. With -check it writes
// nothing and fails when NOTICE is not what it would write.
package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

const (
	file   = "NOTICE"
	binary = "./cmd/gateway"
	header = `pggateway
Copyright 2026 The pggateway authors

Licensed under the Apache License, Version 2.0; see the file LICENSE.

The gateway's binary contains code of the following modules under their own
licences, whose texts follow. This file is made by scripts/notice.

`
)

// licenceFile matches the names under which licences, and notices that must be kept, are found.
var licenceFile = regexp.MustCompile(`(?i)^(licen[cs]e|copying|notice)([-_.].*)?$`)

func main() {
	check := flag.Bool("check", false, "only say whether NOTICE is current")
	flag.Parse()
	if err := run(*check); err != nil {
		fmt.Fprintln(os.Stderr, "notice:", err)
		os.Exit(1)
	}
}

func run(check bool) error {
	want, err := notice()
	if err != nil {
		return err
	}
	if !check {
		return os.WriteFile(file, want, 0o644)
	}
	have, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	if !bytes.Equal(have, want) {
		return errors.New("NOTICE is not current: run `make notice`")
	}
	return nil
}

// pkg is what `go list -json` says of a package, as far as it matters here.
type pkg struct {
	Dir      string
	Standard bool
	Module   *struct {
		Path, Version, Dir string
		Main               bool
	}
}

// dependencies lists the packages that are linked into the binary.
func dependencies() ([]pkg, error) {
	cmd := exec.Command("go", "list", "-deps", "-json=Dir,Standard,Module", binary)
	cmd.Env = append(os.Environ(), "GOOS=linux", "GOARCH=amd64", "CGO_ENABLED=1")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var all []pkg
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p pkg
		err := d.Decode(&p)
		if errors.Is(err, io.EOF) {
			return all, nil
		}
		if err != nil {
			return nil, err
		}
		all = append(all, p)
	}
}

func notice() ([]byte, error) {
	packages, err := dependencies()
	if err != nil {
		return nil, err
	}
	texts := map[string][]string{} // licence text → who it is of
	modules := map[string]bool{}
	for _, p := range packages {
		if p.Standard || p.Module == nil {
			continue
		}
		name := p.Module.Path
		if !p.Module.Main {
			name += " " + p.Module.Version
		}
		found, err := licences(p.Dir, p.Module.Dir, p.Module.Main)
		if err != nil {
			return nil, err
		}
		for path, text := range found {
			rel, _ := filepath.Rel(p.Module.Dir, path)
			who := name + " (" + rel + ")"
			if !slices.Contains(texts[text], who) {
				texts[text] = append(texts[text], who)
			}
		}
		if !p.Module.Main {
			modules[name] = modules[name] || len(found) > 0
		}
	}
	for name, licensed := range modules {
		if !licensed {
			return nil, fmt.Errorf("%s: no licence file found", name)
		}
	}
	// Go's standard library bears the licence of Go's own further modules, word for word; taken
	// from there because a distribution's Go may come without the file.
	for text, who := range texts {
		if slices.ContainsFunc(who, func(s string) bool {
			return strings.HasPrefix(s, "golang.org/x/sys ") && strings.HasSuffix(s, "(LICENSE)")
		}) {
			texts[text] = append(who, "Go's standard library and runtime (LICENSE)")
		}
	}
	return render(texts), nil
}

// licences reads the licence files of a package's directory and of those above
// it, up to its module's; the module's own, when it is ours, is not repeated.
func licences(dir, root string, ours bool) (map[string]string, error) {
	found := map[string]string{}
	for {
		if ours && dir == root {
			return found, nil
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if !e.Type().IsRegular() || !licenceFile.MatchString(e.Name()) || strings.HasSuffix(e.Name(), ".go") {
				continue
			}
			path := filepath.Join(dir, e.Name())
			text, err := os.ReadFile(path)
			if err != nil {
				return nil, err
			}
			found[path] = strings.TrimSpace(strings.ReplaceAll(string(text), "\r\n", "\n"))
		}
		if dir == root || len(dir) <= len(root) {
			return found, nil
		}
		dir = filepath.Dir(dir)
	}
}

func render(texts map[string][]string) []byte {
	type entry struct{ who, text string }
	var all []entry
	var names []string
	for text, who := range texts {
		slices.Sort(who)
		names = append(names, who...)
		all = append(all, entry{strings.Join(who, "\n"), text})
	}
	slices.SortFunc(all, func(a, b entry) int { return strings.Compare(a.who, b.who) })
	slices.Sort(names)
	var b bytes.Buffer
	b.WriteString(header)
	for _, name := range names {
		fmt.Fprintf(&b, "  %s\n", name)
	}
	for _, e := range all {
		fmt.Fprintf(&b, "\n%s\n%s\n%s\n\n%s\n", strings.Repeat("=", 78), e.who, strings.Repeat("-", 78), e.text)
	}
	return b.Bytes()
}
