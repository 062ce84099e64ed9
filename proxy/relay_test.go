package proxy

import (
	"bytes"
	"context"
	"slices"
	"testing"
	"time"

	"pggateway/config"
	"pggateway/netloop"
	"pggateway/wire"
)

// replicate sends a client in that replicates.
func (r *rig) replicate(mode replication, params ...wire.Parameter) *end {
	near, far := pair(r.t)
	r.proxy.admit(&client{
		transport: netloop.NewTransport(near), writer: r.writer, access: r.access, upstream: r.upstream,
		database: "orders", replication: mode, accepted: time.Now(), seat: r.proxy.door.admission.seat(),
		startup: &wire.Startup{Version: wire.Version30, Parameters: append([]wire.Parameter{{Name: "user", Value: "sync"}}, params...)},
	})
	return far
}

// replicating is a client that is in, and its server.
func replicating(t testing.TB, tune func(*config.Config, *config.Upstream)) (*rig, *end, *end) {
	t.Helper()
	r := newRig(t, tune)
	a := r.replicate(logicalReplication)
	a.greeted()
	return r, a, r.server()
}

// onRelay runs fn on the loop of the only relay.
func (r *rig) onRelay(fn func(*relay)) {
	r.t.Helper()
	r.proxy.mu.Lock()
	var only *relay
	for only = range r.proxy.relays {
	}
	r.proxy.mu.Unlock()
	if only == nil {
		r.t.Fatal("nobody replicates")
	}
	done := make(chan struct{})
	only.loop.Post(func() { defer close(done); fn(only) })
	<-done
}

func send(t *testing.T, from, to *end, text string, frontend bool) {
	t.Helper()
	b := frames(t, text, frontend)
	from.put(b)
	to.want(b)
}

func TestRelayGreeting(t *testing.T) {
	r := newRig(t, nil)
	a := r.replicate(logicalReplication, wire.Parameter{Name: "replication", Value: "database"},
		wire.Parameter{Name: "TimeZone", Value: "UTC"}, wire.Parameter{Name: "options", Value: "-c datestyle=ISO"})
	if got := a.greeted(); got["server_version"] != "15.0" {
		t.Errorf("greeted with %v", got)
	}
	want := []wire.Parameter{{Name: "replication", Value: "database"}, {Name: "datestyle", Value: "ISO"}, {Name: "timezone", Value: "UTC"}}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !slices.Equal(r.asked, want) {
		t.Errorf("the server was asked with %v, want %v", r.asked, want)
	}
}

func TestRelayConversation(t *testing.T) {
	_, a, s := replicating(t, nil)
	send(t, a, s, "Q(IDENTIFY_SYSTEM)", true)
	send(t, s, a, "T D(x) C(IDENTIFY_SYSTEM) Z", false)

	// Refused here, in its turn; the next command is served.
	a.put(frames(t, "Q(select 1)", true))
	a.wantError("ERROR", "42501")
	a.want(frames(t, "Z", false))
	a.put(frames(t, "P(|select 1) B D E d(x) Q(IDENTIFY_SYSTEM) H", true))
	a.wantError("ERROR", "08P01")
	a.quiet()
	a.put(frames(t, "S", true))
	a.want(frames(t, "Z", false))
	a.put(frames(t, "F(x)", true))
	a.wantError("ERROR", "08P01")
	a.want(frames(t, "Z", false))
	a.put(frames(t, "d(left over) c f(x) S H", true))
	a.want(frames(t, "Z", false))
	s.quiet()

	// Both ways at once, and the end of both halves.
	send(t, a, s, "Q(START_REPLICATION 0/0)", true)
	send(t, s, a, "W(\x00\x00\x00) d(change)", false)
	send(t, a, s, "d(feedback)@0:7", true)
	send(t, s, a, "d(another)@0:9", false)
	send(t, a, s, "d(feedback)@7:", true)
	send(t, s, a, "d(another)@9:", false)
	send(t, a, s, "c", true)
	a.put(frames(t, "Q(select 1) Q(IDENTIFY_SYSTEM)", true)) // wait for the answer to the first
	s.quiet()
	send(t, s, a, "d(late) c C(COPY 0) Z", false)
	a.wantError("ERROR", "42501")
	a.want(frames(t, "Z", false))
	s.want(frames(t, "Q(IDENTIFY_SYSTEM)", true))
	send(t, s, a, "E(42704) Z", false)
	a.put(frames(t, "X", true))
	s.want(frames(t, "X", true))
	s.closed()
}

