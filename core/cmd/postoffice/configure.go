package main

import (
	"context"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/connect"
	"github.com/postoffice-go/postoffice/core/cmd/postoffice/internal/exit"
)

// configureResult is the JSON of configure.
type configureResult struct {
	Topics    []configuredTopic    `json:"topics"`
	Consumers []configuredConsumer `json:"consumers"`
}

type configuredTopic struct {
	Topic string `json:"topic"`
	// Status is "created", "exists" or "failed".
	Status string `json:"status"`
	Error  string `json:"error,omitempty"`
}

type configuredConsumer struct {
	Topic string `json:"topic"`
	// Target has no credentials.
	Target string `json:"target"`
	Type   string `json:"type"`
	Status string `json:"status"`
	Error  string `json:"error,omitempty"`
}

const configureHelp = `
Each is tried even if others fail. What exists already is left unchanged, because
the server never updates it, so running the command again does no harm. A server
that had no inactive consumer when it was started delivers to paused ones until
it is restarted.

JSON: {"topics": [{"topic", "status", "error"}],
"consumers": [{"topic", "target", "type", "status", "error"}]}, where status is
"created", "exists" or "failed"`

func (a *app) configureCommand() *cobra.Command {
	topics := a.setupCommand(&cobra.Command{
		Use:   "topics",
		Short: "Create topics",
		Long:  "Creates the topics of the settings on the server, so that the app can publish.\n" + configureHelp,
		Example: `  postoffice configure topics --settings settings.json
  postoffice configure topics --url http://localhost:4000 --origin-host http://orders:8080 --topic orders`,
	}, true, false)
	consumers := a.setupCommand(&cobra.Command{
		Use:   "consumers",
		Short: "Create consumers",
		Long:  "Creates the consumers of the settings on the server, so that the app receives\nmessages. Their topics must exist.\n" + configureHelp,
		Example: `  postoffice configure consumers --settings settings.json
  postoffice configure consumers --url http://localhost:4000 --consumer orders=http://billing:8080/messages/`,
	}, false, true)
	all := a.setupCommand(&cobra.Command{
		Use:     "all",
		Short:   "Create topics and then consumers",
		Long:    "Creates the topics of the settings on the server, and then the consumers.\n" + configureHelp,
		Example: "  postoffice configure all --settings settings.json",
	}, true, true)
	parent := group("configure", "Create topics and consumers on the server", topics, consumers, all)
	parent.Example = "  postoffice configure all --settings settings.json"
	return parent
}

// setupCommand completes a command that creates topics, consumers or both.
func (a *app) setupCommand(command *cobra.Command, topics, consumers bool) *cobra.Command {
	var flags connect.Flags
	flags.AddServer(command.Flags())
	if topics {
		flags.AddTopics(command.Flags())
	}
	if consumers {
		flags.AddConsumers(command.Flags())
	}
	command.Args = cobra.NoArgs
	command.RunE = func(command *cobra.Command, _ []string) error {
		config, err := flags.Load(command.Flags(), &a.secrets)
		if err != nil {
			return err
		}
		config.Logger = a.logger()
		if !topics {
			config.Topics = nil
		}
		if !consumers {
			config.Consumers = nil
		}
		client, err := connect.NewClient(config)
		if err != nil {
			return err
		}
		defer stop(client)
		return a.configure(command.Context(), client, connect.PublicURL(config.URL))
	}
	return command
}

func (a *app) configure(ctx context.Context, client *core.Client, address string) error {
	report, failed := client.Setup(ctx)
	result := configureResult{Topics: []configuredTopic{}, Consumers: []configuredConsumer{}}
	for _, one := range report.Topics {
		result.Topics = append(result.Topics, configuredTopic{one.Topic, one.Status.String(), a.errorText(one.Err)})
	}
	for _, one := range report.Consumers {
		result.Consumers = append(result.Consumers, configuredConsumer{
			one.Topic, one.Target, string(one.Type), one.Status.String(), a.errorText(one.Err),
		})
	}
	exists := 0
	err := a.result(result, func(w io.Writer) {
		for _, one := range append(report.Topics, report.Consumers...) {
			_, _ = fmt.Fprintf(w, "%-7s  %v\n", one.Status, one)
		}
	})
	for _, one := range append(report.Topics, report.Consumers...) {
		if one.Status == core.SetupExists {
			exists++
		}
	}
	switch all := len(report.Topics) + len(report.Consumers); {
	case all == 0:
		a.say("postoffice: nothing to do: the settings have no topics and no consumers (--topic, --consumer, POSTOFFICE_TOPICS, POSTOFFICE_CONSUMERS, or TOPICS and CONSUMERS in the settings file)")
	case failed != nil:
		return a.configureError(ctx, report, failed, address)
	case exists > 0:
		a.say("postoffice: %d of %d existed already; the server has not changed them", exists, all)
	}
	return err
}

// configureError returns the error of a setup that failed in part or completely.
func (a *app) configureError(ctx context.Context, report core.SetupReport, failed error, address string) error {
	known := exit.Diagnose(report.Failed()[0].Err, address)
	code, hint := exit.CodeOf(ctx, known), hintOf(known)
	if interrupted := exit.OfSignal(ctx); interrupted != exit.OK {
		code, hint = interrupted, ""
	} else if len(report.Failed()) < len(report.Topics)+len(report.Consumers) {
		code = exit.Partly
	}
	return exit.New(code, hint, failed)
}
