package main

import (
	"encoding/json"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"pggateway/e2e/kit"
)

// commands are the names of all commands that are shown.
func commands() []string {
	var names []string
	for _, c := range newRoot().Commands() {
		if !c.Hidden {
			names = append(names, c.Name())
		}
	}
	return names
}

func TestHelp(t *testing.T) {
	names := commands()
	if got := strings.Join(names, " "); got != "check egress keygen passwd pubkey run schema validate version" {
		t.Errorf("commands %s", got)
	}
	for _, name := range append(names, "help") {
		r := gateway(t, "", name, "--help")
		if r.code != exitOK || r.stderr != "" || !strings.Contains(r.stdout, "Examples:\n  gateway "+name) || !strings.Contains(r.stdout, "--config FILE") {
			t.Errorf("%s --help: exit code %d\n%s%s", name, r.code, r.stdout, r.stderr)
		}
		if again := gateway(t, "", "help", name); again != r {
			t.Errorf("help %s is not %s --help:\n%s", name, name, again.stdout)
		}
		for line := range strings.Lines(r.stdout) {
			if len(line) > 101 {
				t.Errorf("%s --help has a line of %d characters: %s", name, len(line)-1, line)
			}
		}
	}
	root := gateway(t, "", "--help")
	for _, name := range names {
		if !strings.Contains(root.stdout, "\n  "+name+" ") {
			t.Errorf("the help does not list %s:\n%s", name, root.stdout)
		}
	}
	if r := gateway(t, ""); r.code != exitUsage || r.stdout != "" || r.stderr != root.stdout {
		t.Errorf("without a command: exit code %d, stdout %q\n%s", r.code, r.stdout, r.stderr)
	}
}

func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct{ args, want string }{
		{"frobnicate", "unknown command \"frobnicate\"\ngateway: try 'gateway --help'"},
		{"valdate", "unknown command \"valdate\"; did you mean validate?\ngateway: try 'gateway --help'"},
		{"pass", "unknown command \"pass\"; did you mean passwd?\ngateway: try 'gateway --help'"},
		{"help frobnicate", "unknown command \"frobnicate\"\ngateway: try 'gateway --help'"},
		{"--frobnicate", "unknown flag: --frobnicate\ngateway: try 'gateway --help'"},
		{"run --frobnicate", "unknown flag: --frobnicate\ngateway: try 'gateway run --help'"},
		{"validate -c", "flag needs an argument: 'c' in -c\ngateway: try 'gateway validate --help'"},
		{"validate my.yaml", "found \"my.yaml\", but 'gateway validate' takes no arguments: name the configuration with -c my.yaml\ngateway: try 'gateway validate --help'"},
		{"version please", "found \"please\", but 'gateway version' takes no arguments\ngateway: try 'gateway version --help'"},
	} {
		gateway(t, "", strings.Fields(tt.args)...).want(t, exitUsage, "", "gateway: "+tt.want+"\n")
	}
	for _, name := range commands() {
		if r := gateway(t, "", name, "--no-such-flag"); r.code != exitUsage || r.stdout != "" {
			t.Errorf("%s with an unknown flag: %+v", name, r)
		}
		if name == "egress" || name == "check" {
			continue
		}
		if r := gateway(t, "", name, "x"); r.code != exitUsage || r.stdout != "" {
			t.Errorf("%s with an argument: %+v", name, r)
		}
	}
}

// Every command that reads the configuration says the same of one that it cannot read.
func TestNoConfiguration(t *testing.T) {
	dir := t.TempDir()
	missing := filepath.Join(dir, "none.yaml")
	for _, name := range []string{"run", "validate", "check", "egress", "keygen", "pubkey"} {
		gateway(t, "", name, "-c", missing).want(t, exitUsage, "",
			"gateway: "+missing+": no such file: name the configuration with -c FILE\n")
		gateway(t, "", name, "-c", dir).want(t, exitUsage, "", "gateway: "+dir+": cannot be read: is a directory\n")
	}
	t.Chdir(dir)
	gateway(t, "", "validate").want(t, exitUsage, "", "gateway: gateway.yaml: no such file: name the configuration with -c FILE\n")
}

