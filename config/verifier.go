package config

import (
	"encoding/base64"
	"strconv"
	"strings"
)

const verifierPrefix = "SCRAM-SHA-256$"

// Bounds of a verifier's iteration count. RFC 7677 asks for 4096 and more;
// the upper bound keeps a slip from costing each login seconds of CPU.
const (
	leastIterations = 4096
	mostIterations  = 1_000_000
)

// checkVerifier says what is wrong with a SCRAM verifier as PostgreSQL writes
// it (RFC 5803 in pg_authid's spelling): SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>,
// all but the count in base64, both keys 32 bytes. It never quotes the text.
func checkVerifier(text string) (why string) {
	const broken = "found a broken SCRAM verifier: "
	rest := strings.TrimPrefix(text, verifierPrefix)
	front, keys, dollar := strings.Cut(rest, "$")
	count, salt, colon := strings.Cut(front, ":")
	stored, server, both := strings.Cut(keys, ":")
	if !dollar || !colon || !both {
		return broken + "its form is SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>"
	}
	n, err := strconv.Atoi(count)
	switch {
	case err != nil || strconv.Itoa(n) != count:
		return broken + "the iteration count is not a number"
	case n < leastIterations:
		return broken + "fewer than 4096 iterations"
	case n > mostIterations:
		return broken + "more than 1000000 iterations"
	}
	if b, err := base64.StdEncoding.Strict().DecodeString(salt); err != nil || len(b) == 0 || len(b) > 1024 {
		return broken + "the salt is not base64 of 1 to 1024 bytes"
	}
	for _, key := range []struct{ name, text string }{{"StoredKey", stored}, {"ServerKey", server}} {
		if b, err := base64.StdEncoding.Strict().DecodeString(key.text); err != nil || len(b) != 32 {
			return broken + key.name + " is not base64 of 32 bytes"
		}
	}
	return ""
}
