package proxy

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/pires/go-proxyproto"

	"pggateway/config"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// header2 is a v2 header: command, family and the rest after its length.
func header2(command, family byte, rest ...byte) []byte {
	b := append(bytes.Clone(proxyproto.SIGV2), command, family, byte(len(rest)>>8), byte(len(rest)))
	return append(b, rest...)
}

var (
	from192 = []byte{192, 0, 2, 7, 10, 0, 0, 1, 0xc3, 0x50, 0x15, 0x38}
	tlvs    = append([]byte{0xea, 0, 24, 1}, "vpce-0123456789abcdef01"...) // AWS: the VPC endpoint
)

// from6 are the addresses of an IPv6 header; v4 puts an IPv4 address into it.
func from6(v4 bool) []byte {
	from := netip.MustParseAddr("2001:db8::7").As16()
	if v4 {
		from = netip.MustParseAddr("::ffff:192.0.2.7").As16()
	}
	to := netip.MustParseAddr("2001:db8::1").As16()
	return append(append(append([]byte(nil), from[:]...), to[:]...), 0xc3, 0x50, 0x15, 0x38)
}

// trustingConfig trusts everybody on the machine but 127.0.0.9.
func trustingConfig() *config.Config {
	conf := testConfig()
	for i := range conf.Listen {
		conf.Listen[i].ProxyProtocol = []netip.Prefix{netip.MustParsePrefix("127.0.0.0/29"), netip.MustParsePrefix("10.0.0.0/8")}
	}
	return conf
}

func TestProxyHeader(t *testing.T) {
	td := openDoor(t, trustingConfig())
	for _, tt := range []struct {
		name   string
		header []byte
		from   string // "": the socket's own address
	}{
		{"v1, IPv4", []byte("PROXY TCP4 192.0.2.7 10.0.0.1 50000 5432\r\n"), "192.0.2.7:50000"},
		{"v1, IPv6", []byte("PROXY TCP6 2001:db8::7 2001:db8::1 50000 5432\r\n"), "[2001:db8::7]:50000"},
		{"v1, IPv4 in IPv6", []byte("PROXY TCP6 ::ffff:192.0.2.7 ::ffff:10.0.0.1 50000 5432\r\n"), "192.0.2.7:50000"},
		{"v1, unknown", []byte("PROXY UNKNOWN\r\n"), ""},
		{"v1, unknown with addresses", []byte("PROXY UNKNOWN ffff:f:f:f:f:f:f:f ffff:f:f:f:f:f:f:f 65535 65535\r\n"), ""},
		{"v2, IPv4", header2(0x21, 0x11, from192...), "192.0.2.7:50000"},
		{"v2, IPv4 and more", header2(0x21, 0x11, append(bytes.Clone(from192), tlvs...)...), "192.0.2.7:50000"},
		{"v2, longest", header2(0x21, 0x11, append(bytes.Clone(from192), make([]byte, longestProxyV2-12)...)...), "192.0.2.7:50000"},
		{"v2, IPv6", header2(0x21, 0x21, from6(false)...), "[2001:db8::7]:50000"},
		{"v2, IPv4 in IPv6", header2(0x21, 0x21, from6(true)...), "192.0.2.7:50000"},
		{"v2, local", header2(0x20, 0x00), ""},
		{"v2, local with addresses", header2(0x20, 0x11, from192...), ""},
		{"v2, Unix socket", header2(0x21, 0x31, make([]byte, 216)...), ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			for _, way := range []string{"one write", "byte by byte", "TLS", "direct TLS"} {
				p := td.dial(t, allow)
				own := p.conn.LocalAddr().String()
				switch way {
				case "byte by byte":
					for i := range tt.header {
						p.send(tt.header[i : i+1])
					}
				case "one write": // with what follows it
					p.send(append(bytes.Clone(tt.header), startup(wire.Version30, "user", "verified", "database", "orders")...))
				default:
					p.send(tt.header)
				}
				switch way {
				case "TLS":
					p.send(sslRequest)
					p.answer()
					p.secure()
				case "direct TLS":
					p.direct(alpn)
				}
				if way != "one write" {
					p.send(startup(wire.Version30, "user", "verified", "database", "orders"))
				}
				p.prove(password)
				p.next(wire.Authentication)
				want := tt.from
				if want == "" {
					want = own
				}
				if c := <-td.clients; c.remote.String() != want {
					t.Errorf("%s: comes from %s, want %s", way, c.remote, want)
				}
			}
		})
	}
}

