// Package scram is SCRAM-SHA-256 (RFC 5802, RFC 7677) as PostgreSQL speaks it
// (documentation, "SCRAM-SHA-256 Authentication"), with and without channel binding:
// what a writer has to prove to the gateway, and what the gateway proves to an upstream.
//
// The exchange itself is github.com/xdg-go/scram's. This package adds what that
// library leaves to its user: PostgreSQL's spelling of a verifier, mock
// authentication, PostgreSQL's reading of SASLprep, and the bounds that a peer who
// has not proved anything yet must keep to. Errors never quote a peer's message.
//
// User names in SCRAM messages carry no meaning: PostgreSQL takes the name of the
// startup message, clients send anything ("" mostly), and so does this package.
//
// It owns no socket, no goroutine and no state that outlives an exchange, and must
// not know whose exchange it is or how its messages are framed.
package scram

// Mechanism is the name of the mechanism without channel binding.
const Mechanism = "SCRAM-SHA-256"

// DefaultIterations is PostgreSQL's scram_iterations, and what a mock verifier shows.
const DefaultIterations = 4096

// Bounds of an iteration count, in a verifier and in what a server asks of Client.
//
// RFC 7677 (section 4) sets the least. A server that nobody has verified could ask
// for a single iteration to get a proof that is cheap to guess a password from. The
// most is some hundred milliseconds of CPU: a hostile server that could ask for
// 2^31 would hold a core for ten minutes with each login.
const (
	MinIterations = 4096
	MaxIterations = 1_000_000
)

const (
	keyLen = 32 // of SHA-256

	// saltLen is PostgreSQL's SCRAM_DEFAULT_SALT_LEN.
	saltLen = 16
	// maxSalt bounds a salt read from a verifier or a server.
	maxSalt = 1024

	// maxClientMessage is PostgreSQL's PG_MAX_SASL_MESSAGE_LENGTH.
	maxClientMessage = 1024
	// maxServerMessage leaves room for the longest nonce a Server answers and for maxSalt in base64.
	maxServerMessage = 4096
)
