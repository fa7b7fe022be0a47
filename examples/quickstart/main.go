// Command quickstart shows the client in one program: three web apps, a Postoffice
// server, and an outage of it that loses no message.
//
//	go run ./examples/quickstart
//
// It needs nothing but Go. The server is the fake one for tests, and all traffic
// stays on this machine.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// patience is the timeout of the whole program.
const patience = time.Minute

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := run(ctx, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "\nquickstart:", err)
		os.Exit(1) //nolint:gocritic // there is nothing left to cancel
	}
}

// run returns nil only if every message arrived.
func run(ctx context.Context, out io.Writer) (err error) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	directory, err := os.MkdirTemp("", "postoffice-quickstart-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(directory)) }()

	say("1. Starting a Postoffice server and a service that consumes messages.")
	server, err := postofficetest.Listen("127.0.0.1:0", postofficetest.WithRealTime())
	if err != nil {
		return err
	}
	defer server.Close()
	consumer, err := startConsumer(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, consumer.close()) }()
	say("   Postoffice listens at %s, the consumer at %s.", server.URL(), consumer.url)

	say("\n2. Starting three web apps, each with its framework's own middleware.")
	say("   Each creates its topic on the server and registers the consumer for it.")
	var apps []*app
	for _, kind := range kinds {
		a, err := startApp(ctx, kind, server.URL(), consumer.url, filepath.Join(directory, kind.topic+".db"))
		if err != nil {
			return err
		}
		defer func() { err = errors.Join(err, a.stop(context.WithoutCancel(ctx))) }()
		apps = append(apps, a)
		say("   %-8s at %s publishes to the topic %q.", kind.name, a.url, kind.topic)
	}

	say("\n3. Sending each app a request. Its handler publishes a message.")
	first, err := requestAll(ctx, say, apps, "first")
	if err != nil {
		return err
	}
	if err := consumer.expect(ctx, say, first); err != nil {
		return err
	}

	say("\n4. Stopping the server: connections are refused from now on.")
	server.Stop()
	say("   The apps still answer; their messages are stored.")
	var missed []string
	for _, round := range []string{"second", "third"} {
		ids, err := requestAll(ctx, say, apps, round)
		if err != nil {
			return err
		}
		missed = append(missed, ids...)
	}
	waiting := 0
	for _, a := range apps {
		records, err := a.outbox.List(ctx, outbox.Query{})
		if err != nil {
			return err
		}
		say("   The outbox of %s holds:", a.kind.name)
		for _, record := range records {
			say("     %s  topic %s  payload %s", record.ID, record.Topic, record.Payload)
		}
		waiting += len(records)
	}
	if waiting != len(missed) {
		return fmt.Errorf("the outboxes hold %d messages, not %d", waiting, len(missed))
	}

	say("\n5. Starting the server again: the relays deliver the stored messages.")
	if err := server.Restart(); err != nil {
		return err
	}
	if err := consumer.expect(ctx, say, missed); err != nil {
		return err
	}

	say("\n6. Stopping the apps and looking into their outboxes.")
	for _, a := range apps {
		if err := a.client.Stop(ctx); err != nil {
			return err
		}
		stats, err := a.outbox.Stats(ctx)
		if err != nil {
			return err
		}
		if stats.Pending+stats.Dead > 0 {
			return fmt.Errorf("the outbox of %s still holds %d messages", a.kind.name, stats.Pending+stats.Dead)
		}
		say("   The outbox of %s is empty.", a.kind.name)
	}
	say("\nAll %d messages arrived, with an outage in between.", len(first)+len(missed))
	return nil
}

// requestAll sends each app an order and returns the ids of the requests.
func requestAll(ctx context.Context, say func(string, ...any), apps []*app, round string) ([]string, error) {
	var ids []string
	for i, a := range apps {
		id := fmt.Sprintf("%s-%d", round, i+1)
		if err := a.request(ctx, say, id, i+1); err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	return ids, nil
}

// request sends an order to the app, like a browser, and prints the answer.
func (a *app) request(ctx context.Context, say func(string, ...any), id string, number int) error {
	body := fmt.Appendf(nil, `{"number":%d}`, number)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, a.url+"/"+a.kind.topic, bytes.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-Request-Id", id)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return err
	}
	if response.StatusCode != http.StatusAccepted {
		return fmt.Errorf("%s answered %s: %s", a.kind.name, response.Status, answer)
	}
	say("   POST /%s to %s: the message is %s.", a.kind.topic, a.kind.name, answer)
	return nil
}