// The networks that a writer may come from are compared with the address in the
// header, and so is what the log says.
func TestProxyHeaderAndNetworks(t *testing.T) {
	td := openDoor(t, trustingConfig())
	for from, refused := range map[string]bool{"192.0.2.7": false, "198.51.100.1": true} {
		p := td.dial(t, plain)
		p.send(fmt.Appendf(nil, "PROXY TCP4 %s 10.0.0.1 50000 5432\r\n", from))
		p.send(startup(wire.Version30, "user", "sync", "database", "orders"))
		p.prove(password)
		if !refused {
			p.next(wire.Authentication)
			<-td.clients
			continue
		}
		if f := p.fatal(); f.Code != sqlstate.InvalidAuthorization || f.Message != `user "sync" may not log in from address `+from {
			t.Errorf("refused with %+v", f)
		}
		m := td.logs.FilterMessage("login failed").All()[0].ContextMap()
		if m["client"] != from+":50000" || m["balancer"] != p.conn.LocalAddr().String() {
			t.Errorf("logged %v", m)
		}
	}
}

func TestProxyHeaderRefused(t *testing.T) {
	const missing, invalid = "expected a PROXY protocol header", "invalid PROXY protocol header"
	for _, tt := range []struct {
		name    string
		send    []byte
		hangUp  bool
		message string // "": closed without a word
		reason  string
	}{
		{"a startup packet", startup(wire.Version30, "user", "sync", "database", "orders"), false, missing, errNoProxyHeader.Error()},
		{"SSLRequest", sslRequest, false, missing, errNoProxyHeader.Error()},
		{"a cancel request", wire.AppendCancelRequest(nil, wire.CancelKey{PID: 1, Secret: []byte{1, 2, 3, 4}}), false, missing, errNoProxyHeader.Error()},
		{"TLS", []byte{tlsHandshakeRecord, 3, 1, 2, 0, 1, 0}, false, "", errNoProxyHeader.Error()},
		{"HTTP", []byte("GET / HTTP/1.1\r\n\r\n"), false, missing, errNoProxyHeader.Error()},
		{"POST", []byte("POST / HTTP/1.1\r\n\r\n"), false, missing, errNoProxyHeader.Error()},
		{"almost v2", append([]byte("\r\n\r\n\x00\r\nQUIT"), "\r rest of it"...), false, missing, errNoProxyHeader.Error()},
		{"v1 without an end", []byte("PROXY TCP4 " + strings.Repeat("1", 500)), false, invalid, errProxyHeaderLong.Error()},
		{"v1 broken off", []byte("PROXY TCP4 192.0"), true, invalid, "unexpected EOF"},
		{"v1 without CR", []byte("PROXY TCP4 192.0.2.7 10.0.0.1 50000 5432\n"), false, invalid, ""},
		{"v1 with a name", []byte("PROXY TCP4 localhost 10.0.0.1 50000 5432\r\n"), false, invalid, ""},
		{"v1 with a large port", []byte("PROXY TCP4 192.0.2.7 10.0.0.1 70000 5432\r\n"), false, invalid, ""},
		{"v1 of nothing", []byte("PROXY \r\n        \r\n"), false, invalid, ""},
		{"v2 too long", header2(0x21, 0x11, append(bytes.Clone(from192), make([]byte, longestProxyV2-11)...)...), false, invalid, errProxyHeaderLong.Error()},
		{"v2 too short", header2(0x21, 0x11, from192[:11]...), false, invalid, ""},
		{"v2 broken off", header2(0x21, 0x11, from192...)[:20], true, invalid, "unexpected EOF"},
		{"v2 of another version", header2(0x11, 0x11, from192...), false, invalid, ""},
		{"v2 of another command", header2(0x22, 0x11, from192...), false, invalid, ""},
		{"v2 of a datagram", header2(0x21, 0x12, from192...), false, invalid, errProxyDatagram.Error()},
		{"v2 of another family", header2(0x21, 0x41, from192...), false, invalid, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			td := openDoor(t, trustingConfig())
			p := td.dial(t, allow)
			p.send(tt.send)
			if tt.hangUp {
				_ = p.conn.(*net.TCPConn).CloseWrite()
			}
			if tt.message == "" {
				if got, _ := io.ReadAll(p.conn); len(got) > 0 {
					t.Errorf("answered %q", got)
				}
			} else if f := p.fatal(); f.Code != sqlstate.ProtocolViolation || f.Message != tt.message {
				t.Errorf("refused with %+v, want %q", f, tt.message)
			}
			eventually(t, "the end is logged", func() bool { return td.logs.FilterMessage("login failed").Len() == 1 })
			if reason := td.logs.FilterMessage("login failed").All()[0].ContextMap()["reason"].(string); !strings.Contains(reason, tt.reason) {
				t.Errorf("reason %q, want %q in it", reason, tt.reason)
			}
			if len(td.cancels) > 0 {
				t.Error("a cancel request was served")
			}
		})
	}
}

