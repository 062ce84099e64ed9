package scram

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"
)

// ErrProof is what a wrong password, and any password for a mock verifier, ends with.
var ErrProof = errors.New("the proof is wrong")

// Server is the server's side of one exchange. It computes one HMAC to check a
// proof and, when that is right, one to sign; the costly derivation is the
// client's. It is not safe for concurrent use.
type Server struct {
	exchange *scram.ServerConversation
	mock     bool
	offered  bool // MechanismPlus was
	plus     bool // and the client selected it
	steps    int
	err      error // why it is over
}

var errOver = errors.New("the exchange is over")

// NewServer begins an exchange in which a client has to satisfy v, where only
// Mechanism was offered.
func NewServer(v Verifier) *Server { return newServer(v, scram.SHA256, rand.Text) }

// NewBoundServer begins an exchange on a connection that has a binding, where
// MechanismPlus was offered beside Mechanism; plus says that the client selected it.
func NewBoundServer(v Verifier, b Binding, plus bool) *Server {
	return newBoundServer(v, b, plus, scram.SHA256, rand.Text)
}

func newServer(v Verifier, hash scram.HashGeneratorFcn, nonce func() string) *Server {
	return newBoundServer(v, Binding{}, false, hash, nonce)
}

func newBoundServer(v Verifier, b Binding, plus bool, hash scram.HashGeneratorFcn, nonce func() string) *Server {
	lookup := func(string) (scram.StoredCredentials, error) { // whatever name the client sent
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(v.salt), Iters: v.iterations},
			StoredKey:  v.storedKey,
			ServerKey:  v.serverKey,
		}, nil
	}
	s, err := hash.NewServer(lookup)
	if err == nil && len(v.storedKey) != keyLen {
		err = errors.New("no verifier")
	}
	if err != nil {
		return &Server{err: err}
	}
	return &Server{
		exchange: s.WithNonceGenerator(nonce).NewConversationWithChannelBinding(b.channel),
		mock:     v.mock, offered: !b.IsZero(), plus: plus,
	}
}

// Step takes the client's next message and returns the server's: server-first
// after the first, server-final with done after the second when the proof is right.
// A message has at most 1024 bytes. An authorization identity is refused, and a
// channel-binding flag that does not go with the mechanisms offered and selected
// (see flag). After an error or done, each further call is an error.
func (s *Server) Step(msg string) (reply string, done bool, err error) {
	if s.err != nil {
		return "", false, s.err
	}
	reply, err = s.step(msg)
	s.steps++
	done = err == nil && s.steps == 2
	switch {
	case err != nil:
		s.err = err
	case done:
		s.err = errOver
	}
	return reply, done, err
}

func (s *Server) step(msg string) (string, error) {
	if len(msg) > maxClientMessage {
		return "", fmt.Errorf("the client's message is longer than %d bytes", maxClientMessage)
	}
	if s.steps == 0 {
		if err := s.flag(msg); err != nil {
			return "", err
		}
	}
	reply, err := s.exchange.Step(msg)
	if s.steps == 0 {
		return s.first(reply, err)
	}
	switch {
	case err != nil && reply == scram.ErrChannelBindingsDontMatch && s.plus:
		return "", ErrBinding
	case err != nil && reply == scram.ErrInvalidProof, err == nil && s.mock:
		return "", ErrProof
	case err != nil:
		return "", refusal("client-final-message", reply)
	}
	return reply, nil
}

// first checks what the library's first step does not.
func (s *Server) first(reply string, err error) (string, error) {
	if err != nil {
		return "", refusal("client-first-message", reply)
	}
	if s.exchange.AuthzID() != "" {
		return "", errors.New("client-first-message: an authorization identity is not supported")
	}
	nonce, _, _ := strings.Cut(strings.TrimPrefix(reply, "r="), ",")
	if !printable(nonce) {
		return "", errors.New("client-first-message: the nonce has characters that are not allowed")
	}
	return reply, nil
}

// refusal names the library's reason ("e=…", RFC 5802 section 7); its error quotes the message.
func refusal(message, reply string) error {
	if reason, ok := strings.CutPrefix(reply, "e="); ok {
		return fmt.Errorf("%s: %s", message, reason)
	}
	return fmt.Errorf("%s: malformed", message)
}
