// Package congestion is a crowd of clients that share few server connections,
// and what each of them must see: its own rows, parameters, statements,
// notifications, temporary tables and locks, and nobody else's.
//
// Everything a client sends carries a tag that nobody else has: who it is, its
// how many'th connection it is, its how many'th request. Every message it gets is
// compared with PostgreSQL's answer, so the verdict depends on what was said and
// never on when. What a crowd under attack may be told besides (no server
// connection is free, the server was lost) is counted, and bounded by what the
// attackers did.
//
// It speaks to anything that speaks the protocol and knows nothing of gateways.
package congestion
