package sqltext

// Config is a call of set_config.
type Config struct {
	Name  []byte // the parameter, as it is written; nil: not a plain string constant
	Local bool   // is_local is plainly true: what it does ends with the transaction
}

// ConfigReader finds the calls of set_config in a text, those in the bodies of DO
// blocks included: whatever is quoted with dollars is searched as a text itself,
// though not what is quoted inside of that.
type ConfigReader struct {
	outer, inner Lexer
}

// Configs begins with a text, which must not change meanwhile.
func Configs(text []byte) ConfigReader { return ConfigReader{outer: NewLexer(text)} }

// Unsure is as in Lexer.
func (r *ConfigReader) Unsure() bool { return r.outer.unsure || r.inner.unsure }

// Next returns the next call; more is false when there is none.
func (r *ConfigReader) Next() (c Config, more bool) {
	for {
		l := &r.inner
		t := l.Next()
		if t.Kind == End {
			l = &r.outer
			switch t = l.Next(); {
			case t.Kind == End:
				return Config{}, false
			case t.Kind == String && l.text[t.From] == '$':
				r.inner = Lexer{text: dollarBody(l.text[t.From:t.To]), unsure: r.inner.unsure}
				continue
			}
		}
		if l.Is(t, "set_config") || t.Kind == Quoted && string(l.text[t.From:t.To]) == `"set_config"` {
			return l.config(), true
		}
	}
}

// dollarBody is what is between the tags of a constant.
func dollarBody(raw []byte) []byte {
	for i := 1; i < len(raw); i++ {
		if raw[i] == '$' {
			if i++; len(raw) >= 2*i {
				return raw[i : len(raw)-i]
			}
			break
		}
	}
	return nil // without an end
}

// maxArgument bounds how many tokens are read for the sake of one is_local, since
// calls may be nested.
const maxArgument = 64

// config reads a call from behind the function's name. What is in it is read
// again afterwards.
func (l *Lexer) config() (c Config) {
	if !l.IsByte(l.Next(), '(') {
		return c
	}
	from := l.at
	name, ok := l.Literal(l.Next())
	if !ok || !l.IsByte(l.Next(), ',') {
		l.at = from
		return c
	}
	c.Name = name
	depth := 0
	for range maxArgument {
		t := l.Next()
		if t.Kind == End || depth < 0 {
			break
		}
		switch {
		case l.IsByte(t, '('):
			depth++
		case l.IsByte(t, ')'):
			depth--
		case l.IsByte(t, ',') && depth == 0:
			c.Local = l.Is(l.Next(), "true") && l.IsByte(l.Next(), ')')
			l.at = from
			return c
		}
	}
	l.at = from
	return c
}
