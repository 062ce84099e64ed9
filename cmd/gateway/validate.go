package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"pggateway/config"
)

func newValidate(o *options) *cobra.Command {
	return &cobra.Command{
		Use:   "validate",
		Short: "Print every error of the configuration, or one line saying what it routes",
		Long: `Print every error of the configuration, each with its place in the file, or one
line that says what it routes. Nothing is connected to, and no secret has to be
there; certificates and keys in files that are there have to match.

Exit code: 0 when the file is good, 2 when it is not.`,
		Example: "  gateway validate -c gateway.yaml",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := o.load(cmd)
			if err != nil {
				return err
			}
			if faults := badPairs(cmd.Context(), conf); len(faults) > 0 {
				problems, err := config.Point(o.file, faults)
				if err != nil {
					return o.unreadable(err)
				}
				fmt.Fprint(cmd.ErrOrStderr(), problems.Explain())
				return &failure{code: exitUsage}
			}
			return say(cmd, fmt.Sprintf("%s: ok: %s\n", o.file, summary(conf)))
		},
	}
}

// summary says in one line what a configuration routes.
func summary(conf *config.Config) string {
	var listen, upstreams []string
	for _, l := range conf.Listen {
		listen = append(listen, l.Address)
	}
	for _, u := range conf.Upstreams {
		upstreams = append(upstreams, u.Name)
	}
	return fmt.Sprintf("listens on %s; routes %s to %s",
		strings.Join(listen, ", "), count(len(conf.Writers), "writer"), strings.Join(upstreams, ", "))
}

func count(n int, noun string) string {
	if n == 1 {
		return "1 " + noun
	}
	return fmt.Sprintf("%d %ss", n, noun)
}
