package proxy

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"net"

	"pggateway/fault"
	"pggateway/netloop"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// tlsHandshakeRecord is the first byte of a TLS connection, and of no startup
// packet: it would be one of hundreds of megabytes.
const tlsHandshakeRecord = 0x16

// answerSSL answers an SSLRequest and, when the listener has TLS, does the
// handshake. Within TLS that the client began without asking, the answer is that
// there is no more of it.
//
// Bytes that came along with the request were not encrypted and may have been
// put there by somebody in between, to be taken for the client's once TLS is up
// (CVE-2021-23214). The request is then answered with the error itself.
func (l *login) answerSSL() error {
	if len(l.reader.Buffered()) > 0 {
		return unencryptedAfter("SSL request")
	}
	if l.listener.tls == nil || l.tls != nil {
		return l.write([]byte{'N'})
	}
	if err := l.write([]byte{'S'}); err != nil {
		return err
	}
	return l.handshake(l.transport)
}

func unencryptedAfter(request string) error {
	return fault.New(fault.Client, sqlstate.ProtocolViolation, "received unencrypted data after "+request).
		WithDetail("This could be either a client-software bug or evidence of an attempted man-in-the-middle attack.")
}

// beganTLS reports whether what could not be read as a startup packet is the
// beginning of TLS.
func (l *login) beganTLS(err error) bool {
	b := l.reader.Buffered()
	return errors.Is(err, wire.ErrTooLong) && len(b) > 0 && b[0] == tlsHandshakeRecord
}

// directTLS takes a client that begins with TLS at once (sslnegotiation=direct).
// It must have agreed on PostgreSQL's protocol by name: nothing else says that it
// means to speak to a database, and not to an HTTPS server of the same certificate
// (ALPACA). As in PostgreSQL 17 and later, whoever did not is left without a word.
func (l *login) directTLS() error {
	if l.listener.tls == nil {
		l.part()
		return &abandoned{cause: errors.New("the client began with TLS, which this listener does not have")}
	}
	if err := l.handshake(&replay{l.transport, bytes.Clone(l.reader.Buffered())}); err != nil {
		return err
	}
	if l.tls.ConnectionState().NegotiatedProtocol != alpn {
		return &abandoned{cause: fmt.Errorf("the client began with TLS at once and did not offer the ALPN protocol %q", alpn)}
	}
	return nil
}

// handshake does the TLS handshake over conn, under the login's deadline. When it
// fails the connection ends with TLS's own alert: a protocol message would be
// noise to the peer.
func (l *login) handshake(conn net.Conn) error {
	secured := tls.Server(conn, l.listener.tls)
	if err := secured.Handshake(); err != nil {
		return &abandoned{cause: fmt.Errorf("TLS handshake: %w", err)}
	}
	l.tls, l.conn = secured, secured
	l.reader.Reset(secured)
	return nil
}

// replay is a transport of which the beginning was read already.
type replay struct {
	*netloop.Transport
	read []byte // read, and to be read again
}

// Read reads the beginning again, then what follows, from the loop as well.
func (r *replay) Read(p []byte) (int, error) {
	if len(r.read) == 0 {
		return r.Transport.Read(p)
	}
	n := copy(p, r.read)
	if r.read = r.read[n:]; len(r.read) == 0 {
		r.read = nil
	}
	return n, nil
}
