package upstream

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"net/netip"
	"strconv"
	"time"

	"pggateway/netloop"
	"pggateway/scram"
	"pggateway/upstream/login"
	"pggateway/wire"
)

// applicationName is what the server shows for a pooled connection until the
// session that uses it brings its own. It is the only parameter that is set here:
// what a client does not ask for is the server's own default, as without a gateway.
const applicationName = "gateway"

// resolve finds the addresses to dial.
func (t *Target) resolve(ctx context.Context) ([]netip.Addr, *Error) {
	found, err := t.dialer.Resolve(ctx, t.host)
	if err != nil {
		return nil, resolveError(err)
	}
	return found, nil
}

// connect goes the way to the server, to the first of the addresses that answers
// when it is the straight way, and protects the connection.
func (t *Target) connect(ctx context.Context, addresses []netip.Addr) (*Conn, *Error) {
	raw, e := t.reach(ctx, addresses)
	if e != nil {
		return nil, e
	}
	c := &Conn{Transport: netloop.NewTransport(raw), target: t}
	if tcp, ok := raw.RemoteAddr().(*net.TCPAddr); ok {
		c.address = tcp.AddrPort().Addr().Unmap()
	}
	if t.tls == nil {
		return c, nil
	}
	err := within(ctx, t.timeouts.TLS, raw, func(ctx context.Context) error {
		var err error
		c.TLS, err = t.tls.start(ctx, c.Transport)
		return err
	})
	if err != nil {
		_ = raw.Close()
		return nil, t.tls.explain(err)
	}
	return c, nil
}

// reach opens the connection that the protocol runs on: a *net.TCPConn, or a
// *net.UnixConn in front of a bastion's channel.
func (t *Target) reach(ctx context.Context, addresses []netip.Addr) (net.Conn, *Error) {
	if t.via == nil {
		c, err := t.dialer.DialAddrs(ctx, addresses, t.port)
		if err != nil {
			return nil, dialError(err)
		}
		return c, nil
	}
	d := t.timeouts.SSH * time.Duration(1+len(t.via.Jump))
	ctx, stop := context.WithTimeoutCause(ctx, d, &timeoutError{d})
	defer stop()
	c, err := t.deps.Bastions.Dial(ctx, t.via, net.JoinHostPort(t.host, strconv.Itoa(int(t.port))))
	if err != nil {
		return nil, sshError(err)
	}
	return c, nil
}

// login logs in. sent is the password or token that the server was shown, or a
// proof of, if it asked for one.
func (t *Target) login(ctx context.Context, c *Conn, version uint32, startup []wire.Parameter) (sent string, e *Error) {
	stream := c.stream()
	reader := wire.NewReader(stream)
	p := login.Params{
		User:        t.user,
		Database:    t.database,
		Options:     startup,
		Credential:  t.method,
		Require:     t.require,
		TLS:         c.TLS != nil,
		TLSVerified: c.TLS != nil && t.tls.verified,
		Version:     version,
	}
	if c.TLS != nil {
		// Without one, as for Ed25519, SCRAM goes without channel binding.
		p.Binding, _ = scram.ServerEndPoint(c.TLS.ConnectionState().PeerCertificates[0])
	}
	if t.method != login.None {
		p.Secret = func(ctx context.Context) (string, error) {
			text, err := t.secret(ctx)
			if err != nil {
				return "", &credentialError{err}
			}
			sent = text
			return text, nil
		}
	}
	var result *login.Result
	err := within(ctx, t.timeouts.Login, c.Transport, func(ctx context.Context) error {
		var err error
		result, err = login.Do(ctx, stream, reader, p)
		return err
	})
	if err != nil {
		return sent, loginError(err)
	}
	c.Parameters, c.key = result.Parameters, result.Key
	c.Leftover = bytes.Clone(reader.Buffered())
	return sent, nil
}

// Conn is a connection that is logged in. Whoever got it owns it, and moves it to
// an event loop or closes it.
type Conn struct {
	// Transport is the socket, TCP or, in front of a bastion, one end of a Unix
	// socket pair.
	Transport *netloop.Transport
	// TLS runs over Transport; nil in plaintext.
	TLS *tls.Conn
	// Parameters are the ParameterStatus messages of the login.
	Parameters []wire.Parameter
	// Leftover is what the server sent beyond the login's ReadyForQuery: nothing,
	// when it keeps to the protocol.
	Leftover []byte

	target  *Target
	address netip.Addr // really dialled; zero through a bastion, which resolves itself
	key     wire.CancelKey
}

func (c *Conn) stream() net.Conn {
	if c.TLS != nil {
		return c.TLS
	}
	return c.Transport
}

// Close closes the socket unless it moved to a loop.
func (c *Conn) Close() error { return c.Transport.Close() }

// PID is the server process's ID as the server gave it with its key, 0 when it
// gave none.
func (c *Conn) PID() uint32 { return c.key.PID }

// Address is the server's, as it was dialled; zero through a bastion, which
// resolves names itself.
func (c *Conn) Address() netip.Addr { return c.address }

// Cancel asks the server to cancel what the connection does, by a connection of
// its own: the same way, the same address where we know it (a name may stand for
// several servers, or another one by now), and TLS where this one has it. It
// returns when the server has taken the request, which it does by closing; what
// comes of it is not told. ErrNoCancel means that the server gave no key.
//
// It may be called from any goroutine while the connection is in use.
func (c *Conn) Cancel(ctx context.Context) error {
	if len(c.key.Secret) == 0 {
		return ErrNoCancel
	}
	t := c.target
	var addresses []netip.Addr
	if c.address.IsValid() {
		addresses = []netip.Addr{c.address}
	}
	k, e := t.connect(ctx, addresses)
	if e != nil {
		return e
	}
	defer func() { _ = k.Close() }()
	err := within(ctx, t.timeouts.Login, k.Transport, func(context.Context) error {
		if _, err := k.stream().Write(wire.AppendCancelRequest(nil, c.key)); err != nil {
			return err
		}
		var b [1]byte
		if _, err := k.stream().Read(b[:]); err != nil && timedOut(err) {
			return err
		}
		return nil // closed, however rudely
	})
	if err != nil {
		return &Error{StageLogin, errors.Join(errors.New("cancel request"), err), "The upstream did not take the cancel request."}
	}
	return nil
}
