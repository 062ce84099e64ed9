package e2e

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"pggateway/e2e/kit"
)

const module = "pggateway/"

// arrow is an import that must never exist. A name ending in "/..." stands for
// the package and all below it, "ours" for every package of this module,
// "product" for all of those but e2e, bench and scripts.
type arrow struct {
	from, to string
	direct   bool     // only the package's own imports count, not what those import
	but      []string // packages of `to` that are allowed
	why      string
}

var arrows = []arrow{
	{from: "wire", to: "net/...", why: "the protocol's bytes are tested and fuzzed without a socket, and used on event loops and in blocking code alike"},
	{from: "wire", to: "log/...", why: "what is logged of a message is decided where its session is known"},
	{from: "wire", to: "go.uber.org/zap/...", why: "as log"},
	{from: "wire", to: "ours", why: "the bottom: everybody may use it"},
	{from: "netloop", to: "ours", why: "sockets, TLS and timers know no Postgres, so that what reads a frame cannot hide in what reads a socket"},
	{from: "pool", to: "ours", why: "a pool of anything is tested without a database"},
	{from: "pool", to: "net/...", why: "it hands connections over; dialling and closing are its user's"},
	{from: "pool", to: "log/...", why: "it reports to its user, who knows whose pool it is"},
	{from: "config", to: "ours", but: []string{"config"}, why: "plain data that everybody reads: an import back would be a cycle of meaning"},
	{from: "sqlstate", to: "ours", why: "a leaf: constants"},
	{from: "fault", to: "ours", but: []string{"sqlstate"}, why: "a leaf: every room may answer with a fault"},
	{from: "sqltext", to: "ours", why: "a leaf: texts in, words out"},
	{from: "sqltext", to: "net/...", why: "as ours"},
	{from: "cloud", to: "ours", why: "a leaf: credentials and regions; what they are good for is others' business"},
	{from: "secret", to: "github.com/aws/...", why: "who reads a file does not link the AWS SDK; secret/awssecret does"},
	{from: "scram", to: "ours", why: "a leaf: both sides of a login use it"},
	{from: "upstream/...", to: "proxy/...", why: "the server side serves the console, checks and tests as well; a client's session is not its business"},
	{from: "upstream/...", to: "pool/...", why: "it opens connections; who keeps them, and for how long, is not its business"},
	{from: "upstream/...", to: "authz/...", why: "who may do what is decided before a statement reaches it"},
	{from: "upstream/...", to: "admin/...", why: "it is asked for its state; it does not report"},
	{from: "check/...", to: "proxy/...", why: "it works without a running gateway, and says what is there, not what the proxy makes of it"},
	{from: "check/...", to: "pool/...", why: "as proxy"},
	{from: "upstream/...", to: "check/...", why: "it is checked, and does not know by whom"},
	{from: "authz/...", to: "proxy/...", why: "a decision depends on the statement and the grants alone, so that `gateway explain` gives the very same"},
	{from: "authz/...", to: "upstream/...", why: "as proxy"},
	{from: "authz/...", to: "pool/...", why: "as proxy"},
	{from: "authz/...", to: "wire/...", why: "it is given text, not messages"},
	{from: "authz/...", to: "net/...", direct: true, why: "a decision asks nobody"},
	{from: "proxy/...", to: "github.com/aws/...", direct: true, why: "the client side must not wait on a cloud; upstream does, off the loops"},
	{from: "proxy/...", to: "golang.org/x/crypto/ssh/...", direct: true, why: "how an upstream is reached is upstream's"},
	{from: "proxy/...", to: "github.com/pganalyze/...", direct: true, why: "the SQL parser stands behind one adapter in authz"},
	{from: "proxy/...", to: "go.yaml.in/...", direct: true, why: "config reads the file; everybody else reads config"},
	{from: "proxy/...", to: "gopkg.in/yaml.v3", direct: true, why: "as go.yaml.in"},
	{from: "wire", to: "github.com/jackc/...", why: "pgproto3 decodes into structs; on the forwarding path nothing does"},
	{from: "netloop", to: "github.com/jackc/...", why: "as wire"},
	{from: "pool", to: "github.com/jackc/...", why: "as wire"},
	{from: "ours", to: "cmd/...", why: "main wires; nobody depends on wiring"},
	{from: "product", to: "e2e/...", why: "the kit is for tests and the demo"},
	{from: "product", to: "bench/...", why: "as e2e"},
	{from: "product", to: "scripts/...", why: "as e2e"},
	{from: "product", to: "testing/...", why: "test helpers live in _test files"},
	{from: "e2e/kit", to: "product", why: "the kit judges the product from outside, with its own reading of the protocols"},
}

