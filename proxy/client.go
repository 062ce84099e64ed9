package proxy

import (
	"crypto/tls"
	"net/netip"
	"time"

	"pggateway/config"
	"pggateway/netloop"
	"pggateway/wire"
)

// client is a client that proved who it is: everything that the login leaves to
// the session. Whoever holds it owns the socket and the seat.
type client struct {
	transport   *netloop.Transport
	tls         *tls.Conn // nil in plaintext
	writer      *config.Writer
	access      *config.WriterUpstream
	upstream    *config.Upstream
	replication replication
	database    string        // the upstream's database: Upstream.Database, else the name asked for
	startup     *wire.Startup // Version is the one in force: 3.0 or 3.2
	greeting    []byte        // owed to the client before AuthenticationOk: AuthenticationSASLFinal
	leftover    []byte        // bytes the client sent beyond its last login message
	remote      netip.AddrPort
	accepted    time.Time
	seat        *seat // left when the socket is closed
}
