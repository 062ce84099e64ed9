package scram

import (
	"github.com/xdg-go/stringprep"
	"golang.org/x/text/unicode/norm"
)

// profile is RFC 4013 without its normalization step, in PostgreSQL's order
// (pg_saslprep in src/common/saslprep.c), which differs from stringprep.SASLprep's
// in two ways that change keys: U+200B is a space before it is mapped to nothing,
// and prohibited characters are looked for before normalization, not after it.
var profile = stringprep.Profile{
	Mappings:  []stringprep.Mapping{{'\u200b': {' '}}, spaces, stringprep.TableB1},
	Prohibits: stringprep.SASLprep.Prohibits,
	CheckBiDi: true,
}

// spaces are the non-ASCII space characters of RFC 3454's table C.1.2.
var spaces = stringprep.Mapping{
	0x00a0: {' '}, 0x1680: {' '}, 0x2000: {' '}, 0x2001: {' '}, 0x2002: {' '}, 0x2003: {' '},
	0x2004: {' '}, 0x2005: {' '}, 0x2006: {' '}, 0x2007: {' '}, 0x2008: {' '}, 0x2009: {' '},
	0x200a: {' '}, 0x202f: {' '}, 0x205f: {' '}, 0x3000: {' '},
}

// prepared is the form of a password that goes into the key derivation. A
// password that SASLprep does not allow is used byte by byte, as PostgreSQL and
// libpq do.
func prepared(password string) string {
	if isASCII(password) { // pg_saslprep leaves it alone, control characters included
		return password
	}
	mapped, err := profile.Prepare(password)
	if err != nil || mapped == "" {
		return password
	}
	return norm.NFKC.String(mapped)
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= 0x80 {
			return false
		}
	}
	return true
}
