package sqltext

import "bytes"

// Kind is what a token is.
type Kind uint8

// Kinds of tokens.
const (
	End      Kind = iota // of the text
	Word                 // an identifier or keyword without quotes
	Quoted               // "identifier"
	Unicode              // U&"identifier", whose name is not decoded here
	String               // any string constant: '…', E'…', B'…', X'…', U&'…', $tag$…$tag$
	Number               // digits and dots; what else belongs to a number follows as a Word
	Param                // $1
	Operator             // a run of operator characters
	Other                // one byte of anything else: ( ) [ ] , . : ; and what has no meaning
)

// Token is one token, text[From:To] of its text.
type Token struct {
	Kind     Kind
	From, To int
}

// Lexer cuts a text into tokens, without allocating. Whitespace and comments
// are between them. It accepts what PostgreSQL would refuse, since what
// PostgreSQL refuses has no effect that anybody would have to know.
type Lexer struct {
	text   []byte
	at     int
	unsure bool
}

// NewLexer begins at the beginning of a text, which must not change meanwhile.
func NewLexer(text []byte) Lexer { return Lexer{text: text} }

// Unsure reports whether PostgreSQL may cut the text read so far in another way:
// a quote behind a backslash ends a string or does not, depending on
// standard_conforming_strings; or a string, identifier or comment does not end.
func (l *Lexer) Unsure() bool { return l.unsure }

// Next returns the next token; at the end, and from then on, End.
func (l *Lexer) Next() Token {
	l.skip()
	from := l.at
	if from >= len(l.text) {
		return Token{End, from, from}
	}
	return Token{l.token(l.text[from]), from, l.at}
}

// Is reports whether the token is this keyword, which is given in lower case.
func (l *Lexer) Is(t Token, keyword string) bool {
	if t.Kind != Word || t.To-t.From != len(keyword) {
		return false
	}
	for i := range len(keyword) {
		if lower(l.text[t.From+i]) != keyword[i] {
			return false
		}
	}
	return true
}

// IsByte reports whether the token is this one byte.
func (l *Lexer) IsByte(t Token, c byte) bool {
	return (t.Kind == Other || t.Kind == Operator) && t.To-t.From == 1 && l.text[t.From] == c
}

// maxName is the longest name in bytes: PostgreSQL's NAMEDATALEN - 1. It cuts off
// the rest, which depends on the encoding and is not done here.
const maxName = 63

// Name appends an identifier's name as PostgreSQL reads it: without quotes, or in
// lower case. ok is false for other tokens and where the name is not certain.
func (l *Lexer) Name(b []byte, t Token) (name []byte, ok bool) {
	raw := l.text[t.From:t.To]
	at := len(b)
	switch t.Kind {
	case Word:
		for _, c := range raw {
			if c >= 0x80 {
				return b, false // lower case depends on the server's locale
			}
			b = append(b, lower(c))
		}
	case Quoted:
		if len(raw) < 3 || raw[len(raw)-1] != '"' {
			return b, false
		}
		for raw = raw[1 : len(raw)-1]; len(raw) > 0; raw = raw[1:] {
			b = append(b, raw[0])
			if raw[0] == '"' {
				raw = raw[1:]
			}
		}
	default:
		return b, false
	}
	return b, len(b)-at <= maxName
}

// Literal returns the value of a plain string constant without anything that
// would have to be decoded.
func (l *Lexer) Literal(t Token) (value []byte, ok bool) {
	raw := l.text[t.From:t.To]
	if t.Kind != String || len(raw) < 2 || raw[0] != '\'' || raw[len(raw)-1] != '\'' {
		return nil, false
	}
	raw = raw[1 : len(raw)-1]
	return raw, bytes.IndexByte(raw, '\'') < 0 && bytes.IndexByte(raw, '\\') < 0
}

// skip passes over whitespace and comments.
func (l *Lexer) skip() {
	for l.at < len(l.text) {
		switch c := l.text[l.at]; {
		case space(c):
			l.at++
		case c == '-' && l.peek(1) == '-':
			l.line()
		case c == '/' && l.peek(1) == '*':
			l.block()
		default:
			return
		}
	}
}

// line passes over a comment up to the end of its line.
func (l *Lexer) line() {
	if n := bytes.IndexAny(l.text[l.at:], "\n\r"); n >= 0 {
		l.at += n
	} else {
		l.at = len(l.text)
	}
}

// block passes over a comment between /* and */, which nest.
func (l *Lexer) block() {
	depth := 0
	for l.at < len(l.text) {
		switch {
		case l.text[l.at] == '/' && l.peek(1) == '*':
			depth++
			l.at += 2
		case l.text[l.at] == '*' && l.peek(1) == '/':
			l.at += 2
			if depth--; depth == 0 {
				return
			}
		default:
			l.at++
		}
	}
	l.unsure = true
}

