package dial

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// names is a resolver whose answers the test changes.
type names map[string][]netip.Addr

func (n names) LookupNetIP(_ context.Context, network, host string) ([]netip.Addr, error) {
	var found []netip.Addr
	for _, a := range n[host] {
		if network == "ip" || (network == "ip4") == a.Is4() {
			found = append(found, a)
		}
	}
	if len(found) == 0 {
		return nil, &net.DNSError{Err: "no such host", Name: host, IsNotFound: true}
	}
	return found, nil
}

func addrs(texts ...string) []netip.Addr {
	var all []netip.Addr
	for _, s := range texts {
		all = append(all, netip.MustParseAddr(s))
	}
	return all
}

// listen accepts on one address and reports who came.
func listen(t *testing.T, address string) (port uint16, from <-chan netip.Addr) {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	seen := make(chan netip.Addr, 10)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			seen <- c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr()
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return uint16(l.Addr().(*net.TCPAddr).Port), seen
}

func TestSocketOptions(t *testing.T) {
	port, from := listen(t, "127.0.0.1:0")
	d := Dialer{Source: netip.MustParseAddr("127.0.0.2")}
	c, err := d.Dial(t.Context(), "127.0.0.1", port)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if got := (<-from).String(); got != "127.0.0.2" {
		t.Errorf("came from %s", got)
	}
	raw, err := c.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range []struct {
		name              string
		level, opt, value int
	}{
		{"SO_KEEPALIVE", unix.SOL_SOCKET, unix.SO_KEEPALIVE, 1},
		{"TCP_KEEPIDLE", unix.IPPROTO_TCP, unix.TCP_KEEPIDLE, 30},
		{"TCP_KEEPINTVL", unix.IPPROTO_TCP, unix.TCP_KEEPINTVL, 10},
		{"TCP_KEEPCNT", unix.IPPROTO_TCP, unix.TCP_KEEPCNT, 3},
		{"TCP_USER_TIMEOUT", unix.IPPROTO_TCP, unix.TCP_USER_TIMEOUT, 0},
		{"TCP_NODELAY", unix.IPPROTO_TCP, unix.TCP_NODELAY, 1},
		{"IP_BIND_ADDRESS_NO_PORT", unix.IPPROTO_IP, unix.IP_BIND_ADDRESS_NO_PORT, 1},
	} {
		if err := raw.Control(func(fd uintptr) {
			if got, err := unix.GetsockoptInt(int(fd), o.level, o.opt); err != nil || got != o.value {
				t.Errorf("%s is %d, %v; want %d", o.name, got, err, o.value)
			}
		}); err != nil {
			t.Fatal(err)
		}
	}
}

func TestNameIsResolvedAtEveryDial(t *testing.T) {
	port, from := listen(t, "127.0.0.1:0")
	moved, from2 := listen(t, fmt.Sprintf("127.0.0.3:%d", port))
	if moved != port {
		t.Fatal("another port")
	}
	n := names{"db.example": addrs("127.0.0.1")}
	d := Dialer{Resolver: n}
	for _, step := range []struct {
		to   string
		from <-chan netip.Addr
	}{{"127.0.0.1", from}, {"127.0.0.3", from2}} {
		n["db.example"] = addrs(step.to)
		c, err := d.Dial(t.Context(), "db.example", port)
		if err != nil {
			t.Fatal(err)
		}
		if got := c.RemoteAddr().(*net.TCPAddr).IP.String(); got != step.to {
			t.Errorf("dialled %s, want %s", got, step.to)
		}
		<-step.from
		c.Close()
	}
}

func TestEveryAddressIsTried(t *testing.T) {
	port, _ := listen(t, "127.0.0.1:0")
	d := Dialer{Resolver: names{
		"db.example":   addrs("127.0.0.9", "::ffff:127.0.0.8", "127.0.0.1"),
		"none.example": addrs("127.0.0.9", "127.0.0.8"),
	}}
	c, err := d.Dial(t.Context(), "db.example", port)
	if err != nil {
		t.Fatal(err)
	}
	c.Close()
	_, err = d.Dial(t.Context(), "none.example", port)
	if !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("error %v", err)
	}
	for _, a := range []string{"127.0.0.9", "127.0.0.8"} {
		if err == nil || !strings.Contains(err.Error(), a) {
			t.Errorf("error %v does not name %s", err, a)
		}
	}
}

