package congestion

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Violation is something a client saw that PostgreSQL would not have shown it.
type Violation struct {
	Kind   string // what the client was about: "rows", "statement", …
	Client string // whose connection, as its tags spell it
	Text   string
}

func (v Violation) Error() string { return v.Client + ": " + v.Kind + ": " + v.Text }

// maxViolations is how many are kept word for word.
const maxViolations = 20

// verdict collects what the clients of a crowd saw.
type verdict struct {
	mu         sync.Mutex
	violations []Violation
	kinds      map[string]int // violations by kind
	done       map[string]int // actions that ran to their end
	seen       map[string]int // answers that congestion and failures allow
	longest    time.Duration  // that anybody waited for an answer; told, not judged
}

func newVerdict() *verdict {
	return &verdict{kinds: map[string]int{}, done: map[string]int{}, seen: map[string]int{}}
}

func (v *verdict) violate(one Violation) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.kinds[one.Kind]++
	if len(v.violations) < maxViolations {
		v.violations = append(v.violations, one)
	}
}

func (v *verdict) count(of map[string]int, what string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	of[what]++
}

func (v *verdict) waited(d time.Duration) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.longest = max(v.longest, d)
}

func (v *verdict) kindCount(kind string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.kinds[kind]
}

func (v *verdict) total() int {
	v.mu.Lock()
	defer v.mu.Unlock()
	n := 0
	for _, of := range v.kinds {
		n += of
	}
	return n
}

// missing lists the actions of which fewer than n ran to their end.
func (v *verdict) missing(actions []action, n int) []string {
	v.mu.Lock()
	defer v.mu.Unlock()
	var names []string
	for _, a := range actions {
		if v.done[a.name] < n {
			names = append(names, a.name)
		}
	}
	return names
}

// counts writes a table of counts on one line.
func counts(of map[string]int) string {
	var parts []string
	for _, name := range slices.Sorted(maps.Keys(of)) {
		parts = append(parts, fmt.Sprintf("%s %d", name, of[name]))
	}
	return strings.Join(parts, ", ")
}
