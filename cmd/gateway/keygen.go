package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"pggateway/config"
)

func newKeygen(o *options) *cobra.Command {
	var out string
	var force bool
	cmd := &cobra.Command{
		Use:   "keygen",
		Short: "Make the gateway's SSH identity",
		Long: `Make an ed25519 key pair for logging in to bastions. The private key is written,
readable by its owner only, to the file that ssh.identity names, or to --out. The
public key, which bastion owners put into authorized_keys, is printed.`,
		Example: `  gateway keygen -c gateway.yaml
  gateway keygen --out /etc/gateway/id_ed25519`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			path := out
			if path == "" {
				conf, err := o.load(cmd)
				if err != nil {
					return err
				}
				if conf.SSH.Identity.Scheme != config.SchemeFile {
					return fmt.Errorf("%s names no file for the key: add ssh.identity: file:PATH, or say where with --out FILE", o.file)
				}
				path = conf.SSH.Identity.Ref
			}
			line, err := makeIdentity(path, force)
			if err != nil {
				return wrong(err)
			}
			stderr := cmd.ErrOrStderr()
			fmt.Fprintf(stderr, "wrote the private key to %s\n", path)
			if full, err := filepath.Abs(path); out != "" && err == nil {
				fmt.Fprintf(stderr, "to use it, set ssh.identity to file:%s in the configuration\n", full)
			}
			fmt.Fprintln(stderr, "bastion owners need this line, with the restrictions that 'gateway egress' prints:")
			return say(cmd, line+"\n")
		},
	}
	cmd.Flags().StringVar(&out, "out", "", "write the private key to `FILE` instead of where ssh.identity says")
	cmd.Flags().BoolVar(&force, "force", false, "replace an existing file: bastions that know the old key refuse the new one")
	return cmd
}

// makeIdentity writes a new private key to path and returns its authorized_keys line.
func makeIdentity(path string, force bool) (string, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return "", err
	}
	block, err := ssh.MarshalPrivateKey(private, "gateway")
	if err != nil {
		return "", err
	}
	key, err := ssh.NewPublicKey(public)
	if err != nil {
		return "", err
	}
	if err := writeIdentity(path, pem.EncodeToMemory(block), force); err != nil {
		return "", err
	}
	return authorizedKey(key), nil
}

// writeIdentity never opens a window in which the key can be read by others: the
// file is made with its final permissions. An existing one is replaced as a whole.
func writeIdentity(path string, text []byte, force bool) error {
	f, err := createIdentity(path, force)
	switch {
	case errors.Is(err, fs.ErrExist):
		return fmt.Errorf("%s exists already: keep it ('gateway pubkey' prints its line), or replace it with --force", path)
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("the directory %s does not exist: make it first", filepath.Dir(path))
	case err != nil:
		return fmt.Errorf("cannot write the private key: %w", err)
	}
	_, err = f.Write(text)
	err = errors.Join(err, f.Sync(), f.Close())
	if err == nil && force {
		err = os.Rename(f.Name(), path)
	}
	if err != nil {
		_ = os.Remove(f.Name())
		return fmt.Errorf("cannot write the private key: %w", err)
	}
	return nil
}

// createIdentity opens a new file of mode 0600: path itself, or with force one
// beside it.
func createIdentity(path string, force bool) (*os.File, error) {
	if force {
		return os.CreateTemp(filepath.Dir(path), filepath.Base(path)+".new-*")
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
}
