package fault

import (
	"errors"
	"fmt"
	"io"
	"testing"
)

func TestErrorIsForTheLog(t *testing.T) {
	plain := New(Policy, "42501", "permission denied")
	tests := []struct {
		name string
		f    *Fault
		want string
	}{
		{"without a cause", plain, "permission denied"},
		{"with a cause", plain.Because(io.EOF), "permission denied: EOF"},
		{"hint and detail are not repeated", plain.WithHint("ask").WithDetail("table t"), "permission denied"},
	}
	for _, tt := range tests {
		if got := tt.f.Error(); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}

// Faults are shared values: what is added for one client must not be there for the next.
func TestAdditionsAreCopies(t *testing.T) {
	shared := New(Server, "08001", "the upstream does not answer")
	got := shared.WithHint("h").WithDetail("d").Because(io.EOF)
	want := Fault{Server, "08001", "the upstream does not answer", "d", "h", io.EOF}
	if *got != want {
		t.Errorf("built %+v, want %+v", *got, want)
	}
	if *shared != (Fault{Side: Server, Code: "08001", Message: "the upstream does not answer"}) {
		t.Errorf("the shared fault changed to %+v", *shared)
	}
}

func TestTheCauseIsFound(t *testing.T) {
	err := fmt.Errorf("login: %w", New(Client, "08P01", "broken off").Because(fmt.Errorf("read: %w", io.ErrUnexpectedEOF)))
	var f *Fault
	if !errors.As(err, &f) || f.Side != Client || f.Code != "08P01" {
		t.Errorf("errors.As found %+v", f)
	}
	if !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Error("errors.Is does not find the cause")
	}
	if errors.Unwrap(New(Gateway, "53300", "full")) != nil {
		t.Error("a fault without a cause unwraps to something")
	}
}
