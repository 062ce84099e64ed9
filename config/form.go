package config

import "github.com/invopop/jsonschema"

// form describes a shape without its type, for the JSON Schema and the
// reference page.
type form struct {
	what string // what a message says is needed: "a port, 1 to 65535"

	mapping bool // fixed keys
	keys    []keyForm
	needs   []need

	named bool // a mapping of item by chosen names
	list  bool // a list of item
	most  int  // items of the list; zero: any number
	item  *form

	either []*form // one of these

	scalar *jsonschema.Schema // a single value
	words  []string           // all a single value may be, if it is one of few
	number bool               // its default is a number in JSON, too
}

// keyForm describes one key of a mapping.
type keyForm struct {
	name     string
	doc      string // one sentence or two
	def      string // the default as it would be written; empty: none
	defNote  string // the default in words, where it depends on other keys
	required bool
	form     *form
}
