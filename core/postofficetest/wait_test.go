package postofficetest_test

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// inBubble runs a test in a bubble of testing/synctest, with a client whose
// requests reach the server without a network.
func inBubble(t *testing.T, test func(t *testing.T, server *postofficetest.Server, client *http.Client), options ...postofficetest.Option) {
	t.Helper()
	server := postofficetest.Start(t, options...)
	addTopic(t, server, "orders")
	synctest.Test(t, func(t *testing.T) {
		test(t, server, &http.Client{Transport: server.Transport()})
	})
}

// message is the body of a message.
func message(topic, payload string) string {
	return `{"topic":"` + topic + `","payload":` + payload + `,"attributes":{"a":"b"}}`
}

// postMessage posts the body of a message with the client.
func postMessage(t *testing.T, server *postofficetest.Server, client *http.Client, body string) int {
	t.Helper()
	return send(t, client, http.MethodPost, server.URL()+wire.MessagePath, "application/json", body).status
}

// TestWaitsEnd has each wait end by itself, after 30 s.
func TestWaitsEnd(t *testing.T) {
	for name, wait := range map[string]func(*postofficetest.Server, context.Context) error{
		"Wait": func(s *postofficetest.Server, ctx context.Context) error {
			return s.Wait(ctx, func() bool { return false })
		},
		"WaitForMessages":   func(s *postofficetest.Server, ctx context.Context) error { return s.WaitForMessages(ctx, "orders", 1) },
		"WaitForDeliveries": func(s *postofficetest.Server, ctx context.Context) error { return s.WaitForDeliveries(ctx, 1) },
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, _ *http.Client) {
				begun := time.Now()
				err := wait(server, t.Context())
				require.ErrorIs(t, err, context.DeadlineExceeded)
				assert.ErrorContains(t, err, "pass a context with a deadline")
				assert.Equal(t, 30*time.Second, time.Since(begun))

				for _, asked := range []time.Duration{time.Second, time.Minute} {
					begun = time.Now()
					ctx, cancel := context.WithTimeout(t.Context(), asked)
					err = wait(server, ctx)
					cancel()
					require.ErrorIs(t, err, context.DeadlineExceeded)
					assert.NotContains(t, err.Error(), "pass a context")
					assert.Equal(t, asked, time.Since(begun))
				}
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(time.Second, cancel)
				require.ErrorIs(t, wait(server, ctx), context.Canceled)
			})
		})
	}
}

// TestWaitForIdleEnds has a consumer that does not answer.
func TestWaitForIdleEnds(t *testing.T) {
	server := postofficetest.Start(t)
	asked, answer := make(chan struct{}), make(chan struct{})
	consumer := newPeer(t, func(http.ResponseWriter, *http.Request) {
		close(asked)
		<-answer
	})
	defer close(answer)
	addTopic(t, server, "orders", consumer.URL)
	publish(t, server, "orders", `{}`)
	<-asked
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	assert.ErrorContains(t, server.WaitIdle(ctx), `in progress: message-id 1 of topic "orders"`)
}

// TestWaitInBubble waits for other goroutines of the bubble.
func TestWaitInBubble(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, client *http.Client) {
		begun := time.Now()
		time.AfterFunc(4*time.Second, func() { postMessage(t, server, client, message("orders", `{}`)) })
		require.NoError(t, server.WaitForMessages(t.Context(), "orders", 1))
		assert.Equal(t, 4*time.Second, time.Since(begun))
		synctest.Wait() // for the answer to the post
	})
}

// TestFollow is not limited.
func TestFollow(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, client *http.Client) {
		time.AfterFunc(time.Hour, func() { postMessage(t, server, client, message("orders", `{}`)) })
		require.NoError(t, server.Operator().Follow(t.Context(), func() bool { return len(server.Messages()) == 1 }))
		synctest.Wait() // for the answer to the post
	})
}

// TestWaitSaysWhatArrived has errors that help, without payloads.
func TestWaitSaysWhatArrived(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, client *http.Client) {
		err := server.WaitForMessages(t.Context(), "orders", 2)
		assert.ErrorContains(t, err, `waiting for 2 messages of topic "orders", have 0: context deadline exceeded after 30s`)
		assert.ErrorContains(t, err, "messages: none; last of 0 requests: none")

		addTopic(t, server, "bills")
		assert.Equal(t, 201, postMessage(t, server, client, message("bills", `{"hush":1}`)))
		assert.Equal(t, 400, postMessage(t, server, client, message("ordres", `{"hush":1}`)))
		server.FailNext(1, 503)
		assert.Equal(t, 503, send(t, client, http.MethodGet, server.URL()+wire.HealthPath+"?hush", "", "").status)
		err = server.WaitForMessages(t.Context(), "orders", 2)
		assert.ErrorContains(t, err, `messages: 1 of "bills"; last of 3 requests: `+
			`GET /api/health: 503, POST /api/messages: 400, POST /api/messages: 201`)
		assert.NotContains(t, err.Error(), "hush")

		server.Hang()
		ctx, cancel := context.WithCancel(t.Context())
		gone := make(chan struct{})
		go func() {
			defer close(gone)
			request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL()+wire.BulkPath, nil)
			assert.NoError(t, err)
			_, err = client.Do(request) //nolint:bodyclose // there is no answer
			assert.ErrorIs(t, err, context.Canceled)
		}()
		assert.ErrorContains(t, server.WaitForMessages(t.Context(), "", 2), "POST /api/bulk_messages: unanswered")
		cancel()
		<-gone
	})
}

// TestWaitErrorsAreBounded has more and longer names than fit.
func TestWaitErrorsAreBounded(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, client *http.Client) {
		for i := range 100 {
			name := strings.Repeat("n", 200) + strconv.Itoa(i)
			addTopic(t, server, name, "http://127.0.0.1:9/"+strings.Repeat("t", 200)+strconv.Itoa(i))
			_, err := server.AddConsumer(postofficetest.Consumer{Topic: name, Target: "sink", Type: postofficetest.TypePubSub})
			require.NoError(t, err)
			assert.Equal(t, 201, postMessage(t, server, client, message(name, `{}`)))
		}
		err := server.WaitForMessages(t.Context(), strings.Repeat("n", 10_000), 1)
		assert.ErrorContains(t, err, "and 95 more; last of 100 requests: ")
		assert.Less(t, len(err.Error()), 2000)
	}, postofficetest.WithSecond(0)) // deliveries end at once
}

// TestWaitForDeliveriesSaysWhy tells what became of deliveries, and what the
// next ones wait for.
func TestWaitForDeliveriesSaysWhy(t *testing.T) {
	server := postofficetest.Start(t)
	consumer := newPeer(t, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(418) })
	addTopic(t, server, "lonely")
	addTopic(t, server, "orders", strings.Replace(consumer.URL, "http://", "http://user:hush@", 1))
	publish(t, server, "lonely", `{}`)
	publish(t, server, "orders", `{}`)
	require.NoError(t, server.WaitForDeliveries(limited(t), 1))
	require.NoError(t, server.WaitIdle(limited(t)))
	ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	err := server.WaitForDeliveries(ctx, 2)
	assert.ErrorContains(t, err, "waiting for 2 deliveries, have 1: context deadline exceeded; "+
		"last attempts: message-id 1 to "+consumer.URL+": 418; "+
		"in progress: none; 1 wait for the clock, the next one for 16s; 1 messages had no consumer")
	assert.NotContains(t, err.Error(), "hush")
}
