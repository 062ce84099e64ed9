package proxy

import "pggateway/wire"

// reading is the parameters that decide how a text is read when it is prepared:
// what its constants mean, and where its names are looked up.
type reading struct {
	searchPath string // as far as the client has set it; the server looks after the rest
	reported   [len(readingNames)]string
}

// readingNames are those that every server reports.
var readingNames = [...]string{"client_encoding", "DateStyle", "IntervalStyle", "TimeZone", "standard_conforming_strings"}

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

// reread has the server read what follows in another way. Should that fail, the
// transaction fails with it and takes the change back.
func (s *session) reread(from, to reading) {
	changed := false
	for i, value := range to.reported {
		if value == from.reported[i] {
			continue
		}
		if !changed {
			changed = true
			s.ownClose(questionName)
			s.ownParse(questionName, applySQL+"\x00\x00\x00")
		}
		s.backend.own(wire.Bind, wire.Execute)
		s.host.assembly = wire.AppendBind(s.host.assembly, questionName, readingNames[i], value)
		s.host.assembly = wire.AppendExecute(s.host.assembly)
	}
	if changed {
		s.ownClose(questionName)
	}
}
