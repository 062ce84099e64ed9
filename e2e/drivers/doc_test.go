// Package drivers has other people's clients do what a sync writer does: first
// straight with PostgreSQL, then through the gateway in both pool modes. What a
// client tells of it must be the same each time, and what was expected.
//
// A driver is either a Go program in this package (pgx, lib/pq) or one below
// testdata in its own language. Both do the jobs of jobs_test.go.
package drivers

import (
	"os"
	"testing"

	"pggateway/e2e/kit"
)

func TestMain(m *testing.M) {
	release := kit.Hold()
	code := m.Run()
	release()
	os.Exit(code)
}
