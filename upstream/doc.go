// Package upstream opens connections to real databases: the way there (TCP from
// one address, or through a bastion), TLS, and the login with the gateway's own
// credentials, and cancel requests by the same way.
//
// It is blocking code with a deadline for every stage. What it hands out is
// logged in and owned by whoever got it; it keeps no socket and no goroutine of
// its own. It must not know what connections are used for: no pool, no client
// session, no grants.
package upstream