// A base backup is sent to the client; one that is incremental begins with data
// from the client.
func TestRelayBaseBackup(t *testing.T) {
	_, a, s := replicating(t, nil)
	send(t, a, s, "Q(UPLOAD_MANIFEST)", true)
	send(t, s, a, "G(\x00\x00\x00)", false)
	send(t, a, s, "d(manifest) c", true)
	send(t, s, a, "C(UPLOAD_MANIFEST) Z", false)
	send(t, a, s, "Q(BASE_BACKUP)", true)
	send(t, s, a, "T D(x) C(SELECT) T C(SELECT) H(\x00\x00\x00) d(nfile)", false)
	a.put(frames(t, "X", true)) // ends it
	s.want(frames(t, "X", true))
	s.closed()
}

func TestRelayViolations(t *testing.T) {
	for name, c := range map[string]struct{ client, code string }{
		"query in COPY":    {"d(x) Q(IDENTIFY_SYSTEM)", "08P01"},
		"sync in COPY":     {"S", "08P01"},
		"unknown message":  {"y(x)", "08P01"},
		"length of 3":      {"raw(d\\x00\\x00\\x00\\x03)", "08P01"},
		"length of 2 GiB":  {"raw(d\\x7f\\xff\\xff\\xff)", "54000"},
		"password message": {"p(x)", "08P01"},
	} {
		t.Run(name, func(t *testing.T) {
			_, a, s := replicating(t, nil)
			send(t, a, s, "Q(START_REPLICATION 0/0)", true)
			send(t, s, a, "W(\x00\x00\x00)", false)
			a.put(frames(t, c.client, true))
			a.wantError("FATAL", c.code)
			a.closed()
		})
	}
	t.Run("query before COPY", func(t *testing.T) {
		_, a, s := replicating(t, nil)
		send(t, a, s, "Q(START_REPLICATION 0/0)", true)
		a.put(frames(t, "Q(IDENTIFY_SYSTEM)", true))
		a.quiet()
		send(t, s, a, "W(\x00\x00\x00)", false)
		a.wantError("FATAL", "08P01")
	})
	t.Run("long command", func(t *testing.T) {
		_, a, _ := replicating(t, nil)
		a.put(message(wire.Query, "SHOW "+string(bytes.Repeat([]byte{'x'}, maxCommand))))
		a.wantError("FATAL", "54000")
	})
}

// What a server says that it was not asked for ends the session.
func TestRelayServerMisbehaves(t *testing.T) {
	for name, said := range map[string]string{
		"data unasked":    "d(x)",
		"ready unasked":   "Z",
		"error unasked":   "E(42704)",
		"unknown":         "y(x)",
		"authentication":  "R(xxxx)",
		"key":             "K(xxxxxxxx)",
		"bad length":      "raw(N\\x00\\x00\\x00\\x03)",
		"ready and wrong": "raw(Z\\x00\\x00\\x00\\x06II)",
	} {
		t.Run(name, func(t *testing.T) {
			_, a, s := replicating(t, nil)
			if name == "authentication" || name == "key" || name == "ready and wrong" {
				send(t, a, s, "Q(IDENTIFY_SYSTEM)", true)
			}
			s.put(frames(t, said, false))
			a.wantError("FATAL", "08006")
			a.closed()
		})
	}
}

func TestRelayServerLost(t *testing.T) {
	t.Run("idle", func(t *testing.T) {
		_, a, s := replicating(t, nil)
		_ = s.Close()
		a.wantError("FATAL", "08006")
		a.closed()
	})
	t.Run("in the middle of a message", func(t *testing.T) {
		_, a, s := replicating(t, nil)
		send(t, a, s, "Q(START_REPLICATION 0/0)", true)
		send(t, s, a, "W(\x00\x00\x00) d(change)@0:8", false)
		s.reset()
		a.closed()
	})
	t.Run("with a word", func(t *testing.T) {
		_, a, s := replicating(t, nil)
		b := wire.AppendErrorResponse(nil, &wire.Fields{Severity: "FATAL", Code: "57P01", Message: "bye"})
		s.put(b)
		_ = s.Close()
		a.want(b)
		a.closed()
	})
}

