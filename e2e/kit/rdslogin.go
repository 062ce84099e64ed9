package kit

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"
)

const (
	cancelCode = 80877102
	sslCode    = 80877103
	gssCode    = 80877104
)

// handle serves one connection from its first byte to its last.
func (r *RDS) handle(raw net.Conn) {
	_ = raw.SetDeadline(time.Now().Add(60 * time.Second)) // authentication_timeout
	c := raw
	for {
		packet, err := readStartup(c)
		if err != nil {
			return
		}
		switch binary.BigEndian.Uint32(packet[4:]) {
		case gssCode:
			if _, err := c.Write([]byte{'N'}); err != nil {
				return
			}
		case sslCode:
			if c != raw {
				return
			}
			if _, err := c.Write([]byte{'S'}); err != nil {
				return
			}
			secure := tls.Server(raw, &tls.Config{
				Certificates: []tls.Certificate{r.o.Cert.TLS},
				MinVersion:   tls.VersionTLS12,
			})
			if err := secure.Handshake(); err != nil {
				return
			}
			c = secure
		case cancelCode:
			r.relayCancel(packet)
			return
		default:
			r.session(c, raw, packet)
			return
		}
	}
}

// readStartup reads one startup packet, whole, and no byte more.
func readStartup(c net.Conn) ([]byte, error) {
	var head [4]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return nil, err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < 8 || n > 10000 {
		return nil, errors.New("invalid length of startup packet")
	}
	packet := make([]byte, n)
	copy(packet, head[:])
	_, err := io.ReadFull(c, packet[4:])
	return packet, err
}

// session logs a client in and relays until either side ends.
func (r *RDS) session(c, raw net.Conn, packet []byte) {
	version := binary.BigEndian.Uint32(packet[4:])
	binary.BigEndian.PutUint32(packet[4:], pgproto3.ProtocolVersion30) // all that matters here is alike in 3.x
	var startup pgproto3.StartupMessage
	if err := startup.Decode(packet[4:]); err != nil || version>>16 != 3 {
		fatal(c, "08P01", "invalid startup packet layout", "ProcessStartupPacket")
		return
	}
	user, database := startup.Parameters["user"], startup.Parameters["database"]
	if database == "" {
		database = user
	}
	if c == raw {
		fatal(c, "28000", fmt.Sprintf("pg_hba.conf rejects connection for host %q, user %q, database %q, no encryption",
			remoteAddr(raw), user, database), "ClientAuthentication")
		return
	}
	var hello []byte
	if version != pgproto3.ProtocolVersion30 {
		hello = encode(&pgproto3.NegotiateProtocolVersion{NewestMinorProtocol: 0})
	}
	if _, err := c.Write(append(hello, encode(&pgproto3.AuthenticationCleartextPassword{})...)); err != nil {
		return
	}
	token, err := readPassword(c)
	if err != nil {
		return
	}
	verdict := r.judge(user, token)
	if !r.pause() {
		return
	}
	if verdict != nil {
		fatal(c, "28000", fmt.Sprintf("PAM authentication failed for user %q", user), "auth_failed")
		return
	}
	back, err := r.dialBackend(raw, user, database, startup.Parameters)
	if err != nil {
		var pg *pgconn.PgError
		if errors.As(err, &pg) {
			fatal(c, pg.Code, pg.Message, pg.Routine)
			return
		}
		fatal(c, "57P03", "the database system is starting up", "ProcessStartupPacket")
		return
	}
	defer back.Conn.Close()
	r.mu.Lock()
	r.logins++
	r.mu.Unlock()
	if _, err := c.Write(welcome(back)); err != nil {
		return
	}
	_ = raw.SetDeadline(time.Time{})
	relay(c, back.Conn)
}

// readPassword reads a PasswordMessage as PostgreSQL does: up to 65535 bytes.
func readPassword(c net.Conn) (string, error) {
	var head [5]byte
	if _, err := io.ReadFull(c, head[:]); err != nil {
		return "", err
	}
	n := binary.BigEndian.Uint32(head[1:])
	if head[0] != 'p' || n < 5 || n > 65535 {
		return "", errors.New("not a password message")
	}
	body := make([]byte, n-4)
	if _, err := io.ReadFull(c, body); err != nil {
		return "", err
	}
	if body[len(body)-1] != 0 {
		return "", errors.New("password without terminator")
	}
	return string(body[:len(body)-1]), nil
}

