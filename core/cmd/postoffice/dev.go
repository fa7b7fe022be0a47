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
	var allowHosts []string
	var maxRetryGap time.Duration
	var history int
	var realistic bool
	command := &cobra.Command{
		Use:   "dev",
		Short: "Run a development server with a web page",
		Long: fmt.Sprintf(`Runs a Postoffice server for development: topics, consumers, messages,
deliveries and retries work as on a real one. The page at its address shows
them, publishes messages, retries deliveries, and makes the server fail on
purpose. Without --file, data is lost when the server stops. Ctrl-C stops it,
with exit code 0.

It listens on %s unless --addr is set. The page shows payloads,
and the server calls any address that a consumer names: do not let others reach
it.

Page and API reject requests that other sites send through a browser, and host
names that a foreign site may have assigned to this machine. They accept
localhost, loopback addresses and the host of --addr; if it listens on more than
loopback (--addr :4000, in a container) also IP addresses, names without a dot
such as that of a container, and the machine's own name. Other names need
--allow-host.

JSON: {"url"}, once the server listens.`, devserver.DefaultAddr),
		Example: `  postoffice dev --addr 127.0.0.1:4000 --file dev.db
  postoffice dev --max-retry-gap 5s --realistic`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			options := devserver.Options{
				Addr: address, AllowHosts: allowHosts, File: file, MaxRetryGap: maxRetryGap, History: history,
				Realistic: realistic, Out: a.stdout, Logger: a.logger(),
			}
			if a.asJSON {
				options.Out = nil
				options.Started = func(url string) {
					// A server works even if nobody reads the result.
					_ = a.result(devStarted{url}, func(io.Writer) {})
				}
			}
			return devError(devserver.Run(command.Context(), options))
		},
	}
	command.Flags().StringVar(&address, "addr", devserver.DefaultAddr, "`address` to listen on; port 0 takes a free one")
	command.Flags().StringArrayVar(&allowHosts, "allow-host", nil, "another `name` under which clients reach the server, without a port; may be given several times")
	command.Flags().StringVar(&file, "file", "", "keep the server's data in a `file`, which is created if it is missing")
	command.Flags().DurationVar(&maxRetryGap, "max-retry-gap", 0, "maximum time between two attempts to deliver (default as on a real server, 16s to 12 days)")
	command.Flags().IntVar(&history, "history", devserver.DefaultHistory, "minimum number of messages, deliveries and other events to remember")
	command.Flags().BoolVar(&realistic, "realistic", false, "answer as slowly as a real server on 2 cores: 1.7 ms per message, 0.3 s or more per megabyte")
	return command
}

// devError adds the exit code and a hint.
func devError(err error) error {
	switch {
	case err == nil, errors.Is(err, context.Canceled):
		return nil
	case errors.Is(err, devserver.ErrOptions):
		return exit.New(exit.Usage, "", err)
	case errors.Is(err, devserver.ErrAddrInUse):
		return exit.New(exit.Failed, "stop that program, or choose another address: --addr 127.0.0.1:0 uses a free port", err)
	case errors.Is(err, devserver.ErrAddr):
		return exit.New(exit.Failed, "choose another address: --addr", err)
	case errors.Is(err, devserver.ErrFileInUse):
		return exit.New(exit.InUse, "stop the other server, or use another file: --file", err)
	case errors.Is(err, devserver.ErrFileForeign), errors.Is(err, devserver.ErrFileNewer), errors.Is(err, devserver.ErrFileDamaged):
		return exit.New(exit.Failed, "use another file: --file", err)
	}
	return exit.New(exit.Failed, "", err)
}
