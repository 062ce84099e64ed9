package config

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

// hostKeyTypes are the public key types of OpenSSH that a bastion may have.
func hostKeyTypes() []string {
	return []string{
		"ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa",
		"sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com",
	}
}

// checkHostKey accepts a public host key in authorized_keys form, or its
// SHA256 fingerprint as ssh-keygen -l prints it.
func checkHostKey(text string) (why, close string) {
	if digest, ok := strings.CutPrefix(text, "SHA256:"); ok {
		b, err := base64.RawStdEncoding.Strict().DecodeString(strings.TrimRight(digest, "="))
		if err != nil || len(b) != 32 {
			return "what follows SHA256: is not base64 of 32 bytes", ""
		}
		return "", ""
	}
	if strings.HasPrefix(text, "MD5:") || strings.Count(text, ":") == 15 {
		return "MD5 fingerprints are not accepted (ssh-keygen -l -E sha256 prints the other)", ""
	}
	if strings.HasPrefix(text, "@") {
		return "certificate authorities go into a known_hosts file", ""
	}
	fields := strings.Fields(text)
	if len(fields) < 2 {
		return "neither a key type with its base64 nor SHA256:…", ""
	}
	if !isOneOf(fields[0], hostKeyTypes()) {
		if len(fields) > 2 && isOneOf(fields[1], hostKeyTypes()) {
			return "a known_hosts line; leave the host out", ""
		}
		return "not a known key type", nearestWord(fields[0], hostKeyTypes())
	}
	blob, err := base64.StdEncoding.DecodeString(fields[1])
	if err != nil {
		return "what follows the key type is not base64", ""
	}
	// RFC 4253, section 6.6: the blob begins with the key type as a string.
	if len(blob) < 4 || int64(binary.BigEndian.Uint32(blob)) > int64(len(blob)-4) {
		return "the key is cut short", ""
	}
	if inner := blob[4 : 4+binary.BigEndian.Uint32(blob)]; string(inner) != fields[0] {
		return "the key is of another type than it says", ""
	}
	return "", ""
}