// dialBackend logs in to the PostgreSQL behind with the client's own startup parameters.
func (r *RDS) dialBackend(client net.Conn, user, database string, parameters map[string]string) (*pgconn.HijackedConn, error) {
	ctx, cancel := context.WithTimeout(r.ctx, 30*time.Second)
	defer cancel()
	cfg, err := pgconn.ParseConfig(ConnString(r.o.Backend.Host, r.o.Backend.Port, database, user, r.o.Users[user], "sslmode=disable"))
	if err != nil {
		return nil, err
	}
	cfg.RuntimeParams = map[string]string{}
	for name, value := range parameters {
		if name != "user" && name != "database" && !strings.HasPrefix(name, "_pq_.") {
			cfg.RuntimeParams[name] = value
		}
	}
	dialer := &net.Dialer{}
	if r.o.KeepSource {
		dialer.LocalAddr = &net.TCPAddr{IP: net.IP(remoteAddr(client).AsSlice())}
	}
	var conn *readOnce
	cfg.DialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := dialer.DialContext(ctx, network, addr)
		conn = &readOnce{Conn: c}
		return conn, err
	}
	c, err := pgconn.ConnectConfig(ctx, cfg)
	if err != nil {
		return nil, err
	}
	h, err := c.Hijack()
	if err == nil {
		conn.reclaim()
	}
	return h, err
}

// readOnce is a connection that only one reads from at a time.
type readOnce struct {
	net.Conn
	mu sync.Mutex
}

func (c *readOnce) Read(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.Conn.Read(p)
}

// reclaim ends the read that pgconn may have in progress: when a write is slow,
// it begins to read in the background, and would take the first reply for itself.
func (c *readOnce) reclaim() {
	_ = c.SetReadDeadline(time.Unix(1, 0))
	c.mu.Lock()
	defer c.mu.Unlock()
	_ = c.SetReadDeadline(time.Time{})
}

// welcome is what a client is told after its token was accepted.
func welcome(h *pgconn.HijackedConn) []byte {
	out := encode(&pgproto3.AuthenticationOk{})
	for name, value := range h.ParameterStatuses {
		out = append(out, encode(&pgproto3.ParameterStatus{Name: name, Value: value})...)
	}
	out = append(out, encode(&pgproto3.BackendKeyData{ProcessID: h.PID, SecretKey: h.SecretKey})...)
	return append(out, encode(&pgproto3.ReadyForQuery{TxStatus: h.TxStatus})...)
}

// relay copies both ways until either side ends, then ends the other.
func relay(a, b net.Conn) {
	done := make(chan struct{}, 2)
	pipe := func(to, from net.Conn) {
		_, _ = io.CopyBuffer(struct{ io.Writer }{to}, struct{ io.Reader }{from}, make([]byte, 128<<10))
		a.Close()
		b.Close()
		done <- struct{}{}
	}
	go pipe(a, b)
	go pipe(b, a)
	<-done
	<-done
}

// relayCancel hands a CancelRequest on and, as PostgreSQL does, says nothing.
func (r *RDS) relayCancel(packet []byte) {
	r.mu.Lock()
	r.cancels++
	r.mu.Unlock()
	c, err := net.DialTimeout("tcp", r.o.Backend.Addr(), 10*time.Second)
	if err != nil {
		return
	}
	defer c.Close()
	_ = c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := c.Write(packet); err == nil {
		_, _ = io.Copy(io.Discard, c)
	}
}

// fatal sends an ErrorResponse; closing is the caller's.
func fatal(c net.Conn, code, text, routine string) {
	_, _ = c.Write(encode(&pgproto3.ErrorResponse{
		Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: code, Message: text, File: "auth.c", Routine: routine,
	}))
}

func encode(m pgproto3.BackendMessage) []byte {
	b, err := m.Encode(nil)
	if err != nil {
		return nil // only messages above 1 GiB do not encode
	}
	return b
}
