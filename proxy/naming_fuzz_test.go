package proxy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"pggateway/wire"
)

// scribe notes what a session sends to its server, and answers it only when the
// session can do nothing else but wait.
type scribe struct {
	*stage
	wrote    []byte
	answered int // of wrote
	skipping bool
}

// answer answers what has come since, and reports whether there was anything.
func (c *scribe) answer(t *testing.T) bool {
	c.wrote = append(c.wrote, seen(t, c.server)...)
	var replies []byte
	from := c.answered
	for {
		rest := c.wrote[c.answered:]
		typ, size := wire.Peek(rest)
		if size <= 0 || size > len(rest) {
			break
		}
		replies = append(replies, c.reply(t, typ, rest[wire.HeaderLen:size])...)
		c.answered += size
	}
	b := c.backend
	if len(replies) > 0 && b.session != nil {
		used, err := b.walk(append(b.held, replies...))
		if err != nil || used != len(b.held)+len(replies) {
			t.Fatalf("of the replies %q, %d bytes were understood: %v", replies, used, err)
		}
		b.settle()
	}
	return c.answered > from
}

func (c *scribe) reply(t *testing.T, typ byte, body []byte) []byte {
	name, text, _ := bytes.Cut(body, []byte{0})
	bad := typ == wire.Parse && (bytes.HasPrefix(text, []byte("!")) || string(name) == takenStatement && text[0] != 0)
	switch {
	case typ == wire.Sync:
		c.skipping = false
		return frames(t, "Z", false)
	case c.skipping || typ == wire.Flush:
		return nil
	case bad:
		c.skipping = true
		return frames(t, "E(42601)", false)
	case typ == wire.Query:
		tag := strings.ToUpper(strings.TrimSuffix(strings.TrimSuffix(string(name), " "+takenStatement), ";"))
		return frames(t, "C("+tag+") Z", false)
	case typ == wire.Describe && body[0] == 'S':
		return frames(t, "t n", false)
	}
	return frames(t, map[byte]string{wire.Parse: "1", wire.Bind: "2", wire.Close: "3", wire.Describe: "n", wire.Execute: "C(X)"}[typ], false)
}

// written is what came of messages with names in them.
type written struct {
	server, client string
	ended          bool
	pins           pins
	statements     int
}

// write sends data in pieces of these lengths, 0 standing for a whole buffer.
func write(t *testing.T, data, cuts []byte) written {
	c := &scribe{stage: newStage(t, false)}
	s := c.session
	for i := 0; len(data) > 0 && !s.ended; i++ {
		n := len(data)
		if i < len(cuts) && cuts[i] > 0 {
			n = min(n, int(cuts[i]))
		}
		all := append(append([]byte(nil), s.in...), data[:n]...)
		s.unhold()
		data = data[n:]
		s.advance(all)
		for s.stalled() && !s.ended && c.answer(t) {
		}
		if s.stalled() && !s.ended {
			t.Fatalf("stalled after %q", c.wrote)
		}
	}
	for c.answer(t) {
	}
	c.host.balanced(t)
	return written{string(c.wrote), string(seen(t, c.client)), s.ended, s.pins, len(c.host.statements)}
}

// However messages with the names of prepared statements are cut, the server gets
// the same, and never a name that a client has given. In programs each message is
// a letter and its text, and each line one message.
func FuzzNames(f *testing.F) {
	for _, program := range []string{
		"Ps|x\nB|s\nDs\nE\nS\nB|s\nE\nS\nCs\nS", "Ps|!\nB|s\nS\nPs|y\nS\nPs|z\nS\nB|s\nS", "Pa|x\nPb|x\nCa\nBp|b\nE\nS",
		"Ps|x\nQdeallocate s\nB|s\nS", "Ps|x\nS\nP|deallocate all\nB|\nE\nPs|x\nB|s\nS", "Ps|x\nQexecute s\nB|s\nS", "P\xc3\xa4|x\nB|\xc3\xa4\nC\xc3\xa4\nS",
		"Ps|x\nPs|y\nCs\nS\nB|pggw_1\nCpggw_1\nS", "P*|x\nB|*\nB*|*\nC*\nD*\nS", "Ps|*\nS\nB|s\nDs\nE\nCs\nS", "Qbegin\nPs|x\nH\nB|s\nQdiscard all\nB|s\nS",
	} {
		f.Add(program, []byte{3, 4, 6, 1, 9, 200, 2, 2, 7})
		f.Add(program, bytes.Repeat([]byte{1}, 60))
	}
	f.Fuzz(func(t *testing.T, program string, cuts []byte) {
		var data []byte
		for line := range strings.SplitSeq(program, "\n") {
			if line == "" || strings.Contains(line, "\x00") || !strings.ContainsAny(line[:1], "PBDCEQSH") {
				continue
			}
			first, second, _ := strings.Cut(strings.ReplaceAll(line[1:], "*", strings.Repeat("n", maxNames)), "|")
			body := map[byte]string{
				'P': first + "\x00" + second + "\x00\x00\x00", 'B': first + "\x00" + second + "\x00\x00\x00\x00\x00\x00\x00",
				'D': "S" + first + "\x00", 'C': "S" + first + "\x00", 'E': "\x00\x00\x00\x00\x00", 'Q': first + "\x00",
			}[line[0]]
			data = append(data, message(line[0], body)...)
		}
		if len(data) > 100<<10 {
			return
		}
		whole, cut := write(t, data, nil), write(t, data, cuts)
		if whole != cut {
			t.Errorf("in one piece %.2000q\ncut %.2000q", fmt.Sprint(whole), fmt.Sprint(cut))
		}
	})
}