func TestVersion(t *testing.T) {
	want := "gateway " + version + ", commit " + revision() + ", " + runtime.Version() + " " + runtime.GOOS + "/" + runtime.GOARCH + "\n"
	for _, args := range []string{"version", "--version", "-v"} {
		gateway(t, "", args).want(t, exitOK, want, "")
	}
}

func TestSchema(t *testing.T) {
	r := gateway(t, "", "schema")
	var schema struct {
		Schema     string                     `json:"$schema"`
		Properties map[string]json.RawMessage `json:"properties"`
	}
	if err := json.Unmarshal([]byte(r.stdout), &schema); err != nil || r.code != exitOK || r.stderr != "" {
		t.Fatalf("exit code %d, %v, stderr %q", r.code, err, r.stderr)
	}
	if !strings.HasPrefix(schema.Schema, "https://json-schema.org/") || schema.Properties["upstreams"] == nil || schema.Properties["writers"] == nil {
		t.Errorf("schema of %s with %d properties", schema.Schema, len(schema.Properties))
	}
}

func TestValidate(t *testing.T) {
	t.Chdir("testdata")
	r := gateway(t, "", "validate", "-c", "typo.yaml")
	t.Chdir("..")
	if r.code != exitUsage || r.stdout != "" || strings.Contains(r.stderr, "hunter2") {
		t.Errorf("exit code %d, stdout %q, stderr %q", r.code, r.stdout, r.stderr)
	}
	golden(t, "typo.txt", r.stderr)

	gateway(t, "", "validate", "-c", "testdata/egress.yaml").want(t, exitOK, "testdata/egress.yaml: ok: listens on 127.0.0.1:5432; "+
		"routes 2 writers to straight, plaintext, tenant_*, aurora, rds-behind-bastion, same-bastion, jump\n", "")

	// Nothing is read but the file itself, and no secret has to be there for it.
	good := write(t, "good.yaml", oneRoute(5432, "env:PGGATEWAY_TEST_UNSET"))
	gateway(t, "", "validate", "-c", good).want(t, exitOK, good+": ok: listens on 127.0.0.1:0; routes 1 writer to orders\n", "")
}

// What could not be written must not pass for success.
func TestFullDisk(t *testing.T) {
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("no /dev/full here: %v", err)
	}
	defer full.Close()
	key := filepath.Join(t.TempDir(), "id")
	for _, args := range []string{
		"version", "schema", "passwd", "validate -c testdata/egress.yaml", "egress -c testdata/egress.yaml", "check --timeout 1ms -c testdata/egress.yaml straight", "keygen --out " + key,
	} {
		root := newRoot()
		var errs strings.Builder
		root.SetIn(strings.NewReader("secret\n"))
		root.SetOut(full)
		root.SetErr(&errs)
		if code := execute(root, strings.Fields(args)); code != exitWrong || !strings.Contains(errs.String(), "cannot write the output") {
			t.Errorf("%s: exit code %d, %s", args, code, errs.String())
		}
	}
}

// The same through a process: exit codes and streams are what a shell sees.
func TestProcess(t *testing.T) {
	for _, tt := range []struct {
		args, stdin string
		code        int
		stdout      string
		stderr      string
	}{
		{"version", "", exitOK, "gateway dev, commit", ""},
		{"passwd", "secret\n", exitOK, "SCRAM-SHA-256$4096:", ""},
		{"passwd", "", exitWrong, "", "gateway: the password is empty"},
		{"run -c testdata/typo.yaml", "", exitUsage, "", "testdata/typo.yaml:2:5: listen[0]."},
		{"frobnicate", "", exitUsage, "", "gateway: unknown command"},
	} {
		r := kit.RunGateway(t, tt.stdin, strings.Fields(tt.args)...)
		if r.Code != tt.code || !strings.HasPrefix(r.Stdout, tt.stdout) || !strings.HasPrefix(r.Stderr, tt.stderr) ||
			(r.Stdout == "") != (tt.stdout == "") || (r.Stderr == "") != (tt.stderr == "") {
			t.Errorf("%s: %+v", tt.args, r)
		}
	}
}
