package wire

import "encoding/binary"

const (
	// HeaderLen is the length of a frame's header: its type byte and its
	// four-byte length, which counts itself but not the type.
	HeaderLen = 5

	// MaxFrame is the longest frame PostgreSQL itself reads or writes
	// (MaxAllocSize - 1), its type byte included.
	MaxFrame = 0x3fffffff
)

// Types of the messages that frontends send.
const (
	Bind         = 'B'
	Close        = 'C'
	CopyData     = 'd' // both directions
	CopyDone     = 'c' // both directions
	CopyFail     = 'f'
	Describe     = 'D'
	Execute      = 'E'
	Flush        = 'H'
	FunctionCall = 'F'
	Parse        = 'P'
	Password     = 'p' // PasswordMessage, SASLInitialResponse, SASLResponse
	Query        = 'Q'
	Sync         = 'S'
	Terminate    = 'X'
)

// Types of the messages that backends send.
const (
	Authentication           = 'R'
	BackendKeyData           = 'K'
	BindComplete             = '2'
	CloseComplete            = '3'
	CommandComplete          = 'C'
	CopyBothResponse         = 'W'
	CopyInResponse           = 'G'
	CopyOutResponse          = 'H'
	DataRow                  = 'D'
	EmptyQueryResponse       = 'I'
	ErrorResponse            = 'E'
	FunctionCallResponse     = 'V'
	NegotiateProtocolVersion = 'v'
	NoData                   = 'n'
	NoticeResponse           = 'N'
	NotificationResponse     = 'A'
	ParameterDescription     = 't'
	ParameterStatus          = 'S'
	ParseComplete            = '1'
	PortalSuspended          = 's'
	ReadyForQuery            = 'Z'
	RowDescription           = 'T'
)

// Transaction status bytes of ReadyForQuery.
const (
	TxIdle   = 'I'
	TxActive = 'T'
	TxFailed = 'E'
)

// Peek reads the header of the frame that b begins with. size is the whole
// frame's length, type byte included; it is 0 when b is too short to tell, and
// negative when the length is one that no frame can have (under 4 or over
// MaxFrame).
func Peek(b []byte) (typ byte, size int) {
	if len(b) < HeaderLen {
		return 0, 0
	}
	n := binary.BigEndian.Uint32(b[1:HeaderLen])
	if n < 4 || n > MaxFrame-1 {
		return b[0], -1
	}
	return b[0], int(n) + 1
}

// AppendMessage appends a message with this body.
func AppendMessage(b []byte, typ byte, body []byte) []byte {
	b, at := open(b, typ)
	return shut(append(b, body...), at)
}

// open appends a frame's header with its length left open; shut fills it in.
func open(b []byte, typ byte) ([]byte, int) {
	return append(b, typ, 0, 0, 0, 0), len(b) + 1
}

func shut(b []byte, at int) []byte {
	binary.BigEndian.PutUint32(b[at:], uint32(len(b)-at))
	return b
}

func cstring(b []byte, s string) []byte {
	b = append(b, s...)
	return append(b, 0)
}

// TakeCString cuts the zero-terminated string that b begins with. ok is false
// when there is no terminator.
func TakeCString(b []byte) (s, rest []byte, ok bool) {
	for i, c := range b {
		if c == 0 {
			return b[:i], b[i+1:], true
		}
	}
	return nil, b, false
}
