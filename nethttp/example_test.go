package nethttp_test

import (
	"context"
	"fmt"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/postofficetest"
	"github.com/postoffice-go/postoffice/nethttp"
)

func Example() {
	postoffice := postofficetest.NewServer() // instead of a real server
	defer postoffice.Close()

	client, err := core.NewClient(core.Config{
		URL:        postoffice.URL(),
		Topics:     []string{"orders"},
		OriginHost: "http://user:secret@orders:8080",
	})
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = client.Stop(context.Background()) }()

	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		order := map[string]string{"id": r.PathValue("id")}
		receipt, err := nethttp.FromRequest(r).Publish(r.Context(), "orders", order)
		if err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
		fmt.Println("order", order["id"], "is", receipt.State)
		w.WriteHeader(http.StatusAccepted)
	})
	server := &http.Server{Addr: ":8080", Handler: mux}
	err = nethttp.Register(server, client, nethttp.Options{
		Attributes: func(r *http.Request) map[string]any {
			return map[string]any{"request_id": r.Header.Get("X-Request-Id")}
		},
	})
	if err != nil {
		log.Fatal(err)
	}

	request := httptest.NewRequest(http.MethodPost, "/orders/7", strings.NewReader(""))
	request.Header.Set("X-Request-Id", "r-1")
	response := httptest.NewRecorder()
	server.Handler.ServeHTTP(response, request) // instead of server.ListenAndServe()
	fmt.Println(response.Code)
	for _, message := range postoffice.MessagesOf("orders") {
		fmt.Println(string(message.Payload), string(message.Attributes))
	}
	// Output:
	// order 7 is delivered
	// 202
	// {"id":"7"} {"request_id":"r-1"}
}

// Messages are posted after the response, and the ones of failed requests are
// dropped.
func Example_afterResponse() {
	postoffice := postofficetest.NewServer() // instead of a real server
	defer postoffice.Close()

	client, err := core.NewClient(core.Config{
		URL:        postoffice.URL(),
		Topics:     []string{"orders"},
		OriginHost: "http://user:secret@orders:8080",
		Observer: core.Observer{
			Discarded: func(event core.Event) { fmt.Println("dropped", event.Messages, "of", event.Topic) },
		},
	})
	if err != nil {
		log.Fatal(err)
	}

	mux := http.NewServeMux()
	mux.HandleFunc("POST /orders/{id}", func(w http.ResponseWriter, r *http.Request) {
		order := map[string]string{"id": r.PathValue("id")}
		receipt, err := nethttp.FromRequest(r).Publish(r.Context(), "orders", order)
		if err != nil {
			http.Error(w, "try again later", http.StatusServiceUnavailable)
			return
		}
		fmt.Println("order", order["id"], "is", receipt.State)
		if order["id"] == "8" { // the database has failed, for instance
			http.Error(w, "try again later", http.StatusInternalServerError)
			return
		}
		w.WriteHeader(http.StatusAccepted)
	})
	server := &http.Server{Addr: ":8080", Handler: mux}
	err = nethttp.Register(server, client, nethttp.Options{
		AfterResponse: core.Memory,
		FlushOn:       core.Succeeded,
	})
	if err != nil {
		log.Fatal(err)
	}

	for _, path := range []string{"/orders/7", "/orders/8"} {
		response := httptest.NewRecorder()
		server.Handler.ServeHTTP(response, httptest.NewRequest(http.MethodPost, path, nil)) // instead of server.ListenAndServe()
		fmt.Println(response.Code)
	}
	if err := client.Stop(context.Background()); err != nil { // posts what waits
		log.Fatal(err)
	}
	for _, message := range postoffice.MessagesOf("orders") {
		fmt.Println(string(message.Payload))
	}
	// Output:
	// order 7 is held
	// 202
	// order 8 is held
	// dropped 1 of orders
	// 500
	// {"id":"7"}
}
