package upstream

import (
	"cmp"
	"crypto/tls"
	"io"
	"net"
	"strings"
	"testing"
	"time"

	"pggateway/config"
	"pggateway/e2e/kit"
	"pggateway/scram"
	"pggateway/wire"
)

// tlsServer answers SSLRequest with TLS as configured, then a login with welcome.
func tlsServer(t *testing.T, c *tls.Config) *kit.Scripted {
	t.Helper()
	return kit.StartScripted(t, func(k *kit.ScriptConn) {
		var request [8]byte
		if _, err := io.ReadFull(k.Conn, request[:]); err != nil || !k.Send([]byte("S")) {
			return
		}
		serve(k, c)
	})
}

func serve(k *kit.ScriptConn, c *tls.Config) {
	secure := tls.Server(k.Conn, c)
	if err := secure.Handshake(); err != nil {
		return
	}
	k.Conn = secure
	if _, ok := k.Startup(nil); ok && authenticate(k) {
		k.Welcome()
		k.Silence()
	}
}

// authenticate asks for SCRAM-SHA-256, up to the server's signature.
func authenticate(k *kit.ScriptConn) bool {
	text, err := scram.NewVerifier("hunter22", scram.DefaultIterations)
	if err != nil {
		return false
	}
	v, err := scram.ParseVerifier(text)
	if err != nil {
		return false
	}
	exchange, r := scram.NewServer(v), wire.NewReader(k.Conn)
	k.Send(wire.AppendAuthenticationSASL(nil, scram.Mechanism))
	_, body, err := r.Message(1024)
	if err != nil {
		return false
	}
	_, first, ok := wire.ParseSASLInitial(body)
	reply, _, err := exchange.Step(string(first))
	if !ok || err != nil || !k.Send(wire.AppendAuthenticationSASLContinue(nil, reply)) {
		return false
	}
	if _, body, err = r.Message(1024); err != nil {
		return false
	}
	reply, _, err = exchange.Step(string(body))
	return err == nil && k.Send(wire.AppendAuthenticationSASLFinal(nil, reply))
}

