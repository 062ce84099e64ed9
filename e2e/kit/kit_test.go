package kit

import (
	"os"
	"testing"
)

func TestMain(m *testing.M) {
	release := Hold()
	code := m.Run()
	release()
	os.Exit(code)
}
