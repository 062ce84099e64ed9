package main

import (
	"github.com/spf13/cobra"

	"pggateway/config"
)

func newSchema() *cobra.Command {
	return &cobra.Command{
		Use:   "schema",
		Short: "Print the JSON Schema of gateway.yaml, for editors",
		Long: `Print the JSON Schema of gateway.yaml. An editor that knows it completes keys and
marks mistakes while they are typed; 'gateway validate' finds more of them.`,
		Example: `  gateway schema > gateway.schema.json
  # and as the first line of gateway.yaml:
  # yaml-language-server: $schema=gateway.schema.json`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			text, err := config.Schema()
			if err != nil {
				return wrong(err)
			}
			return say(cmd, string(text)+"\n")
		},
	}
}
