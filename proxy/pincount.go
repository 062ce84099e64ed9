package proxy

import (
	"sync/atomic"

	"go.uber.org/zap"

	"pggateway/wire"
)

// pinCounts counts the sessions that keep their server connection between
// transactions, by reason. Loops count, anybody reads.
type pinCounts [pinKinds]struct{ current, total atomic.Int64 }

// PinCount is how many sessions one reason has pinned to their server connections:
// now, and since the start. A session with several reasons counts for one of them.
type PinCount struct {
	Reason         string
	Current, Total int64
}

// Pins counts pinned sessions, for every reason there is, in a fixed order. It may
// be called from any goroutine.
func (p *Proxy) Pins() []PinCount {
	var out []PinCount
	for reason := pinNone + 1; reason < pinKinds; reason++ {
		c := &p.pins[reason]
		out = append(out, PinCount{Reason: reason.String(), Current: c.current.Load(), Total: c.total.Load()})
	}
	return out
}

// pinned notes that the reason for which a session keeps its backend, if any, was
// another before.
func (h *host) pinned(s *session, before pin) {
	if before != pinNone {
		h.proxy.pins[before].current.Add(-1)
	}
	if s.pin != pinNone {
		h.proxy.pins[s.pin].current.Add(1)
		h.proxy.pins[s.pin].total.Add(1)
	}
	switch {
	case s.pin == pinMode || before == pinMode:
	case s.pin == pinNone:
		h.log.Debug("session unpinned", zap.String("writer", s.writer.Name), zap.Stringer("reason", before))
	default:
		h.log.Debug("session pinned", zap.String("writer", s.writer.Name), zap.Stringer("reason", s.pin))
	}
}

// uncarried notes that parameters were set which cannot be carried to another
// server connection: refused is the server's error, or nil when their values can
// only be set where they are.
func (h *host) uncarried(s *session, names []string, refused *wire.Fields) {
	fields := []zap.Field{zap.String("writer", s.writer.Name), zap.Strings("parameters", names)}
	if refused != nil {
		fields = append(fields, zap.String("sqlstate", refused.Code), zap.String("error", refused.Message))
	}
	h.log.Debug("parameters cannot be carried", fields...)
}
