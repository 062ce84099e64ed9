package scram

import (
	"crypto/sha256"
	"regexp"
	"strings"
	"testing"
)

// FuzzServer plays a client that knows no password: whatever it sends, it is not
// let in, and what it is told stays bounded.
func FuzzServer(f *testing.F) {
	f.Add(rfcClientFirst, rfcClientFinal[:len(rfcClientFinal)-4]+"AAA=")
	f.Add("y,,n=,r=abc", "c=eSws,r=abcS,p=AAAA")
	f.Add("p=tls-unique,,n=,r=abc", "")
	f.Add("n,a=b=2C,n==3D,r=abc,x=y", "c=biws,r=abcS,x=y,p=")
	f.Add("p=tls-server-end-point,,n=,r=abc", "c=cD10bHMtc2VydmVyLWVuZC1wb2ludCwsZW5kcG9pbnQ=,r=abcS,p=AAAA")
	v := verifier(f, "a password nobody guesses", []byte("sixteen bytes of"))
	f.Fuzz(func(t *testing.T, first, final string) {
		servers := []*Server{
			newServer(v, sha256.New, func() string { return "S" }),
			newBoundServer(v, testBinding("endpoint"), false, sha256.New, func() string { return "S" }),
			newBoundServer(v, testBinding("endpoint"), true, sha256.New, func() string { return "S" }),
		}
		for _, s := range servers {
			hostile(t, s, first, final)
		}
	})
}

func hostile(t *testing.T, s *Server, first, final string) {
	t.Helper()
	reply, done, err := s.Step(first)
	if done {
		t.Fatal("done after one message")
	}
	if err == nil {
		if len(reply) > maxClientMessage+64 || !strings.HasSuffix(reply, ",i=4096") || strings.Count(reply, ",") != 2 {
			t.Fatalf("server-first %q", reply)
		}
	}
	if reply, done, err = s.Step(final); done || err == nil {
		t.Fatalf("let in with %q: %q", final, reply)
	}
}

// iterations finds counts of five digits and more.
var iterations = regexp.MustCompile(`,i=\d{5}`)

// FuzzClient plays a server that does not know the verifier: whatever it sends,
// the client never takes it for the right one.
func FuzzClient(f *testing.F) {
	f.Add(rfcServerFirst, "v=AAAA")
	f.Add(rfcServerFirst, "e=other-error")
	f.Add("r="+rfcClientNonce+"x,s=AA==,i=1", "v=")
	f.Add("r="+rfcClientNonce+"x,s=AA==,i=4294967296,x=y", "")
	f.Fuzz(func(t *testing.T, first, final string) {
		if iterations.MatchString(first) {
			t.Skip("allowed, and slow to derive keys with")
		}
		c, err := newClient("user", "a password nobody guesses", rfcClientNonce)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := c.Step(""); err != nil {
			t.Fatal(err)
		}
		reply, err := c.Step(first)
		if err == nil && len(reply) > maxServerMessage+64 {
			t.Fatalf("client-final of %d bytes", len(reply))
		}
		if _, err := c.Step(final); err == nil || c.Done() {
			t.Fatalf("took %q for the server's signature", final)
		}
	})
}
