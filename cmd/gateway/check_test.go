package main

import (
	"strings"
	"testing"

	"pggateway/e2e/kit"
)

func TestCheckOnTerminal(t *testing.T) {
	heard := make(chan struct{}, 8)
	s := kit.StartScripted(t, func(c *kit.ScriptConn) {
		if _, ok := c.Startup(nil); ok {
			heard <- struct{}{}
			c.Silence()
		}
	})
	x := onTerminal(t, "check", "-c", write(t, "gateway.yaml", oneRoute(s.Port, "literal:x")))
	x.expect("checking: 0 of 1")
	<-heard
	x.send("\x03") // Ctrl-C
	if code := x.wait().ExitCode(); code != exitWrong {
		t.Errorf("exit code %d", code)
	}
	x.expect("\r\x1b[Kgateway: interrupted: 0 of 1 checked")
	if strings.Contains(x.screen(), "FAIL") {
		t.Errorf("what was interrupted is told as wrong: %q", x.screen())
	}

	x = onTerminal(t, "check", "--timeout", "100ms", "-c", write(t, "gateway.yaml", oneRoute(s.Port, "literal:x")))
	if code := x.wait().ExitCode(); code != exitWrong {
		t.Errorf("exit code %d", code)
	}
	x.expect("  FAIL  login")
	x.expect("1 that cannot be used as configured")
}

func TestCheckUsage(t *testing.T) {
	file := write(t, "gateway.yaml", oneRoute(1, "literal:x"))
	gateway(t, "", "check", "-c", file, "nonesuch").want(t, exitUsage, "", "gateway: no upstream is named \"nonesuch\"; there are: orders\n")
	gateway(t, "", "check", "-c", file, "--timeout", "0s").want(t, exitUsage, "", "gateway: --timeout has to be more than 0\ngateway: try 'gateway check --help'\n")
}

// What a server says cannot look like a line of the checklist.
func TestWrap(t *testing.T) {
	if got := oneLine("a\n  ok    login\x00\tb"); got != "a ok login\x00 b" {
		t.Errorf("%q", got)
	}
	long := strings.Repeat("x", 100)
	if got := wrap("one two three "+long+" four", 9); strings.Join(got, "|") != "one two|three|"+long+"|four" {
		t.Errorf("%q", got)
	}
}
