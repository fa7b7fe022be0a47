package delivery_test

import (
	"context"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// system is a Postoffice server, an app that consumes orders, and a client.
type system struct {
	server *postofficetest.Server
	client *core.Client
}

// start starts a system whose app handles orders with a function, guarded by
// credentials.
func start(t *testing.T, handle func(context.Context, delivery.Message[order]) error, options []delivery.Option, serverOptions ...postofficetest.Option) system {
	t.Helper()
	server := postofficetest.Start(t, serverOptions...)
	mux := http.NewServeMux()
	target, err := url.Parse(serve(t, mux))
	require.NoError(t, err)
	target.User = url.UserPassword("us@er", "p:ss/w%rd")
	target.Path = "/consume/orders"
	orders := core.Consumer{Topic: "orders", Target: target.String()}
	mux.Handle("/consume/orders", delivery.Handler(handle, append([]delivery.Option{quiet(), delivery.WithConsumer(orders)}, options...)...))
	client := postofficetest.NewClient(t, server, core.Config{
		Topics: []string{"orders"}, Consumers: []core.Consumer{orders}, Logger: slog.New(slog.DiscardHandler), Timeout: patience,
	})
	return system{server, client}
}

// publish publishes an order.
func (s system) publish(t *testing.T, id int, options ...core.PublishOption) {
	t.Helper()
	_, err := s.client.Publish(t.Context(), "orders", order{ID: id}, options...)
	require.NoError(t, err)
}

// deliver waits until the server has made n attempts in all.
func (s system) deliver(t *testing.T, n int) []postofficetest.Delivery {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	require.NoError(t, s.server.WaitForDeliveries(ctx, n))
	require.NoError(t, s.server.WaitIdle(ctx))
	made := s.server.Deliveries()
	require.Len(t, made, n)
	return made
}

// statuses are the statuses of deliveries.
func statuses(made []postofficetest.Delivery) (list []int) {
	for _, delivery := range made {
		list = append(list, delivery.Status)
	}
	return list
}

// TestServerRetries has the function fail twice: the server delivers again,
// with the same id, until it succeeds.
func TestServerRetries(t *testing.T) {
	var mu sync.Mutex
	var seen []delivery.Message[order]
	s := start(t, func(_ context.Context, m delivery.Message[order]) error {
		mu.Lock()
		defer mu.Unlock()
		seen = append(seen, m)
		if len(seen) < 3 {
			return errBroken
		}
		return nil
	}, []delivery.Option{delivery.WithDeduplication(newMemory(t, 0))})
	s.publish(t, 7, core.WithAttribute("region", "north"))
	for attempts := 1; attempts <= 3; attempts++ {
		s.deliver(t, attempts)
		s.server.Advance(20 * time.Second)
	}
	s.server.Advance(24 * time.Hour)
	assert.Equal(t, []int{500, 500, 204}, statuses(s.deliver(t, 3)))
	require.Len(t, seen, 3)
	for _, m := range seen {
		assert.Equal(t, order{ID: 7}, m.Payload)
		assert.Equal(t, "orders", m.Topic)
		assert.Equal(t, "north", m.Attributes["region"])
		assert.Equal(t, seen[0].ID, m.ID)
	}
}

// TestServerKeepsWhatCannotBeDecoded has a message come that does not fit: it
// is delivered when the consumer was mended.
func TestServerKeepsWhatCannotBeDecoded(t *testing.T) {
	var reported problems
	s := start(t, func(context.Context, delivery.Message[order]) error { return nil },
		[]delivery.Option{delivery.WithOnError(reported.add)})
	_, err := s.client.Publish(t.Context(), "orders", map[string]string{"id": "seven"})
	require.NoError(t, err)
	s.publish(t, 8)
	s.deliver(t, 2)
	s.server.Advance(20 * time.Second)
	assert.ElementsMatch(t, []int{400, 400, 204}, statuses(s.deliver(t, 3)), "the other one is not held back")
	assert.Len(t, reported.take(), 2)
}

// TestCopiesByThePublisher has a message come twice with different ids of the
// server, as by recovery.
func TestCopiesByThePublisher(t *testing.T) {
	runs := make(chan string, 10)
	s := start(t, func(_ context.Context, m delivery.Message[order]) error {
		runs <- m.ID
		return nil
	}, []delivery.Option{delivery.WithDeduplication(newMemory(t, 0))})
	s.publish(t, 7, core.WithAttribute(core.MessageIDAttribute, "the same"))
	s.deliver(t, 1)
	s.publish(t, 7, core.WithAttribute(core.MessageIDAttribute, "the same"))
	made := s.deliver(t, 2)
	assert.Equal(t, []int{204, 204}, statuses(made))
	assert.NotEqual(t, made[0].JobID, made[1].JobID)
	assert.Len(t, runs, 1)
	for range 2 {
		s.publish(t, 7, core.WithMessageID())
	}
	s.deliver(t, 4)
	assert.Len(t, runs, 3, "messages of their own")
}

// TestSlowerThanTheServerWaits has a function that succeeds when the server
// has given up: the retry finds that it did.
func TestSlowerThanTheServerWaits(t *testing.T) {
	gaveUp := make(chan struct{})
	runs := make(chan struct{}, 10)
	s := start(t, func(ctx context.Context, _ delivery.Message[order]) error {
		runs <- struct{}{}
		<-ctx.Done()
		close(gaveUp)
		return nil
	}, []delivery.Option{delivery.WithDeduplication(newMemory(t, 0))}, postofficetest.WithSecond(20*time.Millisecond))
	s.publish(t, 7)
	made := s.deliver(t, 1)
	require.Error(t, made[0].Err)
	await(t, gaveUp, "the context to end")
	require.Eventually(t, func() bool {
		s.server.Advance(time.Hour)
		require.NoError(t, s.server.WaitIdle(t.Context()))
		made = s.server.Deliveries()
		return made[len(made)-1].Status == 204
	}, patience, time.Millisecond)
	assert.Len(t, runs, 1)
}

// TestServerWithoutTheCredentials has the server present wrong ones.
func TestServerWithoutTheCredentials(t *testing.T) {
	s := start(t, func(context.Context, delivery.Message[order]) error { return nil }, nil)
	for _, consumer := range s.server.Consumers() {
		consumer.Target = strings.Replace(consumer.Target, "us%40er", "user", 1)
		_, err := s.server.AddConsumer(consumer)
		require.NoError(t, err)
	}
	s.publish(t, 7)
	assert.ElementsMatch(t, []int{204, 401}, statuses(s.deliver(t, 2)))
}