func TestTLS(t *testing.T) {
	noLeaks(t)
	ca, other := kit.NewCA(t, "ours"), kit.NewCA(t, "theirs")
	now := time.Now()
	issue := func(r kit.CertRequest) *tls.Config {
		return &tls.Config{Certificates: []tls.Certificate{ca.Issue(t, r).TLS}, MinVersion: tls.VersionTLS10}
	}
	good := issue(kit.CertRequest{Names: []string{host}})
	wrongName := issue(kit.CertRequest{Names: []string{"other.example"}})
	expired := issue(kit.CertRequest{Names: []string{host}, NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)})
	early := issue(kit.CertRequest{Names: []string{host}, NotBefore: now.Add(time.Hour), NotAfter: now.Add(2 * time.Hour)})
	notForServers := issue(kit.CertRequest{Names: []string{host}, Client: true})
	noNames := issue(kit.CertRequest{Subject: host})
	old := good.Clone()
	old.MaxVersion = tls.VersionTLS11
	mutual := good.Clone()
	mutual.ClientAuth, mutual.ClientCAs = tls.RequireAndVerifyClientCert, ca.Pool()
	mutual12 := mutual.Clone()
	mutual12.MaxVersion = tls.VersionTLS12
	ours := ca.Issue(t, kit.CertRequest{Names: []string{"gateway"}, Client: true})

	const (
		full    = config.TLSVerifyFull
		onlyCA  = config.TLSVerifyCA
		require = config.TLSRequire
	)
	for name, tt := range map[string]struct {
		server *tls.Config
		mode   config.UpstreamTLSMode
		change func(*config.UpstreamTLS)
		public string // "" opens
		texts  []string
		stage  Stage // "": tls
	}{
		"verify-full": {server: good, mode: full},
		"verify-ca":   {server: good, mode: onlyCA},
		"require":     {server: good, mode: require},

		"wrong name, verify-full": {
			server: wrongName, mode: full,
			public: "The upstream's certificate is for another host name.", texts: []string{"is for other.example, not for db.example"},
		},
		"wrong name, verify-ca": {server: wrongName, mode: onlyCA},
		"wrong name, require":   {server: wrongName, mode: require},
		"server_name":           {server: wrongName, mode: full, change: func(c *config.UpstreamTLS) { c.ServerName = "other.example" }},
		"no names": {
			server: noNames, mode: full,
			public: "The upstream's certificate is for another host name.", texts: []string{"no host name (subject CN=db.example)"},
		},

		"expired, verify-full": {
			server: expired, mode: full,
			public: "The upstream's certificate has expired.", texts: []string{"expired at " + now.Add(-time.Hour).UTC().Format("2006-01-02T15:")},
		},
		"expired, verify-ca": {server: expired, mode: onlyCA, public: "The upstream's certificate has expired."},
		"expired, require":   {server: expired, mode: require},
		"not valid yet":      {server: early, mode: full, public: "The upstream's certificate is not valid yet."},

		"unknown authority, verify-full": {
			server: good, mode: full, change: func(c *config.UpstreamTLS) { c.CAFile = file(other.File) },
			public: "The upstream's certificate is not signed by a trusted authority.", texts: []string{other.File},
		},
		"unknown authority, verify-ca": {
			server: good, mode: onlyCA, change: func(c *config.UpstreamTLS) { c.CA = config.CASystem },
			public: "The upstream's certificate is not signed by a trusted authority.", texts: []string{"the system's authorities"},
		},
		"unknown authority, rds": {
			server: good, mode: full, change: func(c *config.UpstreamTLS) { c.CA = config.CARDS },
			public: "The upstream's certificate is not signed by a trusted authority.", texts: []string{"the authorities of RDS"},
		},
		"a client's certificate": {
			server: notForServers, mode: onlyCA, public: "The upstream's certificate is not valid.",
		},

		"old TLS": {server: old, mode: full, public: refusedTLS, texts: []string{"version"}},
		"client certificate demanded, TLS 1.2": {
			server: mutual12, mode: full, public: refusedTLS, texts: []string{"certificate"},
		},
		"client certificate demanded, TLS 1.3": {
			server: mutual, mode: full, stage: StageLogin, public: refusedTLS, texts: []string{"certificate"},
		},
		"client certificate": {
			server: mutual, mode: full,
			change: func(c *config.UpstreamTLS) { c.Cert, c.Key = file(ours.CertFile), file(ours.KeyFile) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := tlsServer(t, tt.server)
			target := mustTarget(t, dependencies(), upstreamAt(s.Port, func(u *config.Upstream) {
				u.TLS = config.UpstreamTLS{Mode: tt.mode, CA: config.CAFile, CAFile: file(ca.File)}
				if tt.change != nil {
					tt.change(&u.TLS)
				}
			}))
			c, err := target.Open(t.Context())
			if tt.public != "" {
				wantError(t, err, cmp.Or(tt.stage, StageTLS), tt.public, tt.texts...)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			if c.TLS == nil {
				t.Fatal("no TLS")
			}
			state := c.TLS.ConnectionState()
			if state.Version < tls.VersionTLS12 {
				t.Errorf("TLS version %x", state.Version)
			}
		})
	}
}

