package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"go.uber.org/zap"

	"pggateway/fault"
	"pggateway/netloop"
	"pggateway/sqlstate"
	"pggateway/wire"
)

const (
	// farewell bounds the write of a refusal; it starts when the login has failed,
	// so that a client that ran out of login_timeout is still told.
	farewell = 2 * time.Second

	// linger and lingerBytes bound what is read and thrown away after a refusal.
	// Closing a socket that holds unread bytes resets the connection, and a reset
	// makes the peer's kernel drop the refusal before the client could read it.
	linger      = time.Second
	lingerBytes = 64 << 10
)

// login is one connection on its way from accept to a client that proved who it
// is. All of it happens on one goroutine under one deadline: limits.login_timeout,
// counted from accept.
type login struct {
	door      *door
	listener  *listener
	transport *netloop.Transport
	tls       *tls.Conn // nil in plaintext
	conn      net.Conn  // tls, else transport
	reader    *wire.Reader
	seat      *seat
	remote    netip.AddrPort // the client's
	balancer  netip.AddrPort // the socket's peer where it is not the client; zero otherwise
	accepted  time.Time

	pending  []byte // to be sent with the next write
	startup  *wire.Startup
	user     string // as claimed
	database string // as asked for

	replication replication
}

// newLogin takes over the socket and starts its clock.
func newLogin(l *listener, socket net.Conn) *login {
	t := netloop.NewTransport(socket)
	g := &login{
		door:      l.door,
		listener:  l,
		transport: t,
		conn:      t,
		reader:    wire.NewReader(t),
		seat:      l.door.admission.seat(),
		accepted:  l.door.now(),
	}
	if a, ok := socket.RemoteAddr().(*net.TCPAddr); ok {
		g.remote = unmapped(a.AddrPort())
	}
	if d := l.door.config.Limits.LoginTimeout; d > 0 {
		_ = t.SetDeadline(g.accepted.Add(d))
	}
	return g
}

// interrupt makes whatever the login waits for fail now. Other goroutines may
// call it while the login is among the door's.
func (l *login) interrupt() { _ = l.transport.SetDeadline(time.Unix(1, 0)) }

// abort closes a login that was never run.
func (l *login) abort() {
	_ = l.transport.Close()
	l.seat.leave()
}

// run brings the login to its end, on a goroutine of its own. It holds one of
// the admission's login tokens, and gives it back.
func (l *login) run() {
	l.door.begin(l)
	c, err := l.prove()
	if err != nil {
		l.fail(err)
		l.door.end(l)
		_ = l.transport.Close()
		l.seat.leave()
		l.door.admission.endLogin()
		return
	}
	l.door.end(l)
	l.door.admission.endLogin()
	_ = c.transport.SetDeadline(time.Time{})
	l.door.admit(c)
}

// prove goes through the protocol's start up to the client's proof of who it is.
// The error is a *fault.Fault when the client is to be told, an *abandoned when
// there is nobody or nothing to tell.
func (l *login) prove() (*client, error) {
	if err := l.forwarded(); err != nil {
		return nil, err
	}
	if err := l.negotiate(); err != nil {
		return nil, err
	}
	id, final, err := l.authenticate()
	if err != nil {
		return nil, err
	}
	c, err := l.authorize(id)
	if err != nil {
		return nil, err
	}
	c.greeting = wire.AppendAuthenticationSASLFinal(nil, final)
	return c, nil
}

// abandoned is a login that ends without an answer.
type abandoned struct {
	cause error
	quiet bool // not worth a line above debug: nothing was asked for, or it was served
}

func (a *abandoned) Error() string { return a.cause.Error() }
func (a *abandoned) Unwrap() error { return a.cause }

// write sends what is pending and b in one write.
func (l *login) write(b []byte) error {
	b = append(l.pending, b...)
	l.pending = nil
	if _, err := l.conn.Write(b); err != nil {
		return l.lost(err)
	}
	return nil
}

// lost says what a failed read or write means for the login.
func (l *login) lost(err error) error {
	switch {
	case l.door.closed():
		return faultDraining().Because(err)
	case errors.Is(err, os.ErrDeadlineExceeded):
		return fault.New(fault.Client, sqlstate.QueryCanceled, "canceling authentication due to timeout").Because(err)
	default:
		return &abandoned{cause: err}
	}
}

// hungUp reports whether an error is that the peer ended the connection the hard
// way, as load balancers' health checks do.
func hungUp(err error) bool { return errors.Is(err, syscall.ECONNRESET) }

// fail tells the client and the log why the login ends. The caller closes the
// socket.
func (l *login) fail(err error) {
	fields := []zap.Field{
		zap.String("writer", clip(l.user)), zap.String("database", clip(l.database)),
		zap.Stringer("client", l.remote), zap.Bool("tls", l.tls != nil),
	}
	if l.balancer.IsValid() {
		fields = append(fields, zap.Stringer("balancer", l.balancer))
	}
	var f *fault.Fault
	if !errors.As(err, &f) {
		var a *abandoned
		if errors.As(err, &a) && a.quiet {
			l.door.log.Debug("connection ended before login", append(fields, zap.Error(err))...)
			return
		}
		l.door.log.Info("login failed", append(fields, zap.NamedError("reason", err))...)
		return
	}
	fields = append(fields, zap.String("sqlstate", f.Code), zap.NamedError("reason", f))
	if f.Code == sqlstate.InvalidPassword || f.Side == fault.Gateway {
		l.door.log.Warn("login failed", fields...)
	} else {
		l.door.log.Info("login failed", fields...)
	}
	l.refuse(f)
}

// refuse sends the fault as a FATAL ErrorResponse and waits a moment for the
// client to take it in.
func (l *login) refuse(f *fault.Fault) {
	b := wire.AppendErrorResponse(l.pending, faultFields("FATAL", f))
	_ = l.transport.SetDeadline(time.Now().Add(farewell))
	if _, err := l.conn.Write(b); err != nil {
		return
	}
	if l.tls != nil && l.tls.CloseWrite() != nil {
		return
	}
	l.part()
}

// part ends the connection without a reset: what the peer still has to say is
// thrown away for a moment. The caller closes the socket.
func (l *login) part() {
	if l.transport.CloseWrite() != nil {
		return
	}
	_ = l.transport.SetDeadline(time.Now().Add(linger))
	_, _ = io.CopyN(io.Discard, l.transport, lingerBytes)
}

// clip keeps a name that nobody has checked yet from filling the log.
func clip(name string) string {
	if len(name) > 2*maxName {
		return name[:2*maxName] + "…"
	}
	return name
}
