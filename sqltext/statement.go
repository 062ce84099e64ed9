package sqltext

// Command is what a statement does, of the few that are told apart.
type Command uint8

// Commands. SET TIME ZONE, NAMES, SCHEMA, XML OPTION, ROLE and SESSION
// AUTHORIZATION are Set and Reset of the parameter that they set.
const (
	Else            Command = iota // any other
	Set                            // SET [SESSION | LOCAL] name …
	Reset                          // RESET name, and SET name TO DEFAULT
	ResetAll                       // RESET ALL
	Transaction                    // SET [LOCAL] TRANSACTION …, and what ends with the transaction as well
	Characteristics                // SET SESSION CHARACTERISTICS AS TRANSACTION …
	Prepare                        // PREPARE name …
	Execute                        // EXECUTE name …
	Deallocate                     // DEALLOCATE [PREPARE] name
	DeallocateAll                  // DEALLOCATE [PREPARE] ALL
	Discard                        // DISCARD …
	Unclear                        // begins like one of these; what it is about is not certain
)

// Statement is what was read off one statement of a text.
type Statement struct {
	Command  Command
	Local    bool   // SET LOCAL: what it does ends with the transaction
	Name     []byte // of the parameter, in lower case, or of the prepared statement; valid until the next one is read
	From, To int    // its place in the text, without the semicolon
}

// Reader reads the statements of a text one after the other.
type Reader struct {
	Lexer
	name [maxStatementName]byte
}

const maxStatementName = 4 * (maxName + 1)

// Read begins with a text, which must not change meanwhile.
func Read(text []byte) Reader { return Reader{Lexer: NewLexer(text)} }

// Next reads the next statement that is not empty. more is false at the end; a
// text that was Unsure anywhere may then have been read wrongly throughout.
func (r *Reader) Next() (s Statement, more bool) {
	t := r.Lexer.Next()
	for r.IsByte(t, ';') {
		t = r.Lexer.Next()
	}
	if t.Kind == End {
		return Statement{}, false
	}
	s.From, s.To = t.From, t.To
	if t = r.command(&s, t); t.Kind == End {
		t = r.Lexer.Next()
	}
	// A semicolon between parentheses belongs to CREATE RULE.
	for depth := 0; t.Kind != End; t = r.Lexer.Next() {
		switch {
		case r.IsByte(t, '('):
			depth++
		case r.IsByte(t, ')'):
			depth--
		case r.IsByte(t, ';') && depth <= 0:
			return s, true
		}
		s.To = t.To
	}
	return s, true
}

// command reads a statement's first words and returns the token behind them.
func (r *Reader) command(s *Statement, t Token) Token {
	switch {
	case r.Is(t, "set"):
		return r.set(s)
	case r.Is(t, "reset"):
		return r.reset(s)
	case r.Is(t, "prepare"):
		t = r.step()
		if r.Is(t, "transaction") {
			return t
		}
		return r.prepared(s, t, Prepare)
	case r.Is(t, "execute"):
		return r.prepared(s, r.step(), Execute)
	case r.Is(t, "deallocate"):
		t = r.step()
		if r.Is(t, "prepare") {
			// DEALLOCATE PREPARE is about a statement of that name when nothing follows.
			before, at := t, r.at
			if t = r.step(); t.Kind == End {
				t, r.at = before, at
			}
		}
		if r.Is(t, "all") {
			s.Command = DeallocateAll
			return r.step()
		}
		return r.prepared(s, t, Deallocate)
	case r.Is(t, "discard"):
		s.Command = Discard
	}
	return r.step()
}

// step returns the next token of the statement; behind the last one, End.
func (r *Reader) step() Token {
	before := r.at
	t := r.Lexer.Next()
	if r.IsByte(t, ';') {
		r.at = before
		return Token{End, t.From, t.From}
	}
	return t
}

// prepared reads the name of a prepared statement.
func (r *Reader) prepared(s *Statement, t Token, c Command) Token {
	s.Command = Unclear
	if name, ok := r.Name(r.name[:0], t); ok {
		s.Command, s.Name = c, name
	}
	return r.step()
}

