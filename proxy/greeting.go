package proxy

import (
	"errors"

	"pggateway/wire"
)

// greet tells the client that it is logged in, once a backend has the client's
// parameters and has said what became of them.
func (s *session) greet() {
	b := s.backend
	if s.setup {
		return
	}
	if !b.clean() {
		s.fatal(s.unavailable(errors.New("the server was not ready")))
		return
	}
	s.profile.reported = nil
	for _, p := range b.status {
		s.profile.reported = wire.AppendParameterStatus(s.profile.reported, p)
	}
	// Whoever waits to learn the same has no need of a backend any more.
	s.host.welcomeAll(s.profile)
	s.backend = nil
	b.release()
	s.welcome()
}

// appendAuthenticated appends AuthenticationOk, and what comes before it, unless
// the client was told already.
func (s *session) appendAuthenticated(msg []byte) []byte {
	if s.admitted {
		return msg
	}
	s.admitted = true
	msg = append(msg, s.owed...)
	s.owed = nil
	return wire.AppendAuthenticationOK(msg)
}

// welcome sends the greeting and begins to serve.
func (s *session) welcome() {
	s.host.loop.Cancel(s.timer)
	s.timer = nil
	s.greeting = false
	s.heard = s.host.loop.Now()
	msg := s.appendAuthenticated(s.host.loop.Chunk(2048))
	msg = append(msg, s.profile.reported...)
	msg = wire.AppendBackendKeyData(msg, s.key)
	msg = wire.AppendReadyForQuery(msg, wire.TxIdle)
	s.reply(msg)
	s.host.loop.Recycle(msg)
	s.host.loggedIn(s)
	if s.draining {
		s.fatal(faultDraining())
		return
	}
	s.resume()
}
