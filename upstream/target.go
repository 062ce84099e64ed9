package upstream

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"time"

	"go.uber.org/zap"

	"pggateway/cloud"
	"pggateway/config"
	"pggateway/secret"
	"pggateway/upstream/bastion"
	"pggateway/upstream/dial"
	"pggateway/upstream/iam"
	"pggateway/upstream/login"
	"pggateway/wire"
)

// Dependencies are what all targets share. Those that may be nil say so.
type Dependencies struct {
	Secrets  *secret.Resolver
	Tokens   *iam.Tokens  // nil without IAM logins
	Bastions *bastion.Set // nil without bastions
	Log      *zap.Logger
	Now      func() time.Time
	Egress   config.Egress
	Resolver dial.Resolver // nil: the system's
	Timeouts Timeouts
}

// Timeouts bound the stages of one connection. Zero stands for the default given.
type Timeouts struct {
	Dial  time.Duration // resolving the name, and connecting over TCP to one of its addresses, each: 10 s
	SSH   time.Duration // a channel through a bastion, for each SSH server on the way: 15 s
	TLS   time.Duration // from SSLRequest to the verified certificate: 10 s
	Login time.Duration // from the StartupMessage to ReadyForQuery, the token included: 15 s, IAM checks may take seconds
}

func (t *Timeouts) fill() {
	for _, d := range []struct {
		at  *time.Duration
		def time.Duration
	}{
		{&t.Dial, dial.Timeout},
		{&t.SSH, 15 * time.Second},
		{&t.TLS, 10 * time.Second},
		{&t.Login, 15 * time.Second},
	} {
		if *d.at == 0 {
			*d.at = d.def
		}
	}
}

// Target is one real database with one login. It is safe for concurrent use,
// holds no connection and needs no closing.
type Target struct {
	deps     Dependencies
	timeouts Timeouts
	dialer   dial.Dialer
	log      *zap.Logger

	host     string // dialled: hostaddr, else host
	port     uint16
	via      *config.Bastion // nil: straight
	tls      *security       // nil: plaintext
	user     string
	database string
	password config.Secret // of a login by password
	method   login.Credential
	require  login.Require
	token    iam.Key // of a login by IAM
	versions versions
	schema   *schema // nil: none is configured
}

// NewTarget makes a target of an upstream, a login on it (the upstream's or a
// writer's own), and a database. Certificates and keys of the upstream's TLS are
// read now, which ctx bounds; passwords and tokens at each login.
func NewTarget(ctx context.Context, d Dependencies, u *config.Upstream, l *config.Login, database string) (*Target, error) {
	if err := supported(u); err != nil {
		return nil, err
	}
	t := &Target{
		deps: d, timeouts: d.Timeouts,
		host: u.Host, port: u.Port, via: u.Via.SSH,
		user: l.User, database: database,
		log: d.Log.With(zap.String("upstream", u.Name), zap.String("database", database)),
	}
	if u.Schema != nil {
		t.schema = newSchema(u.Schema)
	}
	t.timeouts.fill()
	t.dialer = dial.Dialer{Source: d.Egress.SourceIP, Resolver: d.Resolver, Timeout: t.timeouts.Dial}
	if u.HostAddr != "" {
		t.host = u.HostAddr
	}
	if t.via != nil && d.Bastions == nil {
		return nil, errors.New("a bastion, and nothing to reach it with")
	}
	var err error
	if t.tls, err = newSecurity(ctx, d.Secrets, u, d.Now); err != nil {
		return nil, fmt.Errorf("tls.%w", err) // which begins with a key below tls
	}
	if err := t.credential(u, l); err != nil {
		return nil, fmt.Errorf("login: %w", err)
	}
	return t, nil
}

// supported refuses what the configuration's grammar knows and this package does not.
func supported(u *config.Upstream) error {
	switch {
	case u.Kind == config.KindDSQL:
		return errors.New("kind dsql is not supported yet")
	case u.Via.PrivateLink != nil:
		return errors.New("via.privatelink is not supported yet")
	}
	return nil
}

