package upstream

import (
	"errors"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"pggateway/sqlstate"
	"pggateway/upstream/login"
	"pggateway/wire"
)

// versions remembers which protocol version a target's servers speak. PostgreSQL
// negotiates: asked for 3.2, it offers what it has. What stands in front of a
// database may instead refuse a version that it does not know, or hang up; it is
// asked once more, for 3.0, and when that is answered, for 3.0 from then on.
type versions struct {
	known atomic.Uint32 // 0, Version30: ask for that, or Version32: it was answered
}

// next is what to ask for.
func (v *versions) next() uint32 {
	if v.known.Load() == wire.Version30 {
		return wire.Version30
	}
	return wire.Version32
}

// heard notes how a server answered that version, and reports whether it should be
// asked for 3.0 instead.
func (v *versions) heard(version uint32, e *Error) (again bool) {
	if e == nil || !errors.As(e, new(*login.StartupError)) {
		if e == nil || e.Stage == StageLogin && errors.As(e, new(*login.ServerError)) {
			v.known.CompareAndSwap(0, version)
		}
		return false
	}
	if version == wire.Version30 || !refusesVersion(e) {
		return false
	}
	// Who answered 3.2 before has most likely another reason now; but it may have
	// moved behind a proxy, so the next connection is in doubt again.
	return !v.known.CompareAndSwap(wire.Version32, 0)
}

// refusesVersion reports whether what a server answered the StartupMessage with may
// be about its version. To be wrong costs a connection.
func refusesVersion(err error) bool {
	var server *login.ServerError
	if !errors.As(err, &server) {
		return ended(err)
	}
	switch code := server.Fields.Code; {
	case code == "", code == sqlstate.FeatureNotSupported, strings.HasPrefix(code, "08"), strings.HasPrefix(code, "XX"):
		return true
	}
	return strings.Contains(strings.ToLower(server.Fields.Message), "protocol")
}

// spoke30 notes that a server which refused 3.2 answers 3.0.
func (t *Target) spoke30(e *Error) {
	if t.versions.known.CompareAndSwap(0, wire.Version30) {
		t.log.Info("server does not take protocol 3.2, and is asked for 3.0 from now on", zap.Error(e.Err))
	}
}