// TestNegotiation has servers that answer SSLRequest in every way but the right one.
func TestNegotiation(t *testing.T) {
	noLeaks(t)
	const notTLS = "The upstream does not answer as a PostgreSQL server with TLS does."
	for name, tt := range map[string]struct {
		answer []byte // nil: none
		hangUp bool
		public string
		text   string
	}{
		"N":              {[]byte("N"), false, "The upstream does not take TLS connections.", "does not take TLS"},
		"error":          {[]byte("E\x00\x00\x00\x30SFATAL\x00MGIVE ME YOUR PASSWORD\x00\x00"), false, notTLS, `'E'`},
		"something else": {[]byte("HTTP/1.1"), false, notTLS, `'H'`},
		"S and silence":  {[]byte("S"), false, "The upstream stopped answering while TLS was set up.", "500ms"},
		"S and an end":   {[]byte("S"), true, "The upstream closed the connection while TLS was set up.", ""},
		"S and plaintext": {
			[]byte("SR\x00\x00\x00\x08\x00\x00\x00\x00Z\x00\x00\x00\x05I"), false, notTLS, "",
		},
		"silence": {nil, false, "The upstream stopped answering while TLS was set up.", "no answer within 500ms"},
		"an end":  {nil, true, "The upstream closed the connection while TLS was set up.", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := kit.StartScripted(t, func(c *kit.ScriptConn) {
				var request [8]byte
				if _, err := io.ReadFull(c.Conn, request[:]); err != nil || !c.Send(tt.answer) {
					return
				}
				if !tt.hangUp {
					c.Silence()
					return
				}
				_ = c.Conn.(*net.TCPConn).CloseWrite()
				c.Silence()
			})
			d := dependencies()
			if strings.Contains(tt.public, "stopped answering") {
				d = impatient()
			}
			for _, mode := range []config.UpstreamTLSMode{config.TLSRequire, config.TLSVerifyFull} {
				target := mustTarget(t, d, upstreamAt(s.Port, func(u *config.Upstream) { u.TLS.Mode = mode }))
				c, err := target.Open(t.Context())
				if c != nil {
					t.Fatal("opened")
				}
				wantError(t, err, StageTLS, tt.public, tt.text)
			}
		})
	}
}

func TestDirectNegotiation(t *testing.T) {
	noLeaks(t)
	ca := kit.NewCA(t, "test")
	cert := ca.Issue(t, kit.CertRequest{Names: []string{host}})
	for name, tt := range map[string]struct {
		alpn   []string
		public string
	}{
		"with ALPN":    {[]string{alpn}, ""},
		"without ALPN": {nil, "The upstream does not take direct TLS connections."},
	} {
		t.Run(name, func(t *testing.T) {
			s := kit.StartScripted(t, func(k *kit.ScriptConn) {
				serve(k, &tls.Config{Certificates: []tls.Certificate{cert.TLS}, NextProtos: tt.alpn})
			})
			target := mustTarget(t, dependencies(), upstreamAt(s.Port, func(u *config.Upstream) {
				u.TLS = config.UpstreamTLS{
					Mode: config.TLSVerifyFull, CA: config.CAFile, CAFile: file(ca.File), Negotiation: config.NegotiationDirect,
				}
			}))
			c, err := target.Open(t.Context())
			if tt.public != "" {
				wantError(t, err, StageTLS, tt.public)
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			c.Close()
		})
	}
}

// TestServerNameIsSent: the name in the certificate question is the one that
// servers choose their certificate by.
func TestServerNameIsSent(t *testing.T) {
	ca := kit.NewCA(t, "test")
	cert := ca.Issue(t, kit.CertRequest{Names: []string{"other.example"}})
	asked := make(chan string, 1)
	s := tlsServer(t, &tls.Config{GetCertificate: func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
		asked <- h.ServerName
		return &cert.TLS, nil
	}})
	target := mustTarget(t, dependencies(), upstreamAt(s.Port, func(u *config.Upstream) {
		u.TLS = config.UpstreamTLS{Mode: config.TLSVerifyFull, CA: config.CAFile, CAFile: file(ca.File), ServerName: "other.example."}
	}))
	mustOpen(t, target)
	if name := <-asked; name != "other.example" {
		t.Errorf("asked for %q", name)
	}
}

// TestSilentAfterTLS is a server that stops in mid-login, behind TLS.
func TestSilentAfterTLS(t *testing.T) {
	noLeaks(t)
	ca := kit.NewCA(t, "test")
	cert := ca.Issue(t, kit.CertRequest{Names: []string{host}})
	s := kit.StartScripted(t, func(c *kit.ScriptConn) {
		c.Startup(cert)
		c.Silence()
	})
	d := dependencies()
	d.Timeouts.Login = 500 * time.Millisecond
	target := mustTarget(t, d, upstreamAt(s.Port, func(u *config.Upstream) {
		u.TLS = config.UpstreamTLS{Mode: config.TLSVerifyFull, CA: config.CAFile, CAFile: file(ca.File)}
	}))
	began := time.Now()
	_, err := target.Open(t.Context())
	wantError(t, err, StageLogin, "The upstream did not finish the login in time.")
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %s", took)
	}
}
