// Package pool decides who gets which connection and when connections are
// opened and closed: waiters in the order they came, direct hand-over, a size,
// a rate, idle and lifetime limits, generations and back-off.
//
// A Pool is generic: it knows no PostgreSQL, no network and no clock, takes no
// lock and starts no goroutine. It belongs to one event loop, whose goroutine
// makes every call; the Owner opens and closes the connections.
package pool
