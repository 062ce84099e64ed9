// Package sqlstate names the SQLSTATE codes that the gateway sends, by their
// PostgreSQL condition names (PostgreSQL documentation, appendix A). It is a leaf.
package sqlstate

// Codes the gateway sends or acts on.
const (
	UnableToConnect        = "08001" // sqlclient_unable_to_establish_sqlconnection
	ConnectionFailure      = "08006" // connection_failure
	ProtocolViolation      = "08P01" // protocol_violation
	FeatureNotSupported    = "0A000" // feature_not_supported
	InvalidParameterValue  = "22023" // invalid_parameter_value
	UniqueViolation        = "23505" // unique_violation
	ReadOnlySQLTransaction = "25006" // read_only_sql_transaction
	InvalidStatementName   = "26000" // invalid_sql_statement_name
	InvalidAuthorization   = "28000" // invalid_authorization_specification
	InvalidPassword        = "28P01" // invalid_password
	InvalidCatalogName     = "3D000" // invalid_catalog_name
	UndefinedObject        = "42704" // undefined_object
	DuplicateStatement     = "42P05" // duplicate_prepared_statement
	DuplicateSchema        = "42P06" // duplicate_schema
	TooManyConnections     = "53300" // too_many_connections
	ProgramLimitExceeded   = "54000" // program_limit_exceeded
	QueryCanceled          = "57014" // query_canceled
	AdminShutdown          = "57P01" // admin_shutdown
	CannotConnectNow       = "57P03" // cannot_connect_now
	IdleInTransaction      = "25P03" // idle_in_transaction_session_timeout
	IdleSession            = "57P05" // idle_session_timeout
	SuccessfulCompletion   = "00000" // successful_completion
	InsufficientPrivilege  = "42501" // insufficient_privilege
	InternalError          = "XX000" // internal_error
)
