package proxy

import "pggateway/wire"

// maxSmall is how long a message may be that carries no more than a name, its
// length included and its type not (PQ_SMALL_MESSAGE_LIMIT). From version 14
// PostgreSQL closes the connection without a word when one is longer; no client
// is to lose a server connection in that way, least of all without a reason.
const maxSmall = 10000

// oversized reports whether a message of this type may not have this size.
func oversized(typ byte, size int) bool {
	if size-1 <= maxSmall {
		return false
	}
	switch typ {
	case wire.Bind, wire.CopyData, wire.FunctionCall, wire.Parse, wire.Query:
		return false
	}
	return true
}