// Headers of peers that are not trusted are no startup packets, and mean nothing.
func TestProxyHeaderNotTrusted(t *testing.T) {
	for _, header := range [][]byte{[]byte("PROXY TCP4 192.0.2.7 10.0.0.1 50000 5432\r\n"), header2(0x21, 0x11, from192...)} {
		td := openDoor(t, trustingConfig())
		d := &net.Dialer{Timeout: patience, LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 9)}}
		conn, err := d.Dial("tcp", td.addresses()[plain].String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		_ = conn.SetDeadline(time.Now().Add(patience))
		p := &peer{t, conn, wire.NewReader(conn)}
		p.send(header)
		if f := p.fatal(); f.Code != sqlstate.ProtocolViolation || f.Message != "invalid length of startup packet" {
			t.Errorf("refused with %+v", f)
		}
		m := td.logs.FilterMessage("login failed").All()[0].ContextMap()
		if m["client"] != conn.LocalAddr().String() || !strings.Contains(m["reason"].(string), "not among proxy_protocol") {
			t.Errorf("logged %v", m)
		}
	}
}

// What a load balancer's health check does leaves no line in the log but debug's.
func TestHealthChecksAreQuiet(t *testing.T) {
	td := openDoor(t, trustingConfig())
	checks := []func(c *net.TCPConn){
		func(*net.TCPConn) {},
		func(c *net.TCPConn) { _ = c.SetLinger(0) },
		func(c *net.TCPConn) { _, _ = c.Write(header2(0x20, 0x00)) },
		func(c *net.TCPConn) { _, _ = c.Write([]byte("PROXY UNKNOWN\r\n")) },
		func(c *net.TCPConn) { _, _ = c.Write(header2(0x21, 0x11, from192...)) },
	}
	for _, check := range checks {
		p := td.dial(t, allow)
		check(p.conn.(*net.TCPConn))
		p.conn.Close()
	}
	eventually(t, "all ends are noted", func() bool {
		return td.logs.FilterMessage("connection ended before login").Len() == len(checks)
	})
	if n := td.logs.FilterMessage("login failed").Len(); n > 0 {
		t.Errorf("%d of them failed to log in: %v", n, td.logs.All())
	}
}

// A balancer that never comes to the point has no more time than anybody else.
func TestProxyHeaderDeadline(t *testing.T) {
	conf := trustingConfig()
	conf.Limits.LoginTimeout = 200 * time.Millisecond
	td := openDoor(t, conf)
	for _, begin := range []string{"", "P", "PROXY TCP4 192.0.2.7", "\r\n\r\n"} {
		p := td.dial(t, plain)
		p.send([]byte(begin))
		if f := p.fatal(); f.Code != sqlstate.QueryCanceled {
			t.Errorf("after %q: %+v", begin, f)
		}
	}
}

