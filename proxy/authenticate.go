package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"sync/atomic"

	"pggateway/config"
	"pggateway/fault"
	"pggateway/scram"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// maxSASL is the longest SASL message PostgreSQL takes (PG_MAX_SASL_MESSAGE_LENGTH).
const maxSASL = 1024

// identity is a writer and what proves it.
type identity struct {
	writer   *config.Writer
	verifier scram.Verifier
	clients  atomic.Int64 // seats claimed; the admission's business
}

// identities are all writers. It does not change after newIdentities.
type identities struct {
	byName map[string]*identity
	seed   []byte // of mock verifiers
}

// newIdentities resolves every writer's verifier; a password is made into one.
func newIdentities(ctx context.Context, writers []*config.Writer, s secrets, seed []byte) (*identities, error) {
	ids := &identities{byName: make(map[string]*identity, len(writers)), seed: seed}
	var faults []error
	for _, w := range writers {
		v, err := verifierOf(ctx, w.Password, s)
		if err != nil {
			faults = append(faults, fmt.Errorf("writers.%s.password: %w", w.Name, err))
			continue
		}
		ids.byName[w.Name] = &identity{writer: w, verifier: v}
	}
	return ids, errors.Join(faults...)
}

func verifierOf(ctx context.Context, ref config.Secret, s secrets) (scram.Verifier, error) {
	text := ref.Ref
	if ref.Scheme != config.SchemeVerifier {
		var err error
		if text, err = s.Text(ctx, ref); err != nil {
			return scram.Verifier{}, err
		}
	}
	if text == "" {
		return scram.Verifier{}, errors.New("empty")
	}
	if !strings.HasPrefix(text, scram.Mechanism+"$") {
		var err error
		if text, err = scram.NewVerifier(text, scram.DefaultIterations); err != nil {
			return scram.Verifier{}, err
		}
	}
	return scram.ParseVerifier(text)
}

// find returns what a user name has to prove. For a name that is nobody's, id is
// nil and the verifier one that nothing proves; it is the same each time, so that
// its salt gives nothing away.
func (s *identities) find(user string) (id *identity, v scram.Verifier) {
	v = scram.Mock(s.seed, user) // for known names, too: the same work
	if id = s.byName[user]; id != nil {
		v = id.verifier
	}
	return id, v
}

// authenticate is the SCRAM-SHA-256 exchange (protocol chapter, "SCRAM-SHA-256
// Authentication"), over TLS with or without channel binding as the client chooses.
// It returns who the client proved to be and the server's final message, which is
// not sent yet. An unknown writer and a wrong password take the same steps and get
// the same answers.
func (l *login) authenticate() (id *identity, final string, err error) {
	id, verifier := l.door.identities.find(l.user)
	var point scram.Binding
	mechanisms := []string{scram.Mechanism}
	if l.tls != nil && !l.listener.point.IsZero() {
		point = l.listener.point
		mechanisms = []string{scram.MechanismPlus, scram.Mechanism}
	}
	if err := l.write(wire.AppendAuthenticationSASL(nil, mechanisms...)); err != nil {
		return nil, "", err
	}
	mechanism, input, err := l.saslInitial(mechanisms)
	if err != nil {
		return nil, "", err
	}
	exchange := scram.NewBoundServer(verifier, point, mechanism == scram.MechanismPlus)
	for {
		reply, done, err := exchange.Step(input)
		switch {
		case errors.Is(err, scram.ErrProof):
			if id == nil {
				err = errNobody
			}
			return nil, "", l.badProof(err)
		case err != nil:
			return nil, "", badSCRAM(err)
		}
		if done {
			if id == nil {
				return nil, "", l.badProof(errors.New("a mock verifier was satisfied"))
			}
			return id, reply, nil
		}
		if err := l.write(wire.AppendAuthenticationSASLContinue(nil, reply)); err != nil {
			return nil, "", err
		}
		if input, err = l.saslResponse(); err != nil {
			return nil, "", err
		}
	}
}

// badSCRAM is the answer to a SCRAM message that is wrong but for its proof, in
// PostgreSQL's words.
func badSCRAM(err error) *fault.Fault {
	switch {
	case errors.Is(err, scram.ErrDowngrade):
		return fault.New(fault.Client, sqlstate.InvalidAuthorization, "SCRAM channel binding negotiation error").
			WithDetail("The client supports SCRAM channel binding but thinks the server does not.  However, this server does support channel binding.").
			Because(err)
	case errors.Is(err, scram.ErrBinding):
		return fault.New(fault.Client, sqlstate.InvalidAuthorization, "SCRAM channel binding check failed").Because(err)
	default:
		return fault.New(fault.Client, sqlstate.ProtocolViolation, "malformed SCRAM message").Because(err)
	}
}

