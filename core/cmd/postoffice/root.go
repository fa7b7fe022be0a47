package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

const rootHelp = `postoffice is the command line of a Postoffice server's clients: it creates
topics and consumers, publishes messages, looks after outboxes and inboxes,
and is a server to develop with.

Settings come from flags, the environment and a settings file, in this order:
a flag overrides a variable, and a variable overrides the file. The file is
JSON with the keys of the Django client's settings (URL, TOPICS, CONSUMERS,
ORIGIN_HOST, …); --settings or POSTOFFICE_SETTINGS names it. The variables are
POSTOFFICE_URL, POSTOFFICE_TOPICS, POSTOFFICE_CONSUMERS (a JSON list),
POSTOFFICE_ORIGIN_HOST, POSTOFFICE_RECOVERY_PATH, POSTOFFICE_RECOVERY_ENABLED,
POSTOFFICE_TIMEOUT, POSTOFFICE_BULK_TIMEOUT and POSTOFFICE_BULK_LIMIT, and
POSTOFFICE_OUTBOX and POSTOFFICE_INBOX for --outbox and --inbox. Passwords belong there rather than into
arguments, which other users of the machine can see.

Results go to stdout, everything else to stderr. With --json a result is one
JSON document, or one a line where a command says so.

Exit codes:
    0  everything was done
    1  nothing was done, and trying again as it is does not help
    2  the arguments, flags or settings cannot be used; nothing was tried
    3  a part was done, a part was not
    4  the server cannot be reached, or fails: trying again later may help
    5  another process has the outbox file
  130  Ctrl-C ended it; 143 SIGTERM; 141 nobody reads the output any more`

func (a *app) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:           "postoffice",
		Short:         "Create topics and consumers, publish messages, look after outboxes and inboxes",
		Long:          rootHelp,
		Example:       "  postoffice health --url http://localhost:4000\n  postoffice publish orders '{\"id\": 7}'",
		Version:       readBuild().Version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetIn(a.stdin)
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.PersistentFlags().BoolVar(&a.asJSON, "json", false, "write the result as JSON")
	root.PersistentFlags().BoolVarP(&a.verbose, "verbose", "v", false, "write what the client does to stderr")
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

// group makes a command that only holds others.
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
