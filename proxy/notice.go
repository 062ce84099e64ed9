package proxy

import (
	"errors"
	"fmt"
	"time"

	"pggateway/pool"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// notice tells clients that have to wait for a server connection how things are,
// each once in a wait.
func (h *host) notice() {
	detail := "" // the same for all who are told now
	h.pool.Overdue(h.limits.waitNotice, func(t pool.Taker[*backend], waited time.Duration) {
		if detail == "" {
			detail = h.situation()
		}
		t.(*session).notice(waited, detail)
	})
}

// notice is said between messages: who waits has had the whole answer to what it
// sent before. One that is not logged in yet expects nothing but an answer to its
// proof, so that has to come first.
func (s *session) notice(waited time.Duration, detail string) {
	if s.stream.Held() > 0 {
		return // it would not be read
	}
	var msg []byte
	if s.greeting {
		msg = s.appendAuthenticated(msg)
	}
	s.reply(wire.AppendNoticeResponse(msg, &wire.Fields{
		Severity: "NOTICE", Code: sqlstate.SuccessfulCompletion,
		Message: fmt.Sprintf("waiting for a server connection to %q for %s now", s.host.publicName(), waited.Round(100*time.Millisecond)),
		Detail:  detail,
	}))
}

// situation says what the pool does.
func (h *host) situation() string {
	c := h.pool.Counts()
	pinned := 0
	for _, b := range h.backends {
		if b.session != nil && b.session.pin != pinNone {
			pinned++
		}
	}
	text := fmt.Sprintf("The pool has at most %d connections: %d in use, %d of these pinned to their clients, %d being opened; waiting clients: %d.",
		h.upstream.Pool.Size, c.Busy, pinned, c.Opening, c.Waiting)
	var public interface{ Public() string }
	if errors.As(h.pool.Failure(), &public) {
		text += " The latest attempt to open one failed: " + public.Public()
	}
	return text
}

// publicName is what clients know the upstream by: a pattern is the
// configuration's business.
func (h *host) publicName() string {
	if h.upstream.Pattern() {
		return h.key.database
	}
	return h.upstream.Name
}
