package kit

import (
	"fmt"
	"os"
	"sync"
)

// T is the part of testing.TB that the kit uses. Scope is the other one, for
// programs that are not tests.
type T interface {
	Helper()
	Name() string
	Logf(format string, args ...any)
	Fatalf(format string, args ...any)
	Skipf(format string, args ...any)
	Cleanup(f func())
	Failed() bool
}

// Variables of the environment that the kit reads.
const (
	// EnvPGBin names the directory of PostgreSQL's server binaries.
	EnvPGBin = "PG_BIN"
	// EnvGateway names a built gateway; without it the kit builds one.
	EnvGateway = "GATEWAY_BIN"
	// EnvCI set to anything turns a part that cannot run into a failure.
	EnvCI = "CI"
)

// Missing ends the test because a real part is not there: skipped on a
// person's machine, failed where CI is set.
func Missing(t T, format string, args ...any) {
	t.Helper()
	why := fmt.Sprintf(format, args...)
	if os.Getenv(EnvCI) != "" {
		t.Fatalf("a real part is missing, and CI is set: %s", why)
	}
	t.Skipf("%s", why)
}

// Scope is a T for programs: it prints to stderr, and Close runs the cleanups.
// It belongs to one goroutine, but for Cleanup and Failed.
type Scope struct {
	name string

	mu       sync.Mutex
	cleanups []func()
	failed   bool
}

// NewScope returns an open scope. The caller must Close it.
func NewScope(name string) *Scope { return &Scope{name: name} }

// Fatal is what Scope.Fatalf panics with.
type Fatal struct{ Text string }

func (f Fatal) Error() string { return f.Text }

// Try runs f and returns the Fatal that ended it early, if one did.
func (s *Scope) Try(f func() error) (err error) {
	defer func() {
		switch p := recover().(type) {
		case nil:
		case Fatal:
			err = p
		default:
			panic(p)
		}
	}()
	return f()
}

// Helper does nothing.
func (s *Scope) Helper() {}

// Name returns the program's name.
func (s *Scope) Name() string { return s.name }

// Logf prints a line to stderr.
func (s *Scope) Logf(format string, args ...any) {
	fmt.Fprintf(os.Stderr, format+"\n", args...)
}

// Fatalf panics with a Fatal.
func (s *Scope) Fatalf(format string, args ...any) {
	s.mu.Lock()
	s.failed = true
	s.mu.Unlock()
	panic(Fatal{fmt.Sprintf(format, args...)})
}

// Skipf is Fatalf: a program has nothing to skip to.
func (s *Scope) Skipf(format string, args ...any) { s.Fatalf(format, args...) }

// Failed reports whether Fatalf was called.
func (s *Scope) Failed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failed
}

// Cleanup has f run by Close, the last one first.
func (s *Scope) Cleanup(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cleanups = append(s.cleanups, f)
}

// Close runs every cleanup, whatever becomes of the others, and prints what failed.
func (s *Scope) Close() {
	for {
		s.mu.Lock()
		n := len(s.cleanups)
		if n == 0 {
			s.mu.Unlock()
			return
		}
		f := s.cleanups[n-1]
		s.cleanups = s.cleanups[:n-1]
		s.mu.Unlock()
		if err := s.Try(func() error { f(); return nil }); err != nil {
			s.Logf("%s: %v", s.name, err)
		}
	}
}
