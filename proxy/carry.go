package proxy

import (
	"slices"
	"strings"

	"pggateway/sqlstate"
	"pggateway/wire"
)

// carried is what is known of the parameters that a client has set since it
// logged in. Sessions of clients that set nothing have none.
type carried struct {
	touched []string // parameters whose values are to be asked for, in lower case
	before  []wire.Parameter
	resets  []string // parameters that the client's startup message gave, and that a text resets
	all     bool     // RESET ALL
	read    bool     // a text with SET or RESET in it was read in this transaction
	unread  bool     // one could not be read
	failed  bool     // what was touched could not be carried: not asked again before more is touched
	wary    []string // those that any statement may touch
	clear   bool     // DISCARD ALL was the last that happened
	unknown pin      // why nobody knows what is set; until everything is reset
	recent  bool     // that came up in this transaction
	swept   bool     // RESET ALL was carried out in it, and nothing has failed or was undone since
	asked   inquiry
}

// maxTouched bounds the names that are kept.
const maxTouched = 2 * maxSettings

// touch takes account of what a text may do. It is called when the text, or a
// statement made of it, is sent to the server.
func (s *session) touch(t *touches) {
	s.pinAll(t.pins)
	s.suspect |= s.pins & (t.lifts | t.pins&pinRole.bit())
	if len(t.names) == 0 && !t.all && !t.read && !t.unread && t.unknown == pinNone {
		return
	}
	c := s.carry()
	c.read = c.read || t.read
	c.unread = c.unread || t.unread
	if t.unknown != pinNone {
		c.lose(t.unknown)
	}
	for _, name := range t.names {
		c.add(name)
	}
	for _, name := range t.resets {
		if indexSetting(s.startup.settings, name) >= 0 && !slices.Contains(c.resets, name) {
			c.resets = append(c.resets, name)
		}
	}
	if t.all {
		s.touchAll()
	}
}

// touchAll takes account of RESET ALL.
func (s *session) touchAll() {
	c := s.carry()
	c.all = true
	for _, p := range s.startup.settings {
		c.add(p.Name)
	}
	for _, p := range s.profile.settings {
		c.add(p.Name)
	}
}

func (s *session) carry() *carried {
	if s.carried == nil {
		s.carried = &carried{}
	}
	return s.carried
}

func (c *carried) add(name string) {
	c.failed = false
	if slices.Contains(c.touched, name) {
		return
	}
	if len(c.touched) == maxTouched {
		c.lose(pinSet)
		return
	}
	c.touched = append(c.touched, name)
}

// lose notes that nobody knows any more what is set.
func (c *carried) lose(why pin) {
	c.unknown, c.recent = max(c.unknown, why), true
}

// undone takes account of an error, or of a ROLLBACK: what came before it may not
// have happened.
func (s *session) undone() {
	if s.carried != nil {
		s.carried.swept = false
	}
}

// changed takes account of a parameter that the server reports to have another
// value, whatever made it so. What is back to where it was when the transaction
// ends needs no question.
func (s *session) changed(name, before string) {
	name = strings.ToLower(name)
	switch {
	case name == "session_authorization":
		s.pinTo(pinRole)
		s.suspect |= pinRole.bit()
	case !slices.Contains(fixed[:], name):
		c := s.carry()
		if c.clear && s.backend.lastRequest() {
			return
		}
		if indexSetting(c.before, name) < 0 && len(c.before) < maxTouched {
			c.before = append(c.before, wire.Parameter{Name: name, Value: before})
		}
	}
}

// set takes account of the tag SET or RESET.
func (s *session) set() {
	c := s.carry()
	if !c.read || c.unread {
		c.lose(pinSet)
	}
	c.swept = c.all
	if len(c.resets) > 0 || c.all {
		s.restore = restoreWanted
	}
}

// beware takes account of a function that was made in this transaction. Calls of it
// will not show what is in it, so that the client is asked about from now on; most
// clients that make such functions are few and short.
func (s *session) beware() {
	s.wary |= s.suspect
	if c := s.carried; c != nil && len(c.touched) > 0 {
		c.wary = append(c.wary[:0], c.touched...)
	}
}

// cleared takes account of DISCARD ALL. Only where nothing was sent behind it is
// the state known to be the one that the session began with.
func (s *session) cleared(last bool) {
	s.touchAll()
	s.restore = restoreWanted
	if last {
		s.unpin()
		s.native = false
		*s.carried = carried{all: true, clear: true, wary: s.carried.wary}
		s.profile, s.backend.profile = s.startup, s.startup
	}
}

