package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pires/go-proxyproto"

	"pggateway/fault"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// maxName is the longest user or database name, in bytes: PostgreSQL's
// NAMEDATALEN - 1.
const maxName = 63

// errCancelServed ends a connection that brought a cancel request.
var errCancelServed = errors.New("cancel request served")

// negotiate reads the packets that begin a connection (protocol chapter,
// "Start-up", "SSL Session Encryption", "GSSAPI Session Encryption" and
// "Canceling Requests in Progress") up to and including the StartupMessage, and
// checks what can be checked before the client has proved who it is. Nothing
// that it answers depends on the configured writers or upstreams.
//
// A client may begin with TLS at once. Otherwise TLS and GSSAPI encryption may each
// be asked for once, in either order, and neither after TLS was granted; a request
// out of order is taken for a protocol version nobody knows. All this is as in
// PostgreSQL 18.
func (l *login) negotiate() error {
	sslDone, gssDone := false, false
	for first := true; ; first = false {
		code, body, err := l.reader.Startup()
		switch {
		case err != nil && first && l.beganTLS(err):
			if err := l.directTLS(); err != nil {
				return err
			}
		case err != nil:
			return l.badStartup(err)
		case code == wire.CancelRequestCode:
			return l.cancel(body)
		case code == wire.SSLRequestCode && !sslDone:
			before := l.tls
			if err := l.answerSSL(); err != nil {
				return err
			}
			sslDone, gssDone = true, gssDone || l.tls != before
		case code == wire.GSSENCRequestCode && !gssDone:
			if len(l.reader.Buffered()) > 0 {
				return unencryptedAfter("GSSAPI encryption request")
			}
			if err := l.write([]byte{'N'}); err != nil {
				return err
			}
			gssDone = true
		default:
			return l.takeStartup(code, body)
		}
	}
}

// badStartup says what an unreadable startup packet is answered with.
func (l *login) badStartup(err error) error {
	violation := fault.New(fault.Client, sqlstate.ProtocolViolation, "invalid length of startup packet")
	switch {
	case errors.Is(err, io.EOF), hungUp(err) && len(l.reader.Buffered()) == 0:
		// Health checks and port scanners, and clients that did not like the
		// answer to SSLRequest.
		return &abandoned{cause: err, quiet: true}
	case errors.Is(err, io.ErrUnexpectedEOF):
		return fault.New(fault.Client, sqlstate.ProtocolViolation, "incomplete startup packet").Because(err)
	case errors.Is(err, wire.ErrTooShort):
		return violation.Because(err)
	case errors.Is(err, wire.ErrTooLong):
		switch first := l.reader.Buffered()[0]; first {
		case tlsHandshakeRecord:
			return &abandoned{cause: errors.New("TLS where a startup packet must be")}
		case 0:
			return fault.New(fault.Client, sqlstate.ProgramLimitExceeded,
				fmt.Sprintf("startup packet is longer than %d bytes", wire.MaxStartup)).Because(err)
		case 'P', '\r':
			if b := l.reader.Buffered(); begins(b, proxyproto.SIGV1) || begins(b, proxyproto.SIGV2) {
				err = errors.New("a PROXY protocol header from an address that is not among proxy_protocol")
			}
			return violation.Because(err)
		default: // no length under 16 MiB: HTTP, or anything else that is not ours
			return violation.Because(err)
		}
	default:
		return l.lost(err)
	}
}

// cancel hands a CancelRequest on. It is never answered, served or not.
func (l *login) cancel(body []byte) error {
	key, err := wire.ParseCancelRequest(body)
	if err != nil {
		return &abandoned{cause: err}
	}
	key.Secret = bytes.Clone(key.Secret)
	select {
	case <-l.door.cancel(key):
	case <-l.door.closing:
	case <-time.After(cancelTimeout):
	}
	return &abandoned{cause: errCancelServed, quiet: true}
}

// takeStartup takes the StartupMessage.
func (l *login) takeStartup(version uint32, body []byte) error {
	if version>>16 != wire.Version30>>16 {
		return fault.New(fault.Client, sqlstate.FeatureNotSupported,
			fmt.Sprintf("unsupported frontend protocol %s: server supports 3.0 to 3.2", wire.VersionString(version)))
	}
	s, err := wire.ParseStartup(body)
	if err != nil {
		return fault.New(fault.Client, sqlstate.ProtocolViolation, err.Error())
	}
	l.startup = s
	l.user, l.database = s.Get("user"), s.Get("database")
	if l.database == "" {
		l.database = l.user
	}
	l.negotiateVersion()
	return l.admissible()
}

// negotiateVersion settles the version in force. A client that asks for a newer
// minor version, or for protocol extensions, is told what it gets: the version in
// force, and that none of its extensions is known. Version 3.1 never existed; a
// client that asks for it gets 3.0 without a word, which is what PostgreSQL 18's
// silence amounts to.
func (l *login) negotiateVersion() {
	asked := l.startup.Version
	l.startup.Version = wire.Version30
	if asked >= wire.Version32 {
		l.startup.Version = wire.Version32
	}
	unknown := l.startup.Extensions()
	if asked > wire.Version32 || len(unknown) > 0 {
		l.pending = wire.AppendNegotiateProtocolVersion(l.pending, l.startup.Version, unknown)
	}
}

// admissible refuses what needs no knowledge of who it is.
func (l *login) admissible() error {
	var f *fault.Fault
	l.replication, f = replicationOf(l.startup)
	switch {
	case l.listener.secured() && l.tls == nil:
		return fault.New(fault.Policy, sqlstate.InvalidAuthorization, "TLS is required to log in here").
			WithHint("Connect with sslmode=require or stricter.")
	case l.door.closed():
		return faultDraining()
	case l.seat.spare:
		return fault.New(fault.Gateway, sqlstate.TooManyConnections, "sorry, too many clients already")
	case l.user == "":
		return fault.New(fault.Client, sqlstate.InvalidAuthorization, "no PostgreSQL user name specified in startup packet")
	case !goodName(l.user):
		return fault.New(fault.Client, sqlstate.InvalidAuthorization, "invalid user name in startup packet").
			WithDetail(nameRule)
	case !goodName(l.database):
		return fault.New(fault.Client, sqlstate.InvalidCatalogName, "invalid database name in startup packet").
			WithDetail(nameRule)
	case f != nil:
		return f
	}
	return l.checkHolder()
}

const nameRule = "A name is at most 63 bytes of UTF-8 without control characters."

// goodName reports whether a name may be looked up, logged and quoted in an
// error. PostgreSQL cuts longer names off instead; here the cut name would be one
// that the client did not ask for.
func goodName(s string) bool {
	return len(s) <= maxName && utf8.ValidString(s) && strings.IndexFunc(s, unicode.IsControl) < 0
}
