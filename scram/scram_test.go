package scram

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"hash"
	"slices"
	"strings"
	"testing"
)

// The example of RFC 7677, section 3: user "user", password "pencil".
const (
	rfcClientNonce = "rOprNGfwEbeRWgbNEkqO"
	rfcServerNonce = "%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
	rfcSalt        = "W22ZaJ0SNY7soEsUEjb6gQ=="

	rfcClientFirst = "n,,n=user,r=" + rfcClientNonce
	rfcServerFirst = "r=" + rfcClientNonce + rfcServerNonce + ",s=" + rfcSalt + ",i=4096"
	rfcClientFinal = "c=biws,r=" + rfcClientNonce + rfcServerNonce + ",p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
	rfcServerFinal = "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
)

func rfcVerifier(t testing.TB) Verifier {
	t.Helper()
	salt, err := base64.StdEncoding.DecodeString(rfcSalt)
	if err != nil {
		t.Fatal(err)
	}
	return verifier(t, "pencil", salt)
}

func verifier(t testing.TB, password string, salt []byte) Verifier {
	t.Helper()
	text, err := newVerifier(password, 4096, salt)
	if err != nil {
		t.Fatal(err)
	}
	v, err := ParseVerifier(text)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestRFC7677(t *testing.T) {
	c, err := newClient("user", "pencil", rfcClientNonce)
	if err != nil {
		t.Fatal(err)
	}
	s := newServer(rfcVerifier(t), sha256.New, func() string { return rfcServerNonce })

	first, err := c.Step("")
	if err != nil || first != rfcClientFirst {
		t.Fatalf("client-first %q, %v", first, err)
	}
	reply, done, err := s.Step(first)
	if err != nil || done || reply != rfcServerFirst {
		t.Fatalf("server-first %q, %v, %v", reply, done, err)
	}
	final, err := c.Step(reply)
	if err != nil || final != rfcClientFinal {
		t.Fatalf("client-final %q, %v", final, err)
	}
	reply, done, err = s.Step(final)
	if err != nil || !done || reply != rfcServerFinal {
		t.Fatalf("server-final %q, %v, %v", reply, done, err)
	}
	if c.Done() {
		t.Error("the client is done before it saw the server's signature")
	}
	if final, err = c.Step(reply); err != nil || final != "" || !c.Done() {
		t.Fatalf("end %q, %v, done %v", final, err, c.Done())
	}
	if _, err := c.Step(reply); err == nil {
		t.Error("the client goes on after its end")
	}
	if _, _, err := s.Step(rfcClientFinal); err == nil {
		t.Error("the server goes on after its end")
	}
}

// exchange runs a whole exchange and returns its four messages.
func exchange(t testing.TB, s *Server, user, password string) (messages []string, err error) {
	t.Helper()
	c, err := NewClient(user, password)
	if err != nil {
		t.Fatal(err)
	}
	reply := ""
	for {
		msg, err := c.Step(reply)
		if err != nil {
			t.Fatalf("client: %v", err)
		}
		if c.Done() {
			return messages, nil
		}
		messages = append(messages, msg)
		if reply, _, err = s.Step(msg); err != nil {
			return messages, err
		}
		messages = append(messages, reply)
	}
}

func TestUserNamesDoNotMatter(t *testing.T) {
	for _, user := range []string{"", "*", "somebody else", "a=b,c", "ü"} {
		if _, err := exchange(t, NewServer(rfcVerifier(t)), user, "pencil"); err != nil {
			t.Errorf("user %q: %v", user, err)
		}
	}
}

// counter counts the work of a hash: instances and the bytes that go through them.
type counter struct{ instances, bytes int }

func (c *counter) new() hash.Hash {
	c.instances++
	return &countedHash{sha256.New(), c}
}

type countedHash struct {
	hash.Hash
	c *counter
}

func (h *countedHash) Write(b []byte) (int, error) {
	h.c.bytes += len(b)
	return h.Hash.Write(b)
}

// A mock exchange must not be told from one with a wrong password: the same
// error, the same message lengths, the same hashing.
func TestMockLooksLikeAWrongPassword(t *testing.T) {
	type look struct {
		lengths []int
		work    counter
		err     error
	}
	run := func(v Verifier) (l look) {
		s := newServer(v, l.work.new, func() string { return rfcServerNonce })
		messages, err := exchange(t, s, "", "wrong")
		for _, m := range messages {
			l.lengths = append(l.lengths, len(m))
		}
		l.err = err
		return l
	}
	wrong := run(verifier(t, "right", bytes.Repeat([]byte{7}, saltLen)))
	mock := run(Mock([]byte("seed"), "nobody"))
	if !errors.Is(wrong.err, ErrProof) || !errors.Is(mock.err, ErrProof) || mock.err.Error() != wrong.err.Error() {
		t.Errorf("errors: mock %v, wrong password %v", mock.err, wrong.err)
	}
	if len(wrong.lengths) != 3 || !slices.Equal(mock.lengths, wrong.lengths) {
		t.Errorf("message lengths: mock %v, wrong password %v", mock.lengths, wrong.lengths)
	}
	if mock.work != wrong.work {
		t.Errorf("work: mock %+v, wrong password %+v", mock.work, wrong.work)
	}
	// One HMAC and one hash, so that a login costs the gateway microseconds.
	if wrong.work.instances == 0 || wrong.work.instances > 4 || wrong.work.bytes > 2000 {
		t.Errorf("work of a failed login: %+v", wrong.work)
	}
}

func TestMockSalt(t *testing.T) {
	salt := func(seed, user string) string {
		t.Helper()
		reply, _, err := NewServer(Mock([]byte(seed), user)).Step("n,,n=,r=abc")
		if err != nil {
			t.Fatal(err)
		}
		fields := strings.Split(reply, ",")
		if len(fields) != 3 || fields[2] != "i=4096" {
			t.Fatalf("server-first %q", reply)
		}
		return fields[1]
	}
	first := salt("seed", "nobody")
	if again := salt("seed", "nobody"); again != first {
		t.Errorf("the salt changes: %s, %s", first, again)
	}
	if other := salt("seed", "nobody2"); other == first {
		t.Error("two users have the same salt")
	}
	if other := salt("seed2", "nobody"); other == first {
		t.Error("the salt does not depend on the seed")
	}
	if raw, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(first, "s=")); err != nil || len(raw) != saltLen {
		t.Errorf("salt %s: %d bytes, %v", first, len(raw), err)
	}
}

