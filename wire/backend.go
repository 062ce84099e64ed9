package wire

import "encoding/binary"

// AppendAuthenticationOK appends AuthenticationOk.
func AppendAuthenticationOK(b []byte) []byte {
	return append(b, Authentication, 0, 0, 0, 8, 0, 0, 0, 0)
}

// Codes of Authentication messages.
const (
	AuthOK           = 0
	AuthCleartext    = 3
	AuthMD5          = 5
	AuthSASL         = 10
	AuthSASLContinue = 11
	AuthSASLFinal    = 12
)

func openAuth(b []byte, code uint32) ([]byte, int) {
	b, at := open(b, Authentication)
	return binary.BigEndian.AppendUint32(b, code), at
}

// AppendAuthenticationCleartext appends AuthenticationCleartextPassword.
func AppendAuthenticationCleartext(b []byte) []byte {
	b, at := openAuth(b, AuthCleartext)
	return shut(b, at)
}

// AppendAuthenticationMD5 appends AuthenticationMD5Password.
func AppendAuthenticationMD5(b []byte, salt [4]byte) []byte {
	b, at := openAuth(b, AuthMD5)
	return shut(append(b, salt[:]...), at)
}

// AppendAuthenticationSASL appends AuthenticationSASL with the mechanisms in order of preference.
func AppendAuthenticationSASL(b []byte, mechanisms ...string) []byte {
	b, at := openAuth(b, AuthSASL)
	for _, m := range mechanisms {
		b = cstring(b, m)
	}
	return shut(append(b, 0), at)
}

// AppendAuthenticationSASLContinue appends AuthenticationSASLContinue.
func AppendAuthenticationSASLContinue(b []byte, data string) []byte {
	b, at := openAuth(b, AuthSASLContinue)
	return shut(append(b, data...), at)
}

// AppendAuthenticationSASLFinal appends AuthenticationSASLFinal.
func AppendAuthenticationSASLFinal(b []byte, data string) []byte {
	b, at := openAuth(b, AuthSASLFinal)
	return shut(append(b, data...), at)
}

// AppendParameterStatus appends ParameterStatus.
func AppendParameterStatus(b []byte, p Parameter) []byte {
	b, at := open(b, ParameterStatus)
	b = cstring(b, p.Name)
	b = cstring(b, p.Value)
	return shut(b, at)
}

// ParseParameterStatus reads a ParameterStatus frame's body.
func ParseParameterStatus(body []byte) (Parameter, bool) {
	name, rest, ok := TakeCString(body)
	if !ok {
		return Parameter{}, false
	}
	value, rest, ok := TakeCString(rest)
	if !ok || len(rest) != 0 {
		return Parameter{}, false
	}
	return Parameter{string(name), string(value)}, true
}

// AppendBackendKeyData appends BackendKeyData.
func AppendBackendKeyData(b []byte, k CancelKey) []byte {
	b, at := open(b, BackendKeyData)
	b = binary.BigEndian.AppendUint32(b, k.PID)
	return shut(append(b, k.Secret...), at)
}

// AppendReadyForQuery appends ReadyForQuery with a transaction status byte.
func AppendReadyForQuery(b []byte, status byte) []byte {
	return append(b, ReadyForQuery, 0, 0, 0, 5, status)
}

// AppendNegotiateProtocolVersion appends NegotiateProtocolVersion: the newest
// version the gateway speaks, and the extensions it does not know.
func AppendNegotiateProtocolVersion(b []byte, newest uint32, unknown []string) []byte {
	b, at := open(b, NegotiateProtocolVersion)
	b = binary.BigEndian.AppendUint32(b, newest)
	b = binary.BigEndian.AppendUint32(b, uint32(len(unknown)))
	for _, name := range unknown {
		b = cstring(b, name)
	}
	return shut(b, at)
}
