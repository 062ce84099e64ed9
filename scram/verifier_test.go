package scram

import (
	"encoding/base64"
	"errors"
	"fmt"
	"strings"
	"testing"
)

func TestNewVerifier(t *testing.T) {
	a, err := NewVerifier("pencil", 5000)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(a, "SCRAM-SHA-256$5000:") {
		t.Errorf("got %s", a)
	}
	b, err := NewVerifier("pencil", 5000)
	if err != nil || a == b {
		t.Errorf("two verifiers are the same: the salt is not random (%v)", err)
	}
	v, err := ParseVerifier(a)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := exchange(t, NewServer(v), "", "pencil"); err != nil {
		t.Errorf("the password does not fit its verifier: %v", err)
	}
	if _, err := exchange(t, NewServer(v), "", "Pencil"); !errors.Is(err, ErrProof) {
		t.Errorf("a wrong password: %v", err)
	}
	for _, n := range []int{-1, 0, 4095, MaxIterations + 1} {
		if _, err := NewVerifier("pencil", n); err == nil {
			t.Errorf("%d iterations were taken", n)
		}
	}
	if _, err := NewVerifier("", 4096); err == nil {
		t.Error("an empty password was taken")
	}
}

func TestParseVerifier(t *testing.T) {
	b64 := func(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }
	good := "SCRAM-SHA-256$4096:" + b64(16) + "$" + b64(32) + ":" + b64(32)
	tests := []struct {
		text string
		says string // "": taken
	}{
		{good, ""},
		{"SCRAM-SHA-256$1000000:" + b64(1) + "$" + b64(32) + ":" + b64(32), ""},
		{"", "not a SCRAM verifier"},
		{"hunter2", "not a SCRAM verifier"},
		{"md5" + strings.Repeat("0", 32), "not a SCRAM verifier"},
		{strings.Replace(good, "256", "512", 1), "not a SCRAM verifier"},
		{"SCRAM-SHA-256$4096:" + b64(16), "not a SCRAM verifier"},
		{strings.Replace(good, "4096", "4095", 1), "iterations"},
		{strings.Replace(good, "4096", "1000001", 1), "iterations"},
		{strings.Replace(good, "4096", "04096", 1), "number"},
		{strings.Replace(good, "4096", "99999999999999999999", 1), "number"},
		{"SCRAM-SHA-256$4096:$" + b64(32) + ":" + b64(32), "salt"},
		{"SCRAM-SHA-256$4096:" + b64(maxSalt+1) + "$" + b64(32) + ":" + b64(32), "salt"},
		{"SCRAM-SHA-256$4096:" + b64(16) + "$" + b64(31) + ":" + b64(32), "StoredKey"},
		{"SCRAM-SHA-256$4096:" + b64(16) + "$" + b64(32) + ":" + b64(33), "ServerKey"},
		{good + ":x", "ServerKey"},
		{good + "\n", "ServerKey"},
	}
	for _, tt := range tests {
		_, err := ParseVerifier(tt.text)
		switch {
		case tt.says == "" && err != nil:
			t.Errorf("%q: %v", tt.text, err)
		case tt.says != "" && (err == nil || !strings.Contains(err.Error(), tt.says)):
			t.Errorf("%q: says %v, not %q", tt.text, err, tt.says)
		case err != nil && strings.Contains(err.Error(), "hunter2"):
			t.Errorf("the error quotes the text: %v", err)
		}
	}
}

func TestVerifierIsNotPrinted(t *testing.T) {
	v := rfcVerifier(t)
	key := fmt.Sprintf("%d", v.storedKey) // as %v prints bytes
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		if text := fmt.Sprintf(format, v); strings.Contains(text, key) || text != "SCRAM-SHA-256$…" {
			t.Errorf("%s: %s", format, text)
		}
	}
}

// What pg_saslprep makes of a password; the upstream/login tests hold the same
// passwords against a real server.
func TestPrepared(t *testing.T) {
	tests := []struct{ password, want string }{
		{"pencil", "pencil"},
		{"tab\there\x7f", "tab\there\x7f"}, // ASCII is left alone
		{"I\u00adX", "IX"},                 // RFC 4013, section 3
		{"\u00aa", "a"},
		{"\u2168", "IX"},
		{"a\u00a0b", "a b"},
		{"a\u200bb", "a b"}, // a space in PostgreSQL, though also in table B.1
		{"caf\u0065\u0301", "café"},
		{"\u0627\u0031", "\u0627\u0031"}, // bidi rules broken: raw
		{"\u00ad", "\u00ad"},             // nothing would be left: raw
		{"a\u0007ü", "a\u0007ü"},         // control character: raw
		{"😀\u00aa", "😀\u00aa"},           // unassigned in Unicode 3.2: raw
		{"\U0001F100", "\U0001F100"},     // unassigned, though NFKC knows it: raw
		{"\u0340\u00aa", "\u0340\u00aa"}, // prohibited before normalization: raw
		{"\xff\xfe\u00aa", "\xff\xfe\u00aa"},
	}
	for _, tt := range tests {
		if got := prepared(tt.password); got != tt.want {
			t.Errorf("%+q: %+q, not %+q", tt.password, got, tt.want)
		}
	}
}
