package bastion

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/knownhosts"

	"pggateway/config"
)

// pins are the host keys that a bastion may have. A server with any of them is
// the right one.
type pins struct {
	keys         []ssh.PublicKey
	fingerprints []string            // SHA256:…
	known        ssh.HostKeyCallback // of the known_hosts file; nil without one
	// algorithms are offered to the server in this order. Only those of the
	// pinned keys' types are: of several host keys a server shows the one that
	// the client likes best, which need not be the pinned one.
	algorithms []string
}

// hostKeyAlgorithms are what is offered when a pin does not say its type.
func hostKeyAlgorithms() []string {
	return []string{
		ssh.KeyAlgoED25519, ssh.KeyAlgoECDSA256, ssh.KeyAlgoECDSA384, ssh.KeyAlgoECDSA521,
		ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256,
	}
}

// readPins reads a bastion's host_keys and known_hosts.
func readPins(b *config.Bastion) (*pins, error) {
	p := &pins{}
	for _, text := range b.HostKeys {
		if strings.HasPrefix(text, "SHA256:") {
			p.fingerprints = append(p.fingerprints, strings.TrimRight(text, "="))
			continue
		}
		key, _, _, _, err := ssh.ParseAuthorizedKey([]byte(text))
		if err != nil {
			return nil, fmt.Errorf("host_keys: %q is neither a public key nor a SHA256: fingerprint: %w", text, err)
		}
		p.keys = append(p.keys, key)
		p.offer(algorithmsOf(key)...)
	}
	if !b.KnownHosts.IsZero() {
		if err := p.readKnownHosts(b); err != nil {
			return nil, fmt.Errorf("known_hosts: %w", err)
		}
	}
	if len(p.fingerprints) > 0 {
		p.offer(hostKeyAlgorithms()...)
	}
	if len(p.algorithms) == 0 {
		return nil, errors.New("no host key is pinned: set host_keys or known_hosts")
	}
	return p, nil
}

func (p *pins) offer(algorithms ...string) {
	for _, a := range algorithms {
		if !slices.Contains(p.algorithms, a) {
			p.algorithms = append(p.algorithms, a)
		}
	}
}

// algorithmsOf are the signature algorithms that a host key of this type is used
// with. ssh-rsa, RSA with SHA-1, is not among them.
func algorithmsOf(key ssh.PublicKey) []string {
	if key.Type() == ssh.KeyAlgoRSA {
		return []string{ssh.KeyAlgoRSASHA512, ssh.KeyAlgoRSASHA256}
	}
	return []string{key.Type()}
}

// certificateAlgorithms are those of host certificates, for a known_hosts file
// with @cert-authority lines.
func certificateAlgorithms() []string {
	return []string{
		ssh.CertAlgoED25519v01, ssh.CertAlgoECDSA256v01, ssh.CertAlgoECDSA384v01, ssh.CertAlgoECDSA521v01,
		ssh.CertAlgoRSASHA512v01, ssh.CertAlgoRSASHA256v01,
	}
}

// readKnownHosts reads the file and finds out what it has for the bastion: the
// library tells the keys that it wants when it is shown another one.
func (p *pins) readKnownHosts(b *config.Bastion) error {
	if b.KnownHosts.Scheme != config.SchemeFile {
		return fmt.Errorf("%s is not a file: reference", b.KnownHosts)
	}
	check, err := knownhosts.New(b.KnownHosts.Ref)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(b.KnownHosts.Ref)
	if err != nil {
		return err
	}
	lines := bytes.Split(text, []byte("\n"))
	var unknown *knownhosts.KeyError
	if err := check(address(b), nowhere, noKey{}); !errors.As(err, &unknown) {
		return fmt.Errorf("%s: %w", b.KnownHosts.Ref, err)
	}
	if len(unknown.Want) == 0 {
		return fmt.Errorf("%s has no line for %s (another port than 22 is written [host]:port)",
			b.KnownHosts.Ref, knownhosts.Normalize(address(b)))
	}
	p.known = check
	for _, k := range unknown.Want {
		if k.Line >= 1 && k.Line <= len(lines) && bytes.HasPrefix(bytes.TrimSpace(lines[k.Line-1]), []byte("@cert-authority")) {
			p.offer(certificateAlgorithms()...)
			continue
		}
		p.keys = append(p.keys, k.Key)
		p.offer(algorithmsOf(k.Key)...)
	}
	return nil
}

// nowhere stands for a peer's address where host keys are looked up by name alone:
// behind a jump host, or after a DNS change, the address says nothing.
var nowhere net.Addr = &net.TCPAddr{IP: net.IPv4zero}

// noKey is a key that nobody has.
type noKey struct{}

func (noKey) Type() string                        { return "none" }
func (noKey) Marshal() []byte                     { return nil }
func (noKey) Verify([]byte, *ssh.Signature) error { return errors.New("no key") }

// check is an ssh.HostKeyCallback.
func (p *pins) check(host string, _ net.Addr, key ssh.PublicKey) error {
	var why error
	if p.known != nil {
		if why = p.known(host, nowhere, key); why == nil {
			return nil
		}
		var revoked *knownhosts.RevokedError
		if errors.As(why, &revoked) {
			return fmt.Errorf("host key %s %s is revoked in known_hosts", key.Type(), ssh.FingerprintSHA256(key))
		}
	}
	for _, k := range p.keys {
		if bytes.Equal(k.Marshal(), key.Marshal()) {
			return nil
		}
	}
	found := ssh.FingerprintSHA256(key)
	if slices.Contains(p.fingerprints, found) {
		return nil
	}
	text := fmt.Sprintf("host key mismatch: found %s %s, expected %s", key.Type(), found, p.expected())
	if len(p.fingerprints) > 0 {
		text += " (a fingerprint does not tell the key's type: pin the whole key when the server has several)"
	}
	return errors.New(text)
}

// expected lists the pins for people.
func (p *pins) expected() string {
	var all []string
	for _, k := range p.keys {
		all = append(all, k.Type()+" "+ssh.FingerprintSHA256(k))
	}
	all = append(all, p.fingerprints...)
	if len(all) == 0 {
		return "a certificate of the authority in known_hosts"
	}
	return strings.Join(all, " or ")
}
