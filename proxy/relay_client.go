package proxy

import (
	"fmt"
	"io"

	"go.uber.org/zap"

	"pggateway/fault"
	"pggateway/netloop"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// maxCommand is the longest replication command, its header included. It is held
// until it is whole, in less than a loop's buffer.
const maxCommand = 32 << 10

// Readable takes what the client sent.
func (c *relayClient) Readable() {
	r := (*relay)(c)
	buf := r.loop.Buffer()
	for turn := 0; r.client.More() && !r.ended; turn++ {
		if turn == requestTurns {
			r.client.Yield()
			return
		}
		have := copy(buf, r.in)
		r.drop(&r.in)
		n, err := r.client.Read(buf[have:])
		if err != nil {
			r.gone(err)
			return
		}
		r.received += int64(n)
		if !r.advance(buf[:have+n]) {
			return
		}
	}
}

// Flushed lets the server be read again.
func (c *relayClient) Flushed() {
	r := (*relay)(c)
	if r.server != nil {
		r.server.Resume()
	}
	r.resume()
}

// Hangup ends a session whose client is not there to take what is to come.
// Otherwise the end is read in its turn, after the commands that came before it.
func (c *relayClient) Hangup() {
	r := (*relay)(c)
	r.hungup = true
	if r.greeting() || r.client.Held() > 0 || r.asked && r.interruptible() {
		r.gone(io.EOF)
	}
}

// advance takes data as far as it can be taken now and holds the rest. It
// reports whether more should be read.
func (r *relay) advance(data []byte) bool {
	used, wait := r.take(data)
	if r.ended {
		return false
	}
	if used < len(data) {
		r.in = r.loop.Extend(r.in, data[used:])
	}
	if wait || r.blocked() {
		r.client.Pause()
		return false
	}
	return true
}

// blocked reports whether the client is not to be read until a socket has taken
// what is held back for it.
func (r *relay) blocked() bool {
	return r.ended || r.greeting() || r.server.Held() > 0 || r.client.Held() > maxOwed
}

// resume goes on with what was held, and with reading.
func (r *relay) resume() {
	if r.blocked() {
		return
	}
	if len(r.in) > 0 {
		held := r.in
		r.in = nil
		more := r.advance(held)
		r.loop.Recycle(held)
		if !more {
			return
		}
	}
	r.client.Resume()
}

// take walks the messages in data. COPY goes on as it comes, a command when it is
// whole and permitted and nothing else is being answered. wait says that what is
// left has to wait for the server's, or for the client to read.
func (r *relay) take(data []byte) (used int, wait bool) {
	run, i := 0, 0 // data[run:i] is to be sent on
	for i < len(data) && !r.ended {
		if r.rest > 0 {
			n := min(r.rest, len(data)-i)
			r.rest -= n
			i += n
			if r.discard {
				run = i
			}
			continue
		}
		typ, size := wire.Peek(data[i:])
		if size == 0 {
			break
		}
		if size < 0 || !frontend(typ) {
			r.pass(data[run:i])
			r.fatal(malformed(data[i:]))
			return i, false
		}
		r.discard = false
		switch typ {
		case wire.CopyData, wire.CopyDone, wire.CopyFail:
			// Without a command they are left over from a COPY that failed.
			if r.discard = !r.asked || r.skipping; r.discard {
				r.pass(data[run:i])
				run = i
			} else {
				r.over = r.over || typ != wire.CopyData
			}
		default:
			r.pass(data[run:i])
			run = i
			if r.skipping && typ != wire.Sync && typ != wire.Terminate {
				r.discard = true
				break
			}
			if r.asked && r.streaming && !r.over && typ != wire.Terminate {
				r.fatal(fault.New(fault.Client, sqlstate.ProtocolViolation,
					fmt.Sprintf("unexpected message type 0x%02X during COPY", typ)))
				return i, false
			}
			busy := r.asked || r.client.Held() > 0
			if typ == wire.Terminate {
				busy = !r.interruptible()
			}
			if busy {
				return i, true
			}
			if typ == wire.Query {
				if size > maxCommand {
					r.fatal(fault.New(fault.Client, sqlstate.ProgramLimitExceeded, "replication command is too long").
						WithDetail(fmt.Sprintf("A command may be at most %d bytes long.", maxCommand)))
					return i, false
				}
				if size > len(data)-i {
					return i, false
				}
			}
			r.discard = r.answer(typ, data[i:min(i+size, len(data))])
		}
		r.rest = size
	}
	if !r.ended {
		r.pass(data[run:i])
	}
	return i, false
}

// answer handles a message that is not of a COPY, while the server is ready. It
// reports whether the message was answered here and goes no further. message is
// whole where it is a Query.
func (r *relay) answer(typ byte, message []byte) bool {
	switch typ {
	case wire.Terminate:
		r.end("logout", nil)
		r.client.Close()
	case wire.Query:
		if text := message[wire.HeaderLen:]; len(text) > 0 && text[len(text)-1] == 0 && isReplicationCommand(text[:len(text)-1]) {
			r.asked, r.streaming, r.pouring, r.over = true, false, false, false
			return false
		}
		r.refuse(fault.New(fault.Policy, sqlstate.InsufficientPrivilege, "permission denied: not a replication command").
			WithHint("On this connection one replication command may be sent at a time, without a semicolon before its end."), true)
	case wire.FunctionCall:
		r.refuse(fault.New(fault.Client, sqlstate.ProtocolViolation,
			"fastpath function calls not supported in a replication connection"), true)
	case wire.Sync:
		r.skipping = false
		var ready [6]byte
		r.reply(wire.AppendReadyForQuery(ready[:0], r.tx))
	case wire.Flush:
	default:
		r.skipping = true
		r.refuse(fault.New(fault.Client, sqlstate.ProtocolViolation,
			"extended query protocol not supported in a replication connection"), false)
	}
	return true
}

// refuse answers a request with an error. The session lives on.
func (r *relay) refuse(f *fault.Fault, ready bool) {
	r.log.Warn("request refused", zap.String("writer", r.writer.Name), zap.String("side", string(f.Side)), zap.String("sqlstate", f.Code), zap.Error(f))
	msg := wire.AppendErrorResponse(nil, faultFields("ERROR", f))
	if ready {
		msg = wire.AppendReadyForQuery(msg, r.tx)
	}
	r.reply(msg)
}

var _ netloop.Handler = (*relayClient)(nil)
