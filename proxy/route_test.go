package proxy

import (
	"testing"

	"pggateway/config"
)

func TestRoutes(t *testing.T) {
	r := newRoutes([]*config.Upstream{
		{Name: "*"},
		{Name: "tenant_*"},
		{Name: "tenant_eu_*", Aliases: []string{"europe"}},
		{Name: "*_archive", Database: "archive"},
		{Name: "tenant_7", Aliases: []string{"seven", "orders"}},
		{Name: "orders", Database: "sales", Aliases: []string{"orders-prod", "seven"}},
	})
	tests := []struct{ asked, upstream, database string }{
		{"orders", "orders", "sales"},        // a key wins over another's alias
		{"orders-prod", "orders", "sales"},   // an alias
		{"seven", "tenant_7", "tenant_7"},    // the first alias wins; its database is the key's
		{"tenant_7", "tenant_7", "tenant_7"}, // exact wins over pattern
		{"tenant_8", "tenant_*", "tenant_8"}, // longer pattern wins over "*"
		{"tenant_eu_1", "tenant_eu_*", "tenant_eu_1"},
		{"europe", "tenant_eu_*", "europe"},
		{"tenant_archive", "*_archive", "archive"}, // nine bytes against eight
		{"anything", "*", "anything"},
		{"Orders", "*", "Orders"}, // names are case-sensitive
	}
	for _, tt := range tests {
		u, database, ok := r.find(tt.asked)
		if !ok || u.Name != tt.upstream || database != tt.database {
			t.Errorf("%s goes to %v, database %q, want %s, %q", tt.asked, u, database, tt.upstream, tt.database)
		}
	}
	if u, _, ok := newRoutes([]*config.Upstream{{Name: "a"}, {Name: "b_*"}}).find("c"); ok {
		t.Errorf("an unknown name goes to %s", u.Name)
	}
}

func TestAccessIsByKey(t *testing.T) {
	w := &config.Writer{Upstreams: []*config.WriterUpstream{{Name: "tenant_*"}, {Name: "orders"}}}
	for name, want := range map[string]bool{"tenant_*": true, "orders": true, "tenant_1": false, "*": false} {
		if got := accessTo(w, &config.Upstream{Name: name}) != nil; got != want {
			t.Errorf("access to %s: %v", name, got)
		}
	}
}