// reset reads what comes behind RESET.
func (r *Reader) reset(s *Statement) Token {
	t := r.step()
	s.Command = Reset
	switch {
	case r.Is(t, "all"):
		s.Command = ResetAll
		return r.step()
	case r.Is(t, "time"), r.Is(t, "session"), r.Is(t, "transaction"):
		next := r.step()
		switch {
		case r.Is(t, "time") && r.Is(next, "zone"):
			return r.about(s, "timezone")
		case r.Is(t, "session") && r.Is(next, "authorization"):
			return r.about(s, "session_authorization")
		case r.Is(t, "transaction") && r.Is(next, "isolation"):
			s.Command = Transaction
			return r.step()
		}
		return r.parameter(s, t, next)
	}
	return r.parameter(s, t, r.step())
}

// set reads what comes behind SET.
func (r *Reader) set(s *Statement) Token {
	s.Command = Set
	t := r.step()
	next := r.step()
	if r.Is(t, "constraints") && !r.assigns(next) {
		s.Command = Else
		return next
	}
	if session := r.Is(t, "session"); (session || r.Is(t, "local")) && !r.assigns(next) {
		s.Local = !session
		switch {
		case session && r.Is(next, "characteristics"):
			s.Command = Characteristics
			return r.step()
		case session && r.Is(next, "authorization"):
			return r.value(s, "session_authorization", r.step())
		}
		t, next = next, r.step()
	}
	if r.assigns(next) {
		return r.parameter(s, t, next)
	}
	switch {
	case r.Is(t, "time") && r.Is(next, "zone"):
		return r.value(s, "timezone", r.step())
	case r.Is(t, "session") && r.Is(next, "authorization"):
		return r.value(s, "session_authorization", r.step())
	case r.Is(t, "xml") && r.Is(next, "option"):
		return r.value(s, "xmloption", r.step())
	case r.Is(t, "session") && r.Is(next, "characteristics"):
		s.Command = Characteristics
		return r.step()
	case r.Is(t, "names"):
		if next.Kind == End {
			s.Command, s.Name = Reset, []byte("client_encoding")
			return next
		}
		return r.value(s, "client_encoding", next)
	case r.Is(t, "schema"):
		return r.value(s, "search_path", next)
	case r.Is(t, "role"):
		return r.value(s, "role", next)
	case r.Is(t, "transaction"):
		s.Command = Transaction
		return next
	}
	return r.parameter(s, t, next) // SET name FROM CURRENT
}

// assigns reports whether the token before this one is a parameter's name, even
// if it is a keyword too.
func (r *Reader) assigns(t Token) bool {
	return r.IsByte(t, '=') || r.IsByte(t, '.') || r.Is(t, "to")
}

// parameter reads a name of one or more parts, of which t is the first and next
// what follows it.
func (r *Reader) parameter(s *Statement, t, next Token) Token {
	name, ok := r.Name(r.name[:0], t)
	for ok && r.IsByte(next, '.') {
		if len(name)+1+maxName >= len(r.name) {
			ok = false
			break
		}
		name = append(name, '.')
		t = r.step()
		if name, ok = r.Name(name, t); ok {
			next = r.step()
		}
	}
	if !ok {
		s.Command = Unclear
		return next
	}
	for i, c := range name {
		name[i] = lower(c) // parameters are found whatever their case
	}
	s.Name = name
	if r.IsByte(next, '=') || r.Is(next, "to") {
		next = r.step()
		if r.Is(next, "default") && !s.Local {
			s.Command = Reset
		}
	}
	switch string(name) {
	case "transaction_isolation", "transaction_read_only", "transaction_deferrable":
		s.Command, s.Name = Transaction, nil
	}
	return next
}

// about ends the reading of a RESET of this parameter.
func (r *Reader) about(s *Statement, name string) Token {
	s.Name = append(r.name[:0], name...)
	return r.step()
}

// value ends the reading of a SET of this parameter, whose value begins with t.
func (r *Reader) value(s *Statement, name string, t Token) Token {
	s.Name = append(r.name[:0], name...)
	if (r.Is(t, "default") || name == "timezone" && r.Is(t, "local")) && !s.Local {
		s.Command = Reset
	}
	return t
}
