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
Each is tried though others fail. What exists is fine, and stays as it is: the
server updates nothing, whatever is configured here. Running it again does no
harm. A server that knew no inactive consumer when it was started delivers to
paused ones at once, until it is restarted.

JSON: {"topics": [{"topic", "status", "error"}],
"consumers": [{"topic", "target", "type", "status", "error"}]}, where status is
"created", "exists" or "failed"`

func (a *app) configureCommand() *cobra.Command {
	topics := a.setupCommand(&cobra.Command{
		Use:   "topics",
		Short: "Create the topics",
		Long:  "Creates the topics of the settings at the server, so that the app can publish.\n" + configureHelp,
		Example: `  postoffice configure topics --settings settings.json
  postoffice configure topics --url http://localhost:4000 --origin-host http://orders:8080 --topic orders`,
	}, true, false)
	consumers := a.setupCommand(&cobra.Command{
		Use:   "consumers",
		Short: "Register the consumers",
		Long:  "Registers the consumers of the settings at the server, so that the app receives.\nTheir topics must exist.\n" + configureHelp,
		Example: `  postoffice configure consumers --settings settings.json
  postoffice configure consumers --url http://localhost:4000 --consumer orders=http://billing:8080/messages/`,
	}, false, true)
	all := a.setupCommand(&cobra.Command{
		Use:     "all",
		Short:   "Create the topics, then register the consumers",
		Long:    "Creates the topics of the settings at the server, and then registers the\nconsumers.\n" + configureHelp,
		Example: "  postoffice configure all --settings settings.json",
	}, true, true)
	parent := group("configure", "Create topics and consumers at the server", topics, consumers, all)
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
		a.say("postoffice: nothing to do: the settings name no topics and consumers (--topic, --consumer, POSTOFFICE_TOPICS, POSTOFFICE_CONSUMERS, or TOPICS and CONSUMERS in the settings file)")
	case failed != nil:
		return a.configureError(ctx, report, failed, address)
	case exists > 0:
		a.say("postoffice: %d of %d existed already; the server has updated nothing about them", exists, all)
	}
	return err
}

// configureError makes the error of a setup of which something failed.
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
