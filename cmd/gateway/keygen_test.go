package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
)

// withIdentity is a gateway.yaml whose ssh.identity is the reference.
func withIdentity(t *testing.T, ref string) string {
	t.Helper()
	return write(t, "gateway.yaml", oneRoute(5432, "env:X")+"ssh: {identity: \""+ref+"\"}\n")
}

func TestKeygenAndPubkey(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "id")
	file := withIdentity(t, "file:"+path)
	missing := gateway(t, "", "pubkey", "-c", file)
	missing.want(t, exitWrong, "", "gateway: ssh.identity: file:"+path+": no such file or directory: make the key with 'gateway keygen'\n")

	made := gateway(t, "", "keygen", "-c", file)
	made.want(t, exitOK, made.stdout, "wrote the private key to "+path+
		"\nbastion owners need this line, with the restrictions that 'gateway egress' prints:\n")
	public, comment, options, rest, err := ssh.ParseAuthorizedKey([]byte(made.stdout))
	if err != nil || public.Type() != ssh.KeyAlgoED25519 || comment != "gateway" || len(options)+len(rest) > 0 {
		t.Fatalf("%q: %v %q %q %q, %v", made.stdout, public, comment, options, rest, err)
	}
	wantOnly(t, dir, "id")
	text := read(t, path)
	signer, err := ssh.ParsePrivateKey([]byte(text))
	if err != nil || string(signer.PublicKey().Marshal()) != string(public.Marshal()) {
		t.Fatalf("the private key is not the printed one's: %v", err)
	}
	gateway(t, "", "pubkey", "-c", file).want(t, exitOK, made.stdout, "")

	again := gateway(t, "", "keygen", "-c", file)
	again.want(t, exitWrong, "", "gateway: "+path+" exists already: keep it ('gateway pubkey' prints its line), or replace it with --force\n")
	if read(t, path) != text {
		t.Error("a refused keygen changed the key")
	}

	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	gateway(t, "", "pubkey", "-c", file).want(t, exitWrong, "",
		"gateway: ssh.identity: file:"+path+": a private key that group or others can use (mode 0644): run chmod 0600 on it\n")

	forced := gateway(t, "", "keygen", "-c", file, "--force")
	if forced.code != exitOK || forced.stdout == made.stdout || read(t, path) == text {
		t.Errorf("--force did not replace the key: %+v", forced)
	}
	wantOnly(t, dir, "id") // of mode 0600 again
	gateway(t, "", "pubkey", "-c", file).want(t, exitOK, forced.stdout, "")
}

// wantOnly checks that a directory has exactly this in it, a file of mode 0600.
func wantOnly(t *testing.T, dir, name string) {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil || len(entries) != 1 || entries[0].Name() != name {
		t.Fatalf("%v, %v, want only %s", entries, err, name)
	}
	if info, err := entries[0].Info(); err != nil || info.Mode() != fs.FileMode(0o600) {
		t.Errorf("mode %v, %v", info.Mode(), err)
	}
}

func read(t *testing.T, path string) string {
	t.Helper()
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// --out needs no configuration, and says what to put into it.
func TestKeygenOut(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	r := gateway(t, "", "keygen", "--out", "id")
	if r.code != exitOK || !strings.Contains(r.stderr, "set ssh.identity to file:"+filepath.Join(dir, "id")+" in the configuration\n") {
		t.Errorf("%+v", r)
	}
	wantOnly(t, dir, "id")
	gateway(t, "", "pubkey", "-c", withIdentity(t, "file:"+filepath.Join(dir, "id"))).want(t, exitOK, r.stdout, "")
	none := filepath.Join(dir, "none")
	gateway(t, "", "keygen", "--out", filepath.Join(none, "id")).want(t, exitWrong, "",
		"gateway: the directory "+none+" does not exist: make it first\n")
	gateway(t, "", "keygen", "--force", "--out", filepath.Join(none, "id")).want(t, exitWrong, "",
		"gateway: the directory "+none+" does not exist: make it first\n")
}

func TestNoIdentity(t *testing.T) {
	without := write(t, "gateway.yaml", oneRoute(5432, "env:X"))
	gateway(t, "", "pubkey", "-c", without).want(t, exitUsage, "",
		"gateway: "+without+" has no ssh.identity: add it, then make the key with 'gateway keygen'\n")
	for _, file := range []string{without, withIdentity(t, "env:SSH_KEY")} {
		gateway(t, "", "keygen", "-c", file).want(t, exitUsage, "",
			"gateway: "+file+" names no file for the key: add ssh.identity: file:PATH, or say where with --out FILE\n")
	}
	t.Setenv("SSH_KEY", "-----BEGIN hunter2")
	gateway(t, "", "pubkey", "-c", withIdentity(t, "env:SSH_KEY")).want(t, exitWrong, "",
		"gateway: ssh.identity: env:SSH_KEY: not a private key in PEM or OpenSSH's format\n")
}
