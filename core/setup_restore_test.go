package core_test

import (
	"bytes"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// losing is a server that can lose all its data.
type losing struct {
	current atomic.Pointer[postofficetest.Server]
	spare   *postofficetest.Server
	// before is called before each request; nil for nothing.
	before func(path string)
}

// newLosing starts a server outside of the bubble of the test.
func newLosing(t *testing.T) *losing {
	t.Helper()
	s := &losing{spare: postofficetest.Start(t)}
	s.current.Store(postofficetest.Start(t))
	return s
}

func (s *losing) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.before != nil {
		s.before(r.URL.Path)
	}
	return s.current.Load().Transport().RoundTrip(r)
}

// lose replaces the server by an empty one.
func (s *losing) lose() *postofficetest.Server {
	s.current.Store(s.spare)
	return s.spare
}

// sink is a consumer whose messages the server keeps.
func sink(topic, name string) core.Consumer {
	return core.Consumer{Topic: topic, Target: name, Type: core.PubSub}
}

// requestsTo counts the requests to a path.
func requestsTo(server *postofficetest.Server, path string) int {
	n := 0
	for _, request := range server.Requests() {
		if request.Path == path {
			n++
		}
	}
	return n
}

func targetsOf(server *postofficetest.Server) []string {
	var targets []string
	for _, consumer := range server.Consumers() {
		targets = append(targets, consumer.Topic+" "+consumer.Target)
	}
	slices.Sort(targets)
	return targets
}

// A server that has lost its data gets the topic and its consumers again before
// the message, whichever way the message goes.
func TestLostTopicIsRestoredWithItsConsumers(t *testing.T) {
	for _, way := range []string{"call", "bulk call", "relay"} {
		t.Run(way, func(t *testing.T) {
			server, store := newLosing(t), memory.New()
			synctest.Test(t, func(t *testing.T) {
				client, _ := bubbleClient(t, server, core.Config{
					Topics: []string{"orders", "bills"}, OriginHost: "http://app.test", Outbox: store,
					Consumers: []core.Consumer{sink("orders", "a"), sink("orders", "b"), sink("bills", "c")},
				})
				require.NoError(t, client.Start(t.Context()))
				_, err := client.Publish(t.Context(), "orders", map[string]int{"n": 0})
				require.NoError(t, err)
				assert.Equal(t, 3, requestsTo(server.current.Load(), "/api/publishers"),
					"none but those of Start")

				empty := server.lose()
				switch way {
				case "call":
					receipt, err := client.Publish(t.Context(), "orders", map[string]int{"n": 1})
					require.NoError(t, err)
					assert.Equal(t, core.Delivered, receipt.State)
				case "bulk call":
					_, err := client.PublishBulk(t.Context(), "orders", []any{map[string]int{"n": 1}, map[string]int{"n": 2}})
					require.NoError(t, err)
				case "relay":
					insertPayloads(t, store, "orders", kinds(20, 0))
					time.Sleep(time.Minute)
					assert.Zero(t, stillStored(t, store))
				}
				assert.NotEmpty(t, empty.MessagesOf("orders"))
				assert.Empty(t, empty.ThrownAway())
				assert.Equal(t, []string{"orders a", "orders b"}, targetsOf(empty))
				time.Sleep(time.Hour)
				assert.Equal(t, 1, requestsTo(empty, "/api/topics"))
				assert.Equal(t, 2, requestsTo(empty, "/api/publishers"))
			})
		})
	}
}

