package config

import (
	"net/netip"
	"time"
)

// Config is one gateway.yaml: typed, validated, and never changed after Load
// returned it. Everything in it is plain data; secrets are references that the
// package secret resolves.
type Config struct {
	File      string // path it was read from
	Listen    []Listen
	Egress    Egress
	SSH       SSH
	Admin     Admin
	Limits    Limits
	Upstreams []*Upstream // in the order of the file
	Writers   []*Writer   // in the order of the file
}

// Listen is one address that clients connect to.
type Listen struct {
	Address       string // host:port as net.Listen takes it
	TLS           ListenTLS
	ProxyProtocol []netip.Prefix
}

// ListenTLSMode says what a listener asks of a client before it may log in.
type ListenTLSMode string

// The modes of listen[].tls.mode.
const (
	ListenTLSDisable      ListenTLSMode = "disable"       // SSLRequest is answered N; the default without tls
	ListenTLSAllow        ListenTLSMode = "allow"         // the client chooses
	ListenTLSRequire      ListenTLSMode = "require"       // a plaintext startup is refused with 28000
	ListenTLSVerifyClient ListenTLSMode = "verify-client" // and the client's certificate names the writer
)

// ListenTLS is the TLS side of a listener.
type ListenTLS struct {
	Mode     ListenTLSMode
	Cert     Secret // PEM chain, leaf first
	Key      Secret // PEM private key
	ClientCA Secret // PEM roots for verify-client
}

// Egress is the address that destinations see.
type Egress struct {
	SourceIP  netip.Addr   // local address of every upstream socket; the zero Addr leaves it to the kernel
	PublicIPs []netip.Addr // what a destination's owner allowlists
}

// SSH holds what all bastions share.
type SSH struct {
	Identity Secret // the gateway's own private key, PEM; zero when not set
}

// Admin is the console, the HTTP endpoint and the audit log.
type Admin struct {
	HTTP  string
	Users []string
	Audit string // "stdout", or a path (file: reference)
}

// Limits hold for the whole gateway. A zero duration means no limit.
type Limits struct {
	MaxClients        int
	LoginTimeout      time.Duration
	MaxStatement      int64 // bytes
	ClientIdle        time.Duration
	IdleInTransaction time.Duration
	Statement         time.Duration
	WaitNotice        time.Duration
}

// Kind is the sort of database behind an upstream.
type Kind string

// The values of upstreams.*.kind.
const (
	KindPostgres Kind = "postgres"
	KindRDS      Kind = "rds"
	KindAurora   Kind = "aurora"
	KindDSQL     Kind = "dsql"
)

// Upstream is one database (or one pattern of databases) that clients may ask
// for by name.
//
// Four names are kept apart on purpose: what is dialled (HostAddr, else Host,
// possibly from a bastion), the TLS server name (TLS.ServerName, else Host),
// the host:port an IAM token is signed for (Host:Port), and DSQL's Cluster.
type Upstream struct {
	Name     string // the key: exact, or a pattern with "*"
	Kind     Kind
	Host     string
	HostAddr string // dialled instead of Host; empty: Host
	Port     uint16
	Database string // empty: the name the client asked for
	Cluster  string // dsql
	Region   string // dsql
	Aliases  []string
	SNI      []string
	Schema   *UpstreamSchema // nil when not set
	TLS      UpstreamTLS
	Login    Login
	Via      Via
	Pool     Pool
	Failover Failover
}

// Pattern reports whether the upstream's name is a pattern.
func (u *Upstream) Pattern() bool { return IsPattern(u.Name) }

// UpstreamSchema is upstreams.*.schema.
type UpstreamSchema struct {
	Name   string
	Create bool
}

// UpstreamTLSMode is libpq's sslmode, less the modes that may fall back to plaintext.
type UpstreamTLSMode string

// The modes of upstreams.*.tls.mode.
const (
	TLSDisable    UpstreamTLSMode = "disable"
	TLSRequire    UpstreamTLSMode = "require"     // encrypted, the server unverified
	TLSVerifyCA   UpstreamTLSMode = "verify-ca"   // chain verified, the name not
	TLSVerifyFull UpstreamTLSMode = "verify-full" // the default
)

// CASource says where the roots for an upstream's certificate come from.
type CASource string

// The values of upstreams.*.tls.ca besides a file: reference.
const (
	CASystem CASource = "system"
	CARDS    CASource = "rds"
	CAFile   CASource = "file"
)