// token passes over the token that begins with c.
func (l *Lexer) token(c byte) Kind {
	next := l.peek(1)
	switch {
	case c == '\'':
		l.at++
		return l.quoted(plain)
	case c == '"':
		l.at++
		return l.identifier(Quoted)
	case (c == 'e' || c == 'E') && next == '\'':
		l.at += 2
		return l.quoted(escaped)
	case (c == 'b' || c == 'B' || c == 'x' || c == 'X') && next == '\'':
		l.at += 2
		return l.quoted(verbatim)
	case (c == 'u' || c == 'U') && next == '&' && l.peek(2) == '\'':
		l.at += 3
		return l.quoted(verbatim)
	case (c == 'u' || c == 'U') && next == '&' && l.peek(2) == '"':
		l.at += 3
		return l.identifier(Unicode)
	case c == '$':
		return l.dollar(next)
	case digit(c) || c == '.' && digit(next):
		for l.at < len(l.text) && (digit(l.text[l.at]) || l.text[l.at] == '.') {
			l.at++
		}
		return Number
	case letter(c):
		for l.at < len(l.text) && (letter(l.text[l.at]) || digit(l.text[l.at]) || l.text[l.at] == '$') {
			l.at++
		}
		return Word
	case operator(c):
		for l.at++; l.at < len(l.text) && operator(l.text[l.at]) && !l.comment(); l.at++ {
		}
		return Operator
	default:
		l.at++
		return Other
	}
}

// comment reports whether one begins here.
func (l *Lexer) comment() bool {
	c, next := l.text[l.at], l.peek(1)
	return c == '-' && next == '-' || c == '/' && next == '*'
}

// style is how a string constant treats backslashes.
type style uint8

const (
	plain    style = iota // depends on standard_conforming_strings
	escaped               // the next byte is part of the string
	verbatim              // nothing special
)

// quoted passes over a string constant from behind its first quote.
func (l *Lexer) quoted(s style) Kind {
	backslashes := 0
	for l.at < len(l.text) {
		c := l.text[l.at]
		l.at++
		switch {
		case c == '\\' && s == escaped:
			l.at = min(l.at+1, len(l.text))
		case c == '\\':
			backslashes++
			continue
		case c == '\'':
			if s == plain && backslashes&1 == 1 {
				l.unsure = true
			}
			if l.peek(0) == '\'' {
				l.at++
			} else if s != escaped || !l.continued() {
				return String
			}
		}
		backslashes = 0
	}
	l.unsure = true
	return String
}

// continued passes over what is between two parts of one constant: whitespace
// with a newline in it. Of those only the ones with backslashes have to be known
// for one; two others may as well be two.
func (l *Lexer) continued() bool {
	after, newline := l.at, false
	for l.at < len(l.text) {
		switch c := l.text[l.at]; {
		case space(c):
			newline = newline || c == '\n' || c == '\r'
			l.at++
			continue
		case c == '-' && l.peek(1) == '-':
			l.line()
			continue
		case c == '\'' && newline:
			l.at++
			return true
		}
		break
	}
	l.at = after
	return false
}

// identifier passes over one in quotes, from behind the first of them.
func (l *Lexer) identifier(k Kind) Kind {
	for l.at < len(l.text) {
		c := l.text[l.at]
		l.at++
		if c != '"' {
			continue
		}
		if l.peek(0) != '"' {
			return k
		}
		l.at++
	}
	l.unsure = true
	return k
}

// dollar passes over $1, $tag$…$tag$ or a lone $.
func (l *Lexer) dollar(next byte) Kind {
	if digit(next) {
		for l.at++; l.at < len(l.text) && digit(l.text[l.at]); l.at++ {
		}
		return Param
	}
	end := l.at + 1
	for end < len(l.text) && (letter(l.text[end]) || digit(l.text[end])) {
		end++
	}
	if end == len(l.text) || l.text[end] != '$' {
		l.at++
		return Other
	}
	tag := l.text[l.at : end+1]
	l.at = end + 1
	n := bytes.Index(l.text[l.at:], tag)
	if n < 0 {
		l.at, l.unsure = len(l.text), true
		return String
	}
	l.at += n + len(tag)
	return String
}

// peek is the byte so many further on, 0 behind the end.
func (l *Lexer) peek(n int) byte {
	if l.at+n < len(l.text) {
		return l.text[l.at+n]
	}
	return 0
}

func space(c byte) bool { return c == ' ' || c >= '\t' && c <= '\r' }

func digit(c byte) bool { return c >= '0' && c <= '9' }

func letter(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func lower(c byte) byte {
	if c >= 'A' && c <= 'Z' {
		return c + 'a' - 'A'
	}
	return c
}

func operator(c byte) bool {
	switch c {
	case '~', '!', '@', '#', '^', '&', '|', '`', '?', '+', '-', '*', '/', '%', '<', '>', '=':
		return true
	}
	return false
}
