package proxy

import (
	"slices"

	"pggateway/wire"
)

// restore is how far a session is with giving its startup parameters back to a
// server that was told RESET or DISCARD ALL. In PostgreSQL these return to what
// the startup message asked for; the server here was started by the gateway and
// returns to its own defaults. So the ReadyForQuery after them is withheld until
// the parameters are what the client expects, and it has been told so.
type restore uint8

const (
	restoreNone   restore = iota
	restoreWanted         // the command tag has come
	restoreDue            // its ReadyForQuery has come, and is withheld
	restoreHeld           // so it is until no cancel request can hit what the server is to be told
	restoring             // the server is being told
)

// withholds decides whether the client's ReadyForQuery has to wait.
func (s *session) withholds(b *backend) bool {
	switch {
	case s.restore != restoreWanted || !b.ready:
		return false
	case len(s.startup.settings) == 0 || b.tx == wire.TxFailed: // the latter undoes the RESET
		s.restore = restoreNone
		return false
	}
	s.restore = restoreDue
	return true
}

// restoreStartup gives the server those startup parameters again that were reset
// and are at their defaults. The others the client has set since. A cancel request
// that is on its way is awaited: what it would end here, and the transaction with
// it, nobody asked to be ended.
func (s *session) restoreStartup() {
	b := s.backend
	s.restore, s.setup, b.ready = restoring, true, false
	s.stream.Pause()
	if b.cancels > 0 {
		s.restore = restoreHeld
		return
	}
	msg := s.host.loop.Chunk(1024)
	for _, p := range s.startup.settings {
		if c := s.carried; !c.all && !slices.Contains(c.resets, p.Name) {
			continue
		}
		msg = appendOwn(msg, &b.requests, restoreSQL, p.Name, p.Value)
	}
	b.send(appendOwnSync(msg, &b.requests))
	b.expectSoon()
	s.host.loop.Recycle(msg)
}

// restored tells the client what was withheld.
func (s *session) restored() {
	s.restore = restoreNone
	s.carried.resets, s.carried.all = s.carried.resets[:0], false
	s.fresh, s.backend.unnamed = true, true // what is unnamed on the server now is the gateway's
	s.reply(wire.AppendReadyForQuery(s.host.scratch[:0], s.backend.tx))
}
