package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"pggateway/scram"
)

// maxPassword is the longest password read, in bytes.
const maxPassword = 1024

func newPasswd() *cobra.Command {
	return &cobra.Command{
		Use:   "passwd",
		Short: "Read a password and print its SCRAM verifier",
		Long: `Read a password from the terminal, without showing it, or from standard input,
and print the SCRAM-SHA-256 verifier to put into writers.*.password. The verifier
lets the gateway check the password but not learn it, and has the form that
PostgreSQL itself stores.`,
		Example: `  gateway passwd
  openssl rand -base64 24 | tee /dev/stderr | gateway passwd`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			password, err := readPassword(cmd)
			if err != nil {
				return wrong(err)
			}
			verifier, err := scram.NewVerifier(password, scram.DefaultIterations)
			if err != nil {
				return wrong(err)
			}
			return say(cmd, verifier+"\n")
		},
	}
}

// readPassword asks twice on a terminal; anything else gives its first line.
func readPassword(cmd *cobra.Command) (string, error) {
	in, ok := cmd.InOrStdin().(*os.File)
	if !ok || !term.IsTerminal(int(in.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(cmd.InOrStdin(), maxPassword+2)).ReadString('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return "", fmt.Errorf("cannot read the password: %w", err)
		}
		return checkPassword(strings.TrimRight(line, "\r\n"))
	}
	restore, err := guardTerminal(int(in.Fd()))
	if err != nil {
		return "", err
	}
	defer restore()
	ask := func(prompt string) (string, error) {
		fmt.Fprint(cmd.ErrOrStderr(), prompt)
		text, err := term.ReadPassword(int(in.Fd()))
		fmt.Fprintln(cmd.ErrOrStderr())
		return string(text), err
	}
	first, err := ask("Password: ")
	if err != nil {
		return "", err
	}
	if first, err = checkPassword(first); err != nil {
		return "", err
	}
	again, err := ask("Once more: ")
	if err != nil {
		return "", err
	}
	if first != again {
		return "", errors.New("the two passwords differ")
	}
	return first, nil
}

// guardTerminal gives the terminal its echo back when a signal ends the process
// in the middle of a password, and then lets the signal do what it does.
func guardTerminal(fd int) (stop func(), err error) {
	state, err := term.GetState(fd)
	if err != nil {
		return nil, err
	}
	signals := make(chan os.Signal, 1)
	over := make(chan struct{})
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	go func() {
		select {
		case s := <-signals:
			_ = term.Restore(fd, state)
			signal.Reset()
			_ = syscall.Kill(syscall.Getpid(), s.(syscall.Signal))
		case <-over:
		}
	}()
	return func() { signal.Stop(signals); close(over) }, nil
}

func checkPassword(password string) (string, error) {
	switch {
	case password == "":
		return "", errors.New("the password is empty")
	case len(password) > maxPassword:
		return "", fmt.Errorf("the password is longer than %d bytes", maxPassword)
	}
	return password, nil
}
