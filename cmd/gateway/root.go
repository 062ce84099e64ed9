package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"pggateway/config"
)

// options are the flags that every command has.
type options struct {
	file string
}

func newRoot() *cobra.Command {
	o := &options{}
	root := &cobra.Command{
		Use:   "gateway",
		Short: "The PostgreSQL gateway that data-sync writers connect through",
		Long: `The PostgreSQL gateway that data-sync writers connect through.

It accepts writers' connections, pools them, and forwards them to Amazon RDS,
Aurora or any PostgreSQL: over TLS, through SSH bastions, from one fixed
address, with credentials that the writers never see.`,
		Example: `  gateway passwd                    # a verifier for a writer, to put into gateway.yaml
  gateway validate -c gateway.yaml  # what is wrong with it, or what it routes
  gateway egress                    # what the databases' owners must allow
  gateway check                     # whether they have, and what is missing
  gateway run -c gateway.yaml       # serve`,
		Version:           versionLine(),
		SilenceUsage:      true,
		SilenceErrors:     true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		Args:              knownCommand,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cmd.SetOut(cmd.ErrOrStderr())
			_ = cmd.Help()
			return &failure{code: exitUsage}
		},
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().StringVarP(&o.file, "config", "c", "gateway.yaml", "the configuration `FILE`")
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error { return misused(cmd, "%v", err) })
	root.SetHelpCommand(newHelp())
	root.AddCommand(
		newRun(o), newValidate(o), newCheck(o), newEgress(o), newKeygen(o), newPubkey(o),
		newPasswd(), newSchema(), newVersion(),
	)
	return root
}

func newHelp() *cobra.Command {
	return &cobra.Command{
		Use:     "help [COMMAND]",
		Short:   "Print the help of a command",
		Example: "  gateway help run",
		RunE: func(cmd *cobra.Command, args []string) error {
			found, rest, err := cmd.Root().Find(args)
			if err != nil || len(rest) > 0 {
				return knownCommand(cmd.Root(), rest)
			}
			found.InitDefaultHelpFlag() // otherwise only added when a command is run
			return found.Help()
		},
	}
}

// misused is an error in how a command was called, with the way to its help.
func misused(cmd *cobra.Command, format string, args ...any) error {
	return fmt.Errorf("%s\ntry '%s --help'", fmt.Sprintf(format, args...), cmd.CommandPath())
}

// knownCommand is for the root, whose only arguments are the names of commands.
func knownCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	const near = 2 // edits
	root.SuggestionsMinimumDistance = near
	meant := ""
	if s := root.SuggestionsFor(args[0]); len(s) > 0 {
		meant = "; did you mean " + strings.Join(s, " or ") + "?"
	}
	return misused(root, "unknown command %q%s", args[0], meant)
}

// noArguments is for commands that take none. Files are what people try.
func noArguments(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) == 0:
		return nil
	case filepath.Ext(args[0]) != "":
		return misused(cmd, "found %q, but '%s' takes no arguments: name the configuration with -c %[1]s", args[0], cmd.CommandPath())
	}
	return misused(cmd, "found %q, but '%s' takes no arguments", args[0], cmd.CommandPath())
}

// load reads the configuration and prints everything that is wrong with it.
func (o *options) load(cmd *cobra.Command) (*config.Config, error) {
	conf, err := config.Load(o.file)
	if err == nil {
		return conf, nil
	}
	problems := config.AsErrors(err)
	if problems == nil {
		return nil, o.unreadable(err)
	}
	fmt.Fprint(cmd.ErrOrStderr(), problems.Explain())
	return nil, &failure{code: exitUsage}
}

// unreadable words what kept the file from being read at all.
func (o *options) unreadable(err error) error {
	var p *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("%s: no such file: name the configuration with -c FILE", o.file)
	case errors.As(err, &p):
		return fmt.Errorf("%s: cannot be read: %w", o.file, p.Err)
	}
	return err
}
