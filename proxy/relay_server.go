package proxy

import (
	"errors"
	"fmt"

	"pggateway/fault"
	"pggateway/netloop"
	"pggateway/sqlstate"
	"pggateway/upstream"
	"pggateway/wire"
)

// Readable walks what the server sent and forwards it in runs.
func (s *relayServer) Readable() {
	r := (*relay)(s)
	buf := r.loop.Buffer()
	for turn := 0; r.server.More() && !r.ended; turn++ {
		if turn == replyTurns {
			r.server.Yield()
			return
		}
		have := copy(buf, r.held)
		r.drop(&r.held)
		n, err := r.server.Read(buf[have:])
		if err != nil {
			r.lost(err)
			return
		}
		used, err := r.walk(buf[:have+n])
		if err != nil {
			r.lost(err)
			return
		}
		if r.ended {
			return
		}
		if used < have+n {
			r.held = r.loop.Extend(nil, buf[used:have+n])
		}
		if r.turned {
			r.turned = false
			if r.hungup {
				(*relayClient)(r).Hangup()
			}
			if r.resume(); r.ended {
				return
			}
		}
		if r.client.Held() > 0 {
			r.server.Pause() // until the client has read
			return
		}
	}
}

// Flushed lets the client be read again.
func (s *relayServer) Flushed() { (*relay)(s).resume() }

// Hangup is left to be read in its turn: what the server said last comes first.
func (s *relayServer) Hangup() {}

// walk forwards the replies in data and returns how much of it is done with.
// What is left is the beginning of a message that has to be seen whole, or, after
// an error, what cannot be forwarded.
func (r *relay) walk(data []byte) (used int, err error) {
	i := 0
	for i < len(data) {
		if r.due > 0 {
			n := min(r.due, len(data)-i)
			r.due -= n
			i += n
			continue
		}
		if r.draining && r.interruptible() {
			r.reply(data[:i])
			r.fatal(faultDraining())
			return i, nil
		}
		typ, size := wire.Peek(data[i:])
		if size == 0 {
			break
		}
		if size < 0 {
			err = fmt.Errorf("message %q with an impossible length", typ)
			break
		}
		if (typ == wire.ReadyForQuery || typ == wire.ErrorResponse) && size > len(data)-i && size <= maxWhole {
			break
		}
		if err = r.note(typ, data[i+wire.HeaderLen:min(i+size, len(data))]); err != nil {
			break
		}
		r.due = size
	}
	r.reply(data[:i])
	if r.draining && r.due == 0 && r.interruptible() && err == nil {
		r.fatal(faultDraining())
	}
	return i, err
}

// note takes account of one reply. body is whole for ReadyForQuery and for an
// error that is not immense, and what is there for the others.
func (r *relay) note(typ byte, body []byte) error {
	r.told = false
	switch typ {
	case wire.ErrorResponse:
		fields, _ := wire.ParseFields(body)
		r.told = fields.Severity == "FATAL" || fields.Severity == "PANIC"
		if !r.told && !r.asked {
			return unasked(typ)
		}
		r.streaming, r.pouring = false, false
		return nil
	case wire.NoticeResponse, wire.ParameterStatus, wire.NotificationResponse:
		return nil
	}
	if !r.asked {
		return unasked(typ)
	}
	switch typ {
	case wire.CopyData, wire.CopyDone, wire.RowDescription, wire.DataRow, wire.CommandComplete, wire.EmptyQueryResponse:
	case wire.CopyBothResponse, wire.CopyInResponse:
		r.streaming, r.turned = true, true
	case wire.CopyOutResponse:
		r.pouring, r.turned = true, true
	case wire.ReadyForQuery:
		if len(body) != 1 {
			return fmt.Errorf("malformed ReadyForQuery")
		}
		r.tx = body[0]
		r.asked, r.turned = false, true
	default:
		return fmt.Errorf("unknown message %q", typ)
	}
	return nil
}

// faultLost says what is known of a client's work when its server is gone.
func (r *relay) faultLost(cause error) *fault.Fault {
	f := fault.New(fault.Server, sqlstate.ConnectionFailure, fmt.Sprintf("connection to upstream %q was lost", r.name())).Because(cause)
	switch {
	case r.asked && (r.streaming || r.pouring):
		return f.WithDetail("The replication stream has ended before its end.")
	case r.asked:
		return f.WithDetail("A command was in progress; whether it took effect is unknown.")
	}
	return f
}

// unavailable is what a client is told when it gets no server connection.
func (r *relay) unavailable(err error) *fault.Fault {
	var refused interface {
		Parameter() (wire.Fields, bool)
	}
	if errors.As(err, &refused) {
		if fields, ok := refused.Parameter(); ok {
			// The client's own parameters: the server's words, as without a gateway.
			f := fault.New(fault.Client, fields.Code, fields.Message).Because(err)
			f.Detail, f.Hint = fields.Detail, fields.Hint
			return f
		}
	}
	f := fault.New(fault.Server, sqlstate.UnableToConnect,
		fmt.Sprintf("could not connect to upstream %q for replication", r.name())).Because(err)
	var public interface{ Public() string }
	if errors.As(err, &public) {
		f.Detail = public.Public()
	}
	return f
}

// name is the upstream's, as the client may know it: a pattern is the
// configuration's business.
func (r *relay) name() string {
	if r.upstream.Pattern() {
		return r.database
	}
	return r.upstream.Name
}

var (
	_ netloop.Handler = (*relayServer)(nil)
	_ Opener          = (*upstream.Target)(nil)
)
