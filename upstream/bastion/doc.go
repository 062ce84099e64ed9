// Package bastion forwards connections through SSH servers. One SSH connection
// for each bastion (host, port, user, key, pins and the jump hosts before it) is
// shared by all upstreams behind it.
//
// A forwarded connection is one end of a Unix socket pair, so that deadlines,
// event loops and TLS work on it as on any socket; two goroutines pump between
// the other end and the SSH channel.
//
// The Set owns every SSH connection and goroutine; its Close ends and awaits
// them. Whoever called Dial owns the connection that it returned. No lock is
// held while the network is waited for: a bastion that is dead delays nobody but
// those behind it.
//
// It knows no Postgres and no TLS.
package bastion
