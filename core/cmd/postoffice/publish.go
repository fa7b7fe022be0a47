package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/connect"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

const publishHelp = `Publishes messages to a topic: the argument PAYLOAD, or one message for each
line of --file or of stdin (JSON Lines). A message is a JSON object. It is sent
byte for byte, without the white space between its values.

Lines are read as they arrive and sent in requests of up to 500; a line waits at
most 200 ms for others. Blank lines are ignored. At the first line that is not a
message or is not accepted, the command ends, and reports how many messages were
accepted and at which line to continue. --skip-invalid continues after lines
that are not messages, or that the server refuses while it accepts others, and
exits with 3. Ctrl-C ends the command after the request in progress, whose
messages count; a second Ctrl-C ends it at once.

With --outbox, messages that the server does not accept are stored there and
count as accepted. An app that uses the outbox delivers them, or use
"outbox deliver".

JSON: {"topic", "accepted", "delivered", "stored", "dead", "without_consumer",
"invalid", "not_accepted", "not_accepted_lines", "stored_ids", "problems",
"next_line", "interrupted", "error"}. The fields from "accepted" to
"not_accepted" count messages or lines. accepted = delivered + stored + dead;
dead messages were refused permanently and are kept in the outbox. The server
has discarded those without_consumer. not_accepted_lines has ranges such as
"7" and "9-20", problems has {"line", "error"} of lines that are not messages,
stored_ids the ids in the outbox, each list at most 100. next_line is the first
line that was not tried, if the input was not read to its end.`

// publishFlags are the flags of publish.
type publishFlags struct {
	settings   connect.Flags
	outbox     outboxFlags
	file       string
	single     bool
	skip       bool
	noProgress bool
	attributes []string
	in         time.Duration
	at         string
}

func (a *app) publishCommand() *cobra.Command {
	var flags publishFlags
	command := &cobra.Command{
		Use:   "publish TOPIC [PAYLOAD]",
		Short: "Publish a message, or one for each line of a file or of stdin",
		Long:  publishHelp,
		Example: `  postoffice publish orders '{"id": 7}' --attribute region=north
  postoffice publish orders --file orders.jsonl --outbox outbox.db
  export-orders | postoffice publish orders --skip-invalid --json
  postoffice publish reminders '{"id": 7}' --in 30m`,
		Args: cobra.RangeArgs(1, 2),
		RunE: func(command *cobra.Command, arguments []string) error {
			return a.publish(command, &flags, arguments)
		},
		ValidArgsFunction: func(command *cobra.Command, arguments []string, _ string) ([]string, cobra.ShellCompDirective) {
			if len(arguments) > 0 {
				return nil, cobra.ShellCompDirectiveNoFileComp
			}
			return a.knownTopics(command, &flags.settings), cobra.ShellCompDirectiveNoFileComp
		},
	}
	set := command.Flags()
	flags.settings.AddServer(set)
	flags.settings.AddBulk(set)
	flags.outbox.of = outboxBox
	flags.outbox.add(set, "where to store messages that the server does not accept: an SQLite file, created if it is missing, or a `database` URL (or POSTOFFICE_OUTBOX)")
	set.StringVarP(&flags.file, "file", "f", "", "read messages from a `file`, one per line; - is stdin")
	set.BoolVar(&flags.single, "single", false, "treat the whole input as one message, which may span lines")
	set.BoolVar(&flags.skip, "skip-invalid", false, "continue after lines that are not messages")
	set.BoolVar(&flags.noProgress, "no-progress", false, "show no progress bar on a terminal")
	set.StringArrayVarP(&flags.attributes, "attribute", "a", nil, "attribute of every message, as `NAME=VALUE`; may be repeated")
	set.DurationVar(&flags.in, "in", 0, "deliver after this time, such as 30m; each message then needs its own request")
	set.StringVar(&flags.at, "at", "", "deliver at a `time`, such as 2030-01-31T09:00:00+01:00 (RFC 3339)")
	command.MarkFlagsMutuallyExclusive("in", "at")
	return command
}