// Even who holds a client key that satisfies a mock's keys is not let in.
func TestMockIsDoomed(t *testing.T) {
	v := rfcVerifier(t)
	v.mock = true
	messages, err := exchange(t, NewServer(v), "", "pencil")
	if !errors.Is(err, ErrProof) || len(messages) != 3 {
		t.Errorf("%v after %d messages", err, len(messages))
	}
}

func TestZeroVerifier(t *testing.T) {
	if _, _, err := NewServer(Verifier{}).Step(rfcClientFirst); err == nil {
		t.Error("an exchange began without a verifier")
	}
}

func TestServerRefuses(t *testing.T) {
	long := strings.Repeat("x", maxClientMessage)
	tests := []struct {
		name         string
		first, final string // final "": the first is refused; "+" stands for the server's nonce
	}{
		{"empty", "", ""},
		{"garbage", "hello", ""},
		{"channel binding", "p=tls-server-end-point,,n=,r=abc", ""},
		{"unknown channel binding", "p=x,,n=,r=abc", ""},
		{"unknown flag", "z,,n=,r=abc", ""},
		{"authorization identity", "n,a=root,n=,r=abc", ""},
		{"extension", "n,,m=x,n=,r=abc", ""},
		{"no nonce", "n,,n=", ""},
		{"nonce with a space", "n,,n=,r=a c", ""},
		{"nonce with a zero byte", "n,,n=,r=a\x00c", ""},
		{"nonce beyond ASCII", "n,,n=,r=aüc", ""},
		{"too long", "n,,n=,r=" + long, ""},
		{"final too long", "n,,n=,r=abc", "c=biws,r=abc+,x=" + long + ",p=AAAA"},
		{"final empty", "n,,n=,r=abc", " "},
		{"no proof", "n,,n=,r=abc", "c=biws,r=abc+"},
		{"short proof", "n,,n=,r=abc", "c=biws,r=abc+,p=AAAA"},
		{"proof not base64", "n,,n=,r=abc", "c=biws,r=abc+,p=!"},
		{"other nonce", "n,,n=,r=abc", "c=biws,r=abcd,p=" + base64.StdEncoding.EncodeToString(make([]byte, keyLen))},
		{"other flag in c=", "y,,n=,r=abc", "c=biws,r=abc+,p=" + base64.StdEncoding.EncodeToString(make([]byte, keyLen))},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newServer(rfcVerifier(t), sha256.New, func() string { return "S" })
			_, done, err := s.Step(tt.first)
			if tt.final != "" {
				if err != nil {
					t.Fatalf("the first message: %v", err)
				}
				_, done, err = s.Step(strings.ReplaceAll(tt.final, "+", "S"))
			}
			if err == nil || done {
				t.Fatalf("taken: done %v, %v", done, err)
			}
			if errors.Is(err, ErrProof) {
				t.Error("malformed is reported as a wrong proof")
			}
			if _, _, again := s.Step(rfcClientFirst); again == nil {
				t.Error("goes on after an error")
			}
		})
	}
}

