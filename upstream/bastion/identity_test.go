package bastion

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"pggateway/config"
)

func TestIdentity(t *testing.T) {
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		args []string
		want string // "" accepted
	}{
		"ed25519":    {args: []string{"-t", "ed25519", "-N", ""}},
		"ecdsa":      {args: []string{"-t", "ecdsa", "-b", "384", "-N", ""}},
		"rsa 3072":   {args: []string{"-t", "rsa", "-b", "3072", "-N", ""}},
		"rsa pem":    {args: []string{"-t", "rsa", "-b", "2048", "-m", "PEM", "-N", ""}},
		"rsa 1024":   {args: []string{"-t", "rsa", "-b", "1024", "-N", ""}, want: "1024 bits"},
		"passphrase": {args: []string{"-t", "ed25519", "-N", "hunter22"}, want: "passphrase"},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(dir, strings.ReplaceAll(name, " ", "_"))
			keygen(t, append([]string{"-q", "-f", path}, tt.args...)...)
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			signer, err := parseIdentity(text)
			if (err == nil) != (tt.want == "") || err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Fatalf("error %v, want %q", err, tt.want)
			}
			if m, ok := signer.(ssh.MultiAlgorithmSigner); ok && signer.PublicKey().Type() == ssh.KeyAlgoRSA {
				for _, a := range m.Algorithms() {
					if a == ssh.KeyAlgoRSA {
						t.Error("signs with SHA-1")
					}
				}
			}
		})
	}
	if _, err := parseIdentity([]byte("-----BEGIN secret")); err == nil || strings.Contains(err.Error(), "secret") {
		t.Errorf("garbage: %v", err)
	}
	wantKind(t, dialWithin(t, newSet(t, nil), &config.Bastion{Host: "127.0.0.1", User: "u"}, "x:1", time.Second), Identity, "no identity")
}

// TestRSAIdentity logs in with an RSA key at an OpenSSH that refuses ssh-rsa.
func TestRSAIdentity(t *testing.T) {
	path := filepath.Join(t.TempDir(), "id_rsa")
	keygen(t, "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", path)
	public, err := os.ReadFile(path + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t)
	w.sshd.SetAuthorizedKeys(strings.TrimSpace(string(public)))
	b := w.bastion()
	b.Identity = file(path)
	wantEcho(t, mustDial(t, newSet(t, nil), b, w.echo), "x")
}

// TestCheck finds what is wrong on the way at once, and nothing on a good way.
// There is no SSH server: a Check that connected would fail on the good way.
func TestCheck(t *testing.T) {
	path := filepath.Join(t.TempDir(), "id")
	keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", path)
	pin := []string{"SHA256:uNiVztksCsDhcc0u9e8BrrgzvPDxbyXwKgIeB2vyPfQ"}
	good := func() *config.Bastion {
		return &config.Bastion{Host: "nowhere.invalid", User: "u", Identity: file(path), HostKeys: pin}
	}
	b := good()
	b.Jump = []*config.Bastion{good()}
	if faults := Check(t.Context(), files{}, b); len(faults) > 0 {
		t.Errorf("a good way: %v", faults)
	}
	b.Identity = file(path + ".pub")
	b.HostKeys = nil
	b.Jump[0].KnownHosts = file(path + ".none")
	var got []string
	for _, err := range Check(t.Context(), files{}, b) {
		got = append(got, err.Error())
	}
	want := []string{
		"jump[0].known_hosts: open " + path + ".none: no such file or directory",
		"identity: file:" + path + ".pub: not a private key in PEM or OpenSSH's format",
		"no host key is pinned: set host_keys or known_hosts",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
}
