package kit

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/crypto/ssh"
)

// SSHKey is an ed25519 key pair.
type SSHKey struct {
	File   string // the private key in OpenSSH's format, mode 0600
	Public string // the public key as a line of authorized_keys, without a newline
	Signer ssh.Signer
}

// NewSSHKey makes a key pair.
func NewSSHKey(t T) *SSHKey {
	t.Helper()
	key := &SSHKey{File: filepath.Join(Dir(t), "id_ed25519")}
	key.write(t)
	return key
}

// write makes a new pair in the key's file.
func (k *SSHKey) write(t T) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatalf("%v", err)
	}
	block, err := ssh.MarshalPrivateKey(private, "")
	if err != nil {
		t.Fatalf("%v", err)
	}
	if err := os.WriteFile(k.File, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatalf("%v", err)
	}
	if k.Signer, err = ssh.NewSignerFromKey(private); err != nil {
		t.Fatalf("%v", err)
	}
	k.Public = strings.TrimSpace(string(ssh.MarshalAuthorizedKey(k.Signer.PublicKey())))
}
