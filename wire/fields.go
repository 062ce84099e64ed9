package wire

// Fields are the fields of an ErrorResponse or a NoticeResponse that the
// gateway sends or reads ("Error and Notice Message Fields").
type Fields struct {
	Severity string // S and V: ERROR, FATAL, …
	Code     string // C: SQLSTATE
	Message  string // M
	Detail   string // D
	Hint     string // H
	Routine  string // R: read only
}

// Last reports whether the sender closes the connection after this error.
func (f *Fields) Last() bool { return f.Severity == "FATAL" || f.Severity == "PANIC" }

// AppendErrorResponse appends an ErrorResponse.
func AppendErrorResponse(b []byte, f *Fields) []byte { return appendFields(b, ErrorResponse, f) }

// AppendNoticeResponse appends a NoticeResponse.
func AppendNoticeResponse(b []byte, f *Fields) []byte { return appendFields(b, NoticeResponse, f) }

func appendFields(b []byte, typ byte, f *Fields) []byte {
	b, at := open(b, typ)
	b = field(b, 'S', f.Severity)
	b = field(b, 'V', f.Severity)
	b = field(b, 'C', f.Code)
	b = field(b, 'M', f.Message)
	b = field(b, 'D', f.Detail)
	b = field(b, 'H', f.Hint)
	return shut(append(b, 0), at)
}

func field(b []byte, code byte, text string) []byte {
	if text == "" {
		return b
	}
	return cstring(append(b, code), text)
}

// ParseFields reads the body of an ErrorResponse or NoticeResponse. Fields it
// does not know are passed over; a body that breaks off gives what came before
// and false. A missing SQLSTATE is left empty: servers are not trusted to send one.
func ParseFields(body []byte) (Fields, bool) {
	var f Fields
	for {
		if len(body) == 0 {
			return f, false
		}
		code := body[0]
		if code == 0 {
			return f, true
		}
		text, rest, ok := TakeCString(body[1:])
		if !ok {
			return f, false
		}
		switch code {
		case 'V':
			f.Severity = string(text)
		case 'S':
			if f.Severity == "" {
				f.Severity = string(text)
			}
		case 'C':
			f.Code = string(text)
		case 'M':
			f.Message = string(text)
		case 'D':
			f.Detail = string(text)
		case 'H':
			f.Hint = string(text)
		case 'R':
			f.Routine = string(text)
		}
		body = rest
	}
}
