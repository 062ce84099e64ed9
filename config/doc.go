// Package config turns gateway.yaml into a typed, validated, immutable Config,
// and every mistake in it into a message with file:line:col, the path of the
// key, what was found, what is allowed and the nearest valid spelling.
//
// It is plain data and knows no other package of this module: it opens no
// socket, resolves no secret and asks no clock.
package config
