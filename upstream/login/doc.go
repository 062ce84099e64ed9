// Package login is the authentication exchange on a stream that is connected to a
// server (PostgreSQL documentation, "Message Flow", "Start-up"): from the
// StartupMessage to the first ReadyForQuery.
//
// The server is not trusted. It is answered only with what the credential and the
// stream allow (see Params), the credential is fetched only when a request for it
// has passed those checks, and the number and size of its messages are bounded.
//
// The package must not know how the stream came about, where a password is kept or
// what a token is made of. The stream is its caller's: Do sets its deadline when
// its context ends, and closes it never. Do starts no goroutine of its own.
package login
