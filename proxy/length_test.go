package proxy

import (
	"strconv"
	"strings"
	"testing"

	"pggateway/wire"
)

func TestOversized(t *testing.T) {
	t.Parallel()
	for typ := range 256 {
		typ := byte(typ)
		if !frontend(typ) {
			continue
		}
		want := strings.IndexByte("BdFPQ", typ) < 0
		if got := oversized(typ, maxSmall+2); got != want {
			t.Errorf("%q of %d bytes: %v, want %v", typ, maxSmall+2, got, want)
		}
		if oversized(typ, maxSmall+1) {
			t.Errorf("%q of %d bytes is too long", typ, maxSmall+1)
		}
	}
}

// TestImpossibleLengths ends the client, and the server's transaction with it,
// without sending the server anything of the message.
func TestImpossibleLengths(t *testing.T) {
	t.Parallel()
	name := strings.Repeat("n", maxSmall)
	for what, want := range map[string]string{
		"D(" + name + ")":           "!FATAL:08P01", // Describe
		"C(" + name + ")":           "!FATAL:08P01", // Close
		"E(" + name + ")":           "!FATAL:08P01", // Execute
		"S(" + name + ")":           "!FATAL:08P01", // Sync
		`raw(Q\x00\x00\x00\x03)`:    "!FATAL:08P01",
		`raw(Q\xff\xff\xff\xff)`:    "!FATAL:08P01",
		`raw(Q\x80\x00\x00\x00)`:    "!FATAL:08P01",
		`raw(Q\x40\x00\x00\x00)`:    "!FATAL:54000",
		`raw(d\x7f\xff\xff\xff)`:    "!FATAL:54000",
		`raw(\x00\x00\x00\x00\x04)`: "!FATAL:08P01",
		"raw(" + string(wire.ReadyForQuery) + `\x00\x00\x00\x05I)`: "!FATAL:08P01",
	} {
		head, _, _ := strings.Cut(what, strings.Repeat("n", 100))
		for i, before := range []string{"", `
			A> Q(begin)
			1< Q(begin)
			1> C(BEGIN) Z(T)
			A< C(BEGIN) Z(T)
		`} {
			after := ""
			if before != "" {
				after = "\n1< X\n1 closed"
			}
			play{name: head + strconv.Itoa(i), text: before + "\nA> " + what + "\nA< " + want + "\nA closed" + after}.run(t)
		}
	}
}
