package protocol

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Stage is a server that scripts are played against, directly or through a
// gateway.
type Stage struct {
	Addr                     string
	User, Password, Database string

	// Admin runs SQL as the superuser of the server itself and returns the last
	// row's first column as text.
	Admin func(ctx context.Context, sql string) (string, error)

	// Between, unless nil, is called before a client sends something that begins
	// a transaction: the place for others to use its server connection.
	Between func(ctx context.Context) error
}

// Pace is how much a client read at each step of a performance, so that another
// performance of the same script can read as much.
type Pace map[int]int

// Play plays a case and returns its trace. The first performance, with a nil
// pace, is the one that the script's expectations are about; it also returns the
// pace for the others.
func (s *Stage) Play(ctx context.Context, c *Case, pace Pace) ([]string, Pace, error) {
	p := &performance{Stage: s, clients: map[string]*client{}, pace: Pace{}, given: pace}
	defer p.leave()
	for i := 0; i < len(c.steps); i++ {
		st := c.steps[i]
		// What a client sends without waiting leaves in one write.
		for st.verb == "send" && i+1 < len(c.steps) && c.steps[i+1].verb == "send" && c.steps[i+1].client == st.client {
			p.note(st.client, st.text)
			i++
			st.bytes = append(slices.Clip(st.bytes), c.steps[i].bytes...)
			st.text = c.steps[i].text
		}
		if err := p.step(ctx, st); err != nil {
			return p.trace, nil, fmt.Errorf("%s.txt:%d: %s: %w", c.File, st.line, st.text, err)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(p.clients)) {
		p.terminate(name)
	}
	return folded(p.trace), p.pace, nil
}

type performance struct {
	*Stage
	clients map[string]*client
	trace   []string
	pace    Pace
	given   Pace
}

// note writes down a step. Of long ones the beginning will do.
func (p *performance) note(who, text string) {
	text = strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(text, who+">"), ">"))
	if len(text) > long {
		text = text[:long] + "…"
	}
	p.trace = append(p.trace, who+"> "+text)
}

func (p *performance) hear(who string, r received) { p.trace = append(p.trace, who+"< "+r.line) }

func (p *performance) step(ctx context.Context, st step) error {
	switch st.verb {
	case "pause":
		time.Sleep(10 * time.Millisecond)
		return nil
	case "sql":
		_, err := p.Admin(ctx, st.args[0])
		return err
	case "wait":
		return p.await(ctx, st.args[0], st.args[1])
	case "open":
		return p.open(ctx, st.client, st.args)
	}
	c := p.clients[st.client]
	if c == nil {
		if err := p.open(ctx, st.client, nil); err != nil {
			return err
		}
		c = p.clients[st.client]
	}
	if st.verb == "receive" {
		if p.given != nil {
			p.readAsMuch(st, c)
			return nil
		}
		return p.expect(st, c)
	}
	p.note(st.client, st.text)
	switch st.verb {
	case "send":
		if c.idle && p.Between != nil {
			if err := p.Between(ctx); err != nil {
				return err
			}
		}
		c.send(st.bytes)
	case "terminate":
		p.terminate(st.client)
	case "close":
		c.leave()
	case "reset":
		c.reset()
	case "cancel":
		return c.cancel(ctx, p.Addr, c.secret)
	case "miscancel":
		wrong := slices.Clone(c.secret)
		wrong[0] ^= 1
		return c.cancel(ctx, p.Addr, wrong)
	}
	return nil
}

// open logs a client in with the arguments "name=value", or "-name" for one of
// the usual parameters that is not sent.
func (p *performance) open(ctx context.Context, who string, args []string) error {
	q := params{"user": p.User, "password": p.Password, "database": p.Database, "application_name": "script"}
	for _, arg := range args {
		if name, ok := strings.CutPrefix(arg, "-"); ok {
			delete(q, name)
			continue
		}
		name, value, ok := strings.Cut(arg, "=")
		if !ok {
			return fmt.Errorf("%q is no parameter", arg)
		}
		q[name] = value
	}
	p.note(who, "open "+strings.Join(args, " "))
	c, greeting, err := dial(ctx, p.Addr, q)
	if err != nil {
		return err
	}
	for _, r := range greeting {
		p.hear(who, r)
	}
	p.clients[who] = c
	return nil
}

// expect reads until everything wanted has come, in its order and with anything
// between.
func (p *performance) expect(st step, c *client) error {
	deadline := time.After(prompt)
	last := st.wants[len(st.wants)-1].typ
	var got []string
	for _, w := range st.wants {
		for {
			r, ok := c.next(deadline)
			if !ok || r == closed && w.typ != "closed" {
				return fmt.Errorf("%s %q did not come, but\n%s", w.typ, w.text, strings.Join(got, "\n"))
			}
			p.hear(st.client, r)
			got = append(got, r.line)
			if r.typ == last {
				p.pace[st.line]++
			}
			if r.typ == w.typ && strings.Contains(r.line, w.text) {
				break
			}
		}
	}
	return nil
}

// readAsMuch reads as many messages of the step's last type as the performance
// that sets the pace did.
func (p *performance) readAsMuch(st step, c *client) {
	deadline := time.After(patience)
	last := st.wants[len(st.wants)-1].typ
	for n := p.given[st.line]; n > 0; {
		r, ok := c.next(deadline)
		if !ok {
			p.hear(st.client, received{line: "nothing more"})
			return
		}
		p.hear(st.client, r)
		if r == closed {
			return
		}
		if r.typ == last {
			n--
		}
	}
}

// terminate logs a client out and hears what comes until the end.
func (p *performance) terminate(who string) {
	c := p.clients[who]
	if c.left {
		return
	}
	c.send([]byte{'X', 0, 0, 0, 4})
	deadline := time.After(patience)
	for {
		r, ok := c.next(deadline)
		if !ok {
			p.hear(who, received{line: "still open"})
			break
		}
		p.hear(who, r)
		if r == closed {
			break
		}
	}
	c.leave()
}

func (p *performance) leave() {
	for _, c := range p.clients {
		c.leave()
	}
}

// await asks as the superuser until the answer is want.
func (p *performance) await(ctx context.Context, sql, want string) error {
	var got string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(5 * time.Millisecond) {
		var err error
		if got, err = p.Admin(ctx, sql); err != nil || got == want {
			return err
		}
	}
	return fmt.Errorf("it is still %q", got)
}

// folded counts lines that repeat, and sorts reports of parameters that come
// together: their order has no meaning.
func folded(trace []string) []string {
	var out []string
	for i := 0; i < len(trace); {
		n := i
		for n < len(trace) && len(trace[n]) > 4 && trace[n][1:5] == "< S " && trace[n][0] == trace[i][0] {
			n++
		}
		slices.Sort(trace[i:n])
		i = max(n, i+1)
	}
	for i := 0; i < len(trace); {
		n := 1
		for i+n < len(trace) && trace[i+n] == trace[i] {
			n++
		}
		if n > 1 {
			out = append(out, fmt.Sprintf("%s (%d times)", trace[i], n))
		} else {
			out = append(out, trace[i])
		}
		i += n
	}
	return out
}
