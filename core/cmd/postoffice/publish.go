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

const publishHelp = `Publishes messages to a topic: the one of the argument PAYLOAD, or one for
each line of --file or of stdin (JSON Lines). A message is a JSON object, and
travels byte for byte as it is, without the white space between its values.

Lines are read as they come, and travel up to 500 a request; a line waits for
others for 200 ms at most. Blank lines count for nothing. At the first line
that is no message, or is not accepted, it ends, and tells how many were
accepted and with which line to go on; --skip-invalid goes on after lines that
are no messages, or that the server refuses while it takes others, and exits
with 3. Ctrl-C ends it after the request under way, whose messages count; a
second Ctrl-C ends it at once.

With --outbox, what the server does not take is stored there, and counts as
accepted. An app that uses the outbox delivers it, or "outbox deliver" does.

JSON: {"topic", "accepted", "delivered", "stored", "dead", "without_consumer",
"invalid", "not_accepted", "not_accepted_lines", "stored_ids", "problems",
"next_line", "interrupted", "error"}. All but "topic" count messages or lines
up to "not_accepted". accepted = delivered + stored + dead; dead ones were
refused for good, and are kept in the outbox. The server has thrown away those
without_consumer. not_accepted_lines has ranges such as "7" and "9-20",
problems has {"line", "error"} of lines that are no messages, stored_ids the
ids in the outbox, each at most 100. next_line is the first line that was not
tried, if the input was not read to its end.`

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
	flags.outbox.add(set, "where to store what the server does not take: an SQLite file, created if it is missing, or a `database` URL (or POSTOFFICE_OUTBOX)")
	set.StringVarP(&flags.file, "file", "f", "", "read messages from a `file`, one a line; - is stdin")
	set.BoolVar(&flags.single, "single", false, "take the whole input for one message, which may span lines")
	set.BoolVar(&flags.skip, "skip-invalid", false, "go on after lines that are no messages")
	set.BoolVar(&flags.noProgress, "no-progress", false, "show no progress bar on a terminal")
	set.StringArrayVarP(&flags.attributes, "attribute", "a", nil, "attribute of every message, as `NAME=VALUE`; may be repeated")
	set.DurationVar(&flags.in, "in", 0, "have the server deliver after this time, such as 30m; each message costs a request then")
	set.StringVar(&flags.at, "at", "", "have the server deliver at a `time`, such as 2030-01-31T09:00:00+01:00 (RFC 3339)")
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
		return exit.Usagef("the TOPIC is a JSON object: TOPIC comes before PAYLOAD")
	}
	if len(arguments) == 2 && command.Flags().Changed("file") {
		return exit.Usagef("there are a PAYLOAD and a --file: give one of them")
	}
	config, err := flags.settings.Load(command.Flags(), &a.secrets)
	if err != nil {
		return err
	}
	config.Logger = a.logger()
	config.Consumers = nil // they have no part in this
	tally := &tally{}
	config.Observer = tally.observer()
	// The settings are checked before an outbox is opened, or created.
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
	defer func() { _ = input.Close() }() // it was only read
	if flags.single {
		return p.single(ctx, input, name)
	}
	return p.lines(ctx, input, name)
}

// options turns flags into options of a publish. A time that is counted from
// now is the same for all messages.
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

// input opens the file to read, which is stdin without a name, and says how
// to call it.
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
func readAll(ctx context.Context, input io.Reader, most int64) ([]byte, error) {
	type result struct {
		text []byte
		err  error
	}
	done := make(chan result, 1)
	go func() {
		text, err := io.ReadAll(io.LimitReader(input, most+1))
		done <- result{text, err}
	}()
	select {
	case read := <-done:
		return read.text, read.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}
