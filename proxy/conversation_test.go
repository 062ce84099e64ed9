package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"pggateway/config"
	"pggateway/wire"
)

// Random legal conversations arrive unchanged and unmixed, however their bytes
// are cut, with more clients than servers.
func TestConversations(t *testing.T) {
	for _, c := range []struct {
		mode          config.PoolMode
		size, clients int
		watched       bool // limits that nobody reaches are enforced all the time, and servers keep few statements
	}{
		{config.PoolTransaction, 1, 2, false},
		{config.PoolTransaction, 1, 2, true},
		{config.PoolTransaction, 2, 5, false},
		{config.PoolSession, 1, 2, false},
		{config.PoolSession, 1, 2, true},
	} {
		t.Run(fmt.Sprintf("%s, %d servers, %d clients, watched: %t", c.mode, c.size, c.clients, c.watched), func(t *testing.T) {
			t.Parallel()
			seed := rand.Uint64()
			var mu sync.Mutex
			fault := func(format string, args ...any) {
				mu.Lock()
				defer mu.Unlock()
				t.Errorf(format, args...)
			}
			r := newRig(t, func(_ *config.Config, u *config.Upstream) { u.Pool.Mode, u.Pool.Size = c.mode, c.size })
			if c.watched {
				r.proxy.limits = newLimits(all())
				r.proxy.limits.tick, r.proxy.limits.sweep = 1, 1 // in every turn of the loop
				r.proxy.limits.loaded = 2
			}
			var servers, clients sync.WaitGroup
			defer servers.Wait()
			defer r.close()
			servers.Go(func() {
				for n := uint64(0); ; n++ {
					select {
					case s := <-r.servers:
						a := newActor(fault)
						a.Conn, a.rnd = s.TCPConn, rand.New(rand.NewPCG(seed, n))
						servers.Go(a.run)
					case <-r.proxy.ctx.Done():
						return
					}
				}
			})
			for i := range c.clients {
				clients.Go(func() {
					if err := converse(r, seed, i, fault); err != nil {
						fault("client %d: %v", i, err)
					}
				})
			}
			clients.Wait()
			if t.Failed() {
				t.Log("seed", seed)
			}
		})
	}
}

func converse(r *rig, seed uint64, i int, fault func(format string, args ...any)) error {
	s := newSpeaker(string(rune('a'+i)), rand.New(rand.NewPCG(seed, 1000+uint64(i))), fault)
	e := r.admit(wire.Version30, nil, wire.Parameter{Name: "application_name", Value: s.name})
	_ = e.SetDeadline(time.Now().Add(patience))
	defer e.Close()
	in := wire.NewReader(e)
	for {
		typ, _, err := in.Message(1 << 20)
		if err != nil {
			return fmt.Errorf("greeting: %w", err)
		}
		if typ == wire.ReadyForQuery {
			break
		}
	}
	for round := range 40 {
		s.send, s.server.out = nil, nil
		for range 1 + s.rnd.IntN(8) {
			if s.turn(); s.next != nil {
				break
			}
		}
		if round == 39 {
			for s.next != nil {
				s.turn()
			}
			s.send = append(s.send, message(wire.Terminate, "")...)
		}
		wrote := make(chan error, 1)
		send, expected := s.send, s.server.out
		go func() {
			wrote <- scatter(e, rand.New(rand.NewPCG(seed, uint64(round))), &send)
		}()
		for len(expected) > 0 {
			typ, body, err := in.Message(1 << 20)
			_, size := wire.Peek(expected)
			want := expected[:size]
			expected = expected[size:]
			if err != nil {
				return fmt.Errorf("round %d, want %q: %w", round, tail(want), err)
			}
			if got := message(typ, string(body)); !same(got, want) {
				return fmt.Errorf("round %d: got %q, want %q", round, tail(got), tail(want))
			}
		}
		if err := <-wrote; err != nil {
			return err
		}
	}
	if _, _, err := in.Message(1 << 20); !errors.Is(err, io.EOF) {
		return fmt.Errorf("after Terminate: %w", err)
	}
	return nil
}

// same compares two messages, errors by what clients read of them.
func same(a, b []byte) bool {
	if a[0] != wire.ErrorResponse || b[0] != wire.ErrorResponse {
		return bytes.Equal(a, b)
	}
	x, _ := wire.ParseFields(a[wire.HeaderLen:])
	y, _ := wire.ParseFields(b[wire.HeaderLen:])
	return x.Severity == y.Severity && x.Code == y.Code && x.Message == y.Message
}

func tail(b []byte) []byte { return b[max(0, len(b)-200):] }
