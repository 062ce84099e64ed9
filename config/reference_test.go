package config

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

const (
	referencePage  = "../docs/configuration.md"
	referenceStart = "<!-- What follows is made from the grammar by: go test ./config -run Reference -update -->\n"
)

// The reference page's lists of keys are made from the grammar; its text
// before them is written by hand.
func TestReferencePageIsCurrent(t *testing.T) {
	page, err := os.ReadFile(referencePage)
	if err != nil {
		t.Fatal(err)
	}
	front, _, found := strings.Cut(string(page), referenceStart)
	if !found {
		t.Fatalf("%s has no line %q", referencePage, referenceStart)
	}
	golden(t, referencePage, front+referenceStart+reference())
}

func reference() string {
	r := &referenceWriter{seen: map[string]string{}}
	r.section(grammar().form(), "", place{})
	return r.b.String()
}

type referenceWriter struct {
	b    strings.Builder
	seen map[string]string // titles of the sections already written, by what they describe
}

func (r *referenceWriter) section(f *form, title string, at place) {
	switch {
	case f.mapping:
	case f.item != nil && f.named:
		r.section(f.item, title+".*", at.name("*"))
		return
	case f.item != nil:
		r.section(f.item, title+"[]", at.index(0))
		return
	default:
		for _, e := range f.either {
			r.section(e, title, at)
		}
		return
	}
	title = strings.TrimPrefix(title, ".")
	if title == "" {
		fmt.Fprintf(&r.b, "\n## The file\n\n")
	} else {
		fmt.Fprintf(&r.b, "\n## `%s`\n\n", title)
	}
	var names []string
	for _, k := range f.keys {
		names = append(names, "`"+k.name+"`")
	}
	if first, ok := r.seen[f.what]; ok {
		fmt.Fprintf(&r.b, "The keys of `%s`: %s.\n", first, strings.Join(names, ", "))
		return
	}
	r.seen[f.what] = title
	r.b.WriteString("| key | value | default | meaning |\n| --- | --- | --- | --- |\n")
	for _, k := range f.keys {
		here := at.key(k.name)
		fmt.Fprintf(&r.b, "| `%s` | %s | %s | %s |\n", k.name, cell(k.form.what), defaultCell(k), cell(strings.TrimSpace(k.doc+" "+bold(notYet(here)))))
	}
	for _, n := range f.needs {
		how := "At least one"
		if n.exactly {
			how = "Exactly one"
		}
		fmt.Fprintf(&r.b, "\n%s of `%s` is needed%s.\n", how, strings.Join(n.keys, "`, `"), n.when)
	}
	for _, k := range f.keys {
		r.section(k.form, title+"."+k.name, at.key(k.name))
	}
}

// bold sets off what is not supported yet.
func bold(text string) string {
	if text == "" {
		return ""
	}
	head, rest, _ := strings.Cut(strings.TrimSuffix(text, "."), ":")
	if rest == "" {
		return "**" + head + ".**"
	}
	return "**" + head + ":**" + rest + "."
}

func defaultCell(k keyForm) string {
	switch {
	case k.required:
		return "required"
	case k.def != "":
		return "`" + k.def + "`"
	default:
		return cell(k.defNote)
	}
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }
