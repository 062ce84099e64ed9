// Package e2e tests the gateway as its users meet it: the built binary, real
// PostgreSQL and sshd, the stand-in for RDS, and drivers of other people.
package e2e

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
