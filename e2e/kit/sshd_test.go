package kit

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

func dialSSH(s *SSHD, key *SSHKey, pin ssh.PublicKey) (*ssh.Client, error) {
	return ssh.Dial("tcp", s.Addr(), &ssh.ClientConfig{
		User:              s.User,
		Auth:              []ssh.AuthMethod{ssh.PublicKeys(key.Signer)},
		HostKeyCallback:   ssh.FixedHostKey(pin),
		HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		Timeout:           10 * time.Second,
	})
}

// TestSSHD forwards to a PostgreSQL, refuses what PermitOpen does not name, a
// key that is not authorized and, after a change of host key, the old pin.
func TestSSHD(t *testing.T) {
	t.Parallel()
	target := StartScripted(t, func(c *ScriptConn) { c.Send([]byte("hello")) })
	other := StartScripted(t, func(c *ScriptConn) { c.Silence() })
	key, stranger := NewSSHKey(t), NewSSHKey(t)
	s := StartSSHD(t, SSHDOptions{AuthorizedKeys: []string{"restrict,port-forwarding,permitopen=\"" + target.Addr + "\" " + key.Public}})
	pin := s.HostKey.Signer.PublicKey()

	client, err := dialSSH(s, key, pin)
	if err != nil {
		t.Fatalf("%v\n%s", err, s.Logs())
	}
	defer client.Close()
	c, err := client.Dial("tcp", target.Addr)
	if err != nil {
		t.Fatal(err)
	}
	buf := make([]byte, 5)
	if n, err := c.Read(buf); err != nil || string(buf[:n]) != "hello" {
		t.Fatalf("%q, %v", buf[:n], err)
	}
	if n := s.Connections(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
	var refused *ssh.OpenChannelError
	if _, err := client.Dial("tcp", other.Addr); !errors.As(err, &refused) || refused.Reason != ssh.Prohibited {
		t.Errorf("a target that permitopen does not name: %v", err)
	}
	if _, err := dialSSH(s, stranger, pin); err == nil {
		t.Error("a key that is not authorized logged in")
	}
	s.DropConnections()
	if err := client.Wait(); err == nil {
		t.Error("the connection ended in peace")
	}
	s.ChangeHostKey()
	if _, err := dialSSH(s, key, pin); err == nil {
		t.Error("another host key passed for the pinned one")
	}
	again, err := dialSSH(s, key, s.HostKey.Signer.PublicKey())
	if err != nil {
		t.Fatalf("after the change of host key: %v", err)
	}
	again.Close()
}