func TestRelayClientLeaves(t *testing.T) {
	t.Run("streaming", func(t *testing.T) {
		r, a, s := replicating(t, nil)
		send(t, a, s, "Q(START_REPLICATION 0/0)", true)
		send(t, s, a, "W(\x00\x00\x00) d(change)", false)
		a.reset()
		s.want(frames(t, "X", true))
		s.closed()
		eventually(t, "it is forgotten", func() bool { return r.sessions() == 0 })
	})
	t.Run("in the middle of a message", func(t *testing.T) {
		_, a, s := replicating(t, nil)
		send(t, a, s, "Q(START_REPLICATION 0/0)", true)
		send(t, s, a, "W(\x00\x00\x00)", false)
		send(t, a, s, "d(feedback)@0:8", true)
		_ = a.Close()
		s.closed() // not a word in the middle of it
	})
	t.Run("before there is a server", func(t *testing.T) {
		r := newRig(t, nil)
		r.block = make(chan struct{})
		a := r.replicate(logicalReplication)
		_ = a.Close()
		eventually(t, "it is forgotten", func() bool { return r.sessions() == 0 && len(r.logs.FilterMessage("login failed").All()) == 1 })
	})
	t.Run("behind a command", func(t *testing.T) {
		_, a, s := replicating(t, nil)
		send(t, a, s, "Q(DROP_REPLICATION_SLOT a)", true)
		a.put(frames(t, "Q(DROP_REPLICATION_SLOT b) X", true))
		_ = a.Close()
		s.quiet()
		s.put(frames(t, "C(DROP_REPLICATION_SLOT) Z", false))
		s.want(frames(t, "Q(DROP_REPLICATION_SLOT b)", true))
	})
}

func TestRelayUnavailable(t *testing.T) {
	r := newRig(t, nil)
	r.failing(down{})
	a := r.replicate(physicalReplication)
	if f := a.wantError("FATAL", "08001"); f.Detail != (down{}).Public() {
		t.Errorf("%+v", f)
	}
	a.closed()
}

func TestRelayCancel(t *testing.T) {
	r, a, s := replicating(t, nil)
	c := &cancels{asked: make(chan struct{}, 100), arrive: make(chan error)}
	r.onRelay(func(r *relay) { r.conn = c })
	r.proxy.keys.serve(a.key)
	c.none(t) // nothing is running
	send(t, a, s, "Q(START_REPLICATION 0/0)", true)
	r.proxy.keys.serve(wire.CancelKey{PID: a.key.PID, Secret: []byte("nope")})
	c.none(t)
	r.proxy.keys.serve(a.key)
	c.wait(t)
	c.arrive <- nil
}

// Streams end at the next boundary of a message, commands with their answers.
func TestRelayDrain(t *testing.T) {
	r := newRig(t, nil)
	enter := func() (a, s *end) {
		a = r.replicate(logicalReplication)
		a.greeted()
		return a, r.server()
	}
	idle, _ := enter()
	stream, streamServer := enter()
	send(t, stream, streamServer, "Q(START_REPLICATION 0/0)", true)
	send(t, streamServer, stream, "W(\x00\x00\x00) d(whole)", false)
	torn, tornServer := enter()
	send(t, torn, tornServer, "Q(START_REPLICATION 0/0)", true)
	send(t, tornServer, torn, "W(\x00\x00\x00) d(change)@0:8", false)
	busy, busyServer := enter()
	send(t, busy, busyServer, "Q(CREATE_REPLICATION_SLOT s PHYSICAL)", true)

	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	done := make(chan error, 1)
	go func() { done <- r.proxy.Drain(ctx) }()
	for _, a := range []*end{idle, stream} {
		a.wantError("FATAL", "57P01")
		a.closed()
	}
	busy.quiet()
	torn.quiet()
	b := frames(t, "d(change)", false)
	tornServer.put(append(slices.Clone(b[8:]), frames(t, "d(next)", false)...))
	torn.want(b[8:])
	torn.wantError("FATAL", "57P01")
	torn.closed()
	send(t, busyServer, busy, "T D(s) C(CREATE_REPLICATION_SLOT) Z", false)
	busy.wantError("FATAL", "57P01")
	if err := <-done; err != nil {
		t.Errorf("drain: %v", err)
	}
	late := r.replicate(logicalReplication)
	late.wantError("FATAL", "57P01")
}

// A client in the middle of a message that takes nothing more is not waited for.
func TestRelayDrainOfAStuckClient(t *testing.T) {
	r, a, s := replicating(t, nil)
	send(t, a, s, "Q(BASE_BACKUP)", true)
	send(t, s, a, "H(\x00\x00\x00)", false)
	s.fill(message(wire.CopyData, string(make([]byte, 10_000_000))), socketBytes, func() bool {
		held := false
		r.onRelay(func(r *relay) { held = r.client.Held() > 0 })
		return held
	})
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	if err := r.proxy.Drain(ctx); err != nil {
		t.Error(err)
	}
}
