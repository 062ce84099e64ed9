package wire

import (
	"encoding/binary"
	"errors"
	"io"
)

// Errors of Reader.
var (
	ErrTooLong  = errors.New("message is longer than its limit")
	ErrTooShort = errors.New("message length is too short")
)

// Reader reads whole messages where something waits: startup and login on both
// sides. It is not for the forwarding path.
//
// A message is held in one buffer that grows to the largest message read so
// far, but never before its announced length has been checked against a limit.
// A returned body is valid until the next call.
type Reader struct {
	r    io.Reader
	buf  []byte
	a, z int // buf[a:z] is read and not yet taken
}

// readAhead is how much one read may take beyond the message asked for.
const readAhead = 1024

// NewReader returns a Reader on r. Deadlines are r's owner's business.
func NewReader(r io.Reader) *Reader { return &Reader{r: r} }

// Startup reads one packet without a type byte: StartupMessage, SSLRequest,
// GSSENCRequest or CancelRequest. code is the version or request code; body is
// what follows the length, the code included. Lengths over MaxStartup are
// ErrTooLong, under 8 ErrTooShort. io.EOF means that nothing came at all.
func (r *Reader) Startup() (code uint32, body []byte, err error) {
	if err := r.fill(4); err != nil {
		return 0, nil, err
	}
	n := binary.BigEndian.Uint32(r.buf[r.a:])
	switch {
	case n > MaxStartup:
		return 0, nil, ErrTooLong
	case n < 8:
		return 0, nil, ErrTooShort
	}
	if err := r.fill(int(n)); err != nil {
		return 0, nil, unexpected(err)
	}
	body = r.buf[r.a+4 : r.a+int(n)]
	r.a += int(n)
	return binary.BigEndian.Uint32(body), body, nil
}

// Message reads one typed message whose body is at most limit bytes long.
// io.EOF means that nothing came at all; a message that breaks off is
// io.ErrUnexpectedEOF.
func (r *Reader) Message(limit int) (typ byte, body []byte, err error) {
	if err := r.fill(HeaderLen); err != nil {
		return 0, nil, err
	}
	typ = r.buf[r.a]
	n := binary.BigEndian.Uint32(r.buf[r.a+1:])
	switch {
	case n < 4:
		return typ, nil, ErrTooShort
	case int64(n)-4 > int64(limit):
		return typ, nil, ErrTooLong
	}
	size := int(n) + 1
	if err := r.fill(size); err != nil {
		return typ, nil, unexpected(err)
	}
	body = r.buf[r.a+HeaderLen : r.a+size]
	r.a += size
	return typ, body, nil
}

// Buffered is what was read ahead and not yet taken. It is valid until the next call.
func (r *Reader) Buffered() []byte { return r.buf[r.a:r.z] }

// Reset goes on with another source and forgets what was read ahead.
func (r *Reader) Reset(src io.Reader) { r.r, r.a, r.z = src, 0, 0 }

// fill reads until n bytes from r.a on are there.
func (r *Reader) fill(n int) error {
	if r.z-r.a >= n {
		return nil
	}
	if r.a > 0 {
		r.z = copy(r.buf, r.buf[r.a:r.z])
		r.a = 0
	}
	if len(r.buf) < n {
		grown := make([]byte, max(n, readAhead))
		copy(grown, r.buf[:r.z])
		r.buf = grown
	}
	for r.z < n {
		m, err := r.r.Read(r.buf[r.z:])
		r.z += m
		if r.z >= n {
			return nil
		}
		if err != nil {
			if err == io.EOF && r.z > 0 {
				return io.ErrUnexpectedEOF
			}
			return err
		}
	}
	return nil
}

func unexpected(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
