package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/devserver"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

// devStarted is the JSON of dev.
type devStarted struct {
	// URL is the address of the server and of its page.
	URL string `json:"url"`
}

func (a *app) devCommand() *cobra.Command {
	var address, file string
	var maxRetryGap time.Duration
	var history int
	command := &cobra.Command{
		Use:   "dev",
		Short: "Run a server to develop with, and a page to watch it",
		Long: fmt.Sprintf(`Runs a Postoffice server for development: topics, consumers, messages,
deliveries and retries work as on a real one. The page at its address shows
them, publishes messages, retries deliveries, and breaks the server on purpose.
Without --file nothing is kept. Ctrl-C ends it, with exit code 0.

It listens on %s unless told otherwise. The page shows payloads: do not let
others reach it.

JSON: {"url"}, once the server listens.`, devserver.DefaultAddr),
		Example: `  postoffice dev --addr 127.0.0.1:4000 --file dev.db
  postoffice dev --max-retry-gap 5s`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			options := devserver.Options{
				Addr: address, File: file, MaxRetryGap: maxRetryGap, History: history, Out: a.stdout, Logger: a.logger(),
			}
			if a.asJSON {
				options.Out = nil
				options.Started = func(url string) {
					// A server goes on without somebody who reads that.
					_ = a.result(devStarted{url}, func(io.Writer) {})
				}
			}
			return devError(devserver.Run(command.Context(), options))
		},
	}
	command.Flags().StringVar(&address, "addr", devserver.DefaultAddr, "`address` to listen on; port 0 takes a free one")
	command.Flags().StringVar(&file, "file", "", "keep what the server holds in a `file`, which is created if it is missing")
	command.Flags().DurationVar(&maxRetryGap, "max-retry-gap", 0, "the longest time between two attempts to deliver (default as a real server, 16s to 12 days)")
	command.Flags().IntVar(&history, "history", devserver.DefaultHistory, "how many messages, deliveries and other events to remember at least")
	return command
}

// devError adds the exit code and what to do next.
func devError(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, devserver.ErrOptions):
		return exit.New(exit.Usage, "", err)
	case errors.Is(err, devserver.ErrFileInUse):
		return exit.New(exit.InUse, "end the other server, or use a file of its own: --file", err)
	case errors.Is(err, devserver.ErrFileForeign), errors.Is(err, devserver.ErrFileNewer), errors.Is(err, devserver.ErrFileDamaged):
		return exit.New(exit.Failed, "use another file: --file", err)
	}
	return exit.New(exit.Failed, "is the address free? --addr takes another one", err)
}
