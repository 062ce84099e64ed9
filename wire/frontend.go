package wire

import "encoding/binary"

// AppendQuery appends a simple Query.
func AppendQuery(b []byte, sql string) []byte {
	b, at := open(b, Query)
	return shut(cstring(b, sql), at)
}

// AppendPassword appends a PasswordMessage.
func AppendPassword(b []byte, password string) []byte {
	b, at := open(b, Password)
	return shut(cstring(b, password), at)
}

// AppendSASLInitial appends a SASLInitialResponse.
func AppendSASLInitial(b []byte, mechanism, data string) []byte {
	b, at := open(b, Password)
	b = cstring(b, mechanism)
	b = binary.BigEndian.AppendUint32(b, uint32(len(data)))
	return shut(append(b, data...), at)
}

// ParseSASLInitial reads the body of a SASLInitialResponse. data is nil when
// the client sent none.
func ParseSASLInitial(body []byte) (mechanism string, data []byte, ok bool) {
	name, rest, ok := TakeCString(body)
	if !ok || len(rest) < 4 {
		return "", nil, false
	}
	n := int32(binary.BigEndian.Uint32(rest))
	rest = rest[4:]
	if n == -1 && len(rest) == 0 {
		return string(name), nil, true
	}
	if int(n) != len(rest) {
		return "", nil, false
	}
	return string(name), rest, true
}

// AppendSASLResponse appends a SASLResponse.
func AppendSASLResponse(b []byte, data string) []byte {
	b, at := open(b, Password)
	return shut(append(b, data...), at)
}

// AppendTerminate appends Terminate.
func AppendTerminate(b []byte) []byte { return append(b, Terminate, 0, 0, 0, 4) }

// AppendSync appends Sync.
func AppendSync(b []byte) []byte { return append(b, Sync, 0, 0, 0, 4) }

// AppendParse appends a Parse whose parameter types are left to the server.
func AppendParse(b []byte, name, sql string) []byte {
	b, at := open(b, Parse)
	b = cstring(b, name)
	b = cstring(b, sql)
	return shut(append(b, 0, 0), at)
}

// AppendParseRaw appends a Parse of what follows the name in such a message: text,
// a zero byte, the number of parameter types given and their OIDs.
func AppendParseRaw(b []byte, name, rest string) []byte {
	b, at := open(b, Parse)
	b = cstring(b, name)
	return shut(append(b, rest...), at)
}

// AppendDescribeStatement appends a Describe of a prepared statement.
func AppendDescribeStatement(b []byte, name string) []byte {
	b, at := open(b, Describe)
	return shut(cstring(append(b, 'S'), name), at)
}

// AppendCloseStatement appends a Close of a prepared statement.
func AppendCloseStatement(b []byte, name string) []byte {
	b, at := open(b, Close)
	return shut(cstring(append(b, 'S'), name), at)
}

// AppendBind appends a Bind of text parameters to the unnamed portal.
func AppendBind(b []byte, statement string, args ...string) []byte {
	b, at := open(b, Bind)
	b = append(b, 0)
	b = cstring(b, statement)
	b = append(b, 0, 0) // all parameters are text
	b = binary.BigEndian.AppendUint16(b, uint16(len(args)))
	for _, a := range args {
		b = binary.BigEndian.AppendUint32(b, uint32(len(a)))
		b = append(b, a...)
	}
	return shut(append(b, 0, 0), at) // all results are text
}

// AppendExecute appends an Execute of the unnamed portal without a row limit.
func AppendExecute(b []byte) []byte { return append(b, Execute, 0, 0, 0, 9, 0, 0, 0, 0, 0) }
