package kit

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync"
	"time"
)

// RDSOptions is how a stand-in for an RDS or Aurora PostgreSQL instance with
// IAM database authentication is set up.
type RDSOptions struct {
	// Hosts are the endpoint names that a token may be signed for, as an Aurora
	// cluster has several. At least one.
	Hosts  []string
	Region string // "": us-east-1
	Cert   *Cert  // for Hosts

	Listen string // address; "": 127.0.0.1
	Port   int    // 0: a free one; it is the port that tokens are signed for

	Keys []AccessKey
	// Account, when not nil, has further keys: its own and those of its roles' sessions.
	Account *AWS
	// Users are the database users that have rds_iam, each with the password the
	// stand-in logs in with behind: PostgreSQL itself knows nothing of IAM.
	Users map[string]string
	// Backend is where a connection goes once its token was accepted.
	Backend *Postgres
	// From, when not empty, is the security group: connections from other
	// addresses are closed before anything is read.
	From []netip.Prefix
	// KeepSource has the stand-in reach the backend from the client's own
	// (loopback) address, so that inet_client_addr says what a real instance's would.
	KeepSource bool
	// Now is the clock tokens are judged by; nil: time.Now.
	Now func() time.Time
}

// RDS is a running stand-in. What it demands of a client is what a real one
// does: TLS (rds.force_ssl), AuthenticationCleartextPassword, and a token that
// it verifies itself; after that the bytes are relayed to a real PostgreSQL.
type RDS struct {
	Host string // the first of Hosts: the name in the certificate
	Addr string // where it listens

	t        T
	o        RDSOptions
	listener net.Listener
	end      context.CancelFunc
	ctx      context.Context
	wg       sync.WaitGroup // serve, and one handle per connection

	mu      sync.Mutex
	conns   map[net.Conn]struct{}
	refuse  int
	hang    bool
	delay   time.Duration
	tokens  []string
	reasons []error
	logins  int
	cancels int
}

// StartRDS starts a stand-in and ends the test when that cannot be done.
func StartRDS(t T, o RDSOptions) *RDS {
	t.Helper()
	if o.Region == "" {
		o.Region = "us-east-1"
	}
	if o.Listen == "" {
		o.Listen = "127.0.0.1"
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Port == 0 {
		o.Port = FreePort(t)
	}
	r := &RDS{Host: o.Hosts[0], t: t, o: o, conns: map[net.Conn]struct{}{}}
	var err error
	r.listener, err = net.Listen("tcp", net.JoinHostPort(o.Listen, strconv.Itoa(o.Port)))
	if err != nil {
		t.Fatalf("start the RDS stand-in: %v", err)
	}
	r.Addr = r.listener.Addr().String()
	r.ctx, r.end = context.WithCancel(context.Background())
	r.wg.Add(1)
	go r.serve()
	t.Cleanup(r.Close)
	return r
}

// Port returns the port it listens on.
func (r *RDS) Port() int { return r.o.Port }

// Close ends the stand-in and every connection, and waits.
func (r *RDS) Close() {
	r.end()
	r.listener.Close()
	r.DropConnections()
	r.wg.Wait()
}

// DropConnections ends every connection, as a failover does.
func (r *RDS) DropConnections() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for c := range r.conns {
		c.Close()
	}
}

// RefuseNext refuses the next n logins whatever their token, as a throttled or
// just-changed policy does.
func (r *RDS) RefuseNext(n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.refuse = n
}

// Hang makes logins stop after the token was received: no answer comes, the connection stays open.
func (r *RDS) Hang(on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hang = on
}

// Delay makes each login's answer wait, as IAM's does for a second now and then.
func (r *RDS) Delay(d time.Duration) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.delay = d
}

// Tokens returns each token received so far, in order, refused ones included.
func (r *RDS) Tokens() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string(nil), r.tokens...)
}

// Logins returns the number of logins accepted so far.
func (r *RDS) Logins() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.logins
}

// Refused returns the reason of each refused login, in order: what the
// instance's owner finds in CloudWatch and a client is never told.
func (r *RDS) Refused() []error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]error(nil), r.reasons...)
}

// Cancels returns the number of CancelRequests relayed.
func (r *RDS) Cancels() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.cancels
}

func (r *RDS) serve() {
	defer r.wg.Done()
	for {
		c, err := r.listener.Accept()
		if err != nil {
			return // closed
		}
		if !r.admits(c) || !r.track(c) {
			c.Close()
			continue
		}
		r.wg.Add(1)
		go func() {
			defer r.wg.Done()
			defer r.untrack(c)
			r.handle(c)
		}()
	}
}

// admits is the security group. Its refusal is a reset: a real one's is silence.
func (r *RDS) admits(c net.Conn) bool {
	if len(r.o.From) == 0 {
		return true
	}
	addr := remoteAddr(c)
	for _, p := range r.o.From {
		if p.Contains(addr) {
			return true
		}
	}
	if tcp, ok := c.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	return false
}

func remoteAddr(c net.Conn) netip.Addr {
	ap, err := netip.ParseAddrPort(c.RemoteAddr().String())
	if err != nil {
		return netip.Addr{}
	}
	return ap.Addr().Unmap()
}

func (r *RDS) track(c net.Conn) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.ctx.Err() != nil {
		return false
	}
	r.conns[c] = struct{}{}
	return true
}

func (r *RDS) untrack(c net.Conn) {
	c.Close()
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.conns, c)
}

// judge decides about one token and counts it.
func (r *RDS) judge(user, token string) error {
	var hosts []string
	for _, h := range r.o.Hosts {
		hosts = append(hosts, net.JoinHostPort(h, strconv.Itoa(r.o.Port)))
	}
	keys := r.o.Keys
	if r.o.Account != nil {
		keys = append(r.o.Account.keys(), keys...)
	}
	err := TokenCheck{Hosts: hosts, Region: r.o.Region, User: user, Keys: keys, Now: r.o.Now()}.Verify(token)
	if _, ok := r.o.Users[user]; err == nil && !ok {
		err = fmt.Errorf("%w: user %q has no rds_iam", ErrNotAuthorized, user)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.tokens = append(r.tokens, token)
	if r.refuse > 0 {
		r.refuse--
		err = fmt.Errorf("%w: told to refuse", ErrNotAuthorized)
	}
	if err != nil {
		r.reasons = append(r.reasons, err)
	}
	return err
}

// pause waits as Delay and Hang say. It reports false when the connection is to be given up.
func (r *RDS) pause() bool {
	r.mu.Lock()
	delay, hang := r.delay, r.hang
	r.mu.Unlock()
	if hang {
		<-r.ctx.Done()
		return false
	}
	select {
	case <-r.ctx.Done():
		return false
	case <-time.After(delay):
		return true
	}
}
