package scram

import (
	"crypto/rand"
	"errors"
	"fmt"
	"strings"

	"github.com/xdg-go/scram"
)

// Client is the client's side of one exchange. The server is not trusted: what it
// asks for is bounded, and it has to prove that it knows the password's verifier.
// It is not safe for concurrent use.
type Client struct {
	exchange *scram.ClientConversation
	nonce    string
	steps    int
	err      error // why it is over
}

// Mechanism is the one that a client has to choose whose connection has this
// binding, when the server offers MechanismPlus beside Mechanism, or does not.
func (b Binding) Mechanism(offered bool) string {
	if offered && !b.IsZero() {
		return MechanismPlus
	}
	return Mechanism
}

// NewClient begins an exchange without channel binding. PostgreSQL ignores the
// user, and libpq sends "".
func NewClient(user, password string) (*Client, error) {
	return newClient(user, password, rand.Text())
}

// NewBoundClient begins an exchange on a TLS connection, by b.Mechanism(offered).
// Where the server does not offer MechanismPlus, the client says under its proof that
// it could have bound the exchange ("y"): a server that did offer it then knows that
// somebody in between took the offer away, and ends the exchange. It says so without a
// binding, too, since it is whoever shows the certificate that decides whether there
// is one. Only to an offer that it cannot take does it say that it cannot ("n").
func NewBoundClient(user, password string, b Binding, offered bool) (*Client, error) {
	return newBoundClient(user, password, b, offered, rand.Text())
}

func newClient(user, password, nonce string) (*Client, error) {
	return begin(user, password, nonce, (*scram.Client).NewConversation)
}

func newBoundClient(user, password string, b Binding, offered bool, nonce string) (*Client, error) {
	return begin(user, password, nonce, func(c *scram.Client) *scram.ClientConversation {
		switch {
		case !offered:
			return c.NewConversationAdvertisingChannelBinding()
		case b.IsZero():
			return c.NewConversation()
		}
		return c.NewConversationWithChannelBinding(b.channel)
	})
}

func begin(user, password, nonce string, exchange func(*scram.Client) *scram.ClientConversation) (*Client, error) {
	if password == "" {
		return nil, errors.New("the password is empty")
	}
	c, err := scram.SHA256.NewClientUnprepped(user, prepared(password), "")
	if err != nil {
		return nil, fmt.Errorf("begin a SCRAM exchange: %w", err)
	}
	c.WithMinIterations(MinIterations).WithNonceGenerator(func() string { return nonce })
	return &Client{exchange: exchange(c), nonce: nonce}, nil
}

// Step takes the server's next message, "" before its first, and returns the
// client's: client-first, client-final, and "" when the server's signature is
// right. It refuses messages over 4096 bytes, a nonce that does not extend the
// client's, a salt over 1024 bytes and iteration counts outside MinIterations to
// MaxIterations. With the most iterations it computes for some hundred
// milliseconds, which nothing interrupts. After an error or the last step, each
// further call is an error.
func (c *Client) Step(msg string) (reply string, err error) {
	if c.err != nil {
		return "", c.err
	}
	if err = c.check(msg); err == nil {
		if reply, err = c.exchange.Step(msg); err != nil {
			err = c.failure()
		}
	}
	c.steps++
	switch {
	case err != nil:
		c.err = err
		return "", err
	case c.steps == 3:
		c.err = errOver
	}
	return reply, nil
}

// Done reports whether the server has proved that it knows the verifier. Before
// that, nothing says that the server is the one that was asked for.
func (c *Client) Done() bool { return c.exchange.Valid() }

// check is what has to be known before the library acts on a message.
func (c *Client) check(msg string) error {
	if len(msg) > maxServerMessage {
		return fmt.Errorf("the server's message is longer than %d bytes", maxServerMessage)
	}
	switch c.steps {
	case 0:
		if msg != "" {
			return errors.New("the server spoke first")
		}
	case 1:
		if err := c.checkFirst(msg); err != nil {
			return fmt.Errorf("server-first-message: %w", err)
		}
	case 2:
		if strings.HasPrefix(msg, "e=") {
			return errors.New("the server ended the exchange with an error")
		}
	}
	return nil
}

func (c *Client) checkFirst(msg string) error {
	fields := strings.Split(msg, ",") // as the library splits it
	if len(fields) < 3 {
		return errors.New("malformed")
	}
	nonce, r := strings.CutPrefix(fields[0], "r=")
	salt64, s := strings.CutPrefix(fields[1], "s=")
	count, i := strings.CutPrefix(fields[2], "i=")
	if !r || !s || !i {
		return errors.New("malformed")
	}
	if !strings.HasPrefix(nonce, c.nonce) || len(nonce) == len(c.nonce) || !printable(nonce) {
		return errors.New("the nonce does not extend ours")
	}
	if salt, err := decode(salt64); err != nil || len(salt) == 0 || len(salt) > maxSalt {
		return fmt.Errorf("the salt is not base64 of 1 to %d bytes", maxSalt)
	}
	_, err := parseIterations(count)
	return err
}

// failure says in which step the library refused a message; its own errors quote it.
func (c *Client) failure() error {
	if c.steps == 2 {
		return errors.New("the server's signature is wrong: it does not know the password's verifier")
	}
	return errors.New("the server's message is malformed")
}
