package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/netip"
	"time"

	"go.uber.org/zap"

	"pggateway/config"
	"pggateway/scram"
)

// keepalive finds dead clients and keeps quiet ones known to NAT devices and
// load balancers, which drop flows after 350 s of silence (an NLB's default).
var keepalive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 15 * time.Second, Count: 4}

const (
	// Back-off of an accept loop after an error, as net/http has it: the usual
	// error is EMFILE, which passes when a connection closes.
	acceptPause    = 5 * time.Millisecond
	acceptPauseMax = time.Second

	// crowdedLogEvery is how often an accept loop says that it waits for logins.
	crowdedLogEvery = 10 * time.Second
)

// listener is one address of gateway.yaml's listen.
type listener struct {
	door   *door
	conf   config.Listen
	tls    *tls.Config    // nil: SSLRequest is answered N
	roots  *x509.CertPool // of clients' certificates; nil: none are asked for
	point  scram.Binding  // of connections over TLS; zero where the certificate has none
	socket net.Listener   // nil until open
}

func newListener(ctx context.Context, d *door, l config.Listen) (*listener, error) {
	cert, err := newServerTLS(ctx, l.TLS, d.secrets)
	if err != nil {
		return nil, err
	}
	made := &listener{door: d, conf: l, tls: cert}
	if l.TLS.Mode == config.ListenTLSVerifyClient {
		made.roots = cert.ClientCAs
	}
	if cert != nil {
		warnExpired(d.log, l.Address, cert, d.now())
		made.point = endPoint(d.log, l.Address, cert)
	}
	return made, nil
}

// secured reports whether clients have to use TLS.
func (l *listener) secured() bool {
	return l.conf.TLS.Mode == config.ListenTLSRequire || l.conf.TLS.Mode == config.ListenTLSVerifyClient
}

// open binds the address. Go sets TCP_NODELAY on what is accepted. An address
// written in IPv4 is not bound in IPv6: for Go, 0.0.0.0 is every address of both.
func (l *listener) open(ctx context.Context) error {
	lc := net.ListenConfig{KeepAliveConfig: keepalive}
	network := "tcp"
	if a, err := netip.ParseAddrPort(l.conf.Address); err == nil && a.Addr().Is4() {
		network = "tcp4"
	}
	s, err := lc.Listen(ctx, network, l.conf.Address)
	if err != nil {
		return err
	}
	l.socket = s
	return nil
}

// shut makes accept return; it does nothing before open.
func (l *listener) shut() {
	if l.socket != nil {
		_ = l.socket.Close()
	}
}

// accept takes connections until the door closes. Each becomes a login on a
// goroutine of its own. While the door has as many logins in progress as it may,
// nothing is taken, and new connections wait in the kernel's queue: after a
// restart everybody comes at once, and waiting is better than being refused.
func (l *listener) accept() {
	pause := time.Duration(0)
	var complained time.Time
	for {
		conn, err := l.socket.Accept()
		if err != nil {
			if l.door.closed() || errors.Is(err, net.ErrClosed) {
				return
			}
			pause = min(max(2*pause, acceptPause), acceptPauseMax)
			l.door.log.Warn("accept failed", zap.String("listen", l.conf.Address), zap.Duration("retry_in", pause), zap.Error(err))
			select {
			case <-l.door.closing:
				return
			case <-time.After(pause):
				continue
			}
		}
		pause = 0
		made := newLogin(l, conn)
		if !l.door.admission.tryLogin() {
			if now := l.door.now(); now.Sub(complained) >= crowdedLogEvery {
				complained = now
				l.door.log.Warn("too many logins in progress, accepting waits",
					zap.String("listen", l.conf.Address), zap.Int("logins", cap(l.door.admission.logins)))
			}
			if !l.door.admission.waitLogin(l.door.closing) {
				made.abort()
				return
			}
		}
		l.door.work.Go(made.run)
	}
}
