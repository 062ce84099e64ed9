package scram

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/xdg-go/scram"
)

// TestClientBinding holds what the client sends against a server of the library's that
// knows the channel, one that does not, and one behind somebody else's TLS.
func TestClientBinding(t *testing.T) {
	ours, theirs := testBinding("the certificate that the client saw"), testBinding("another certificate")
	v := rfcVerifier(t)
	lookup := func(string) (scram.StoredCredentials, error) {
		return scram.StoredCredentials{
			KeyFactors: scram.KeyFactors{Salt: string(v.salt), Iters: v.iterations}, StoredKey: v.storedKey, ServerKey: v.serverKey,
		}, nil
	}
	for name, tt := range map[string]struct {
		binding   Binding
		offered   bool
		mechanism string
		gs2       string
		channel   Binding // of the server; zero: it has none
		refused   string
	}{
		"not possible":                   {Binding{}, true, Mechanism, "n,,", ours, ""},
		"not possible, not offered":      {Binding{}, false, Mechanism, "y,,", Binding{}, ""},
		"not possible, offer taken away": {Binding{}, false, Mechanism, "y,,", ours, scram.ErrServerDoesSupportChannelBinding},
		"not offered":                    {ours, false, Mechanism, "y,,", Binding{}, ""},
		"offer taken away":               {ours, false, Mechanism, "y,,", ours, scram.ErrServerDoesSupportChannelBinding},
		"bound":                          {ours, true, MechanismPlus, "p=tls-server-end-point,,", ours, ""},
		"somebody in between":            {ours, true, MechanismPlus, "p=tls-server-end-point,,", theirs, scram.ErrChannelBindingsDontMatch},
		"server without a TLS":           {ours, true, MechanismPlus, "p=tls-server-end-point,,", Binding{}, scram.ErrChannelBindingNotSupported},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tt.binding.Mechanism(tt.offered); got != tt.mechanism {
				t.Errorf("mechanism %s, want %s", got, tt.mechanism)
			}
			c, err := NewBoundClient("", "pencil", tt.binding, tt.offered)
			if err != nil {
				t.Fatal(err)
			}
			server, err := scram.SHA256.NewServer(lookup)
			if err != nil {
				t.Fatal(err)
			}
			exchange := server.NewConversation()
			if !tt.channel.IsZero() {
				exchange = server.NewConversationWithChannelBinding(tt.channel.channel)
			}
			first, err := c.Step("")
			if err != nil || !strings.HasPrefix(first, tt.gs2+"n=,r=") {
				t.Fatalf("client-first %q, %v", first, err)
			}
			reply, err := exchange.Step(first)
			if err != nil {
				if reply != tt.refused {
					t.Errorf("the server refuses with %s: %v", reply, err)
				}
				return
			}
			final, err := c.Step(reply)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.gs2
			if tt.mechanism == MechanismPlus {
				want += string(ours.channel.Data)
			}
			if !strings.HasPrefix(final, "c="+base64.StdEncoding.EncodeToString([]byte(want))+",r=") {
				t.Errorf("client-final %q is not bound by %q", final, want)
			}
			reply, err = exchange.Step(final)
			if (err != nil) != (tt.refused != "") || err != nil && reply != tt.refused {
				t.Fatalf("the server answers %q, %v; want %q", reply, err, tt.refused)
			}
			if err != nil {
				return
			}
			if _, err := c.Step(reply); err != nil || !c.Done() {
				t.Errorf("server-final: %v", err)
			}
		})
	}
}
