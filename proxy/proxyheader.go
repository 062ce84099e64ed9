package proxy

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"

	"github.com/pires/go-proxyproto"

	"pggateway/fault"
	"pggateway/sqlstate"
)

// Sizes of PROXY protocol headers (haproxy.org, proxy-protocol.txt).
const (
	shortestProxyV1 = len("PROXY UNKNOWN\r\n")
	longestProxyV1  = 107
	proxyV2Fixed    = 16
	// longestProxyV2 bounds what follows the fixed part. A load balancer adds some
	// hundred bytes to the addresses, or a client's certificate of two kilobytes.
	longestProxyV2 = 4096
)

var (
	errNoProxyHeader   = errors.New("the PROXY protocol header is missing")
	errProxyHeaderLong = errors.New("the PROXY protocol header is too long")
	errProxyDatagram   = errors.New("the PROXY protocol header is not of a TCP connection")
)

// forwarded learns from the PROXY protocol header where a connection really comes
// from, when its peer is a load balancer that the listener trusts. Such a peer must
// send a header before anything else. Nobody else's is looked at: from there it is
// no startup packet, and refused as such.
func (l *login) forwarded() error {
	if !contains(l.listener.conf.ProxyProtocol, l.remote.Addr()) {
		return nil
	}
	header, err := readProxyHeader(l.transport)
	var origin netip.AddrPort
	if err == nil {
		origin, err = proxyOrigin(header)
	}
	switch {
	case err == nil && origin.IsValid():
		l.balancer, l.remote = l.remote, origin
		return nil
	case err == nil: // a health check, or somebody whom the balancer does not know
		return nil
	case len(header) == 0 && (errors.Is(err, io.EOF) || hungUp(err)):
		return &abandoned{cause: err, quiet: true}
	case errors.Is(err, errNoProxyHeader) && len(header) > 0 && header[0] == tlsHandshakeRecord:
		return &abandoned{cause: errNoProxyHeader} // plaintext would be noise to it
	case errors.Is(err, errNoProxyHeader):
		return fault.New(fault.Client, sqlstate.ProtocolViolation, "expected a PROXY protocol header").
			WithHint("Connections from this network must come through a load balancer that sends PROXY protocol v1 or v2.").Because(err)
	case isNetwork(err):
		return l.lost(err)
	default:
		return fault.New(fault.Client, sqlstate.ProtocolViolation, "invalid PROXY protocol header").Because(err)
	}
}

// isNetwork reports whether an error is the connection's, and not of what came over it.
func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network)
}

// readProxyHeader reads one header and not a byte more. What it returns with an
// error is what was read. io.EOF means that nothing came at all.
func readProxyHeader(r io.Reader) ([]byte, error) {
	b := make([]byte, 0, shortestProxyV1+longestProxyV1)
	b, err := more(r, b, shortestProxyV1, func(b []byte) bool {
		return begins(b, proxyproto.SIGV1) || begins(b, proxyproto.SIGV2)
	})
	switch {
	case err != nil:
		return b, err
	case begins(b, proxyproto.SIGV1):
		for b[len(b)-1] != '\n' {
			if len(b) == longestProxyV1 {
				return b, errProxyHeaderLong
			}
			if b, err = more(r, b, len(b)+1, nil); err != nil {
				return b, err
			}
		}
		return b, nil
	}
	if b, err = more(r, b, proxyV2Fixed, nil); err != nil {
		return b, err
	}
	n := int(binary.BigEndian.Uint16(b[proxyV2Fixed-2:]))
	if n > longestProxyV2 {
		return b, errProxyHeaderLong
	}
	return more(r, b, proxyV2Fixed+n, nil)
}

// begins reports whether the two agree as far as both go.
func begins(b, signature []byte) bool {
	n := min(len(b), len(signature))
	return bytes.Equal(b[:n], signature[:n])
}

// more reads until b has n bytes, or good says that it will come to nothing.
func more(r io.Reader, b []byte, n int, good func([]byte) bool) ([]byte, error) {
	if cap(b) < n {
		b = append(make([]byte, 0, n), b...)
	}
	for len(b) < n {
		m, err := r.Read(b[len(b):n])
		b = b[:len(b)+m]
		switch {
		case good != nil && !good(b):
			return b, errNoProxyHeader
		case len(b) == n:
		case err == io.EOF && len(b) > 0:
			return b, io.ErrUnexpectedEOF
		case err != nil:
			return b, err
		}
	}
	return b, nil
}

// proxyOrigin is the client's address in a header, or none when the header says
// that the balancer speaks for itself or does not know.
func proxyOrigin(header []byte) (origin netip.AddrPort, err error) {
	h, err := proxyproto.Read(bufio.NewReaderSize(bytes.NewReader(header), len(header)))
	switch {
	case err != nil:
		return origin, err
	case h.Command.IsLocal(), h.TransportProtocol.IsUnspec(), h.TransportProtocol.IsUnix():
		return origin, nil
	case !h.TransportProtocol.IsStream():
		return origin, errProxyDatagram
	}
	from, _, ok := h.TCPAddrs()
	if !ok {
		return origin, proxyproto.ErrInvalidAddress
	}
	return unmapped(from.AddrPort()), nil
}

// unmapped is the address as networks are compared with: IPv4 is never in IPv6's form.
func unmapped(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
