package congestion

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// state is what a client has made of its session, by its own account.
type state struct {
	initial    map[string]string // parameters as the startup message asked for them
	set        map[string]string // parameters as they are now
	told       map[string]string // the latest ParameterStatus
	statements map[string]string // prepared: name → a constant in its text
	channel    string            // listened to; "" otherwise
	locks      int               // session advisory locks held
}

// parameters are those that clients set, with what makes two clients' differ.
// Values are spelled as PostgreSQL shows them.
var parameters = map[string]func(c *client, salt int) string{
	"application_name":   func(c *client, salt int) string { return fmt.Sprintf("<%s>%d", c.name(), salt) },
	"search_path":        func(c *client, salt int) string { return fmt.Sprintf("own%d_%d, public", c.id, salt) },
	"statement_timeout":  func(c *client, salt int) string { return fmt.Sprintf("%dms", 10_000_001+(c.id*50+salt)*10) },
	"work_mem":           func(c *client, salt int) string { return fmt.Sprintf("%dkB", 1025+(c.id*50+salt)*2) },
	"TimeZone":           func(c *client, salt int) string { return zones[(c.id+salt)%len(zones)] },
	"DateStyle":          func(c *client, salt int) string { return dateStyles[(c.id+salt)%len(dateStyles)] },
	"extra_float_digits": func(c *client, salt int) string { return fmt.Sprint((c.id + salt) % 4) },
}

var (
	parameterNames = slices.Sorted(maps.Keys(parameters))
	reportedNames  = []string{"application_name", "TimeZone", "DateStyle"}
	zones          = []string{"Asia/Tokyo", "Europe/Paris", "America/Lima", "UTC", "Africa/Cairo", "Australia/Perth", "Asia/Kolkata"}
	dateStyles     = []string{"ISO, DMY", "German, DMY", "SQL, MDY", "Postgres, MDY", "ISO, YMD"}
)

func newState(c *client) state {
	s := state{
		initial: map[string]string{}, told: map[string]string{}, statements: map[string]string{},
	}
	for name, value := range parameters {
		s.initial[name] = value(c, 0)
	}
	s.set = maps.Clone(s.initial)
	return s
}

// startup is what the startup message carries, partly in "options".
func (s *state) startup() map[string]string {
	m := maps.Clone(s.initial)
	var options []string
	for _, name := range []string{"statement_timeout", "work_mem", "extra_float_digits"} {
		options = append(options, "-c "+name+"="+m[name])
		delete(m, name)
	}
	m["options"] = strings.Join(options, " ")
	return m
}

// discarded is what DISCARD ALL leaves.
func (s *state) discarded() {
	s.set = maps.Clone(s.initial)
	s.statements, s.channel, s.locks = map[string]string{}, "", 0
}

// show is a query whose only row is state.shown.
var show = func() string {
	var parts []string
	for _, name := range parameterNames {
		parts = append(parts, fmt.Sprintf("'%s=' || current_setting('%s')", name, name))
	}
	return "select " + strings.Join(parts, " || ';' || ")
}()

func (s *state) shown() string {
	var parts []string
	for _, name := range parameterNames {
		parts = append(parts, name+"="+s.set[name])
	}
	return strings.Join(parts, ";")
}

// reported takes a ParameterStatus. What counts is the last one before the server
// is ready for a query; but never may one carry somebody else's value.
func (c *client) reported(name, value string) error {
	if !slices.Contains(reportedNames, name) {
		return nil
	}
	c.state.told[name] = value
	if tag := c.foreign([]byte(value)); tag != "" {
		return c.violation("parameter", "told that %s is %q", name, value)
	}
	return nil
}

// settled checks that what was reported last is what counts now, as it must be
// whenever the server is ready for a query.
func (c *client) settled() error {
	for _, name := range reportedNames {
		if got, want := c.state.told[name], c.state.set[name]; got != want {
			return c.violation("parameter", "%s is %q, and the client was told %q", name, want, got)
		}
	}
	return nil
}