// imports is one package: what it imports itself, and all that is linked in by that.
type imports struct {
	path   string
	direct []string
	all    []string
}

// violations lists the packages that an arrow forbids and that are there
// nonetheless, as "from -> to".
func (a arrow) violations(packages []imports) []string {
	var found []string
	for _, p := range packages {
		if !matches(a.from, p.path) {
			continue
		}
		to := p.all
		if a.direct {
			to = p.direct
		}
		for _, dep := range to {
			if dep != p.path && matches(a.to, dep) && !slices.ContainsFunc(a.but, func(b string) bool { return matches(b, dep) }) {
				found = append(found, p.path+" -> "+dep)
			}
		}
	}
	return found
}

// rooms are the module's own packages at its top, whose short names arrows use.
var rooms = []string{
	"cmd", "config", "wire", "sqlstate", "fault", "scram", "secret", "netloop", "proxy", "pool", "upstream", "authz",
	"admin", "cloud", "sqltext", "check", "e2e", "bench", "scripts",
}

func matches(pattern, path string) bool {
	ours := strings.HasPrefix(path, module)
	switch pattern {
	case "ours":
		return ours
	case "product":
		return ours && !matches("e2e/...", path) && !matches("bench/...", path) && !matches("scripts/...", path)
	}
	name, below := strings.CutSuffix(pattern, "/...")
	if room, _, _ := strings.Cut(name, "/"); slices.Contains(rooms, room) {
		name = module + name
	}
	return path == name || below && strings.HasPrefix(path, name+"/")
}

func TestArrows(t *testing.T) {
	packages := listPackages(t)
	for _, a := range arrows {
		for _, v := range a.violations(packages) {
			t.Errorf("%s: %s", v, a.why)
		}
	}
	for _, p := range packages {
		room, _, _ := strings.Cut(strings.TrimPrefix(p.path, module), "/")
		if !slices.Contains(rooms, room) {
			t.Errorf("%s is in no room of ARCHITECTURE.md: name it there and here", p.path)
		}
	}
}

// TestArrowsCanBreak gives the rules a module in which each forbidden import
// exists, so that a rule that matches nothing is found out.
func TestArrowsCanBreak(t *testing.T) {
	for _, a := range arrows {
		from, to := example(a.from), example(a.to)
		if from == to {
			to += "/sub"
		}
		bad := []imports{{path: from, direct: []string{to}, all: []string{to}}}
		if len(a.violations(bad)) == 0 {
			t.Errorf("%s -> %s would pass", from, to)
		}
		good := []imports{{path: from, direct: []string{"strings"}, all: append([]string{"strings"}, a.but...)}}
		if v := a.violations(good); len(v) > 0 {
			t.Errorf("%v is found where it is not", v)
		}
	}
	if !slices.ContainsFunc(listPackages(t), func(p imports) bool { return p.path == module+"wire" && len(p.all) > 0 }) {
		t.Error("go list does not know wire, or not what it imports: the rules look at nothing")
	}
}

func example(pattern string) string {
	switch pattern {
	case "ours", "product":
		return module + "secret"
	}
	name := strings.TrimSuffix(pattern, "/...")
	if room, _, _ := strings.Cut(name, "/"); slices.Contains(rooms, room) {
		return module + name
	}
	return name
}

func listPackages(t *testing.T) []imports {
	t.Helper()
	cmd := exec.Command("go", "list", "-e", "-json=ImportPath,Imports,Deps", "./...")
	cmd.Dir = kit.ModuleRoot()
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var all []imports
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p struct {
			ImportPath    string
			Imports, Deps []string
		}
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else if err != nil {
			t.Fatal(err)
		}
		all = append(all, imports{p.ImportPath, p.Imports, p.Deps})
	}
}
