package core_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"time"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

type order struct {
	ID    int    `json:"id"`
	Total string `json:"total"` // an exact decimal travels as text
}

// exampleServer makes a fake server that knows a topic, and a consumer to which
// it sends nothing.
func exampleServer(topic string) *postofficetest.Server {
	server := postofficetest.NewServer()
	if err := server.AddTopic(postofficetest.Topic{Name: topic, OriginHost: "http://app.test/"}); err != nil {
		panic(err)
	}
	if _, err := server.AddConsumer(postofficetest.Consumer{Topic: topic, Target: "sink", Type: postofficetest.TypePubSub}); err != nil {
		panic(err)
	}
	return server
}

// quiet is a logger that discards everything.
var quiet = slog.New(slog.DiscardHandler)

func Example() {
	ctx := context.Background()
	server := postofficetest.NewServer()
	defer server.Close()

	client, err := core.NewClient(core.Config{
		URL:        server.URL(),
		Topics:     []string{"orders"},
		Consumers:  []core.Consumer{{Topic: "orders", Target: "http://127.0.0.1:9/orders", Paused: true}},
		OriginHost: "http://user:secret@app.test",
		Outbox:     memory.New(),
		Logger:     quiet,
	})
	if err != nil {
		panic(err)
	}
	if err := client.Start(ctx); err != nil {
		panic(err)
	}
	receipt, err := client.Publish(ctx, "orders", order{ID: 7, Total: "19.90"}, core.WithAttribute("region", "north"))
	if err != nil {
		panic(err)
	}
	fmt.Println(receipt.State, "to", len(receipt.Jobs), "consumer")
	fmt.Println(string(server.MessagesOf("orders")[0].Payload))
	if err := client.Stop(ctx); err != nil {
		panic(err)
	}
	// Output:
	// delivered to 1 consumer
	// {"id":7,"total":"19.90"}
}

func ExampleClient_Publish_outage() {
	ctx := context.Background()
	server := exampleServer("orders")
	defer server.Close()
	store := memory.New()
	client, err := core.NewClient(core.Config{URL: server.URL(), Outbox: store, Logger: quiet})
	if err != nil {
		panic(err)
	}
	server.Stop()
	receipt, err := client.Publish(ctx, "orders", order{ID: 7})
	fmt.Println(receipt.State, err)

	if err := server.Restart(); err != nil {
		panic(err)
	}
	if err := client.Start(ctx); err != nil { // the relay delivers what is stored
		panic(err)
	}
	if err := server.WaitForMessages(ctx, "orders", 1); err != nil {
		panic(err)
	}
	fmt.Println(string(server.MessagesOf("orders")[0].Payload))
	if err := client.Stop(ctx); err != nil {
		panic(err)
	}
	stats, err := store.Stats(ctx)
	fmt.Println("left in the outbox:", stats.Pending, err)
	// Output:
	// stored <nil>
	// {"id":7,"total":""}
	// left in the outbox: 0 <nil>
}

func ExampleClient_PublishBulk() {
	ctx := context.Background()
	server := exampleServer("orders")
	defer server.Close()
	client, err := core.NewClient(core.Config{URL: server.URL(), Logger: quiet})
	if err != nil {
		panic(err)
	}
	orders := []order{{ID: 1, Total: "1.50"}, {ID: 2, Total: "2.50"}}
	receipt, err := client.PublishBulk(ctx, "orders", core.Payloads(orders))
	fmt.Println(receipt.State, err)
	fmt.Println(len(server.MessagesOf("orders")), "messages in", len(server.Requests()), "request")
	// Output:
	// delivered <nil>
	// 2 messages in 1 request
}

func ExampleDeliverIn() {
	ctx := context.Background()
	server := exampleServer("reminders")
	defer server.Close()
	client, err := core.NewClient(core.Config{URL: server.URL(), Logger: quiet})
	if err != nil {
		panic(err)
	}
	_, err = client.Publish(ctx, "reminders", map[string]any{"text": "pay the bill"}, core.DeliverIn(30*time.Minute))
	message := server.MessagesOf("reminders")[0]
	fmt.Println(message.Via, time.Until(message.DeliverAt).Round(time.Minute), err)
	// Output: scheduled 30m0s <nil>
}

func ExampleClient_Publish_invalid() {
	client, err := core.NewClient(core.Config{URL: "http://127.0.0.1:4000"})
	if err != nil {
		panic(err)
	}
	_, err = client.Publish(context.Background(), "orders", []order{{ID: 1}, {ID: 2}})
	fmt.Println(errors.Is(err, core.ErrInvalidMessage))
	var field *core.FieldError
	if errors.As(err, &field) {
		fmt.Println(field.Field)
	}
	// Output:
	// true
	// payload
}

func ExampleClient_Setup() {
	ctx := context.Background()
	server := postofficetest.NewServer()
	defer server.Close()
	client, err := core.NewClient(core.Config{
		URL:        server.URL(),
		Topics:     []string{"orders"},
		OriginHost: "http://user:secret@app.test",
		Consumers: []core.Consumer{
			{Topic: "orders", Target: "http://127.0.0.1:9/orders"},
			{Topic: "bills", Target: "http://127.0.0.1:9/bills"}, // another app's topic, not there yet
		},
		Logger: quiet,
	})
	if err != nil {
		panic(err)
	}
	report, err := client.Setup(ctx)
	for _, result := range append(report.Topics, report.Consumers...) {
		fmt.Println(result, "-", result.Status)
	}
	fmt.Println(err)
	// Output:
	// topic "orders" - created
	// http consumer "http://127.0.0.1:9/orders" of topic "orders" - created
	// http consumer "http://127.0.0.1:9/bills" of topic "bills" - failed
	// postoffice: setup: http consumer "http://127.0.0.1:9/bills" of topic "bills": the topic does not exist yet (its publisher creates it, or list it in Topics): server answered 400 for topic "bills": topic is invalid
}

func ExampleClient_RecoveryHandler() {
	client, err := core.NewClient(core.Config{
		URL:        "http://127.0.0.1:4000",
		OriginHost: "http://user:secret@app.test",
		Outbox:     memory.New(),
	})
	if err != nil {
		panic(err)
	}
	mux := http.NewServeMux()
	mux.Handle(core.DefaultRecoveryPath, client.RecoveryHandler())
	server := httptest.NewServer(mux)
	defer server.Close()
	answer, err := http.Get(server.URL + core.DefaultRecoveryPath)
	if err != nil {
		panic(err)
	}
	defer func() { _ = answer.Body.Close() }()
	fmt.Println(answer.Status)
	// Output: 401 Unauthorized
}

func ExampleObserver() {
	ctx := context.Background()
	server := postofficetest.NewServer()
	defer server.Close()
	if err := server.AddTopic(postofficetest.Topic{Name: "orders", OriginHost: "http://app.test/"}); err != nil {
		panic(err)
	}
	client, err := core.NewClient(core.Config{URL: server.URL(), Logger: quiet, Observer: core.Observer{
		NoConsumer: func(e core.Event) { fmt.Printf("%d message of %s went to nobody\n", e.Messages, e.Topic) },
	}})
	if err != nil {
		panic(err)
	}
	_, err = client.Publish(ctx, "orders", order{ID: 7})
	fmt.Println(err)
	// Output:
	// 1 message of orders went to nobody
	// <nil>
}

// A store of your own implements outbox.Store.
var _ outbox.Store = (*memory.Store)(nil)
