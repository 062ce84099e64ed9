// Package protocol plays protocol scripts: conversations between clients and a
// server, message by message, written down in a small text format (see
// e2e/testdata/protocol/README.md).
//
// A script has no recorded answers. It is played against PostgreSQL itself, and
// everything the server says is written down as a trace; played again through a
// gateway, it must give the same trace. What a script says about the answers
// keeps it from passing without having exercised anything.
package protocol
