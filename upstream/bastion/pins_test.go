package bastion

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"pggateway/e2e/kit"
)

func TestPins(t *testing.T) {
	w := newWorld(t)
	known := filepath.Join(t.TempDir(), "known_hosts")
	if err := os.WriteFile(known, []byte("# ours\n"+w.sshd.KnownHosts()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	other := kit.NewSSHKey(t)
	fingerprint := ssh.FingerprintSHA256(w.sshd.HostKey.Signer.PublicKey())
	rsaKey := "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQC7l/iN0oL5i1q0MwQkq0Z8Kc1Lz9o0S9qf5o4m4vY2kX6N"
	for name, tt := range map[string]struct {
		keys  []string
		known string
		kind  Kind // 0: accepted
		texts []string
	}{
		"key":                   {keys: []string{w.sshd.HostKey.Public}},
		"key with comment":      {keys: []string{w.sshd.HostKey.Public + " root@bastion"}},
		"one of two keys":       {keys: []string{other.Public, w.sshd.HostKey.Public}},
		"fingerprint":           {keys: []string{fingerprint}},
		"padded fingerprint":    {keys: []string{fingerprint + "="}},
		"known_hosts":           {known: known},
		"known_hosts and a key": {keys: []string{other.Public}, known: known},
		"other key": {
			keys: []string{other.Public}, kind: HostKey,
			texts: []string{"found ssh-ed25519 " + fingerprint, "expected ssh-ed25519 " + ssh.FingerprintSHA256(other.Signer.PublicKey())},
		},
		"other fingerprint": {
			keys: []string{"SHA256:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"}, kind: HostKey,
			texts: []string{"found ssh-ed25519 " + fingerprint, "expected SHA256:AAAA", "type"},
		},
		"no pin":         {kind: HostKey, texts: []string{"no host key is pinned"}},
		"broken key":     {keys: []string{rsaKey}, kind: HostKey, texts: []string{"host_keys"}},
		"no such file":   {known: known + "2", kind: HostKey, texts: []string{"known_hosts"}},
		"file of others": {known: writeFile(t, "known_hosts", "example.com "+other.Public+"\n"), kind: HostKey, texts: []string{"has no line for [127.0.0.1]:"}},
		"revoked": {
			keys:  []string{w.sshd.HostKey.Public},
			known: writeFile(t, "known_hosts", w.sshd.KnownHosts()+"\n@revoked * "+w.sshd.HostKey.Public+"\n"),
			kind:  HostKey, texts: []string{"revoked"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := w.bastion()
			b.HostKeys = tt.keys
			if tt.known != "" {
				b.KnownHosts = file(tt.known)
			}
			err := dialWithin(t, newSet(t, nil), b, w.echo, 10*time.Second)
			if tt.kind == 0 {
				if err != nil {
					t.Fatal(err)
				}
				return
			}
			wantKind(t, err, tt.kind, tt.texts...)
		})
	}
}

// TestPinDecidesAlgorithm runs a server with two host keys: without
// HostKeyAlgorithms the client would be shown the ed25519 one.
func TestPinDecidesAlgorithm(t *testing.T) {
	second := filepath.Join(t.TempDir(), "host_rsa")
	keygen(t, "-q", "-t", "rsa", "-b", "3072", "-N", "", "-f", second)
	public, err := os.ReadFile(second + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, "HostKey "+second)
	s := newSet(t, nil)
	for _, pin := range []string{string(public), w.sshd.HostKey.Public} {
		b := w.bastion()
		b.HostKeys = []string{pin}
		if err := dialWithin(t, s, b, w.echo, 10*time.Second); err != nil {
			t.Errorf("pin %.20s…: %v", pin, err)
		}
	}
	// A type that the server does not have.
	ecdsa := filepath.Join(t.TempDir(), "ecdsa")
	keygen(t, "-q", "-t", "ecdsa", "-N", "", "-f", ecdsa)
	if public, err = os.ReadFile(ecdsa + ".pub"); err != nil {
		t.Fatal(err)
	}
	b := w.bastion()
	b.HostKeys = []string{string(public)}
	wantKind(t, dialWithin(t, s, b, w.echo, 10*time.Second), HostKey, "no host key of a pinned type", "ssh-ed25519")
}

// TestHostCertificate accepts a server by the authority that signed its key.
func TestHostCertificate(t *testing.T) {
	dir := t.TempDir()
	ca, host := filepath.Join(dir, "ca"), filepath.Join(dir, "host")
	keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", ca)
	keygen(t, "-q", "-t", "ed25519", "-N", "", "-f", host)
	keygen(t, "-q", "-s", ca, "-I", "bastion", "-h", "-n", "127.0.0.1", host+".pub")
	public, err := os.ReadFile(ca + ".pub")
	if err != nil {
		t.Fatal(err)
	}
	w := newWorld(t, "HostKey "+host, "HostCertificate "+host+"-cert.pub")
	b := w.bastion()
	b.HostKeys = nil
	b.KnownHosts = file(writeFile(t, "known_hosts", "@cert-authority [127.0.0.1]:* "+string(public)))
	if err := dialWithin(t, newSet(t, nil), b, w.echo, 10*time.Second); err != nil {
		if !strings.Contains(err.Error(), "has no line") {
			t.Fatal(err)
		}
	}
	b.KnownHosts = file(writeFile(t, "known_hosts", fmt.Sprintf("@cert-authority [127.0.0.1]:%d %s", w.sshd.Port, public)))
	if err := dialWithin(t, newSet(t, nil), b, w.echo, 10*time.Second); err != nil {
		t.Fatal(err)
	}
}

func TestHostKeyChangedWhileConnected(t *testing.T) {
	w := newWorld(t)
	s := newSet(t, nil)
	c := mustDial(t, s, w.bastion(), w.echo)
	wantEcho(t, c, "x")
	b := w.bastion()
	w.sshd.ChangeHostKey()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("channel of a lost bastion: %v", err)
	}
	wantKind(t, dialWithin(t, s, b, w.echo, 10*time.Second), HostKey, "host key mismatch")
}

func TestDifferentPinsDoNotShare(t *testing.T) {
	w := newWorld(t)
	s := newSet(t, nil)
	mustDial(t, s, w.bastion(), w.echo)
	b := w.bastion()
	b.HostKeys = []string{kit.NewSSHKey(t).Public}
	wantKind(t, dialWithin(t, s, b, w.echo, 10*time.Second), HostKey)
}
