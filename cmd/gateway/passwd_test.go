package main

import (
	"strings"
	"syscall"
	"testing"

	"pggateway/scram"
)

// proves reports whether the password opens what the verifier guards.
func proves(t *testing.T, text, password string) bool {
	t.Helper()
	v, err := scram.ParseVerifier(strings.TrimSuffix(text, "\n"))
	if err != nil {
		t.Fatalf("%q: %v", text, err)
	}
	server := scram.NewServer(v)
	client, err := scram.NewClient("", password)
	if err != nil {
		t.Fatal(err)
	}
	reply := ""
	for range 2 {
		msg, err := client.Step(reply)
		if err != nil {
			t.Fatal(err)
		}
		var done bool
		if reply, done, err = server.Step(msg); err != nil {
			return false
		}
		if done {
			return true
		}
	}
	t.Fatal("the exchange has no end")
	return false
}

func TestPasswdFromStdin(t *testing.T) {
	for _, tt := range []struct{ stdin, password string }{
		{"secret\n", "secret"},
		{"secret", "secret"},
		{"secret\r\n", "secret"},
		{"first\nsecond\n", "first"},
		{" spaces count \n", " spaces count "},
		{"pässword\n", "pässword"},
		{strings.Repeat("x", maxPassword) + "\n", strings.Repeat("x", maxPassword)},
	} {
		r := gateway(t, tt.stdin, "passwd")
		if r.code != exitOK || r.stderr != "" || strings.Count(r.stdout, "\n") != 1 {
			t.Fatalf("%.20q: %+v", tt.stdin, r)
		}
		if !proves(t, r.stdout, tt.password) || proves(t, r.stdout, tt.password+"x") {
			t.Errorf("%.20q gives a verifier of another password", tt.stdin)
		}
	}
	for stdin, want := range map[string]string{
		"":                                 "the password is empty",
		"\nsecond":                         "the password is empty",
		strings.Repeat("x", maxPassword+1): "the password is longer than 1024 bytes",
		strings.Repeat("x", 1<<20):         "the password is longer than 1024 bytes",
	} {
		gateway(t, stdin, "passwd").want(t, exitWrong, "", "gateway: "+want+"\n")
	}
}

func TestPasswdOnTerminal(t *testing.T) {
	for _, tt := range []struct {
		name          string
		first, second string
		code          int
		want          string // what the screen ends with; "" a verifier of first
	}{
		{"twice the same", "hunter2\n", "hunter2\n", exitOK, ""},
		{"two passwords", "hunter2\n", "hunter3\n", exitWrong, "Password: \nOnce more: \ngateway: the two passwords differ\n"},
		{"empty", "\n", "", exitWrong, "Password: \ngateway: the password is empty\n"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			x := onTerminal(t, "passwd")
			x.prompt("Password: ")
			x.send(tt.first)
			if tt.second != "" {
				x.prompt("Once more: ")
				x.send(tt.second)
			}
			if code := x.wait().ExitCode(); code != tt.code {
				t.Errorf("exit code %d, want %d", code, tt.code)
			}
			x.expect(tt.want)
			if !x.echo() {
				t.Error("the terminal is left without echo")
			}
			if strings.Contains(x.screen(), "hunter") {
				t.Errorf("the password was shown: %q", x.screen())
			}
			if tt.want != "" {
				return
			}
			const prompts = "Password: \nOnce more: \n"
			x.expect("=\n") // the end of a verifier's last field, 32 bytes in base64
			verifier, ok := strings.CutPrefix(x.screen(), prompts)
			if !ok || !proves(t, verifier, "hunter2") {
				t.Errorf("%q is no verifier of what was typed", x.screen())
			}
		})
	}
}

// TestPasswdInterrupted: a terminal without echo would be what Ctrl-C leaves behind.
func TestPasswdInterrupted(t *testing.T) {
	for name, signal := range map[string]func(x *terminal) syscall.Signal{
		"Ctrl-C":  func(x *terminal) syscall.Signal { x.send("hunt\x03"); return syscall.SIGINT },
		"SIGTERM": func(x *terminal) syscall.Signal { _ = x.cmd.Process.Signal(syscall.SIGTERM); return syscall.SIGTERM },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			x := onTerminal(t, "passwd")
			x.prompt("Password: ")
			sig := signal(x)
			state := x.wait()
			if s := state.Sys().(syscall.WaitStatus); !s.Signaled() || s.Signal() != sig {
				t.Errorf("ended by %v, want %v", state, sig)
			}
			if !x.echo() {
				t.Error("the terminal is left without echo")
			}
		})
	}
}