// dirty reports whether the server may have something in it that its next client
// must not meet.
func (s *session) dirty() bool {
	c := s.carried
	return s.pins != 0 || s.asking || c != nil && (len(c.touched)+len(c.before) > 0 || c.unknown != pinNone)
}

// settled reports whether the session holds nothing that keeps it on its backend,
// which is between transactions. It may have to ask for that; then it is called
// again when the answer has come.
func (s *session) settled() bool {
	if s.carried == nil && s.pins|s.wary == 0 && s.pin == pinNone && !s.unbound {
		return true // who sets nothing comes no further
	}
	if s.pins&pinMode.bit() != 0 {
		s.suspect, s.carried = 0, nil
		s.settlePin()
		return false
	}
	if s.pins &^= pinUnnamed.bit(); s.unbound {
		s.pins |= pinUnnamed.bit() // it will be bound after the transaction
	}
	c := s.carried
	if s.acted {
		s.acted = false
		s.pinAll(s.wary)
		for i := 0; c != nil && i < len(c.wary); i++ {
			c.add(c.wary[i])
		}
	}
	if c != nil {
		s.close(c)
	}
	if s.ask() {
		return false
	}
	s.settlePin()
	return s.pins == 0
}

// close takes stock of a transaction that has ended.
func (s *session) close(c *carried) {
	for _, p := range c.before {
		if s.backend.reported(p.Name) != p.Value {
			c.add(p.Name)
		}
	}
	if c.swept && !c.recent {
		c.unknown = pinNone
	}
	c.swept, c.recent = false, false
	if slices.Contains(c.touched, clientEncoding) {
		for _, p := range s.profile.settings {
			if !ascii(p.Value) {
				c.add(p.Name) // it is other bytes now
			}
		}
	}
	c.before, c.resets, c.all, c.read, c.unread, c.clear = c.before[:0], c.resets[:0], false, false, false, false
	s.pins &^= pinSet.bit() | pinConfig.bit()
	switch {
	case c.unknown != pinNone:
		s.pins |= c.unknown.bit()
	case c.failed:
		s.pins |= pinSet.bit()
	}
}

// ask asks what has to be known before the backend may be anybody else's. It
// reports whether anything was asked.
func (s *session) ask() bool {
	var i inquiry
	if held := s.pins &^ pinSet.bit(); held&^s.suspect != 0 {
		return false // one reason is beyond doubt, and that is enough
	}
	for p := range pinKinds {
		if s.suspect&p.bit() != 0 {
			i.pins = append(i.pins, p)
		}
	}
	if c := s.carried; c != nil {
		if c.unknown != pinNone {
			return false
		}
		if !c.failed {
			i.names = c.touched
		}
	}
	if len(i.pins)+len(i.names) == 0 {
		return false
	}
	s.inquire(i)
	return true
}

// inquire sends an inquiry.
func (s *session) inquire(i inquiry) {
	b := s.backend
	i.answers, i.at = make([]answer, len(i.pins)+len(i.names)), 0
	s.carry().asked = i
	s.asking, s.setup, b.ready, b.refused = true, true, false, nil
	s.stream.Pause()
	msg := i.append(s.host.loop.Chunk(1024), &b.requests, s.host.key.login.User)
	b.send(msg)
	b.expectSoon()
	s.host.loop.Recycle(msg)
}

// learn takes what an inquiry has brought.
func (s *session) learn() {
	b, c := s.backend, s.carried
	i := c.asked
	c.asked = inquiry{}
	s.asking = false
	if b.refused != nil && b.refused.Code == sqlstate.QueryCanceled && !i.again {
		i.again = true
		s.inquire(i)
		return
	}
	s.suspect = 0
	refused := b.refused != nil || i.at != len(i.answers)
	if !refused {
		s.pins = s.pins&pinSet.bit() | i.found()
	}
	if len(i.names) == 0 || refused && s.pins != 0 {
		return // what is touched can wait until no pin is left
	}
	settings, ok := i.values(s.profile.settings, s.startup.settings)
	if c.failed = refused || !ok; c.failed {
		s.pins |= pinSet.bit()
		s.host.uncarried(s, i.names, b.refused)
		return
	}
	c.touched = c.touched[:0]
	s.pins &^= pinSet.bit()
	s.profile = s.host.profile(settings)
	b.profile = s.profile
}
