// Package dial opens the TCP connections to upstreams and bastions: from the
// gateway's fixed address, with names resolved anew at every dial, so that a
// database that moved in DNS is found.
//
// It knows no Postgres, TLS or SSH. It owns no goroutine, and no socket once it
// has been returned.
package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

const (
	// Timeout bounds one dial over all addresses, unless Dialer.Timeout says otherwise.
	Timeout = 10 * time.Second
	// minPerAddress is what one of several addresses gets at least before the next is tried.
	minPerAddress = 2 * time.Second
)

// Keepalive probes: the first after 30 s of silence, so that NAT gateways and
// load balancers, which forget silent flows after 350 s, never see one; a peer
// that vanished is given up a minute after its last word.
//
// TCP_USER_TIMEOUT is left alone on purpose: Linux also applies it to a peer
// that answers probes with a closed window, and a server that is right to stop
// reading for minutes (a COPY that waits for a lock) would lose its connection.
var keepalive = net.KeepAliveConfig{Enable: true, Idle: 30 * time.Second, Interval: 10 * time.Second, Count: 3}

// Resolver looks names up. *net.Resolver is one.
type Resolver interface {
	// LookupNetIP returns the addresses of a host in the order to try them.
	// network is "ip", "ip4" or "ip6".
	LookupNetIP(ctx context.Context, network, host string) ([]netip.Addr, error)
}

// Dialer opens TCP connections. Its zero value dials from any address with the
// system's resolver. It is not changed once in use.
type Dialer struct {
	Source   netip.Addr    // local address of every socket (egress.source_ip); zero: the kernel chooses
	Resolver Resolver      // nil: net.DefaultResolver
	Timeout  time.Duration // for one dial over all addresses; 0: Timeout
}

// ResolveError says that a name gave no address to dial. Host is the name.
type ResolveError struct {
	Host string
	Err  error
}

func (e *ResolveError) Error() string { return fmt.Sprintf("resolve %s: %v", e.Host, e.Err) }

// Unwrap returns the cause.
func (e *ResolveError) Unwrap() error { return e.Err }

// Dial resolves the host, a name or an address, and connects to the first of
// its addresses that answers. A failure to resolve is a *ResolveError.
func (d *Dialer) Dial(ctx context.Context, host string, port uint16) (*net.TCPConn, error) {
	ctx, stop := context.WithTimeout(ctx, d.timeout())
	defer stop()
	addresses, err := d.Resolve(ctx, host)
	if err != nil {
		return nil, err
	}
	return d.DialAddrs(ctx, addresses, port)
}

// Resolve returns the host's addresses that the dialer can dial: with a source
// address, those of its family. Every error is a *ResolveError.
func (d *Dialer) Resolve(ctx context.Context, host string) ([]netip.Addr, error) {
	network, want := "ip", ""
	switch {
	case d.Source.Is4():
		network, want = "ip4", "an IPv4"
	case d.Source.Is6():
		network, want = "ip6", "an IPv6"
	}
	mismatch := fmt.Errorf("no address that egress.source_ip %s, %s address, can reach", d.Source, want)
	if a, err := netip.ParseAddr(host); err == nil {
		a = a.Unmap()
		if d.Source.IsValid() && a.Is4() != d.Source.Is4() {
			return nil, &ResolveError{host, mismatch}
		}
		return []netip.Addr{a}, nil
	}
	var r Resolver = net.DefaultResolver
	if d.Resolver != nil {
		r = d.Resolver
	}
	ctx, stop := context.WithTimeout(ctx, d.timeout())
	defer stop()
	found, err := r.LookupNetIP(ctx, network, host)
	if err != nil {
		return nil, &ResolveError{host, err}
	}
	var usable []netip.Addr
	for _, a := range found {
		if a = a.Unmap(); !d.Source.IsValid() || a.Is4() == d.Source.Is4() {
			usable = append(usable, a)
		}
	}
	switch {
	case len(found) == 0:
		return nil, &ResolveError{host, errors.New("no addresses")}
	case len(usable) == 0:
		return nil, &ResolveError{host, mismatch}
	}
	return usable, nil
}

// DialAddrs connects to the first of the addresses that answers, in order, the
// time left shared fairly between those not yet tried. The error joins what went
// wrong with each.
func (d *Dialer) DialAddrs(ctx context.Context, addresses []netip.Addr, port uint16) (*net.TCPConn, error) {
	ctx, stop := context.WithTimeout(ctx, d.timeout())
	defer stop()
	deadline, _ := ctx.Deadline()
	var failed []error
	for i, a := range addresses {
		share := max(time.Until(deadline)/time.Duration(len(addresses)-i), minPerAddress)
		c, err := d.dial(ctx, netip.AddrPortFrom(a, port), share)
		if err == nil {
			return c, nil
		}
		failed = append(failed, err)
		if ctx.Err() != nil {
			break
		}
	}
	if len(failed) == 0 {
		return nil, errors.New("no address to dial")
	}
	return nil, errors.Join(failed...)
}

func (d *Dialer) dial(ctx context.Context, to netip.AddrPort, share time.Duration) (*net.TCPConn, error) {
	nd := net.Dialer{Timeout: share, KeepAliveConfig: keepalive, ControlContext: bindLate}
	if d.Source.IsValid() {
		nd.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(d.Source, 0))
	}
	c, err := nd.DialContext(ctx, "tcp", to.String())
	if err != nil {
		return nil, d.explain(to, err)
	}
	tcp := c.(*net.TCPConn)
	if err := tcp.SetNoDelay(true); err != nil {
		_ = tcp.Close()
		return nil, err
	}
	return tcp, nil
}

// explain words the errors whose cause is not where people look for it.
func (d *Dialer) explain(to netip.AddrPort, err error) error {
	var call *os.SyscallError
	switch {
	case errors.As(err, &call) && call.Syscall == "bind":
		return fmt.Errorf("egress.source_ip %s is not an address of this machine: %w", d.Source, err)
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return fmt.Errorf("dial %s: no local port is left: %w", to, err)
	}
	return err // names the addresses itself
}

// bindLate has the kernel choose the local port at connect, where ports may be
// shared by connections to different destinations, and not at bind, where one
// source address would be limited to some 28,000 connections in all.
func bindLate(_ context.Context, network, _ string, c syscall.RawConn) error {
	var failed error
	err := c.Control(func(fd uintptr) {
		failed = unix.SetsockoptInt(int(fd), unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1)
	})
	if network == "tcp6" {
		failed = nil // an optimization that not every kernel has for IPv6
	}
	return errors.Join(err, failed)
}

func (d *Dialer) timeout() time.Duration {
	if d.Timeout > 0 {
		return d.Timeout
	}
	return Timeout
}
