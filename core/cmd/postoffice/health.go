package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/connect"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

// healthEvery is the interval of health --wait.
const healthEvery = 500 * time.Millisecond

// healthResult is the JSON of health.
type healthResult struct {
	// Status is "ok"; "unhealthy" if the server reports a problem; "failing" for any
	// other answer; "unreachable" without an answer.
	Status string `json:"status"`
	// URL is the server's address, without credentials.
	URL string `json:"url"`
	// Milliseconds is how long the last answer took.
	Milliseconds float64 `json:"milliseconds"`
	Error        string  `json:"error,omitempty"`
}

func (a *app) healthCommand() *cobra.Command {
	var flags connect.Flags
	var wait time.Duration
	command := &cobra.Command{
		Use:   "health",
		Short: "Check the health of the server",
		Long: `Asks the server for its health. The server does not check its database for the
answer. Exits with 0 if the server is healthy, with 1 if it reports a problem,
and with 4 if it does not answer or fails.

JSON: {"status": "ok"|"unhealthy"|"failing"|"unreachable", "url",
"milliseconds", "error"}`,
		Example: `  postoffice health --url http://localhost:4000
  postoffice health --wait 30s && postoffice configure all`,
		Args: cobra.NoArgs,
		RunE: func(command *cobra.Command, _ []string) error {
			config, err := flags.Load(command.Flags(), &a.secrets)
			if err != nil {
				return err
			}
			config.Logger = a.logger()
			client, err := connect.NewClient(config)
			if err != nil {
				return err
			}
			defer stop(client)
			return a.health(command.Context(), client, connect.PublicURL(config.URL), wait)
		},
	}
	flags.AddServer(command.Flags())
	command.Flags().DurationVar(&wait, "wait", 0, "how long to wait until the server is healthy")
	return command
}

// health asks until the server is healthy or the time is over.
func (a *app) health(ctx context.Context, client *core.Client, address string, wait time.Duration) error {
	end := time.Now().Add(wait)
	for {
		began := time.Now()
		err := client.Health(ctx)
		took := time.Since(began)
		if err != nil && ctx.Err() != nil {
			return ctx.Err()
		}
		if err == nil || time.Now().Add(healthEvery).After(end) {
			return a.tellHealth(err, address, took)
		}
		select {
		case <-time.After(healthEvery):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

func (a *app) tellHealth(failed error, address string, took time.Duration) error {
	result := healthResult{Status: healthStatus(failed), URL: address, Milliseconds: float64(took.Microseconds()) / 1000}
	if failed != nil {
		result.Error = a.secrets.Text(failed.Error())
	}
	err := a.result(result, func(w io.Writer) {
		_, _ = fmt.Fprintf(w, "%s %s (%v)\n", result.Status, address, took.Round(time.Millisecond/10))
	})
	if failed = exit.Diagnose(failed, address); failed != nil {
		return failed
	}
	return err
}

func healthStatus(err error) string {
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, core.ErrUnhealthy):
		return "unhealthy"
	case errors.As(err, new(*core.ResponseError)):
		return "failing"
	default:
		return "unreachable"
	}
}

// stop stops the client of a command, which has no work left.
func stop(client *core.Client) {
	// Its error would be about messages in memory, and there are none.
	_ = client.Stop(context.Background())
}
