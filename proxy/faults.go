package proxy

import (
	"errors"
	"fmt"

	"pggateway/fault"
	"pggateway/pool"
	"pggateway/sqlstate"
	"pggateway/wire"
)

// errCanceled ends a wait because the client cancelled its request.
var errCanceled = errors.New("canceled by the client")

// unavailable is what a client is told when it gets no backend.
func (s *session) unavailable(err error) *fault.Fault {
	name := s.host.publicName()
	switch {
	case errors.Is(err, errCanceled):
		return fault.New(fault.Client, sqlstate.QueryCanceled, "canceling statement due to user request")
	case errors.Is(err, pool.ErrTimeout), errors.Is(err, errLoginTimeout) && s.host.pool.Counts().Busy > 0:
		limit := s.host.upstream.Pool.WaitTimeout
		if errors.Is(err, errLoginTimeout) {
			limit = s.host.proxy.config.Limits.LoginTimeout
		}
		return fault.New(fault.Gateway, sqlstate.TooManyConnections,
			fmt.Sprintf("no server connection to %q became free within %s", name, limit)).
			WithHint("All connections of the pool are in use. Try again, or ask for a larger pool.size.").Because(err)
	case errors.Is(err, pool.ErrClosed):
		return faultDraining()
	}
	code := sqlstate.CannotConnectNow
	if s.greeting {
		code = sqlstate.UnableToConnect
	}
	f := fault.New(fault.Server, code, fmt.Sprintf("could not connect to upstream %q", name)).Because(err)
	var denied interface{ SQLState() string }
	if errors.As(err, &denied) && denied.SQLState() != "" {
		f.Code, f.Message = denied.SQLState(), fmt.Sprintf("upstream %q does not let the gateway in as it is configured", name)
	}
	var public interface{ Public() string }
	if errors.As(err, &public) {
		f.Detail = public.Public()
	}
	return f
}

func faultDraining() *fault.Fault {
	return fault.New(fault.Gateway, sqlstate.AdminShutdown, "terminating connection because the gateway is shutting down").
		WithHint("Connect again: another gateway, or this one once it is back, takes over.")
}

// faultServerLost says what is known of a client's work when its server is gone.
func faultServerLost(b *backend, cause error) *fault.Fault {
	f := fault.New(fault.Server, sqlstate.ConnectionFailure,
		fmt.Sprintf("connection to upstream %q was lost", b.host.upstream.Name)).Because(cause)
	if errors.Is(cause, errNotCancelled) {
		f.Message = "terminating connection because a statement ran for too long and did not end when it was cancelled"
	}
	switch {
	case !b.ready:
		return f.WithDetail("A statement was in progress; whether it took effect is unknown.")
	case b.tx != wire.TxIdle:
		return f.WithDetail("A transaction was open; it has been rolled back.")
	default:
		return f.WithDetail("No statement was in progress; the state of the session is lost.")
	}
}

// faultFields is a fault as it goes over the wire.
func faultFields(severity string, f *fault.Fault) *wire.Fields {
	return &wire.Fields{Severity: severity, Code: f.Code, Message: f.Message, Detail: f.Detail, Hint: f.Hint}
}