// saslInitial reads a SASLInitialResponse: which of the mechanisms the client
// chose, and its first message. A client may leave that out and wait for an empty
// challenge to send it.
func (l *login) saslInitial(offered []string) (mechanism, first string, err error) {
	body, err := l.saslMessage()
	if err != nil {
		return "", "", err
	}
	mechanism, data, ok := wire.ParseSASLInitial(body)
	switch {
	case !ok:
		return "", "", fault.New(fault.Client, sqlstate.ProtocolViolation, "malformed SASLInitialResponse message")
	case !slices.Contains(offered, mechanism):
		return "", "", fault.New(fault.Client, sqlstate.ProtocolViolation, "client selected an invalid SASL authentication mechanism")
	case data != nil:
		return mechanism, string(data), nil
	}
	if err := l.write(wire.AppendAuthenticationSASLContinue(nil, "")); err != nil {
		return "", "", err
	}
	first, err = l.saslResponse()
	return mechanism, first, err
}

func (l *login) saslResponse() (string, error) {
	body, err := l.saslMessage()
	return string(body), err
}

// saslMessage reads a message that answers an Authentication message.
func (l *login) saslMessage() ([]byte, error) {
	typ, body, err := l.reader.Message(maxSASL)
	switch {
	case errors.Is(err, io.EOF): // psql, when it has to ask for the password first
		return nil, &abandoned{cause: errors.New("the client left instead of proving who it is"), quiet: true}
	case errors.Is(err, wire.ErrTooLong) && typ == wire.Password:
		return nil, fault.New(fault.Client, sqlstate.ProgramLimitExceeded,
			fmt.Sprintf("SASL message is longer than %d bytes", maxSASL)).Because(err)
	case errors.Is(err, wire.ErrTooShort), errors.Is(err, wire.ErrTooLong), err == nil && typ != wire.Password:
		return nil, fault.New(fault.Client, sqlstate.ProtocolViolation,
			fmt.Sprintf("expected SASL response, got message type %d", typ)).Because(err)
	case err != nil:
		return nil, l.lost(err)
	}
	return body, nil
}

// errNobody is for the log alone: the client learns what a wrong password learns.
var errNobody = errors.New("no writer has this name")

// badProof is the answer to a proof that is wrong, whoever it was to be of.
func (l *login) badProof(cause error) error {
	return fault.New(fault.Client, sqlstate.InvalidPassword,
		fmt.Sprintf("password authentication failed for user \"%s\"", l.user)).Because(cause)
}

// authorize checks what the configuration allows the writer, which nobody but the
// writer learns: where it may come from, that it must use TLS, and the database.
func (l *login) authorize(id *identity) (*client, error) {
	w := id.writer
	refused := fault.New(fault.Policy, sqlstate.InvalidAuthorization, "")
	switch {
	case !allowedFrom(w.From, l.remote.Addr()):
		refused.Message = fmt.Sprintf("user \"%s\" may not log in from address %s", l.user, l.remote.Addr())
		return nil, refused
	case w.RequireTLS && l.tls == nil:
		refused.Message = fmt.Sprintf("user \"%s\" may log in only over TLS", l.user)
		return nil, refused.WithHint("Connect with sslmode=require or stricter.")
	}
	u, access, database, f := l.route(w)
	if f != nil {
		return nil, f
	}
	if f := l.admits(access); f != nil {
		return nil, f
	}
	if !l.seat.claim(id) {
		return nil, fault.New(fault.Policy, sqlstate.TooManyConnections,
			fmt.Sprintf("too many connections for role \"%s\"", l.user))
	}
	return &client{
		transport:   l.transport,
		tls:         l.tls,
		writer:      w,
		access:      access,
		upstream:    u,
		replication: l.replication,
		database:    database,
		startup:     l.startup,
		leftover:    append([]byte(nil), l.reader.Buffered()...),
		remote:      l.remote,
		accepted:    l.accepted,
		seat:        l.seat,
	}, nil
}

// reachable tells a writer which databases it may ask for. It has proved who it
// is, and learns only of its own.
func reachable(w *config.Writer) string {
	const most = 10 // names; with hundreds of them the list helps nobody
	var names []string
	for _, a := range w.Upstreams[:min(most, len(w.Upstreams))] {
		names = append(names, a.Name)
	}
	switch list := strings.Join(names, ", "); {
	case len(names) == 0:
		return ""
	case len(names) < len(w.Upstreams):
		return "Some of this user's databases: " + list + "."
	default:
		return "This user's databases: " + list + "."
	}
}

// noRoute is the log's reason for what the client sees as a missing database.
func noRoute(known bool) error {
	if known {
		return errors.New("not among the writer's upstreams")
	}
	return errors.New("no such upstream")
}

// allowedFrom reports whether the networks contain the address; no networks
// contain every address.
func allowedFrom(networks []netip.Prefix, a netip.Addr) bool {
	return len(networks) == 0 || contains(networks, a)
}

// contains reports whether one of the networks contains the address.
func contains(networks []netip.Prefix, a netip.Addr) bool {
	a = a.WithZone("")
	return slices.ContainsFunc(networks, func(n netip.Prefix) bool { return n.Contains(a) })
}
