package drivers

import (
	"crypto/sha256"
	"encoding/hex"
	"os"
	"path/filepath"
	"testing"

	"pggateway/e2e/kit"
)

// nodeProgram returns a program of testdata/node. It runs beside the packages
// that scripts/install-deps put into the cache for this package-lock.json.
func nodeProgram(t *testing.T, name string) program {
	t.Helper()
	node := tool(t, "node", "nodejs")
	lock, err := os.ReadFile(testdata(t, "node", "package-lock.json"))
	if err != nil {
		t.Fatal(err)
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		kit.Missing(t, "no cache directory: %v", err)
	}
	sum := sha256.Sum256(lock)
	modules := filepath.Join(cache, "gateway", "node-"+hex.EncodeToString(sum[:])[:16], "node_modules")
	if _, err := os.Stat(modules); err != nil {
		kit.Missing(t, "the npm packages of testdata/node are not there (scripts/install-deps test installs them): %v", err)
	}
	// Modules are looked for beside the program's own file.
	dir := t.TempDir()
	if err := os.Symlink(modules, filepath.Join(dir, "node_modules")); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{name, "jobs.mjs"} {
		text, err := os.ReadFile(testdata(t, "node", file))
		if err != nil {
			t.Fatal(err)
		}
		kit.WriteFile(t, dir, file, string(text))
	}
	return program{path: node, args: []string{filepath.Join(dir, name)}, dir: dir}
}

// TestNodePostgres runs node-postgres, with pg-cursor and pg-copy-streams. It
// prepares what is given a name.
func TestNodePostgres(t *testing.T) {
	t.Parallel()
	eachWay(t, nodeProgram(t, "pg.mjs").jobs, nil)
}

// TestPostgresJS runs postgres.js, which prepares everything and pipelines.
func TestPostgresJS(t *testing.T) {
	t.Parallel()
	eachWay(t, nodeProgram(t, "postgres.mjs").jobs, map[string]string{
		"prepared_pool": "200 of 200 right",
		"copy":          "5000 rows, sum 12497500, 5000 rows", // none that fails
	})
}