// Messages of other calls that the server gets before the consumers, and discards,
// are sent again.
func TestNoMessageIsLostBetweenTopicAndConsumers(t *testing.T) {
	server := newLosing(t)
	synctest.Test(t, func(t *testing.T) {
		client, _ := bubbleClient(t, server, core.Config{
			Topics: []string{"orders"}, OriginHost: "http://app.test", PostsPerTopic: -1, Consumers: []core.Consumer{sink("orders", "a")},
		})
		require.NoError(t, client.Start(t.Context()))
		empty := server.lose()
		server.before = func(path string) {
			switch path {
			case "/api/messages":
				time.Sleep(10 * time.Millisecond)
			case "/api/publishers":
				time.Sleep(200 * time.Millisecond)
			}
		}
		var calls sync.WaitGroup
		for i := range 20 {
			calls.Go(func() {
				time.Sleep(time.Duration(i) * 10 * time.Millisecond)
				_, err := client.Publish(t.Context(), "orders", map[string]string{"n": fmt.Sprint(i)})
				assert.NoError(t, err)
			})
		}
		calls.Wait()
		kept := map[string]int{}
		for _, message := range empty.MessagesOf("orders") {
			if !message.ThrownAway() {
				kept[string(message.Payload)]++
			}
		}
		assert.NotEmpty(t, empty.ThrownAway(), "before the consumers")
		assert.Len(t, kept, 20)
		for payload, times := range kept {
			assert.Equal(t, 1, times, payload)
		}
		assert.Equal(t, 1, requestsTo(empty, "/api/topics"))
		assert.Equal(t, 1, requestsTo(empty, "/api/publishers"))
	})
}

// A consumer that cannot be restored is retried in the background, once at a
// time, and the message is not sent to be discarded.
func TestConsumerOfALostTopicIsRetried(t *testing.T) {
	server := newLosing(t)
	synctest.Test(t, func(t *testing.T) {
		client, _ := bubbleClient(t, server, core.Config{
			Topics: []string{"orders"}, OriginHost: "http://app.test", Consumers: []core.Consumer{sink("orders", "a")},
		})
		require.NoError(t, client.Start(t.Context()))
		empty := server.lose()
		empty.FailWhen(func(r *http.Request, _ []byte) (int, bool) {
			return http.StatusInternalServerError, r.URL.Path == "/api/publishers"
		})
		_, err := client.Publish(t.Context(), "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrNotAccepted)
		assert.Empty(t, empty.Messages())

		empty.FailWhen(nil)
		time.Sleep(setupRetryMax + time.Second)
		assert.Equal(t, []string{"orders a"}, targetsOf(empty))
		_, err = client.Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		assert.Empty(t, empty.ThrownAway())
		before := requestsTo(empty, "/api/publishers")
		time.Sleep(time.Hour)
		assert.Equal(t, before, requestsTo(empty, "/api/publishers"))
	})
}

// A topic that is lost again while one of its consumers is retried gets the others,
// too.
func TestTopicIsLostAgainWhileAConsumerIsRetried(t *testing.T) {
	server, third := newLosing(t), postofficetest.Start(t)
	synctest.Test(t, func(t *testing.T) {
		client, _ := bubbleClient(t, server, core.Config{
			Topics: []string{"orders"}, OriginHost: "http://app.test", Consumers: []core.Consumer{sink("orders", "a"), sink("orders", "b")},
		})
		require.NoError(t, client.Start(t.Context()))
		second := server.lose()
		second.FailWhen(func(r *http.Request, body []byte) (int, bool) {
			return http.StatusInternalServerError, r.URL.Path == "/api/publishers" && bytes.Contains(body, []byte(`"b"`))
		})
		_, err := client.Publish(t.Context(), "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrNotAccepted)
		time.Sleep(time.Minute)
		assert.Equal(t, []string{"orders a"}, targetsOf(second))

		server.spare = third
		server.lose()
		third.FailWhen(func(r *http.Request, _ []byte) (int, bool) {
			return http.StatusInternalServerError, r.URL.Path == "/api/publishers"
		})
		_, err = client.Publish(t.Context(), "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrNotAccepted)
		third.FailWhen(nil)
		time.Sleep(setupRetryMax + time.Second)
		assert.Equal(t, []string{"orders a", "orders b"}, targetsOf(third))
	})
}

// Consumers that the app has not set up are left alone.
func TestConsumersThatWereNotSetUpAreNotRestored(t *testing.T) {
	server := newLosing(t)
	synctest.Test(t, func(t *testing.T) {
		client, _ := bubbleClient(t, server, core.Config{
			Topics: []string{"orders"}, OriginHost: "http://app.test", Consumers: []core.Consumer{sink("orders", "a")},
		})
		_, err := client.SetupTopics(t.Context())
		require.NoError(t, err)
		empty := server.lose()
		_, err = client.Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		assert.Empty(t, empty.Consumers())
	})
}