func TestResolve(t *testing.T) {
	n := names{"both.example": addrs("2001:db8::1", "192.0.2.1"), "six.example": addrs("2001:db8::1")}
	for name, tt := range map[string]struct {
		source, host string
		want         string // the addresses, or a part of the error
		fails        bool
	}{
		"both":                    {"", "both.example", "[2001:db8::1 192.0.2.1]", false},
		"source is IPv4":          {"192.0.2.9", "both.example", "[192.0.2.1]", false},
		"source is IPv6":          {"2001:db8::9", "both.example", "[2001:db8::1]", false},
		"no address of a family":  {"192.0.2.9", "six.example", "no such host", true},
		"unknown":                 {"", "no.example", "no such host", true},
		"literal":                 {"", "192.0.2.7", "[192.0.2.7]", false},
		"literal, mapped":         {"192.0.2.9", "::ffff:192.0.2.7", "[192.0.2.7]", false},
		"literal of other family": {"192.0.2.9", "2001:db8::1", "egress.source_ip 192.0.2.9, an IPv4 address", true},
	} {
		t.Run(name, func(t *testing.T) {
			d := Dialer{Resolver: n}
			if tt.source != "" {
				d.Source = netip.MustParseAddr(tt.source)
			}
			got, err := d.Resolve(t.Context(), tt.host)
			if tt.fails {
				var r *ResolveError
				if !errors.As(err, &r) || r.Host != tt.host || !strings.Contains(err.Error(), tt.want) {
					t.Errorf("error %v", err)
				}
				return
			}
			if err != nil || fmt.Sprint(got) != tt.want {
				t.Errorf("got %v, %v; want %s", got, err, tt.want)
			}
		})
	}
}

func TestSourceThatIsNotOurs(t *testing.T) {
	port, _ := listen(t, "127.0.0.1:0")
	d := Dialer{Source: netip.MustParseAddr("192.0.2.1")} // TEST-NET-1, nobody's
	if _, err := d.Dial(t.Context(), "127.0.0.1", port); err == nil || !strings.Contains(err.Error(), "egress.source_ip 192.0.2.1 is not an address of this machine") {
		t.Errorf("error %v", err)
	}
}

// TestNoAnswer dials a listener whose backlog is full: SYNs are dropped.
func TestNoAnswer(t *testing.T) {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := errors.Join(unix.Bind(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}), unix.Listen(fd, 0)); err != nil {
		t.Fatal(err)
	}
	name, err := unix.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	port := uint16(name.(*unix.SockaddrInet4).Port)
	d := Dialer{Timeout: 200 * time.Millisecond}
	for range 10 {
		began := time.Now()
		c, err := d.Dial(t.Context(), "127.0.0.1", port)
		if err == nil {
			defer c.Close() // still fits the backlog
			continue
		}
		var n net.Error
		if took := time.Since(began); !errors.As(err, &n) || !n.Timeout() || took > 2*time.Second {
			t.Errorf("after %s: %v", took, err)
		}
		// The caller's own deadline and departure count, too.
		ctx, stop := context.WithCancel(t.Context())
		stop()
		if _, err := d.Dial(ctx, "127.0.0.1", port); !errors.Is(err, context.Canceled) && !strings.Contains(fmt.Sprint(err), "canceled") {
			t.Errorf("dial of a caller that left: %v", err)
		}
		return
	}
	t.Fatal("a full backlog took ten connections")
}

func TestNoResolverWaitsForEver(t *testing.T) {
	d := Dialer{Timeout: 100 * time.Millisecond, Resolver: slow{}}
	began := time.Now()
	_, err := d.Dial(t.Context(), "db.example", 1)
	var r *ResolveError
	if !errors.As(err, &r) || !errors.Is(err, context.DeadlineExceeded) && !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("error %v", err)
	}
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("took %s", took)
	}
}

type slow struct{}

func (slow) LookupNetIP(ctx context.Context, _, _ string) ([]netip.Addr, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}
