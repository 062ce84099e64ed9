package proxy

import (
	"errors"
	"net"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"pggateway/config"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// tired is a listener that fails several times before each connection.
type tired struct {
	net.Listener
	failures int
}

func (t *tired) Accept() (net.Conn, error) {
	if t.failures > 0 {
		t.failures--
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}
	}
	return t.Listener.Accept()
}

func TestAcceptBacksOff(t *testing.T) {
	core, logs := observer.New(zapcore.DebugLevel)
	conf := testConfig()
	conf.Listen = conf.Listen[:1]
	admitted := make(chan *client, 1)
	d, err := newDoor(t.Context(), doorParts{
		config: conf, secrets: fakeSecrets{"env:PW": password, "env:VERIFIER": verifier}, log: zap.New(core), now: time.Now,
		admit: func(c *client) { admitted <- c; c.transport.Close(); c.seat.leave() }, cancel: func(wire.CancelKey) <-chan struct{} { return nil },
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.open(t.Context()); err != nil {
		t.Fatal(err)
	}
	d.listeners[0].socket = &tired{d.listeners[0].socket, 4}
	d.serve()
	defer d.close()
	td := &testDoor{door: d}
	p := td.dial(t, 0)
	p.send(startup(wire.Version30, "user", "sync", "database", "orders"))
	p.prove(password)
	<-admitted
	var waits []time.Duration
	for _, e := range logs.FilterMessage("accept failed").All() {
		waits = append(waits, e.ContextMap()["retry_in"].(time.Duration))
	}
	if len(waits) != 4 || waits[0] != acceptPause || waits[3] != 8*acceptPause {
		t.Errorf("pauses %v", waits)
	}
}

func TestCloseEndsLogins(t *testing.T) {
	td := openDoor(t, testConfig())
	silent, midway, inTLS := td.dial(t, plain), td.dial(t, plain), td.dial(t, allow)
	midway.send(startup(wire.Version30, "user", "sync"))
	midway.next(wire.Authentication)
	inTLS.send(sslRequest)
	inTLS.answer()
	done := td.dial(t, plain)
	done.login("sync", "orders")
	eventually(t, "all logins are in progress", func() bool { return len(td.admission.logins) == 3 })

	start := time.Now()
	go func() { // whoever is told goes
		for _, p := range []*peer{silent, midway} {
			f, _ := wire.ParseFields(p.next(wire.ErrorResponse))
			if f.Code != sqlstate.AdminShutdown {
				t.Errorf("refused with %+v", f)
			}
			p.conn.Close()
		}
	}()
	td.close()
	if took := time.Since(start); took > patience/2 {
		t.Errorf("close took %v", took)
	}
	if n := len(td.logins); n != 0 {
		t.Errorf("%d logins are still in progress", n)
	}
	if _, err := net.DialTimeout("tcp", td.addresses()[plain].String(), patience); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("connecting after close: %v", err)
	}
	done.send(wire.AppendSync(nil)) // admitted clients are not the door's to end
	_ = done.conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
	if _, _, err := done.r.Message(100); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("an admitted client saw %v", err)
	}
	done.conn.Close()
}

func TestDoorRefusesWhatIsNotThere(t *testing.T) {
	tests := []struct {
		name   string
		change func(*config.Config)
		want   string
	}{
		{"no authority", func(c *config.Config) {
			c.Listen[1].TLS.Mode, c.Listen[1].TLS.ClientCA = config.ListenTLSVerifyClient, env("GONE")
		}, "listen[1].tls.client_ca: env:GONE"},
		{"no authority in it", func(c *config.Config) {
			c.Listen[1].TLS.Mode, c.Listen[1].TLS.ClientCA = config.ListenTLSVerifyClient, env("PW")
		}, "listen[1].tls.client_ca: env:PW has no PEM certificate in it"},
		{"certificate", func(c *config.Config) { c.Listen[2].TLS.Cert = env("GONE") }, "listen[2].tls.cert: env:GONE"},
		{"password", func(c *config.Config) { c.Writers[0].Password = env("GONE") }, "writers.sync.password: env:GONE"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			conf := testConfig()
			tt.change(conf)
			crt, key := selfSigned(t, time.Now().Add(time.Hour))
			_, err := newDoor(t.Context(), doorParts{
				config: conf, log: zap.NewNop(), now: time.Now,
				secrets: fakeSecrets{"env:CRT": crt, "env:KEY": key, "env:PW": password, "env:VERIFIER": verifier},
			})
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want %q", err, tt.want)
			}
		})
	}
}

func TestOpenBindsAllOrNothing(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	conf := testConfig()
	conf.Listen = []config.Listen{{Address: "127.0.0.1:0"}, {Address: taken.Addr().String()}}
	d, err := newDoor(t.Context(), doorParts{
		config: conf, log: zap.NewNop(), now: time.Now, secrets: fakeSecrets{"env:PW": password, "env:VERIFIER": verifier},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := d.open(t.Context()); !errors.Is(err, syscall.EADDRINUSE) || !strings.HasPrefix(err.Error(), "listen[1].address: ") {
		t.Fatalf("open: %v", err)
	}
	if _, err := net.DialTimeout("tcp", d.listeners[0].socket.Addr().String(), patience); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the first address is still bound: %v", err)
	}
}
