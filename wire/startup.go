package wire

import (
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
)

// Codes that stand where a startup packet has its protocol version.
const (
	Version30 = 3 << 16
	Version32 = 3<<16 | 2

	CancelRequestCode = 1234<<16 | 5678
	SSLRequestCode    = 1234<<16 | 5679
	GSSENCRequestCode = 1234<<16 | 5680
)

const (
	// MaxStartup is the longest startup packet PostgreSQL reads (MAX_STARTUP_PACKET_LENGTH).
	MaxStartup = 10000
	// MaxSecret is the longest cancel key protocol 3.2 allows.
	MaxSecret = 256
)

// Parameter is one name and value: of a startup message, or of a ParameterStatus.
type Parameter struct{ Name, Value string }

// Startup is a StartupMessage.
type Startup struct {
	Version    uint32 // major<<16 | minor
	Parameters []Parameter
}

// Errors of startup packets.
var (
	ErrStartupLayout = errors.New("invalid startup packet layout: expected terminator as last byte")
	ErrCancelLayout  = errors.New("invalid cancel request")
)

// Get returns the value of the parameter, or "" when it was not sent. As in
// PostgreSQL, the last of several wins.
func (s *Startup) Get(name string) string {
	for i := len(s.Parameters) - 1; i >= 0; i-- {
		if s.Parameters[i].Name == name {
			return s.Parameters[i].Value
		}
	}
	return ""
}

// Extensions lists the protocol extensions asked for (names that begin with "_pq_.").
func (s *Startup) Extensions() []string {
	var names []string
	for _, p := range s.Parameters {
		if strings.HasPrefix(p.Name, "_pq_.") {
			names = append(names, p.Name)
		}
	}
	return names
}

// ParseStartup reads a StartupMessage's body: what follows its length.
func ParseStartup(body []byte) (*Startup, error) {
	if len(body) < 4 {
		return nil, ErrStartupLayout
	}
	s := &Startup{Version: binary.BigEndian.Uint32(body)}
	rest := body[4:]
	for {
		var name, value []byte
		var ok bool
		if name, rest, ok = TakeCString(rest); !ok {
			return nil, ErrStartupLayout
		}
		if len(name) == 0 {
			break
		}
		if value, rest, ok = TakeCString(rest); !ok {
			return nil, ErrStartupLayout
		}
		s.Parameters = append(s.Parameters, Parameter{string(name), string(value)})
	}
	if len(rest) != 0 {
		return nil, ErrStartupLayout
	}
	return s, nil
}

// CancelKey is what a cancel request has to present: BackendKeyData's content.
type CancelKey struct {
	PID    uint32
	Secret []byte // 4 bytes in protocol 3.0, up to MaxSecret in 3.2
}

// ParseCancelRequest reads a CancelRequest's body: what follows its length.
func ParseCancelRequest(body []byte) (CancelKey, error) {
	if len(body) < 12 || len(body) > 8+MaxSecret {
		return CancelKey{}, ErrCancelLayout
	}
	return CancelKey{binary.BigEndian.Uint32(body[4:]), body[8:]}, nil
}

// AppendStartup appends a StartupMessage.
func AppendStartup(b []byte, s *Startup) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, s.Version)
	for _, p := range s.Parameters {
		b = cstring(b, p.Name)
		b = cstring(b, p.Value)
	}
	return shut(append(b, 0), at)
}

// AppendSSLRequest appends an SSLRequest.
func AppendSSLRequest(b []byte) []byte {
	b = append(b, 0, 0, 0, 8)
	return binary.BigEndian.AppendUint32(b, SSLRequestCode)
}

// AppendCancelRequest appends a CancelRequest.
func AppendCancelRequest(b []byte, k CancelKey) []byte {
	at := len(b)
	b = append(b, 0, 0, 0, 0)
	b = binary.BigEndian.AppendUint32(b, CancelRequestCode)
	b = binary.BigEndian.AppendUint32(b, k.PID)
	return shut(append(b, k.Secret...), at)
}

// VersionString is a protocol version as people write it, "3.2".
func VersionString(v uint32) string { return fmt.Sprintf("%d.%d", v>>16, v&0xffff) }