// Negotiation is how TLS is started on an upstream connection (libpq's sslnegotiation).
type Negotiation string

// The values of upstreams.*.tls.negotiation.
const (
	NegotiationPostgres Negotiation = "postgres" // SSLRequest first; the default
	NegotiationDirect   Negotiation = "direct"   // ClientHello at once, ALPN "postgresql"
)

// UpstreamTLS is how the gateway protects and verifies an upstream connection.
type UpstreamTLS struct {
	Mode        UpstreamTLSMode
	CA          CASource
	CAFile      Secret // with CAFile
	Cert, Key   Secret // the gateway's own certificate, for mutual TLS; zero when not set
	ServerName  string // empty: Host
	Negotiation Negotiation
}

// Login is a role on the upstream and how the gateway proves to be it. Exactly
// one of Password, IAM and Cert is set.
type Login struct {
	User     string
	Password Secret
	IAM      *IAM
	Cert     bool // the certificate of UpstreamTLS proves it

	RequireAuth RequireAuth // of a password; empty: what the TLS mode demands
}

// RequireAuth is the least that a server must ask of a password (libpq's
// require_auth and channel_binding).
type RequireAuth string

// The values of upstreams.*.login.require_auth.
const (
	RequireSCRAM   RequireAuth = "scram-sha-256"
	RequireBinding RequireAuth = "scram-sha-256-plus"
)

// IAM asks for AWS IAM database authentication.
type IAM struct {
	Region     string // empty: taken from the host name
	AssumeRole *AssumeRole
}

// AssumeRole is the role whose credentials sign tokens.
type AssumeRole struct {
	ARN         string
	ExternalID  string
	SessionName string
}

// Via is the way to an upstream; the zero Via is straight.
type Via struct {
	SSH         *Bastion
	PrivateLink *PrivateLink
}

// Bastion is an SSH server that connections are forwarded through.
type Bastion struct {
	Host       string
	Port       uint16
	User       string
	Identity   Secret   // PEM private key; the default ssh.identity is filled in
	HostKeys   []string // authorized_keys form ("ssh-ed25519 AAAA…") or SHA256:… fingerprints
	KnownHosts Secret   // a known_hosts file; zero when not set
	Jump       []*Bastion
}

// PrivateLink is a VPC endpoint in front of an upstream.
type PrivateLink struct {
	Endpoint string
	Service  string
}

// PoolMode is when a server connection goes back to its pool.
type PoolMode string

// The values of upstreams.*.pool.mode.
const (
	PoolSession     PoolMode = "session"     // at logout
	PoolTransaction PoolMode = "transaction" // at the end of each transaction; the default
)

// Pool sizes one pool of server connections.
type Pool struct {
	Mode         PoolMode
	Size         int
	MinIdle      int
	WaitTimeout  time.Duration // zero: wait for ever
	IdleTimeout  time.Duration // zero: never
	MaxLifetime  time.Duration // zero: never; jittered by up to a tenth less
	Shards       int
	NewPerSecond int // rate of new upstream connections
}

// Failover is what clients see while an upstream is down.
type Failover struct {
	Hold time.Duration
}

// Writer is one client identity.
type Writer struct {
	Name       string
	Password   Secret         // a verifier (Scheme SchemeVerifier) or a reference to a verifier or password
	From       []netip.Prefix // empty: any
	RequireTLS bool
	MaxClients int // zero: no limit but the gateway's
	Upstreams  []*WriterUpstream
}

// WriterUpstream is what one writer may do on one upstream.
type WriterUpstream struct {
	Name   string // an upstream's key
	Login  *Login // the writer's own upstream role; nil: the upstream's
	Grants Grants
	Mode   GrantMode
}

// GrantMode says what happens to a statement that the grants do not cover.
type GrantMode string

// The values of writers.*.upstreams.*.mode.
const (
	GrantEnforce GrantMode = "enforce" // refused with 42501; the default
	GrantObserve GrantMode = "observe" // let through and reported
)

// Grants are a writer's privileges on an upstream in PostgreSQL's own terms.
// All set means: nothing is inspected, the database's own grants decide.
type Grants struct {
	All         bool
	Database    []string
	Schemas     []ObjectGrant
	Tables      []ObjectGrant
	Functions   []string
	Replication bool
}

// ObjectGrant is a list of privileges on the objects a name or pattern covers.
// All stands for every privilege of that kind of object.
type ObjectGrant struct {
	Name       string
	All        bool
	Privileges []string
}
