package bastion

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"io/fs"

	"golang.org/x/crypto/ssh"

	"pggateway/config"
)

// minRSA is the shortest RSA key in bits. 2048, and not the 3072 that new keys
// should have, because EC2 key pairs are that long.
const minRSA = 2048

// ReadIdentity reads the private key that a reference stands for. The error names
// the reference, says what helps, and never has any of the key in it.
func ReadIdentity(ctx context.Context, secrets Secrets, s config.Secret) (ssh.Signer, error) {
	text, err := secrets.PrivateKey(ctx, s)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("%w: make the key with 'gateway keygen'", err)
	}
	if err != nil {
		return nil, err
	}
	signer, err := parseIdentity(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", s, err)
	}
	return signer, nil
}

// identityOf reads the private key that the gateway proves to be itself with.
// It is read at every connection: a key that was replaced is found.
func identityOf(ctx context.Context, secrets Secrets, b *config.Bastion) (ssh.Signer, error) {
	if b.Identity.IsZero() {
		return nil, errors.New("no identity: set ssh.identity, or identity beside the bastion's host")
	}
	signer, err := ReadIdentity(ctx, secrets, b.Identity)
	if err != nil {
		return nil, fmt.Errorf("identity: %w", err)
	}
	return signer, nil
}

// Check reads what the gateway itself needs for the way to a bastion, its keys
// and the pins of the hosts, and connects to nothing. Each error begins with its
// place below via.ssh: "identity: file:…", "jump[0].known_hosts: …".
func Check(ctx context.Context, secrets Secrets, b *config.Bastion) []error {
	var faults []error
	for i, j := range b.Jump {
		for _, err := range Check(ctx, secrets, j) {
			faults = append(faults, fmt.Errorf("jump[%d].%w", i, err))
		}
	}
	if _, err := identityOf(ctx, secrets, b); err != nil {
		faults = append(faults, err)
	}
	if _, err := readPins(b); err != nil {
		faults = append(faults, err)
	}
	return faults
}

// parseIdentity parses a PEM private key and keeps RSA keys from being used with SHA-1.
func parseIdentity(text []byte) (ssh.Signer, error) {
	signer, err := ssh.ParsePrivateKey(text)
	var passphrase *ssh.PassphraseMissingError
	switch {
	case errors.As(err, &passphrase):
		return nil, errors.New("the key has a passphrase: the gateway needs one without (ssh-keygen -p)")
	case err != nil:
		return nil, errors.New("not a private key in PEM or OpenSSH's format")
	}
	switch signer.PublicKey().Type() {
	case ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521:
		return signer, nil
	case ssh.KeyAlgoRSA:
	default:
		return nil, fmt.Errorf("keys of type %s are not supported: use ed25519 (gateway keygen)", signer.PublicKey().Type())
	}
	if k, ok := signer.PublicKey().(ssh.CryptoPublicKey).CryptoPublicKey().(*rsa.PublicKey); ok && k.N.BitLen() < minRSA {
		return nil, fmt.Errorf("RSA key of %d bits: at least %d are needed, or ed25519 (gateway keygen)", k.N.BitLen(), minRSA)
	}
	return ssh.NewSignerWithAlgorithms(signer.(ssh.AlgorithmSigner), []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256})
}
