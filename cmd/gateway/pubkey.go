package main

import (
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/crypto/ssh"

	"pggateway/cloud"
	"pggateway/upstream/bastion"
)

func newPubkey(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "pubkey",
		Short: "Print the authorized_keys line of the gateway's SSH identity",
		Long: `Print the authorized_keys line of ssh.identity. A bastion's owner puts it into the
tunnel user's ~/.ssh/authorized_keys, best with the restrictions shown by
'gateway egress', so that the key can do nothing but reach the database.`,
		Example: "  gateway pubkey -c gateway.yaml",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := o.load(cmd)
			if err != nil {
				return err
			}
			if conf.SSH.Identity.IsZero() {
				return fmt.Errorf("%s has no ssh.identity: add it, then make the key with 'gateway keygen'", o.file)
			}
			signer, err := bastion.ReadIdentity(cmd.Context(), newSecrets(cloud.New(zap.NewNop(), time.Now), zap.NewNop()), conf.SSH.Identity)
			if err != nil {
				return wrong(fmt.Errorf("ssh.identity: %w", err))
			}
			return say(cmd, authorizedKey(signer.PublicKey())+"\n")
		},
	}
}

// authorizedKey is the line for an authorized_keys file.
func authorizedKey(key ssh.PublicKey) string {
	return strings.TrimSuffix(string(ssh.MarshalAuthorizedKey(key)), "\n") + " gateway"
}
