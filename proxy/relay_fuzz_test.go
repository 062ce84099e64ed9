package proxy

import (
	"net"
	"testing"
	"time"

	"go.uber.org/zap"

	"pggateway/config"
	"pggateway/netloop"
	"pggateway/wire"
)

// relayed is what came of the two sides' bytes.
type relayed struct {
	server, client string
	ended, failed  bool
	asked          bool
}

// relayStage is a relay on a loop that does not run, and its other ends.
func relayStage(t testing.TB) (r *relay, client, server net.Conn) {
	t.Helper()
	p, err := New(t.Context(), Options{Config: &config.Config{}, Secrets: fakeSecrets{}, Log: zap.NewNop(), Now: time.Now, Loops: 1})
	if err != nil {
		t.Fatal(err)
	}
	r = &relay{
		proxy: p, loop: p.loops[0], log: zap.NewNop(), writer: &config.Writer{Name: "sync"}, upstream: &config.Upstream{Name: "orders"},
		mode: logicalReplication, seat: p.door.admission.seat(), tx: wire.TxIdle,
	}
	near, client := socketpair(t)
	if r.client, err = r.loop.Attach(netloop.NewTransport(near), nil, (*relayClient)(r)); err != nil {
		t.Fatal(err)
	}
	near, server = socketpair(t)
	if r.server, err = r.loop.Attach(netloop.NewTransport(near), nil, (*relayServer)(r)); err != nil {
		t.Fatal(err)
	}
	p.keys.issue(r, wire.Version30)
	p.relays[r] = struct{}{}
	p.clients.Add(1)
	t.Cleanup(func() {
		p.Close()
		_ = client.Close()
		_ = server.Close()
	})
	return r, client, server
}

// relayBoth runs a client's bytes and then a server's through a relay, each cut at
// the place given.
func relayBoth(t *testing.T, said, answered []byte, cut int) relayed {
	r, client, server := relayStage(t)
	for _, piece := range [][]byte{said[:cut%(len(said)+1)], said[cut%(len(said)+1):]} {
		all := append(append([]byte(nil), r.in...), piece...)
		r.drop(&r.in)
		if len(all) > 0 && !r.ended {
			r.advance(all)
		}
	}
	var out relayed
	for _, piece := range [][]byte{answered[:cut%(len(answered)+1)], answered[cut%(len(answered)+1):]} {
		if r.ended || out.failed {
			break
		}
		all := append(append([]byte(nil), r.held...), piece...)
		r.drop(&r.held)
		used, err := r.walk(all)
		if used > len(all) || used < 0 {
			t.Fatalf("walk used %d of %d bytes", used, len(all))
		}
		out.failed = err != nil
		if !r.ended && !out.failed {
			r.held = r.loop.Extend(nil, all[used:])
		}
	}
	if !r.ended && !out.failed {
		r.resume()
	}
	out.ended, out.asked = r.ended, r.asked
	out.server, out.client = string(seen(t, server)), string(seen(t, client))
	return out
}

// Whatever the two sides say, nothing panics, it does not matter how the bytes
// were cut, and the server gets replication commands, COPY and the end, and
// nothing else.
func FuzzRelay(f *testing.F) {
	for said, answered := range map[string]string{
		"Q(IDENTIFY_SYSTEM) Q(SHOW x) X":                    "T D(x) C(IDENTIFY_SYSTEM) Z T D(y) C(SHOW) Z",
		"Q(START_REPLICATION 0/0) d(x) c Q(SHOW x)":         "W(xxx) d(y) c C(COPY 0) Z",
		"Q(START_REPLICATION 0/0) Q(SHOW x)":                "N(01000) W(xxx) d(y)",
		"Q(drop table x) P(|select 1) B E d(x) Q(x) S":      "Z",
		"Q(UPLOAD_MANIFEST) d(x) f(no) S H F(x)":            "G E(57014) Z",
		"Q(BASE_BACKUP) X Q(drop table x)":                  "H d(x) c C(SELECT) Z",
		"raw(Q\\x00\\x00\\x00\\x08SHOW) Q(IDENTIFY_SYSTEM)": "S(a=b) E(FATAL:57P01)",
		"raw(Q\\xff\\x00\\x00\\x04)":                        "raw(Z\\x00\\x00\\x00\\x04)",
	} {
		f.Add(frames(f, said, true), frames(f, answered, false), uint16(7))
	}
	f.Fuzz(func(t *testing.T, said, answered []byte, at uint16) {
		if len(said) > fuzzBytes || len(answered) > fuzzBytes {
			return
		}
		whole := relayBoth(t, said, answered, 0)
		cut := relayBoth(t, said, answered, int(at))
		if whole != cut {
			t.Errorf("in one piece %+v\ncut %+v", whole, cut)
		}
		for b := []byte(whole.server); len(b) > 0; {
			typ, size := wire.Peek(b)
			if size <= 0 || size > len(b) {
				if typ != wire.CopyData && typ != wire.CopyDone && typ != wire.CopyFail && size != 0 {
					t.Fatalf("the server got a part of a message %q", typ)
				}
				break
			}
			switch typ {
			case wire.Query:
				if text := b[wire.HeaderLen : size-1]; !isReplicationCommand(text) {
					t.Fatalf("the server got %q", text)
				}
			case wire.CopyData, wire.CopyDone, wire.CopyFail, wire.Terminate:
			default:
				t.Fatalf("the server got a message %q", typ)
			}
			b = b[size:]
		}
	})
}
