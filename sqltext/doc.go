// Package sqltext reads off SQL texts what the command tag of a statement does
// not say: which parameter a SET is about, which statement a DEALLOCATE.
//
// It knows PostgreSQL's lexical structure and the first words of a few commands.
// It is not a parser and decides nothing about access: whoever uses it either
// learns something certain or is told that a text is unclear, and then has to
// reckon with anything.
//
// Texts are bytes in the client's encoding, in which every byte below 0x80 must
// stand for the ASCII character. That holds for all encodings of PostgreSQL but
// those that Transparent names as opaque.
package sqltext

import "strings"

// Transparent reports whether texts in this client_encoding can be read here. In
// the others a byte that looks like a quote's escape may be half a character
// ("Character Set Support": the encodings that no server can use).
func Transparent(encoding string) bool {
	switch strings.NewReplacer("_", "", "-", "", " ", "").Replace(strings.ToLower(encoding)) {
	case "sjis", "mskanji", "shiftjis", "win932", "windows932", "shiftjis2004",
		"big5", "win950", "windows950",
		"gbk", "win936", "windows936", "gb18030",
		"uhc", "win949", "windows949", "johab":
		return false
	}
	return true
}
