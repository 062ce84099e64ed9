package proxy

import (
	"testing"
	"time"

	"pggateway/config"
	"pggateway/sqlstate"
	"pggateway/wire"
)

func TestMaxClients(t *testing.T) {
	conf := testConfig()
	conf.Limits.MaxClients = 2
	td := openDoor(t, conf)
	one, two := td.dial(t, plain), td.dial(t, allow)
	one.login("sync", "orders")
	two.login("sync", "orders")

	refused := func(listener int, secured bool) {
		t.Helper()
		p := td.dial(t, listener)
		if secured {
			p.send(sslRequest)
			p.answer()
			p.secure()
		}
		p.send(startup(wire.Version30, "user", "sync", "database", "orders"))
		if f := p.fatal(); f.Code != sqlstate.TooManyConnections || f.Message != "sorry, too many clients already" {
			t.Errorf("refused with %+v", f)
		}
	}
	refused(plain, false)
	refused(require, true)

	p := td.dial(t, plain) // a cancel has to work all the more
	p.send(wire.AppendCancelRequest(nil, wire.CancelKey{PID: 1, Secret: []byte{1, 2, 3, 4}}))
	<-td.cancels
	p.closed()

	one.conn.Close()
	eventually(t, "a seat becomes free", func() bool { return td.admission.taken.Load() == 1 })
	td.dial(t, plain).login("sync", "orders")
	refused(plain, false)
}

// A connection has its seat from accept, not from login.
func TestSeatsCountFromAccept(t *testing.T) {
	conf := testConfig()
	conf.Limits.MaxClients = 1
	td := openDoor(t, conf)
	silent := td.dial(t, plain)
	eventually(t, "the silent connection is seated", func() bool { return td.admission.taken.Load() == 1 })
	p := td.dial(t, plain)
	p.send(startup(wire.Version30, "user", "sync"))
	if f := p.fatal(); f.Code != sqlstate.TooManyConnections {
		t.Errorf("refused with %+v", f)
	}
	silent.login("sync", "orders")
}

func TestWriterMaxClients(t *testing.T) {
	td := openDoor(t, testConfig())
	one := td.dial(t, plain)
	one.login("single", "orders")
	p := td.dial(t, plain)
	p.send(startup(wire.Version30, "user", "single", "database", "orders"))
	p.prove(password)
	if f := p.fatal(); f.Code != sqlstate.TooManyConnections || f.Message != `too many connections for role "single"` {
		t.Errorf("refused with %+v", f)
	}
	td.dial(t, plain).login("sync", "orders") // others are not concerned
	one.conn.Close()
	eventually(t, "the writer's place becomes free", func() bool { return td.identities.byName["single"].clients.Load() == 0 })
	td.dial(t, plain).login("single", "orders")
}

// With as many logins in progress as there may be, the next one waits for its
// turn instead of being refused.
func TestCrowdedLoginsWait(t *testing.T) {
	td := openDoor(t, testConfig())
	for range cap(td.admission.logins) {
		if !td.admission.tryLogin() {
			t.Fatal("no place for a login in an empty house")
		}
	}
	p := td.dial(t, plain)
	p.send(startup(wire.Version30, "user", "sync", "database", "orders"))
	_ = p.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, _, err := p.r.Message(100); err == nil {
		t.Fatal("answered although too many logins are in progress")
	}
	if td.logs.FilterMessage("too many logins in progress, accepting waits").Len() != 1 {
		t.Error("nobody is told")
	}
	for range cap(td.admission.logins) {
		td.admission.endLogin()
	}
	_ = p.conn.SetReadDeadline(time.Now().Add(patience))
	p.prove(password)
	<-td.clients
}

func TestSeat(t *testing.T) {
	a := newAdmission(1)
	w := &identity{writer: &config.Writer{MaxClients: 1}}
	s := a.seat()
	if s.spare || !s.claim(w) {
		t.Fatal("the first is refused")
	}
	over := a.seat()
	if !over.spare {
		t.Error("the second of one has a seat")
	}
	if over.claim(w) {
		t.Error("the writer's second of one has a place")
	}
	over.leave()
	s.leave()
	s.leave()
	if a.taken.Load() != 0 || w.clients.Load() != 0 {
		t.Errorf("%d seats and %d places are taken after all left", a.taken.Load(), w.clients.Load())
	}
	free := newAdmission(0)
	for range 10 {
		if free.seat().spare {
			t.Fatal("no limit, and yet no seat")
		}
	}
}
