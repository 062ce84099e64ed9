package e2e

import (
	"bytes"
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync"

	"pggateway/e2e/kit"
)

// recorder keeps what was read from connections, as it came.
type recorder struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (r *recorder) String() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.text.String()
}

func (r *recorder) record(c net.Conn) net.Conn { return recorded{c, r} }

type recorded struct {
	net.Conn
	to *recorder
}

func (r recorded) Read(b []byte) (int, error) {
	n, err := r.Conn.Read(b)
	r.to.mu.Lock()
	defer r.to.mu.Unlock()
	r.to.text.Write(b[:n])
	return n, err
}

// clientNonce reads a SASLInitialResponse and returns the client's nonce.
func clientNonce(c *kit.ScriptConn) (string, bool) {
	var head [5]byte
	if _, err := io.ReadFull(c, head[:]); err != nil || head[0] != 'p' {
		return "", false
	}
	body := make([]byte, binary.BigEndian.Uint32(head[1:])-4)
	if _, err := io.ReadFull(c, body); err != nil {
		return "", false
	}
	_, nonce, ok := strings.Cut(string(body), "r=")
	return nonce, ok
}
