package check

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"pggateway/config"
	"pggateway/upstream"
	"pggateway/upstream/bastion"
	"pggateway/upstream/dial"
)

// run goes the whole way.
func (w *walk) run(ctx context.Context) {
	ready := w.prepare(ctx)
	if w.target == nil || !w.resolve(ctx) {
		w.skip(w.rest()...)
		return
	}
	c, err := w.target.Open(ctx)
	if err != nil {
		w.stopped(err, ready)
		w.skip(w.rest()...)
		return
	}
	defer c.End()
	w.arrived(c)
	w.ask(ctx, c)
}

// rest are the steps that no line was written about yet.
func (w *walk) rest() []Step {
	steps := slices.Concat(w.steps(), w.questions())
	return slices.DeleteFunc(steps, func(s Step) bool {
		return slices.ContainsFunc(w.Lines, func(l Line) bool { return l.Step == s })
	})
}

// prepare reads what is needed before anything is dialled. It reports whether the
// login can be proved; without that, the way can still be gone up to the login.
func (w *walk) prepare(ctx context.Context) (ready bool) {
	u := *w.u
	u.Schema = nil // which Open might create
	var wrong []string
	target, err := upstream.NewTarget(ctx, w.deps, &u, w.s.Login, w.database)
	if err != nil {
		wrong = append(wrong, err.Error())
	} else {
		w.target = target
	}
	if u.Via.SSH != nil {
		for _, err := range bastion.Check(ctx, w.deps.Secrets, u.Via.SSH) {
			wrong = append(wrong, "via.ssh."+err.Error())
			w.target = nil
		}
	}
	ready = w.target != nil
	if w.target != nil && w.s.Login.IAM == nil {
		if err := w.target.Credential(ctx); err != nil {
			wrong, ready = append(wrong, "login.password: "+err.Error()), false
		}
	}
	if len(wrong) > 0 {
		remedy := fileRemedy
		if s := w.s.Login.Password.Scheme; s == config.SchemeAWSSM || s == config.SchemeAWSSSM {
			remedy = remoteRemedy
		}
		w.fail(Secrets, remedy, "%s", strings.Join(wrong, "; "))
	} else {
		w.ok(Secrets, "%s", w.secrets())
	}
	if w.target == nil || w.s.Login.IAM == nil {
		return ready
	}
	if err := w.target.Credential(ctx); err != nil {
		remedy := credentialRemedy
		if w.s.Login.IAM.AssumeRole != nil {
			remedy += assumeRemedy
		}
		w.fail(Credentials, remedy, "%v", err)
		return false
	}
	if d := w.ahead(); d != 0 {
		w.warn(Credentials, clockRemedy, "AWS credentials are there, but this machine's clock is %s %s", d.Abs(), aheadOrBehind(d))
		return true
	}
	w.ok(Credentials, "AWS credentials are there, and sign tokens for %s", hostPort(u.Host, u.Port))
	return true
}

// secrets says what was read.
func (w *walk) secrets() string {
	var read []string
	if !w.s.Login.Password.IsZero() {
		read = append(read, "the password")
	}
	if w.u.TLS.CA == config.CAFile {
		read = append(read, "the roots of tls.ca")
	}
	if !w.u.TLS.Cert.IsZero() {
		read = append(read, "the gateway's certificate")
	}
	if w.u.Via.SSH != nil {
		read = append(read, "the SSH key and the bastion's host keys")
	}
	if len(read) == 0 {
		return "none are needed"
	}
	return "can be read: " + strings.Join(read, ", ")
}

// first is the host that is dialled from here.
func (w *walk) first() (host string, port uint16) {
	if hops := way(w.u.Via.SSH); len(hops) > 0 {
		return hops[0].Host, hops[0].Port
	}
	return w.s.dialled(), w.u.Port
}

// resolve looks up the first host on the way.
func (w *walk) resolve(ctx context.Context) bool {
	host, _ := w.first()
	d := dial.Dialer{Source: w.deps.Egress.SourceIP, Resolver: w.deps.Resolver}
	found, err := d.Resolve(ctx, host)
	if err != nil {
		w.fail(Name, w.remedy(err), "%v", err)
		return false
	}
	var all []string
	for _, a := range found {
		all = append(all, a.String())
	}
	if slices.Equal(all, []string{host}) {
		w.ok(Name, "%s is an address", host)
	} else {
		w.ok(Name, "%s is %s", host, strings.Join(all, ", "))
	}
	return true
}

