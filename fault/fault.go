// Package fault is the one kind of error that may reach a client: what went
// wrong on which side, the SQLSTATE and the words that the client sees, and the
// cause that only the log sees. It is a leaf beside sqlstate.
package fault

// Side says whose doing a fault is; logs and metrics count by it.
type Side string

// The sides.
const (
	Client  Side = "client"  // the client broke the protocol, failed to log in or went away
	Server  Side = "server"  // the upstream, or the way to it
	Gateway Side = "gateway" // the gateway's own limits and life cycle
	Policy  Side = "policy"  // what the configuration does not allow
)

// Fault is an error with a public face. Message, Detail and Hint are sent to
// clients: no address, name or secret of anyone else may be in them.
type Fault struct {
	Side    Side
	Code    string // SQLSTATE
	Message string
	Detail  string
	Hint    string
	Cause   error // for the log only; may be nil
}

// New returns a fault without a cause.
func New(side Side, code, message string) *Fault {
	return &Fault{Side: side, Code: code, Message: message}
}

// WithHint returns a copy that carries the hint.
func (f Fault) WithHint(hint string) *Fault {
	f.Hint = hint
	return &f
}

// WithDetail returns a copy that carries the detail.
func (f Fault) WithDetail(detail string) *Fault {
	f.Detail = detail
	return &f
}

// Because returns a copy that carries the cause.
func (f Fault) Because(cause error) *Fault {
	f.Cause = cause
	return &f
}

// Error is for the log: the public text and the cause.
func (f *Fault) Error() string {
	if f.Cause == nil {
		return f.Message
	}
	return f.Message + ": " + f.Cause.Error()
}

// Unwrap returns the cause.
func (f *Fault) Unwrap() error { return f.Cause }
