package check

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"

	"pggateway/config"
	"pggateway/upstream"
	"pggateway/upstream/bastion"
	"pggateway/upstream/dial"
)

// TestErrors: which step each error is told of, and with which remedy. Those that
// can be provoked are, in e2e.
func TestErrors(t *testing.T) {
	rds := func(_ *config.Config, u *config.Upstream) { u.Kind = config.KindRDS }
	secure := func(_ *config.Config, u *config.Upstream) { u.TLS.Mode = config.TLSVerifyFull }
	jump := func(_ *config.Config, u *config.Upstream) {
		u.Via.SSH = &config.Bastion{Host: "inner", Port: 22, User: "tunnel", Jump: []*config.Bastion{{Host: "outer", Port: 2222, User: "hop"}}}
	}
	hop := func(kind bastion.Kind, text string) error {
		return &bastion.Error{Bastion: "tunnel@inner:22", Kind: kind, Err: errors.New(text)}
	}
	for name, tt := range map[string]struct {
		stage  upstream.Stage
		err    error
		change func(*config.Config, *config.Upstream)
		step   Step
		says   []string
	}{
		"timeout":           {upstream.StageDial, os.ErrDeadlineExceeded, nil, Address, []string{"database's firewall", "TCP 5432 from 203.0.113.7/32", "gateway egress orders"}},
		"timeout, RDS":      {upstream.StageDial, context.DeadlineExceeded, rds, Address, []string{"security group", "network ACL", "1024-65535", "PrivateLink"}},
		"no route":          {upstream.StageDial, syscall.EHOSTUNREACH, nil, Address, []string{"no route"}},
		"name":              {upstream.StageResolve, &dial.ResolveError{Host: "db", Err: errors.New("x")}, nil, Name, []string{"dig db"}},
		"bastion's name":    {upstream.StageSSH, &bastion.Error{Kind: bastion.Unreachable, Err: &dial.ResolveError{Host: "outer", Err: errors.New("x")}}, jump, Name, []string{"dig outer"}},
		"bastion, silent":   {upstream.StageSSH, hop(bastion.Unanswered, "dial"), jump, Address, []string{"TCP 2222", "the bastion's firewall"}},
		"bastion, mute":     {upstream.StageSSH, hop(bastion.Unanswered, "no answer in time during the SSH handshake"), jump, Bastion, []string{"MaxStartups"}},
		"bastion, busy":     {upstream.StageSSH, hop(bastion.Handshake, "EOF"), jump, Bastion, []string{"PerSourcePenalties"}},
		"bastion, lost":     {upstream.StageSSH, hop(bastion.Lost, "EOF"), jump, Bastion, []string{"bastion's log"}},
		"bastion, identity": {upstream.StageSSH, hop(bastion.Identity, "x"), jump, Bastion, []string{"gateway keygen"}},
		"bastion, key":      {upstream.StageSSH, hop(bastion.Unauthorized, "x"), jump, Bastion, []string{"of the user tunnel"}},
		"beyond, RDS": {
			upstream.StageSSH, hop(bastion.Destination, "x"), func(c *config.Config, u *config.Upstream) { jump(c, u); rds(c, u) }, Forward,
			[]string{"allow the bastion's security group TCP 5432"},
		},
		"TLS alert":  {upstream.StageTLS, errors.New("the server refused TLS"), secure, TLS, []string{"1.2 and 1.3"}},
		"not TLS":    {upstream.StageTLS, errors.New("not TLS: x"), secure, TLS, []string{"not PostgreSQL"}},
		"not asked":  {upstream.StageTLS, errors.New("x (tls.cert) x"), secure, TLS, []string{"clientcert"}},
		"TLS, other": {upstream.StageTLS, errors.New("x"), secure, TLS, []string{"host and port"}},
		"login":      {upstream.StageLogin, errors.New("x"), nil, Login, []string{"server's log"}},
	} {
		t.Run(name, func(t *testing.T) {
			o, u := options(5432, tt.change)
			w := &walk{
				Report: &Report{Role: "sync_writer"}, conf: o.Config, deps: o.Upstream, ahead: o.Ahead, s: Subjects(o.Config, u, "")[0], u: u, database: "app",
			}
			var err error = &upstream.Error{Stage: tt.stage, Err: tt.err}
			if step := stepOf(err); step != tt.step {
				t.Errorf("step %s, want %s", step, tt.step)
			}
			remedy := w.remedy(err)
			for _, words := range tt.says {
				if !strings.Contains(remedy, words) {
					t.Errorf("%q does not say %q", remedy, words)
				}
			}
			w.stopped(err, true)
			w.skip(w.rest()...)
			if want := len(w.steps()) + len(w.questions()); len(w.Lines) != want {
				t.Errorf("%d lines, want %d: %+v", len(w.Lines), want, w.Lines)
			}
			if l := w.line(tt.step); l.Status != Fail || l.Text != fmt.Sprint(tt.err) {
				t.Errorf("%+v", l)
			}
		})
	}
}
