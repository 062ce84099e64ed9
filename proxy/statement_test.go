package proxy

import (
	"slices"
	"testing"
)

// balanced checks that the statements of a host are used by whom they say, and by
// nobody else. It is called on the host's loop.
func (h *host) balanced(t testing.TB) {
	t.Helper()
	users := make(map[*statement]int)
	for s := h.sessions; s != nil; s = s.next {
		bytes := 0
		for name, p := range s.prepared.byName {
			users[p.statement]++
			bytes += len(p.statement.key.text) + preparedOverhead
			if p.statement.private() && s.backend == nil {
				t.Errorf("%q is private, and its client has no server connection", name)
			}
		}
		for _, c := range s.prepared.changes {
			if c.was.statement != nil {
				users[c.was.statement]++
			}
		}
		if bytes != s.prepared.bytes {
			t.Errorf("a client is said to have prepared %d bytes, and has %d", s.prepared.bytes, bytes)
		}
	}
	for _, b := range h.backends {
		for st, c := range b.loaded.byStatement {
			users[st]++
			if c.statement != st {
				t.Errorf("%s stands in the place of %s", c.statement.name, st.name)
			}
			if !c.described && !slices.Contains(b.loaded.due, c) {
				t.Errorf("%s waits for a description that is not due", st.name)
			}
		}
		if n := count(&b.requests, 'D'|ours); n != len(b.loaded.due) {
			t.Errorf("%d descriptions are due, %d were asked for", len(b.loaded.due), n)
		}
		if s := b.session; s != nil {
			if n := count(&b.requests, define, undefine, taken); n != len(s.prepared.changes) {
				t.Errorf("%d changes are noted, %d are on their way", len(s.prepared.changes), n)
			}
		}
	}
	for st, n := range users {
		if st.users != n {
			t.Errorf("%s has %d users, and says %d", st.name, n, st.users)
		}
		if !st.private() && h.statements[st.key] != st {
			t.Errorf("%s is used, and not known", st.name)
		}
	}
	for _, st := range h.statements {
		if users[st] == 0 {
			t.Errorf("nobody uses %s, which says %d", st.name, st.users)
		}
	}
}

// count is how many requests are of these kinds.
func count(q *requests, kinds ...byte) (n int) {
	for i := range q.n {
		if slices.Contains(kinds, q.at(i)) {
			n++
		}
	}
	return n
}
