package congestion

import (
	"encoding/binary"
	"io"
	"net"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgproto3"

	"pggateway/e2e/kit"
)

// naive is a pooler that makes every mistake: it hands a server connection to
// the next client after each transaction, whatever is in it, and when its client
// has gone, whatever is still to come. What it tells at login is a lie.
type naive struct {
	servers chan *pgconn.HijackedConn
	direct  string // address of the database
}

// startNaive returns a naive pooler's address.
func startNaive(t *testing.T, pg *kit.Postgres, size int) *net.TCPAddr {
	t.Helper()
	n := &naive{servers: make(chan *pgconn.HijackedConn, size), direct: pg.Addr()}
	for range size {
		c, err := pgconn.Connect(t.Context(), kit.ConnString("127.0.0.1", pg.Port, "app", role, rolePassword, "sslmode=disable"))
		if err != nil {
			t.Fatal(err)
		}
		h, err := c.Hijack()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { h.Conn.Close() })
		n.servers <- h
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go n.serve(c)
		}
	}()
	addr, _ := l.Addr().(*net.TCPAddr)
	return addr
}

func (n *naive) serve(c net.Conn) {
	defer c.Close()
	back := pgproto3.NewBackend(c, c)
	first, err := back.ReceiveStartupMessage()
	if err != nil {
		return
	}
	startup, ok := first.(*pgproto3.StartupMessage)
	if !ok {
		n.cancel(first)
		return
	}
	key := <-n.servers // its key will do
	n.servers <- key
	back.Send(&pgproto3.AuthenticationOk{})
	for _, name := range reportedNames {
		back.Send(&pgproto3.ParameterStatus{Name: name, Value: startup.Parameters[name]})
	}
	back.Send(&pgproto3.BackendKeyData{ProcessID: key.PID, SecretKey: key.SecretKey})
	back.Send(&pgproto3.ReadyForQuery{TxStatus: 'I'})
	if back.Flush() != nil {
		return
	}
	var server net.Conn
	var held *pgconn.HijackedConn
	defer func() {
		if held != nil {
			n.servers <- held
		}
	}()
	for {
		m, err := frame(c)
		if err != nil || m[0] == 'X' {
			return
		}
		if held == nil {
			held = <-n.servers
			server = held.Conn
		}
		if _, err := server.Write(m); err != nil {
			return
		}
		if m[0] != 'Q' && m[0] != 'S' && m[0] != 'c' && m[0] != 'f' {
			continue
		}
		for {
			reply, err := frame(server)
			if err != nil {
				return
			}
			if _, err := c.Write(reply); err != nil {
				return
			}
			if reply[0] == 'G' {
				break
			}
			if reply[0] == 'Z' {
				if reply[5] == 'I' {
					n.servers <- held
					held = nil
				}
				break
			}
		}
	}
}

// cancel passes a CancelRequest on as it is.
func (n *naive) cancel(m pgproto3.FrontendMessage) {
	conn, err := net.Dial("tcp", n.direct)
	if err != nil {
		return
	}
	defer conn.Close()
	text, err := m.Encode(nil)
	if err != nil {
		return
	}
	_, _ = conn.Write(text)
	_, _ = io.Copy(io.Discard, conn)
}

// frame reads one message.
func frame(r io.Reader) ([]byte, error) {
	m := make([]byte, 5)
	if _, err := io.ReadFull(r, m); err != nil {
		return nil, err
	}
	m = slices.Grow(m, int(binary.BigEndian.Uint32(m[1:])))
	m = m[:1+binary.BigEndian.Uint32(m[1:])]
	_, err := io.ReadFull(r, m[5:])
	return m, err
}

// TestMistakesAreFound has crowds use the naive pooler until what must not
// happen has happened, for each thing that must not.
func TestMistakesAreFound(t *testing.T) {
	t.Parallel()
	pg := database(t)
	for kind, doing := range map[string][]string{
		"parameter":    {"parameters", "simple"},
		"statement":    {"named statements", "kill while idle"},
		"temp":         {"temporary table", "simple"},
		"notification": {"listen", "notify"},
		"lock":         {"advisory lock", "leave state"},
		"cursor":       {"cursor with hold", "simple"},
		"session":      {"leave state", "simple"},
		"rows":         {"kill in a result", "simple", "unnamed"},
		"copy":         {"kill in a result", "copy out"},
		"transaction":  {"kill in a transaction", "transaction undone", "peek"},
		"notice":       {"kill in a transaction", "transaction undone"},
		"cancel":       {"cancel with a dead key", "slow reader", "kill while idle"},
	} {
		t.Run(kind, func(t *testing.T) {
			addr := startNaive(t, pg, 2)
			conn := kit.ConnString("127.0.0.1", addr.Port, "app", role, "", "sslmode=disable")
			r := Run(Options{
				Seed: seed(t), Clients: 8, Duration: patience, Holders: 8, Actions: doing,
				Connect: func(int) string { return conn },
				Until:   func(r *Result) bool { return r.Kind(kind) > 0 },
			})
			if r.Kind(kind) == 0 {
				t.Errorf("no violation of kind %q was seen: %v\n%s", kind, r.Violations(), r.Summary())
			}
		})
	}
}
