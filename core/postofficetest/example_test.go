package postofficetest_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func Example() {
	server := postofficetest.NewServer() // in a test: postofficetest.Start(t)
	defer server.Close()

	// A consumer that is down at first.
	down := true
	consumer := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Println("consumer receives", string(body))
		if down {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		down = false
	}))
	defer consumer.Close()

	_ = server.AddTopic(postofficetest.Topic{Name: "orders", OriginHost: "http://localhost/"})
	_, _ = server.AddConsumer(postofficetest.Consumer{Topic: "orders", Target: consumer.URL})

	// The code under test publishes.
	publishOrder(server.URL())
	fmt.Println("accepted", len(server.MessagesOf("orders")))

	// The first delivery goes out at once, the retry when the clock says so.
	_ = server.WaitForDeliveries(context.Background(), 1)
	server.Advance(time.Minute)
	for _, delivery := range server.Deliveries() {
		fmt.Println("attempt", delivery.Attempt, "answered", delivery.Status)
	}

	// Unordered output:
	// accepted 1
	// consumer receives {"order":17,"attributes":{"kind":"new"}}
	// consumer receives {"order":17,"attributes":{"kind":"new"}}
	// attempt 1 answered 503
	// attempt 2 answered 200
}

// A test of an app, and what the server has got from it.
func ExampleNewClient() {
	t := &testing.T{} // the argument of a test; nothing is cleaned up in this example

	server := postofficetest.Start(t)
	defer server.Close()
	client := postofficetest.NewClient(t, server, core.Config{
		Topics: []string{"orders"},
		Outbox: memory.New(),
		Logger: slog.New(slog.DiscardHandler),
	})
	defer func() { _ = client.Stop(context.Background()) }()

	server.FailNext(1, http.StatusInternalServerError)
	receipt, err := client.Publish(context.Background(), "orders", map[string]int{"id": 7})
	fmt.Println(receipt.State, err)
	if err := server.WaitForMessages(context.Background(), "orders", 1); err != nil { // 30 s at most
		fmt.Println(err)
	}
	fmt.Println(string(server.MessagesOf("orders")[0].Payload))
	// Output:
	// stored <nil>
	// {"id":7}
}

// publishOrder stands for the code under test.
func publishOrder(url string) {
	request, err := http.NewRequestWithContext(context.Background(), http.MethodPost, url+"/api/messages",
		strings.NewReader(`{"topic":"orders","payload":{"order":17},"attributes":{"kind":"new"}}`))
	if err != nil {
		panic(err)
	}
	request.Header.Set("Content-Type", "application/json")
	request.Close = true
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		panic(err)
	}
	_ = response.Body.Close()
}
