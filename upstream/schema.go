package upstream

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"

	"go.uber.org/zap"

	"pggateway/config"
	"pggateway/sqlstate"
	"pggateway/upstream/login"
	"pggateway/wire"
)

// schema is what sessions work in: the search_path of every connection from its
// StartupMessage on, so that it is what RESET returns to, and a client's own, set
// later, comes before it. PostgreSQL leaves out of a search_path what does not
// exist, so the schema is looked for, and perhaps created, before the first
// connection is handed out: once for each target, unless it fails.
type schema struct {
	name   string
	create bool
	turn   chan struct{} // held while looking
	known  atomic.Bool
}

func newSchema(s *config.UpstreamSchema) *schema {
	return &schema{name: s.Name, create: s.Create, turn: make(chan struct{}, 1)}
}

func (s *schema) parameter() wire.Parameter {
	return wire.Parameter{Name: "search_path", Value: searchPath(s.name)}
}

// searchPath is a schema as a list of one, quoted where it has to be.
func searchPath(name string) string {
	plain := func(r rune) bool { return r >= 'a' && r <= 'z' || r == '_' || r >= '0' && r <= '9' }
	if strings.TrimFunc(name, plain) == "" && (name[0] < '0' || name[0] > '9') {
		return name
	}
	return QuoteIdentifier(name)
}

// QuoteIdentifier spells a name in SQL.
func QuoteIdentifier(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

const (
	findSchema = "select from pg_catalog.pg_namespace where nspname operator(pg_catalog.=) $1"
	encoding   = "select pg_catalog.current_setting('server_encoding')"
)

// ensure looks for the schema over a fresh connection, and creates it where that
// is wanted. Concurrent calls wait for one another.
func (s *schema) ensure(ctx context.Context, c *Conn, log *zap.Logger) error {
	if s.known.Load() {
		return nil
	}
	select {
	case s.turn <- struct{}{}:
		defer func() { <-s.turn }()
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	if s.known.Load() {
		return nil
	}
	if err := s.readable(ctx, c); err != nil {
		return err
	}
	there, err := s.exists(ctx, c)
	switch {
	case err != nil:
		return err
	case there:
	case s.create:
		if err := s.make(ctx, c); err != nil {
			return err
		}
		log.Info("schema created", zap.String("schema", s.name), zap.String("role", c.target.user))
	default:
		log.Warn("the schema that sessions work in does not exist, so that they see none: create it, or set schema.create",
			zap.String("schema", s.name))
	}
	s.known.Store(true)
	return nil
}

// readable refuses names that the database would read as others: the StartupMessage
// is taken as bytes of the database's own encoding.
func (s *schema) readable(ctx context.Context, c *Conn) error {
	if strings.IndexFunc(s.name, func(r rune) bool { return r > 0x7e }) < 0 {
		return nil
	}
	rows, err := c.Query(ctx, encoding)
	if err != nil {
		return err
	}
	if len(rows) != 1 || len(rows[0]) != 1 || rows[0][0] != "UTF8" {
		return &encodingError{fmt.Errorf("schema.name %s is not ASCII, and the database's encoding is %s: needed: UTF8, or another name", QuoteIdentifier(s.name), rows)}
	}
	return nil
}

type encodingError struct{ error }

func (s *schema) exists(ctx context.Context, c *Conn) (bool, error) {
	rows, err := c.Query(ctx, findSchema, s.name)
	if err != nil {
		return false, fmt.Errorf("look for schema %s: %w", QuoteIdentifier(s.name), err)
	}
	return len(rows) > 0, nil
}

// make creates the schema. Another gateway may do so at the same time, which IF NOT
// EXISTS does not spare either of the two.
func (s *schema) make(ctx context.Context, c *Conn) error {
	_, err := c.Query(ctx, "create schema if not exists "+QuoteIdentifier(s.name))
	var server *login.ServerError
	if errors.As(err, &server) && (server.Fields.Code == sqlstate.DuplicateSchema || server.Fields.Code == sqlstate.UniqueViolation) {
		there, again := s.exists(ctx, c)
		if there || again != nil {
			return again
		}
	}
	if err != nil {
		return fmt.Errorf("create schema %s as %s: %w", QuoteIdentifier(s.name), c.target.user, err)
	}
	return nil
}

// schemaError words why a connection is not handed out though it is logged in.
func schemaError(err error) *Error {
	public := "The connection to the upstream was lost while the schema that sessions work in was looked for."
	var server *login.ServerError
	switch {
	case errors.As(err, new(*encodingError)):
		public = "The name of the schema that sessions work in cannot be written in the database's encoding."
	case timedOut(err):
		public = "The upstream did not find or create the schema that sessions work in in time."
	case !errors.As(err, &server):
	case server.Fields.Code == sqlstate.InsufficientPrivilege:
		public = "The schema that sessions work in does not exist, and the gateway's login may not create it: it needs CREATE on the database."
	case server.Fields.Code == sqlstate.ReadOnlySQLTransaction:
		public = "The schema that sessions work in does not exist, and cannot be created: the upstream is read-only."
	default:
		public = "The schema that sessions work in could not be created (SQLSTATE " + server.Fields.Code + ")."
	}
	return &Error{StageSchema, err, public}
}
