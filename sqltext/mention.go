package sqltext

// MentionReader finds what looks like SET and RESET anywhere in a text: in the
// body of a DO block, and in strings that it may execute.
type MentionReader struct {
	reader Reader
	at     int
	seen   int
}

// maxMentions bounds how often a text is read from some place on, perhaps to its
// end.
const maxMentions = 256

// TooMany reports whether there may be more than were found.
func (m *MentionReader) TooMany() bool { return m.seen == maxMentions }

// Mentions begins with a text, which must not change meanwhile.
func Mentions(text []byte) MentionReader { return MentionReader{reader: Read(text)} }

// Next returns the next Set, Reset or ResetAll. Some are none, such as the SET of
// an UPDATE.
func (m *MentionReader) Next() (s Statement, more bool) {
	text := m.reader.text
	for m.at < len(text) && m.seen < maxMentions {
		from := m.at
		if !letter(text[from]) {
			m.at++
			continue
		}
		for m.at < len(text) && (letter(text[m.at]) || digit(text[m.at]) || text[m.at] == '$') {
			m.at++
		}
		word := Token{Word, from, m.at}
		s = Statement{From: from, To: m.at}
		m.reader.at = m.at
		switch {
		case m.reader.Is(word, "set"):
			m.seen++
			m.reader.set(&s)
		case m.reader.Is(word, "reset"):
			m.seen++
			m.reader.reset(&s)
		default:
			continue
		}
		if s.Command == Set || s.Command == Reset || s.Command == ResetAll {
			return s, true
		}
	}
	return Statement{}, false
}