// stopped writes about the step that the way ended at, and those before it.
func (w *walk) stopped(err error, ready bool) {
	at := stepOf(err)
	if !slices.Contains(w.steps(), at) {
		at = Login
	}
	for _, step := range w.steps() {
		switch {
		case step == Name && at != Name:
		case step != at:
			w.ok(step, "%s", w.passed(step))
			continue
		case at == Login && !ready:
			w.skip(Login) // told already
			return
		default:
			w.Lines = slices.DeleteFunc(w.Lines, func(l Line) bool { return l.Step == at })
			if at == Login && w.s.Database == "" && aboutDatabase(err) {
				w.warn(Login, "Name a database that clients would ask for: gateway check NAME.",
					"which database to log in to is not known (the upstream is a pattern), and %q is not for this role: %v", w.database, within(err))
				return
			}
			w.fail(at, w.remedy(err), "%v", within(err))
			return
		}
	}
}

// within is an error of Open without the stage, which the step says.
func within(err error) error {
	var e *upstream.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// stepOf says which step an error of Open ended.
func stepOf(err error) Step {
	var e *upstream.Error
	if !errors.As(err, &e) {
		return Login
	}
	switch e.Stage {
	case upstream.StageResolve:
		return Name
	case upstream.StageDial:
		return Address
	case upstream.StageTLS:
		return TLS
	case upstream.StageSSH:
		var b *bastion.Error
		switch {
		case errors.As(err, new(*dial.ResolveError)):
			return Name
		case !errors.As(err, &b):
			return Bastion
		case b.Kind == bastion.Unreachable, b.Kind == bastion.Unanswered && !strings.Contains(err.Error(), "SSH handshake"):
			return Address
		case b.Kind == bastion.Prohibited, b.Kind == bastion.Destination:
			return Forward
		}
		return Bastion
	case upstream.StageLogin, upstream.StageSchema:
	}
	return Login
}

// passed says of a step on the way that it went well, as far as that is known
// where a later one failed.
func (w *walk) passed(step Step) string {
	host, port := w.first()
	switch step {
	case Address:
		return fmt.Sprintf("%s answers%s", hostPort(host, port), w.from())
	case Bastion:
		hops := way(w.u.Via.SSH)
		last := hops[len(hops)-1]
		return fmt.Sprintf("%s@%s has the host key that is pinned, and accepts ours", last.User, hostPort(last.Host, last.Port))
	case Forward:
		return fmt.Sprintf("it reaches %s", hostPort(w.s.dialled(), w.u.Port))
	case TLS:
		return "encrypted" + verified(w.u.TLS.Mode)
	}
	return "as it should be"
}

func (w *walk) from() string {
	if s := w.deps.Egress.SourceIP; s.IsValid() {
		return ", from " + s.String()
	}
	return ""
}

func verified(mode config.UpstreamTLSMode) string {
	switch mode {
	case config.TLSVerifyFull:
		return ", and the server's certificate and name verify"
	case config.TLSVerifyCA:
		return ", and the server's certificate verifies, under any name"
	}
	return ", and the server is not verified"
}

// soon is how long before its end a certificate is worth a word.
const soon = 14 * 24 * time.Hour

// arrived writes about the whole way of a connection that was opened.
func (w *walk) arrived(c *upstream.Conn) {
	for _, step := range w.steps() {
		switch step {
		case Name:
		case Address:
			if a := c.Address(); a.IsValid() {
				w.ok(step, "%s answers%s", hostPort(a.String(), w.u.Port), w.from())
			} else {
				w.ok(step, "%s", w.passed(step))
			}
		case TLS:
			w.certificate(c)
		case Login:
			w.ok(step, "logged in as %s with %s", w.Role, w.proof())
		default:
			w.ok(step, "%s", w.passed(step))
		}
	}
}

func (w *walk) proof() string {
	switch {
	case w.s.Login.IAM != nil:
		return "an IAM token"
	case w.s.Login.Cert:
		return "the gateway's certificate"
	}
	return "the password"
}

// certificate writes about TLS.
func (w *walk) certificate(c *upstream.Conn) {
	state := c.TLS.ConnectionState()
	leaf := state.PeerCertificates[0]
	mode := w.u.TLS.Mode
	text := fmt.Sprintf("%s%s; the certificate is valid until %s", tls.VersionName(state.Version), verified(mode), leaf.NotAfter.UTC().Format(time.DateOnly))
	switch {
	case mode == config.TLSRequire:
		w.warn(TLS, "Who sits in between can read along: set tls.mode to verify-full, and tls.ca to the roots that the server's certificate comes from.", "%s", text)
	case leaf.NotAfter.Sub(w.deps.Now()) < soon:
		w.warn(TLS, "The database's owner has to renew its certificate before that day.", "%s", text)
	default:
		w.ok(TLS, "%s", text)
	}
}

func hostPort(host string, port uint16) string {
	return net.JoinHostPort(host, strconv.Itoa(int(port)))
}
