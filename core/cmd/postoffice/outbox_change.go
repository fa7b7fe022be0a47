package main

import (
	"context"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// changeFlags select the messages to retry or discard.
type changeFlags struct {
	selectionFlags
	all bool
}

func (f *changeFlags) add(command *cobra.Command) {
	f.selectionFlags.add(command)
	command.Flags().BoolVar(&f.all, "all", false, "all messages, or all of --state")
}

// selection returns the selection by ids and flags.
func (f *changeFlags) selection(ids []string) (outbox.Selection, error) {
	state, err := f.stateOf()
	if err != nil {
		return outbox.Selection{}, err
	}
	ids = slices.Compact(slices.Sorted(slices.Values(ids)))
	switch {
	case f.all && (f.topic != "" || len(ids) > 0):
		return outbox.Selection{}, exit.Usagef("--all cannot be combined with ids or --topic")
	case f.topic != "" && len(ids) > 0:
		return outbox.Selection{}, exit.Usagef("ids and --topic cannot be combined")
	case !f.all && f.topic == "" && len(ids) == 0:
		return outbox.Selection{}, exit.Usagef("no messages selected: give ids, --topic or --all, and optionally --state")
	}
	return outbox.Selection{IDs: ids, Topic: f.topic, All: f.all, State: state}, nil
}

// describe returns a description of the selected messages. n is their number;
// negative if it is unknown.
func describe(selection outbox.Selection, n int) string {
	what := "messages"
	if n == 1 {
		what = "message"
	}
	if selection.State != nil {
		what = selection.State.String() + " " + what
	}
	if selection.Topic != "" {
		what += fmt.Sprintf(" of the topic %q", selection.Topic)
	}
	every := selection.All || selection.Topic != ""
	switch {
	case n < 0 && every:
		return "all " + what
	case n < 0:
		return fmt.Sprintf("up to %d %s", len(selection.IDs), what)
	case n == 1 || !every:
		return fmt.Sprintf("%d %s", n, what)
	default:
		return fmt.Sprintf("all %d %s", n, what)
	}
}

// change changes the selected messages and writes how many it changed, under a name
// in JSON.
func (a *app) change(ctx context.Context, selection outbox.Selection, name string, run func(context.Context, outbox.Selection) (int, error)) (int, error) {
	n, err := call(ctx, func(ctx context.Context) (int, error) { return run(ctx, selection) })
	if err != nil {
		return 0, err
	}
	err = a.result(map[string]int{name: n}, func(w io.Writer) { _, _ = fmt.Fprintf(w, "%s %s\n", plural(n, "message"), name) })
	if missing := len(selection.IDs) - n; err == nil && missing > 0 {
		code := exit.Partly
		if n == 0 {
			code = exit.Failed
		}
		err = exit.New(code, "they may have been delivered; see: postoffice outbox list",
			fmt.Errorf("%d of %d messages are not in the outbox, or not in that state", missing, len(selection.IDs)))
	}
	return n, err
}
