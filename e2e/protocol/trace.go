package protocol

import (
	"crypto/sha256"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/jackc/pgx/v5/pgproto3"
)

// firstUserOID is the lowest OID of what is not part of every PostgreSQL
// (FirstNormalObjectId): those differ from one database to another.
const firstUserOID = 16384

// line writes a backend message down in full, but for what differs between two
// servers or two sessions of their own accord: process ids, secrets, OIDs of
// what users made, and where in PostgreSQL's source an error was raised. own is
// the process id that the client was told at login.
func line(m pgproto3.BackendMessage, own uint32) string {
	switch m := m.(type) {
	case *pgproto3.BackendKeyData:
		return fmt.Sprintf("K secret of %d bytes", len(m.SecretKey))
	case *pgproto3.NegotiateProtocolVersion:
		return fmt.Sprintf("v %d.%d %q", m.NewestMinorProtocol>>16, m.NewestMinorProtocol&0xffff, m.UnrecognizedOptions)
	case *pgproto3.ParameterStatus:
		return fmt.Sprintf("S %s=%q", m.Name, m.Value)
	case *pgproto3.ReadyForQuery:
		return "Z " + string(m.TxStatus)
	case *pgproto3.CommandComplete:
		return fmt.Sprintf("C %q", m.CommandTag)
	case *pgproto3.DataRow:
		return "D " + values(m.Values)
	case *pgproto3.RowDescription:
		return "T " + fields(m.Fields)
	case *pgproto3.ParameterDescription:
		var types []string
		for _, oid := range m.ParameterOIDs {
			types = append(types, typeName(oid))
		}
		return "t [" + strings.Join(types, " ") + "]"
	case *pgproto3.ErrorResponse:
		return "E " + report(m)
	case *pgproto3.NoticeResponse:
		return "N " + report((*pgproto3.ErrorResponse)(m))
	case *pgproto3.NotificationResponse:
		from := "another"
		if m.PID == own {
			from = "itself"
		}
		return fmt.Sprintf("A %q %q from %s", m.Channel, m.Payload, from)
	case *pgproto3.CopyInResponse:
		return fmt.Sprintf("G format=%d columns=%v", m.OverallFormat, m.ColumnFormatCodes)
	case *pgproto3.CopyOutResponse:
		return fmt.Sprintf("H format=%d columns=%v", m.OverallFormat, m.ColumnFormatCodes)
	case *pgproto3.CopyBothResponse:
		return fmt.Sprintf("W format=%d columns=%v", m.OverallFormat, m.ColumnFormatCodes)
	case *pgproto3.CopyData:
		return "d " + value(m.Data)
	case *pgproto3.FunctionCallResponse:
		return "V " + value(m.Result)
	}
	if typ, ok := bare[fmt.Sprintf("%T", m)]; ok {
		return typ
	}
	return fmt.Sprintf("? %T %+v", m, m)
}

// bare are the messages without content.
var bare = map[string]string{
	"*pgproto3.ParseComplete": "1", "*pgproto3.BindComplete": "2", "*pgproto3.CloseComplete": "3",
	"*pgproto3.CopyDone": "c", "*pgproto3.EmptyQueryResponse": "I", "*pgproto3.NoData": "n",
	"*pgproto3.PortalSuspended": "s",
}

// long is the length from which a value is told by its length and hash.
const long = 120

func value(v []byte) string {
	switch {
	case v == nil:
		return "null"
	case len(v) > long:
		return fmt.Sprintf("%.20q… (%d bytes, %x)", v, len(v), sha256.Sum256(v))
	case utf8.Valid(v):
		return fmt.Sprintf("%q", v)
	}
	return fmt.Sprintf("%+q", v)
}

func values(all [][]byte) string {
	var b []string
	for _, v := range all {
		b = append(b, value(v))
	}
	return "[" + strings.Join(b, " ") + "]"
}

func fields(all []pgproto3.FieldDescription) string {
	var b []string
	for _, f := range all {
		from := ""
		if f.TableOID != 0 {
			from = fmt.Sprintf(" of table column %d", f.TableAttributeNumber)
		}
		b = append(b, fmt.Sprintf("%s%s type=%s size=%d modifier=%d format=%d",
			value(f.Name), from, typeName(f.DataTypeOID), f.DataTypeSize, f.TypeModifier, f.Format))
	}
	return "[" + strings.Join(b, ", ") + "]"
}

func typeName(oid uint32) string {
	if oid >= firstUserOID {
		return "user's"
	}
	return fmt.Sprint(oid)
}

// numbered finds what a report says about processes and objects by number, and
// the gateway's own names of statements.
var numbered = regexp.MustCompile(`\b((?i:process|transaction|object|relation|PID|OID|table) |pggw_)\d+`)

func report(e *pgproto3.ErrorResponse) string {
	var b strings.Builder
	b.WriteString(e.Severity)
	if e.SeverityUnlocalized != e.Severity {
		fmt.Fprintf(&b, "/%s", e.SeverityUnlocalized)
	}
	fmt.Fprintf(&b, " %s %s", e.Code, text(e.Message))
	for _, f := range []struct{ name, value string }{
		{"detail", e.Detail},
		{"hint", e.Hint},
		{"where", e.Where},
		{"query", e.InternalQuery},
		{"schema", e.SchemaName},
		{"table", e.TableName},
		{"column", e.ColumnName},
		{"type", e.DataTypeName},
		{"constraint", e.ConstraintName},
	} {
		if f.value != "" {
			fmt.Fprintf(&b, " %s=%s", f.name, text(f.value))
		}
	}
	if e.Position != 0 {
		fmt.Fprintf(&b, " at=%d", e.Position)
	}
	if e.InternalPosition != 0 {
		fmt.Fprintf(&b, " inside=%d", e.InternalPosition)
	}
	for _, c := range slices.Sorted(maps.Keys(e.UnknownFields)) {
		fmt.Fprintf(&b, " %c=%q", c, e.UnknownFields[c])
	}
	return b.String()
}

func text(s string) string { return value([]byte(numbered.ReplaceAllString(s, "${1}#"))) }
