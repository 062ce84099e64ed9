package config

import "strings"

// IsPattern reports whether an upstream's name stands for many: it contains "*".
func IsPattern(name string) bool { return strings.Contains(name, "*") }

// MatchPattern reports whether name is one that the pattern covers; each "*"
// stands for any run of bytes, the empty one included.
func MatchPattern(pattern, name string) bool {
	head, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == name
	}
	if !strings.HasPrefix(name, head) {
		return false
	}
	name = name[len(head):]
	for {
		var part string
		part, rest, star = strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(name, part)
		}
		i := strings.Index(name, part)
		if i < 0 {
			return false
		}
		name = name[i+len(part):]
	}
}