// "y" is a client that could bind and saw no PLUS offer, which is the truth.
func TestServerTakesY(t *testing.T) {
	s := newServer(rfcVerifier(t), sha256.New, func() string { return "S" })
	if _, _, err := s.Step("y,,n=,r=abc"); err != nil {
		t.Fatal(err)
	}
	// c= says "y,,", and only the proof is wrong.
	_, _, err := s.Step("c=eSws,r=abcS,p=" + base64.StdEncoding.EncodeToString(make([]byte, keyLen)))
	if !errors.Is(err, ErrProof) {
		t.Errorf("got %v", err)
	}
}

func TestClientRefuses(t *testing.T) {
	const n = rfcClientNonce
	tests := []struct {
		name          string
		first, second string // second "": the first is refused
		says          string
	}{
		{"garbage", "hello", "", "malformed"},
		{"empty", "", "", "malformed"},
		{"fields out of order", "s=" + rfcSalt + ",r=" + n + "x,i=4096", "", "malformed"},
		{"extension", "m=x,r=" + n + "x,s=" + rfcSalt + ",i=4096", "", "malformed"},
		{"other nonce", "r=other,s=" + rfcSalt + ",i=4096", "", "nonce"},
		{"nonce not extended", "r=" + n + ",s=" + rfcSalt + ",i=4096", "", "nonce"},
		{"unprintable nonce", "r=" + n + "\x01,s=" + rfcSalt + ",i=4096", "", "nonce"},
		{"no salt", "r=" + n + "x,s=,i=4096", "", "salt"},
		{"salt not base64", "r=" + n + "x,s=%,i=4096", "", "salt"},
		{"long salt", "r=" + n + "x,s=" + base64.StdEncoding.EncodeToString(make([]byte, maxSalt+1)) + ",i=4096", "", "salt"},
		{"one iteration", "r=" + n + "x,s=" + rfcSalt + ",i=1", "", "iterations"},
		{"negative iterations", "r=" + n + "x,s=" + rfcSalt + ",i=-1", "", "iterations"},
		{"too few iterations", "r=" + n + "x,s=" + rfcSalt + ",i=4095", "", "iterations"},
		{"too many iterations", "r=" + n + "x,s=" + rfcSalt + ",i=1000001", "", "iterations"},
		{"absurd iterations", "r=" + n + "x,s=" + rfcSalt + ",i=2147483647", "", "iterations"},
		{"overflowing iterations", "r=" + n + "x,s=" + rfcSalt + ",i=18446744073709555712", "", "number"},
		{"signed iterations", "r=" + n + "x,s=" + rfcSalt + ",i=+4096", "", "number"},
		{"too long", "r=" + n + strings.Repeat("x", maxServerMessage) + ",s=" + rfcSalt + ",i=4096", "", "longer"},
		{"wrong signature", rfcServerFirst, "v=" + base64.StdEncoding.EncodeToString(make([]byte, keyLen)), "signature"},
		{"empty signature", rfcServerFirst, "v=", "signature"},
		{"no signature", rfcServerFirst, "x", "signature"},
		{"error", rfcServerFirst, "e=invalid-proof", "error"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := newClient("user", "pencil", rfcClientNonce)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := c.Step(""); err != nil {
				t.Fatal(err)
			}
			_, err = c.Step(tt.first)
			if tt.second != "" {
				if err != nil {
					t.Fatalf("the first message: %v", err)
				}
				_, err = c.Step(tt.second)
			}
			if err == nil || c.Done() {
				t.Fatalf("taken: %v, done %v", err, c.Done())
			}
			if !strings.Contains(err.Error(), tt.says) {
				t.Errorf("says %q, not %q", err, tt.says)
			}
			if _, again := c.Step(rfcServerFinal); again == nil || c.Done() {
				t.Error("goes on after an error")
			}
		})
	}
}

func TestClientSpeaksFirst(t *testing.T) {
	c, err := NewClient("", "x")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := c.Step(rfcServerFirst); err == nil {
		t.Error("the server spoke first")
	}
	if _, err := NewClient("", ""); err == nil {
		t.Error("an empty password was taken")
	}
}
