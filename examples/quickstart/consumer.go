package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"time"
)

// consumer is a service to which the server delivers messages.
type consumer struct {
	url      string
	server   *http.Server
	served   chan error
	arrivals chan arrival
}

// arrival is a received message.
type arrival struct {
	topic      string
	payload    string
	attributes map[string]string
}

func startConsumer(ctx context.Context) (*consumer, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	c := &consumer{
		url:      "http://" + listener.Addr().String(),
		server:   &http.Server{ReadHeaderTimeout: 5 * time.Second},
		served:   make(chan error, 1),
		arrivals: make(chan arrival, 100),
	}
	c.server.Handler = http.HandlerFunc(c.receive)
	go func() { c.served <- c.server.Serve(listener) }()
	return c, nil
}

// receive handles a delivery: the payload with the message's attributes under the
// key "attributes". A 2xx answer acknowledges it.
func (c *consumer) receive(w http.ResponseWriter, r *http.Request) {
	var message map[string]json.RawMessage
	a := arrival{topic: r.URL.Path[1:]}
	if err := readJSON(r.Body, &message); err != nil {
		http.Error(w, "not a message", http.StatusBadRequest)
		return
	}
	if err := json.Unmarshal(message["attributes"], &a.attributes); err != nil {
		http.Error(w, "no attributes", http.StatusBadRequest)
		return
	}
	delete(message, "attributes")
	payload, err := json.Marshal(message)
	if err != nil {
		http.Error(w, "not a message", http.StatusBadRequest)
		return
	}
	a.payload = string(payload)
	c.arrivals <- a
	w.WriteHeader(http.StatusNoContent)
}

// expect waits for the messages of the given requests and prints each. A message may
// arrive twice, because messages are delivered at least once.
func (c *consumer) expect(ctx context.Context, say func(string, ...any), requests []string) error {
	missing := map[string]bool{}
	for _, id := range requests {
		missing[id] = true
	}
	for len(missing) > 0 {
		select {
		case a := <-c.arrivals:
			id := a.attributes["request_id"]
			delete(missing, id)
			say("   Arrived: topic %s, payload %s, attributes app=%s request_id=%s", a.topic, a.payload, a.attributes["app"], id)
		case <-ctx.Done():
			return fmt.Errorf("%d of %d messages did not arrive: %w", len(missing), len(requests), ctx.Err())
		}
	}
	return nil
}

func (c *consumer) close() error {
	err := c.server.Close()
	if served := <-c.served; !errors.Is(served, http.ErrServerClosed) {
		err = errors.Join(err, served)
	}
	return err
}

// readJSON reads one JSON value of up to 1 MB.
func readJSON(body io.Reader, value any) error {
	return json.NewDecoder(io.LimitReader(body, 1<<20)).Decode(value)
}