// knownTopics returns the topics of the settings, for shell completion.
func (a *app) knownTopics(command *cobra.Command, flags *connect.Flags) []string {
	config, err := flags.Load(command.Flags(), &a.secrets)
	if err != nil {
		return nil
	}
	return config.Topics
}

func (a *app) publish(command *cobra.Command, flags *publishFlags, arguments []string) (err error) {
	ctx := command.Context()
	options, err := flags.options(time.Now())
	if err != nil {
		return err
	}
	if strings.HasPrefix(strings.TrimSpace(arguments[0]), "{") {
		return exit.Usagef("TOPIC is a JSON object: TOPIC comes before PAYLOAD")
	}
	if len(arguments) == 2 && command.Flags().Changed("file") {
		return exit.Usagef("PAYLOAD and --file cannot be combined")
	}
	config, err := flags.settings.Load(command.Flags(), &a.secrets)
	if err != nil {
		return err
	}
	config.Logger = a.logger()
	config.Consumers = nil // not needed to publish
	tally := &tally{}
	config.Observer = tally.observer()
	// Check the settings before an outbox is opened or created.
	if _, err := connect.NewClient(config); err != nil {
		return err
	}
	if flags.outbox.given() {
		store, err := flags.outbox.open(ctx, a, true)
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, store.Close()) }()
		config.Outbox = store
	}
	client, err := connect.NewClient(config)
	if err != nil {
		return err
	}
	defer stop(client)
	p := &publishing{
		app: a, client: client, config: config, tally: tally,
		address: connect.PublicURL(config.URL), topic: arguments[0], options: options, flags: flags,
	}
	if len(arguments) == 2 {
		return p.one(ctx, "the PAYLOAD", []byte(arguments[1]))
	}
	input, name, err := a.input(flags.file)
	if err != nil {
		return err
	}
	defer func() { _ = input.Close() }() // only read
	if flags.single {
		return p.single(ctx, input, name)
	}
	return p.lines(ctx, input, name)
}

// options converts flags to options of a publish. A relative time is converted once,
// so that it is the same for all messages.
func (f *publishFlags) options(now time.Time) ([]core.PublishOption, error) {
	var options []core.PublishOption
	for i, text := range f.attributes {
		name, value, ok := strings.Cut(text, "=")
		if !ok || name == "" {
			return nil, exit.Usagef("--attribute number %d must be NAME=VALUE", i+1)
		}
		options = append(options, core.WithAttribute(name, value))
	}
	switch {
	case f.in < 0:
		return nil, exit.Usagef("--in is negative")
	case f.in > 0:
		options = append(options, core.DeliverAt(now.Add(f.in)))
	case f.at != "":
		at, err := time.Parse(time.RFC3339, f.at)
		if err != nil {
			return nil, exit.Usagef("--at must be a time such as 2030-01-31T09:00:00+01:00 (RFC 3339, with Z or an offset)")
		}
		options = append(options, core.DeliverAt(at))
	}
	return options, nil
}

// input opens the input, a file or stdin, and returns its name for messages.
func (a *app) input(path string) (*os.File, string, error) {
	if path == "" || path == "-" {
		return a.stdin, "stdin", nil
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, "", exit.New(exit.Usage, "check --file", fmt.Errorf("the input cannot be read: %w", err))
	}
	if info, err := file.Stat(); err == nil && info.IsDir() {
		return nil, "", exit.New(exit.Usage, "check --file", errors.Join(fmt.Errorf("%s is a directory", path), file.Close()))
	}
	return file, path, nil
}

// readAll reads an input that is one message.
func readAll(ctx context.Context, input io.Reader, limit int64) ([]byte, error) {
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := io.ReadAll(io.LimitReader(input, limit+1))
		done <- result{text, err}
	}()
	select {
	case read := <-done:
		return read.text, read.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
