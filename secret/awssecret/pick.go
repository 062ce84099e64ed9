package awssecret

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

const usernameKey = "username"

// usual are keys that RDS and the rotation functions use ("JSON structure of AWS
// Secrets Manager secrets"). Others are not named in errors: a key may be the
// secret, where somebody has put it in the wrong place.
var usual = []string{"dbClusterIdentifier", "dbInstanceIdentifier", "dbname", "engine", "host", "masterarn", "password", "port", usernameKey}

// pick takes what stands under a key of a secret that is a JSON object. Without a
// key the secret is its own text, which a JSON object never is.
func pick(text, key string) (string, error) {
	var object map[string]json.RawMessage
	isObject := json.Unmarshal([]byte(text), &object) == nil && object != nil
	switch {
	case key == "" && isObject:
		return "", fmt.Errorf("it is a JSON object, and the reference names no key of it: append #password, or another key%s", has(object))
	case key == "":
		return text, nil
	case !isObject:
		return "", fmt.Errorf("it is no JSON object, so there is no key %q: leave out #%s", key, key)
	}
	value, ok := object[key]
	if !ok {
		return "", fmt.Errorf("there is no key %q in it%s", key, has(object))
	}
	var picked string
	if json.Unmarshal(value, &picked) == nil && string(value) != "null" {
		if picked == "" {
			return "", fmt.Errorf("what stands under the key %q is empty", key)
		}
		return picked, nil
	}
	var number json.Number
	if json.Unmarshal(value, &number) == nil && number != "" {
		return number.String(), nil
	}
	return "", fmt.Errorf("what stands under the key %q is no text", key)
}

// has lists the usual keys that an object has.
func has(object map[string]json.RawMessage) string {
	var names []string
	for name := range object {
		if slices.Contains(usual, name) {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return ""
	}
	slices.Sort(names)
	return " (it has " + strings.Join(names, ", ") + ")"
}

var errBinary = errors.New("it is a binary secret: store it as text")
