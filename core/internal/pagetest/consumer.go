package pagetest

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// Consumer receives messages.
type Consumer struct {
	*httptest.Server
	Status atomic.Int32 // of the response

	mu       sync.Mutex
	received []Received
}

// Received is a message that a consumer received: its id and its body.
type Received struct{ ID, Body string }

// NewConsumer starts a consumer that ends with the test.
func NewConsumer(tb testing.TB, status int) *Consumer {
	tb.Helper()
	c := &Consumer{}
	c.Status.Store(int32(status))
	c.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		c.mu.Lock()
		c.received = append(c.received, Received{r.Header.Get(wire.MessageIDHeader), string(body)})
		c.mu.Unlock()
		w.WriteHeader(int(c.Status.Load()))
	}))
	tb.Cleanup(c.Close)
	return c
}

// Received returns the received messages.
func (c *Consumer) Received() []Received {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.received)
}

// IDs returns the ids of the received messages.
func (c *Consumer) IDs() []string {
	var ids []string
	for _, message := range c.Received() {
		ids = append(ids, message.ID)
	}
	return ids
}
