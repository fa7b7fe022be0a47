package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/connect"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

// rootHelp returns the help of the command without subcommands.
func rootHelp() string {
	var list strings.Builder
	for _, name := range connect.Variables() {
		list.WriteString("  " + name + "\n")
	}
	return settingsHelp + list.String() + outputHelp
}

const settingsHelp = `postoffice is the command line for apps that use a Postoffice server: it creates
topics and consumers, publishes messages, manages outboxes and inboxes, and runs
a development server.

Settings come from flags, the environment and a settings file: a flag overrides
a variable, and a variable overrides the file. The file is JSON with the keys of
the Django client's settings (URL, TOPICS, CONSUMERS, ORIGIN_HOST, …); set it
with --settings or POSTOFFICE_SETTINGS. Put passwords into the file or a variable
rather than into arguments, which other users of the machine can see.

POSTOFFICE_OUTBOX and POSTOFFICE_INBOX stand for --outbox and --inbox. The other
variables, of which POSTOFFICE_CONSUMERS is a JSON list, are:
`

const outputHelp = `
Results go to stdout, everything else to stderr. With --json a result is one
JSON document, or one per line where a command says so.

Exit codes:
    0  everything was done
    1  nothing was done; repeating the same command does not help
    2  invalid arguments, flags or settings; nothing was tried
    3  done in part
    4  the server is unreachable or fails: trying again later may help
    5  another process uses the outbox file
  130  ended by Ctrl-C; 143 by SIGTERM; 141 by a closed output pipe`

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "postoffice",
		Short:         "Create topics and consumers, publish messages, manage outboxes and inboxes",
		Long:          rootHelp(),
		Example:       "  postoffice health --url http://localhost:4000\n  postoffice publish orders '{\"id\": 7}'",
		Version:       readBuild().Version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.PersistentFlags().BoolVar(&a.asJSON, "json", false, "write the result as JSON")
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "write the client's log to stderr")
	root.AddCommand(
		a.configureCommand(),
		a.healthCommand(),
		a.publishCommand(),
		a.outboxCommand(),
		a.inboxCommand(),
		a.devCommand(),
		a.versionCommand(),
	)
	return root
}

// group returns a command that only has subcommands.
func group(use, short string, commands ...*cobra.Command) *cobra.Command {
	names := make([]string, len(commands))
	for i, command := range commands {
		names[i] = command.Name()
	}
	parent := &cobra.Command{
		Use:   use,
		Short: short,
		RunE: func(command *cobra.Command, arguments []string) error {
			text := "needs a command"
			if len(arguments) > 0 {
				text = fmt.Sprintf("has no command %q", arguments[0])
				if near := command.SuggestionsFor(arguments[0]); len(near) > 0 {
					text += "; did you mean " + strings.Join(near, " or ") + "?"
				}
			}
			return exit.Usagef("%s %s: there are %s", command.Name(), text, strings.Join(names, ", "))
		},
	}
	parent.SuggestionsMinimumDistance = 2
	parent.AddCommand(commands...)
	return parent
}
