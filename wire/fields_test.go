package wire

import (
	"testing"

	"github.com/jackc/pgx/v5/pgproto3"
)

func TestParseFields(t *testing.T) {
	tests := []struct {
		name, body string
		want       Fields
		ok         bool
	}{
		{"nothing", "", Fields{}, false},
		{"no field", "\x00", Fields{}, true},
		{"all", "SERROR\x00VERROR\x00C42501\x00Mm\x00Dd\x00Hh\x00Rr\x00\x00", Fields{"ERROR", "42501", "m", "d", "h", "r"}, true},
		{"localized severity gives way", "SFEHLER\x00VERROR\x00\x00", Fields{Severity: "ERROR"}, true},
		{"in either order", "VERROR\x00SFEHLER\x00\x00", Fields{Severity: "ERROR"}, true},
		{"before 9.6 only S", "SFATAL\x00\x00", Fields{Severity: "FATAL"}, true},
		{"unknown fields", "F\x00L12\x00zfuture\x00C08006\x00\x00", Fields{Code: "08006"}, true},
		{"no SQLSTATE", "Mm\x00\x00", Fields{Message: "m"}, true},
		{"no terminator", "C08006\x00", Fields{Code: "08006"}, false},
		{"broken off in a field", "C08006\x00Mhal", Fields{Code: "08006"}, false},
		{"broken off after a code", "C08006\x00M", Fields{Code: "08006"}, false},
	}
	for _, tt := range tests {
		if got, ok := ParseFields([]byte(tt.body)); got != tt.want || ok != tt.ok {
			t.Errorf("%s: %+v, %v; want %+v, %v", tt.name, got, ok, tt.want, tt.ok)
		}
	}
}

func TestParseFieldsReadsWhatPgxWrites(t *testing.T) {
	m := &pgproto3.ErrorResponse{
		Severity: "FATAL", SeverityUnlocalized: "FATAL", Code: "57P01", Message: "terminating connection",
		Detail: "d", Hint: "h", Position: 7, Where: "w", SchemaName: "s", TableName: "t", ColumnName: "c",
		DataTypeName: "dt", ConstraintName: "cn", File: "postgres.c", Line: 3201, Routine: "ProcessInterrupts",
	}
	b, err := m.Encode(nil)
	if err != nil {
		t.Fatal(err)
	}
	want := Fields{"FATAL", "57P01", "terminating connection", "d", "h", "ProcessInterrupts"}
	if got, ok := ParseFields(b[HeaderLen:]); got != want || !ok {
		t.Errorf("%+v, %v; want %+v", got, ok, want)
	}
}

// An empty field would say something (an empty hint); it is left out instead.
func TestEmptyFieldsAreNotSent(t *testing.T) {
	got := AppendErrorResponse(nil, &Fields{Severity: "ERROR", Code: "42501", Message: "m"})
	if want := "E\x00\x00\x00\x1dSERROR\x00VERROR\x00C42501\x00Mm\x00\x00"; string(got) != want {
		t.Errorf("%q, want %q", got, want)
	}
}
