// Package wire knows the bytes of PostgreSQL's frontend/backend protocol,
// versions 3.0 and 3.2 (PostgreSQL documentation, chapter "Frontend/Backend
// Protocol"): how frames follow each other, the startup packets, and how to
// build and to peek into the few messages the gateway itself speaks.
//
// It owns no socket, logs nothing and imports no other package of this module.
// Everything that appends takes and returns the slice, allocates nothing when
// the slice has room, and keeps nothing of its arguments.
package wire
