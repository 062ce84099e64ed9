package e2e

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5/pgconn"

	"pggateway/e2e/kit"
)

// largeSize is how large a message is here. PostgreSQL takes less than a GiB, and
// LARGE_MESSAGE=1073740000 sends that much; a server needs a few times as much
// memory for it.
func largeSize(t *testing.T) int {
	text := os.Getenv("LARGE_MESSAGE")
	if text == "" {
		return 64 << 20
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("LARGE_MESSAGE: %v", err)
	}
	return n
}

// maxRise is how much the gateway's memory may grow by when messages of any size
// pass through it: buffers, and what the Go heap takes before it is collected.
const maxRise = 8 << 20

// TestLargeMessages sends messages of many megabytes, of each kind that may
// be so long, through the gateway. Its memory is bounded by its buffers.
func TestLargeMessages(t *testing.T) {
	t.Parallel()
	size := largeSize(t)
	h := newHouse(t)
	pg := h.postgres(kit.PostgresOptions{})
	for _, mode := range []string{"transaction", "session"} {
		h.upstream(mode, "127.0.0.1", pg.Port, "tls: {mode: disable}", "pool: {size: 1, mode: "+mode+"}")
	}
	h.start("")
	for _, mode := range []string{"transaction", "session"} {
		t.Run(mode, func(t *testing.T) {
			c := dialLarge(t, h, mode)
			c.query("select 'warm'")
			resetPeak(t, h.gateway.Pid())
			before := peak(t, h.gateway.Pid())

			// The comment is not parsed, and so costs the server little.
			c.large('Q', "select 'long query' --", size, "\x00")
			c.expect("D long query")

			c.large('P', "s1\x00select 'long named parse' --", size, "\x00\x00\x00")
			c.frame('B', "\x00s1\x00\x00\x00\x00\x00\x00\x00")
			c.frame('E', "\x00\x00\x00\x00\x00")
			c.frame('C', "Ss1\x00")
			c.frame('S', "")
			c.expect("D long named parse")

			c.large('P', "\x00select 'long parse' --", size, "\x00\x00\x00")
			c.frame('B', "\x00\x00\x00\x00\x00\x00\x00\x00")
			c.frame('E', "\x00\x00\x00\x00\x00")
			c.frame('S', "")
			c.expect("D long parse")

			c.frame('P', "s2\x00select octet_length($1)\x00\x00\x01\x00\x00\x00\x11")
			value := binary.BigEndian.AppendUint32([]byte("\x00s2\x00\x00\x01\x00\x01\x00\x01"), uint32(size))
			c.large('B', string(value), size, "\x00\x00")
			c.frame('E', "\x00\x00\x00\x00\x00")
			c.frame('S', "")
			c.expect("D " + strconv.Itoa(size))

			c.query(fmt.Sprintf("select repeat('x', %d)", size))
			if c.bytes < size {
				t.Errorf("a row of %d bytes came with %d", size, c.bytes)
			}

			// Outside of COPY the server reads such a message and forgets it.
			c.query("begin")
			c.large('d', "", size, "")
			c.query("commit")
			c.query("select 'still served'")
			if rise := peak(t, h.gateway.Pid()) - before; rise > maxRise {
				t.Errorf("the gateway's memory rose by %d KiB", rise>>10)
			} else {
				t.Logf("the gateway's memory rose by %d KiB", rise>>10)
			}
		})
	}
}

// largeClient writes messages without having them in memory.
type largeClient struct {
	t     *testing.T
	conn  net.Conn
	r     *bufio.Reader
	bytes int // read for the latest answer
}

func dialLarge(t *testing.T, h *house, database string) *largeClient {
	t.Helper()
	c, err := pgconn.Connect(t.Context(), h.gateway.ConnString(writer, writerPassword, database))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := c.Hijack()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { raw.Conn.Close() })
	_ = raw.Conn.SetDeadline(time.Now().Add(5 * time.Minute))
	return &largeClient{t: t, conn: raw.Conn, r: bufio.NewReaderSize(raw.Conn, 256<<10)}
}

func (c *largeClient) write(b []byte) {
	c.t.Helper()
	if _, err := c.conn.Write(b); err != nil {
		c.t.Fatal(err)
	}
}

func (c *largeClient) frame(typ byte, body string) {
	c.t.Helper()
	c.write(append(binary.BigEndian.AppendUint32([]byte{typ}, uint32(4+len(body))), body...))
}

// large sends a message with size bytes between head and tail.
func (c *largeClient) large(typ byte, head string, size int, tail string) {
	c.t.Helper()
	c.write(binary.BigEndian.AppendUint32([]byte{typ}, uint32(4+len(head)+size+len(tail))))
	c.write([]byte(head))
	filling := []byte(strings.Repeat("x", 1<<20))
	for rest := size; rest > 0; rest -= len(filling) {
		c.write(filling[:min(rest, len(filling))])
	}
	c.write([]byte(tail))
}

func (c *largeClient) query(sql string) {
	c.t.Helper()
	c.frame('Q', sql+"\x00")
	c.expect("")
}

// expect reads to ReadyForQuery. Among the answers has to be the one wanted, a
// type and a text, and no error.
func (c *largeClient) expect(want string) {
	c.t.Helper()
	c.bytes = 0
	found := want == ""
	for {
		var head [5]byte
		if _, err := io.ReadFull(c.r, head[:]); err != nil {
			c.t.Fatal(err)
		}
		n := int(binary.BigEndian.Uint32(head[1:])) - 4
		c.bytes += n
		body, err := c.r.Peek(min(n, 1024))
		if err != nil {
			c.t.Fatal(err)
		}
		if head[0] == 'E' {
			c.t.Fatalf("got %q", body)
		}
		typ, text, _ := strings.Cut(want, " ")
		found = found || typ == string(head[:1]) && strings.Contains(string(body), text)
		if _, err := c.r.Discard(n); err != nil {
			c.t.Fatal(err)
		}
		if head[0] == 'Z' {
			break
		}
	}
	if !found {
		c.t.Fatalf("%q did not come", want)
	}
}

// peak is the most memory that a process has had since resetPeak, in bytes.
func peak(t *testing.T, pid int) int {
	t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	_, after, _ := strings.Cut(string(status), "VmHWM:")
	var kib int
	if _, err := fmt.Sscan(after, &kib); err != nil {
		t.Fatal(err)
	}
	return kib << 10
}

func resetPeak(t *testing.T, pid int) {
	t.Helper()
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte("5"), 0o600); err != nil {
		t.Fatal(err)
	}
}