// A driver behind a load balancer that passes bytes on.
func TestDriverBehindBalancer(t *testing.T) {
	td := openDoor(t, trustingConfig())
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	conf, err := pgconn.ParseConfig(fmt.Sprintf("postgres://sync@%s/orders?sslmode=require&sslnegotiation=direct&channel_binding=require", td.addresses()[require]))
	if err != nil {
		t.Fatal(err)
	}
	conf.Password = password
	conf.DialFunc = func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, address)
		if err == nil {
			_, err = c.Write(header2(0x21, 0x11, append(bytes.Clone(from192), tlvs...)...))
		}
		return c, err
	}
	conn, err := pgconn.ConnectConfig(ctx, conf)
	if err != nil {
		t.Fatal(err)
	}
	if c := <-td.clients; c.remote.Addr().String() != "192.0.2.7" || c.tls == nil || c.tls.ConnectionState().Version != tls.VersionTLS13 {
		t.Errorf("comes from %s", c.remote)
	}
	_ = conn.Close(ctx)
}

// FuzzProxyHeader compares what is read, in pieces, with what the library reads of
// the whole: what it takes for a header is taken as that header, to the byte, and
// nothing else is.
func FuzzProxyHeader(f *testing.F) {
	for _, seed := range [][]byte{
		nil, []byte("PROXY TCP4 192.0.2.7 10.0.0.1 50000 5432\r\nrest"), []byte("PROXY UNKNOWN\r\n"), []byte("PROXY TCP4 1\r\nX\r\n"),
		header2(0x21, 0x11, from192...), header2(0x20, 0), header2(0x21, 0x21, from6(true)...), header2(0x20, 0x11, 1, 2, 3), sslRequest,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		rest := bytes.NewReader(in)
		got, err := readProxyHeader(rest)
		slowRest := bytes.NewReader(in)
		slow, slowErr := readProxyHeader(iotest.OneByteReader(slowRest))
		if !bytes.Equal(got, slow) && err == nil || (err == nil) != (slowErr == nil) || !bytes.HasPrefix(in, got) || len(got) != len(in)-rest.Len() {
			t.Fatalf("read %q, %v, byte by byte %q, %v", got, err, slow, slowErr)
		}
		if len(got) > proxyV2Fixed+longestProxyV2 {
			t.Fatalf("read %d bytes", len(got))
		}
		var origin netip.AddrPort
		if err == nil {
			origin, err = proxyOrigin(got)
		}
		whole := bytes.NewReader(in)
		buffered := bufio.NewReaderSize(whole, 1<<17)
		h, libraryErr := proxyproto.Read(buffered)
		if libraryErr == nil && h.TransportProtocol.IsDatagram() && !h.Command.IsLocal() && !h.TransportProtocol.IsUnix() {
			libraryErr = errProxyDatagram
		}
		if (err == nil) != (libraryErr == nil) {
			t.Fatalf("%v, the library %v", err, libraryErr)
		}
		if err != nil {
			return
		}
		if left := buffered.Buffered() + whole.Len(); left != rest.Len() {
			t.Fatalf("%d bytes left, by the library %d", rest.Len(), left)
		}
		from, _, ok := h.TCPAddrs()
		if ok = ok && !h.Command.IsLocal(); ok != origin.IsValid() || ok && unmapped(from.AddrPort()) != origin {
			t.Fatalf("from %v, by the library %v", origin, from)
		}
	})
}

// A reader that fails in the middle is not taken for one that ended.
func TestProxyHeaderReadError(t *testing.T) {
	broken := errors.New("broken")
	for _, begin := range []string{"", "PROXY TCP4 1", "\r\n\r\n"} {
		got, err := readProxyHeader(io.MultiReader(strings.NewReader(begin), iotest.ErrReader(broken)))
		if !errors.Is(err, broken) || string(got) != begin {
			t.Errorf("%q: %q, %v", begin, got, err)
		}
	}
}
