// Command gateway is the PostgreSQL gateway that data-sync writers connect
// through. This package holds its commands and the wiring of all others; it is
// the only one that knows them all.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
)

// Exit codes of every command.
const (
	exitOK    = 0
	exitWrong = 1 // it looked, and something is wrong
	exitUsage = 2 // bad usage, or a bad configuration
)

// failure is an error that has been told already, or is told as it stands, and
// the exit code that goes with it.
type failure struct {
	code int
	err  error // nil: everything has been said
}

func (f *failure) Error() string {
	if f.err == nil {
		return "failed"
	}
	return f.err.Error()
}

func (f *failure) Unwrap() error { return f.err }

// wrong is a failure of what the command looked at, not of how it was called.
func wrong(err error) error { return &failure{exitWrong, err} }

func main() { os.Exit(execute(newRoot(), os.Args[1:])) }

func execute(root *cobra.Command, args []string) int {
	root.SetArgs(args)
	err := root.ExecuteContext(context.Background())
	if err == nil {
		return exitOK
	}
	f := &failure{exitUsage, err}
	_ = errors.As(err, &f)
	if f.err != nil { // one line for each of several errors
		fmt.Fprintf(root.ErrOrStderr(), "gateway: %s\n", strings.ReplaceAll(f.err.Error(), "\n", "\ngateway: "))
	}
	return f.code
}

// say writes what a command has to say to standard output, where a full disk
// or a closed pipe must not pass for success.
func say(cmd *cobra.Command, text string) error {
	if _, err := io.WriteString(cmd.OutOrStdout(), text); err != nil {
		return wrong(fmt.Errorf("cannot write the output: %w", err))
	}
	return nil
}