// credential decides how the login is proved.
func (t *Target) credential(u *config.Upstream, l *config.Login) error {
	switch {
	case l.IAM != nil:
		region := l.IAM.Region
		if region == "" {
			var ok bool
			if region, ok = iam.RegionOf(u.Host); !ok {
				return fmt.Errorf("iam: the host %s tells no region: set iam.region", u.Host)
			}
		}
		if t.deps.Tokens == nil {
			return errors.New("iam: nothing to make tokens with")
		}
		if t.tls == nil || !t.tls.verified {
			return errors.New("iam: a token is sent over verified TLS only: set tls.mode to verify-full")
		}
		t.method = login.Token
		// The real endpoint, whatever is dialled: PrivateLink, bastions and hostaddr
		// do not change what the server checks the signature against.
		t.token = iam.Key{HostPort: net.JoinHostPort(u.Host, strconv.Itoa(int(u.Port))), Region: region, User: l.User}
		if l.IAM.AssumeRole != nil {
			t.token.Assumed = cloud.Role(*l.IAM.AssumeRole)
		}
	case l.Cert:
		if t.tls == nil || u.TLS.Cert.IsZero() {
			return errors.New("cert: no client certificate: set tls.cert and tls.key")
		}
		t.method = login.None
		t.tls.mustAsk = true
	case !l.Password.IsZero():
		t.method, t.password = login.Password, l.Password
		switch l.RequireAuth {
		case config.RequireSCRAM:
			t.require = login.RequireSCRAM
		case config.RequireBinding:
			t.require = login.RequireBinding
		}
	default:
		return errors.New("none of password, iam and cert is set")
	}
	return nil
}

// Open opens a connection and logs in. Each stage ends within its timeout and
// with ctx. Errors are *Error.
//
// A password or token that the server does not accept is fetched anew, and tried
// once on a new connection: see renew.
//
// With a schema configured, that is the connection's search_path, and a connection
// is handed out only once the schema has been looked for.
func (t *Target) Open(ctx context.Context) (*Conn, error) {
	startup := []wire.Parameter{{Name: "application_name", Value: applicationName}}
	if t.schema == nil {
		return t.openWith(ctx, startup)
	}
	c, err := t.openWith(ctx, append(startup, t.schema.parameter()))
	if err != nil {
		return nil, err
	}
	if err := t.schema.ensure(ctx, c, t.log); err != nil {
		_ = c.Close()
		return nil, schemaError(err)
	}
	return c, nil
}

// OpenReplication is Open for a connection that streams ("Streaming Replication
// Protocol"). mode is the startup parameter of that name: "true" or "database".
// The settings are parameters of the session, which can only be set now: such a
// connection may take no SQL.
func (t *Target) OpenReplication(ctx context.Context, mode string, settings []wire.Parameter) (*Conn, error) {
	return t.openWith(ctx, append([]wire.Parameter{{Name: "replication", Value: mode}}, settings...))
}

func (t *Target) openWith(ctx context.Context, startup []wire.Parameter) (*Conn, error) {
	c, sent, e := t.open(ctx, startup)
	if e == nil {
		return c, nil
	}
	if !t.renew(ctx, sent, e) {
		return nil, e
	}
	if c, _, e = t.open(ctx, startup); e != nil {
		return nil, e
	}
	return c, nil
}

// open tries once, or twice with a server that does not take our protocol version.
// sent is the password or token that was proved or sent, if one was.
func (t *Target) open(ctx context.Context, startup []wire.Parameter) (c *Conn, sent string, e *Error) {
	version := t.versions.next()
	c, sent, e = t.try(ctx, version, startup)
	if !t.versions.heard(version, e) {
		return c, sent, e
	}
	refused := e
	c, sent, e = t.try(ctx, wire.Version30, startup)
	if e == nil || e.Stage == StageLogin && !errors.As(e, new(*login.StartupError)) {
		t.spoke30(refused)
	}
	return c, sent, e
}

func (t *Target) try(ctx context.Context, version uint32, startup []wire.Parameter) (c *Conn, sent string, e *Error) {
	var addresses []netip.Addr
	if t.via == nil {
		if addresses, e = t.resolve(ctx); e != nil {
			return nil, "", e
		}
	}
	c, e = t.connect(ctx, addresses)
	if e != nil {
		return nil, "", e
	}
	if sent, e = t.login(ctx, c, version, startup); e != nil {
		_ = c.Close()
		return nil, sent, e
	}
	return c, sent, nil
}

// within runs f with at most d, and cuts conn's waits when that, or ctx, is over.
// Afterwards conn has no deadline.
func within(ctx context.Context, d time.Duration, conn net.Conn, f func(context.Context) error) error {
	ctx, stop := context.WithTimeoutCause(ctx, d, &timeoutError{d})
	defer stop()
	cut := context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Unix(1, 0)) })
	err := f(ctx)
	if !cut() { // conn's deadline is in the past, or will be in a moment
		return context.Cause(ctx)
	}
	return err
}
