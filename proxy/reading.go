package proxy

import (
	"slices"
	"strings"

	"pggateway/wire"
)

// reading is the parameters that decide how a text is read when it is prepared:
// what its constants mean, and where its names are looked up.
type reading struct {
	searchPath string // as far as the client has set it; the server looks after the rest
	reported   [len(readingNames)]string
}

// readingNames are those that every server reports.
var readingNames = [...]string{"client_encoding", "DateStyle", "IntervalStyle", "TimeZone", "standard_conforming_strings"}

// readsBy reports whether a parameter, in lower case, is one of them.
func readsBy(name string) bool {
	return slices.ContainsFunc(readingNames[:], func(n string) bool { return strings.EqualFold(n, name) })
}

// run takes account of what a text does that is carried out now.
func (s *session) run(t *touches) {
	s.touch(t)
	s.rereading = s.rereading || t.rereads
}

// rereadingEnds reports whether how the server reads texts is about to be known.
func (s *session) rereadingEnds() bool {
	q := &s.backend.requests
	return s.rereading && q.n > 0 && q.conclusive(q.n)
}

// reading is how the server reads a text now.
func (s *session) reading() reading {
	var r reading
	if i := indexSetting(s.profile.settings, "search_path"); i >= 0 {
		r.searchPath = s.profile.settings[i].Value
	}
	for i, name := range readingNames {
		r.reported[i] = s.backend.reported(name)
	}
	return r
}

// readLater begin statements of which nothing is read when they are prepared. Some
// of them must be the first in their transaction, or the only one, and some run
// where another has failed: nothing may be executed for their sake.
var readLater = [...]string{
	"begin", "start", "commit", "end", "rollback", "abort", "savepoint", "release",
	"set", "reset", "show", "vacuum", "reindex", "cluster",
}

// readsLater reports whether a text begins with one of those words.
func readsLater(text string) bool {
	text = strings.TrimLeft(text, " \t\n\r\f\v")
	n := 0
	for n < len(text) && wordByte[text[n]] != 0 {
		n++
	}
	return slices.ContainsFunc(readLater[:], func(word string) bool { return strings.EqualFold(word, text[:n]) })
}

// reread has the server read what follows in another way. What the client has set
// itself it gets back when the transaction ends: this is local to it.
func (s *session) reread(from, to reading) {
	changed := false
	for i, value := range to.reported {
		if value == from.reported[i] {
			continue
		}
		if !changed {
			changed = true
			s.ownClose(questionName)
			s.ownParse(questionName, rereadSQL+"\x00\x00\x00")
		}
		s.backend.own(wire.Bind, wire.Execute)
		s.host.assembly = wire.AppendBind(s.host.assembly, questionName, readingNames[i], value)
		s.host.assembly = wire.AppendExecute(s.host.assembly)
	}
	if changed {
		s.ownClose(questionName)
	}
}
