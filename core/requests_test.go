package core_test

import (
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/h2non/gock"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

const (
	testServer   = "http://postoffice.test:4000"
	messageReply = `{"id":[12,11]}`
)

// mocked makes a client whose requests gock answers.
func mocked(t *testing.T, config core.Config) *core.Client {
	t.Helper()
	config.HTTPClient = &http.Client{}
	gock.InterceptClient(config.HTTPClient)
	t.Cleanup(func() {
		assert.True(t, gock.IsDone(), "requests that were expected did not come: %v", gock.Pending())
		gock.RestoreClient(config.HTTPClient)
		gock.Off()
	})
	if config.URL == "" {
		config.URL = testServer
	}
	return newTestClient(t, config)
}

func TestPublishSendsTheMessage(t *testing.T) {
	gock.New(testServer).Post("/api/messages").
		MatchHeader("Content-Type", "application/json").
		MatchHeader("Accept", "^application/json$").
		MatchHeader("User-Agent", "^postoffice-go$").
		JSON(map[string]any{
			"topic":      "orders",
			"payload":    map[string]any{"id": 7},
			"attributes": map[string]any{"region": "north", "urgent": "true"},
		}).
		AddMatcher(func(r *http.Request, _ *gock.Request) (bool, error) { return r.Header.Get("Authorization") == "", nil }).
		Reply(201).BodyString(messageReply)
	client := mocked(t, core.Config{})

	receipt, err := client.Publish(t.Context(), "orders", map[string]any{"id": 7},
		core.WithAttributes(map[string]any{"region": "south", "urgent": true}), core.WithAttribute("region", "north"))
	require.NoError(t, err)
	assert.Equal(t, core.Receipt{State: core.Delivered, Jobs: []int64{12, 11}}, receipt)
}

func TestPublishBulkSendsPayloadsInOrder(t *testing.T) {
	gock.New(testServer).Post("/api/bulk_messages").
		JSON(map[string]any{"topic": "orders", "payload": []any{map[string]any{"id": 1}, map[string]any{"id": 2}}, "attributes": map[string]any{}}).
		Reply(201).BodyString(`{"result":[4,3]}`)
	client := mocked(t, core.Config{})

	receipt, err := client.PublishBulk(t.Context(), "orders", core.Payloads([]map[string]int{{"id": 1}, {"id": 2}}))
	require.NoError(t, err)
	assert.Equal(t, core.Receipt{State: core.Delivered, Jobs: []int64{4, 3}}, receipt)
}

func TestDeliverAtSchedules(t *testing.T) {
	at := time.Date(2126, 1, 2, 3, 4, 5, 123456789, time.FixedZone("", 2*60*60))
	gock.New(testServer).Post("/api/schedule_messages").
		JSON(map[string]any{"topic": "orders", "payload": map[string]any{}, "attributes": map[string]any{}, "schedule_at": "2126-01-02T01:04:05.123457Z"}).
		Reply(201).BodyString(messageReply)
	client := mocked(t, core.Config{})
	_, err := client.Publish(t.Context(), "orders", struct{}{}, core.DeliverAt(at))
	require.NoError(t, err)
}

func TestURLPathAndCredentialsAreKept(t *testing.T) {
	gock.New(testServer).Post("/proxy/postoffice/api/messages").
		BasicAuth("us@er", "p:ss/w%rd").
		Reply(201).BodyString(messageReply)
	client := mocked(t, core.Config{URL: "http://us%40er:p%3Ass%2Fw%25rd@postoffice.test:4000/proxy/postoffice/"})
	_, err := client.Publish(t.Context(), "orders", struct{}{})
	require.NoError(t, err)
}

func TestCredentialsDoNotShowInErrors(t *testing.T) {
	client := newTestClient(t, core.Config{
		URL: "http://hermes:caduceus@127.0.0.1:9",
		HTTPClient: &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
			return nil, errors.New("dial " + r.URL.String())
		})},
	})
	_, err := client.Publish(t.Context(), "orders", map[string]string{"card": "4111"})
	require.ErrorIs(t, err, core.ErrNotAccepted)
	for _, secret := range []string{"hermes", "caduceus", "4111"} {
		assert.NotContains(t, err.Error(), secret)
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	gock.New(testServer).Post("/api/messages").Reply(302).SetHeader("Location", testServer+"/elsewhere")
	client := mocked(t, core.Config{})
	_, err := client.Publish(t.Context(), "orders", struct{}{})
	require.ErrorIs(t, err, core.ErrNotAccepted)
	response, ok := errors.AsType[*core.ResponseError](err)
	require.True(t, ok)
	assert.Equal(t, 302, response.StatusCode)
}

func TestOnly201IsAcceptance(t *testing.T) {
	for _, status := range []int{200, 202, 204} {
		gock.New(testServer).Post("/api/messages").Reply(status).BodyString(messageReply)
		client := mocked(t, core.Config{})
		_, err := client.Publish(t.Context(), "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrNotAccepted, "status %d", status)
		gock.Off()
	}
}

func TestAcceptedMessageNeedsNoReadableBody(t *testing.T) {
	gock.New(testServer).Post("/api/messages").Reply(201).BodyString("<html>")
	var seen events
	client := mocked(t, core.Config{Observer: seen.observer()})
	receipt, err := client.Publish(t.Context(), "orders", struct{}{})
	require.NoError(t, err)
	assert.Nil(t, receipt.Jobs)
	assert.Len(t, seen.of("delivered"), 1)
	assert.Empty(t, seen.of("no consumer"), "nothing is known of the consumers")
}

func TestOneQuickRetry(t *testing.T) {
	t.Run("helps", func(t *testing.T) {
		gock.New(testServer).Post("/api/messages").Reply(503)
		gock.New(testServer).Post("/api/messages").JSON(map[string]any{"topic": "orders", "payload": map[string]any{"id": 1}, "attributes": map[string]any{}}).
			Reply(201).BodyString(messageReply)
		client := mocked(t, core.Config{})
		_, err := client.Publish(t.Context(), "orders", map[string]int{"id": 1})
		require.NoError(t, err)
	})
	t.Run("is the only one", func(t *testing.T) {
		gock.New(testServer).Post("/api/messages").Times(2).Reply(502)
		client := mocked(t, core.Config{})
		_, err := client.Publish(t.Context(), "orders", struct{}{})
		response, ok := errors.AsType[*core.ResponseError](err)
		require.True(t, ok, "%v", err)
		assert.Equal(t, 502, response.StatusCode)
	})
	t.Run("does not come for what will not pass", func(t *testing.T) {
		for _, status := range []int{400, 401, 404, 408, 413, 429, 500} {
			gock.New(testServer).Post("/api/messages").Reply(status)
			client := mocked(t, core.Config{})
			_, err := client.Publish(t.Context(), "orders", struct{}{})
			response, ok := errors.AsType[*core.ResponseError](err)
			require.True(t, ok, "%v", err)
			assert.Equal(t, status, response.StatusCode)
			assert.True(t, gock.IsDone())
		}
	})
}

func TestQuickRetryStaysWithinTheTimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tries atomic.Int32
		client := newTestClient(t, core.Config{
			URL: testServer,
			HTTPClient: &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
				if tries.Add(1) == 1 {
					return &http.Response{StatusCode: 503, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
				}
				<-r.Context().Done()
				return nil, r.Context().Err()
			})},
		})
		start := time.Now()
		_, err := client.Publish(t.Context(), "orders", struct{}{})
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, core.DefaultTimeout, time.Since(start))
		assert.EqualValues(t, 2, tries.Load())
	})
}

func TestTimeouts(t *testing.T) {
	hang := &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
		<-r.Context().Done()
		return nil, r.Context().Err()
	})}
	payloads := []any{struct{}{}, struct{}{}}
	for name, test := range map[string]struct {
		config core.Config
		call   func(context.Context, *core.Client) error
		want   time.Duration
	}{
		"Publish": {core.Config{}, func(ctx context.Context, c *core.Client) error {
			_, err := c.Publish(ctx, "orders", struct{}{})
			return err
		}, 500 * time.Millisecond},
		"Publish, configured": {core.Config{Timeout: 3 * time.Second}, func(ctx context.Context, c *core.Client) error {
			_, err := c.Publish(ctx, "orders", struct{}{})
			return err
		}, 3 * time.Second},
		"Publish, with a deadline": {core.Config{}, func(ctx context.Context, c *core.Client) error {
			ctx, cancel := context.WithTimeout(ctx, 20*time.Millisecond)
			defer cancel()
			_, err := c.Publish(ctx, "orders", struct{}{})
			return err
		}, 20 * time.Millisecond},
		"PublishBulk": {core.Config{}, func(ctx context.Context, c *core.Client) error {
			_, err := c.PublishBulk(ctx, "orders", payloads)
			return err
		}, 5 * time.Second},
		"PublishBulk, configured": {core.Config{BulkTimeout: 7 * time.Second}, func(ctx context.Context, c *core.Client) error {
			_, err := c.PublishBulk(ctx, "orders", payloads)
			return err
		}, 7 * time.Second},
		"Health": {core.Config{}, func(ctx context.Context, c *core.Client) error { return c.Health(ctx) }, 500 * time.Millisecond},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				test.config.URL, test.config.HTTPClient = testServer, hang
				client := newTestClient(t, test.config)
				start := time.Now()
				require.ErrorIs(t, test.call(t.Context(), client), context.DeadlineExceeded)
				assert.Equal(t, test.want, time.Since(start))
			})
		})
	}
}

func TestCallersDeadlineIsNoFailureOfTheServer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: roundTripFunc(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		})}})
		for range 2 * breakerConsecutive {
			ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
			_, err := client.Publish(ctx, "orders", struct{}{})
			cancel()
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		assert.Equal(t, core.BreakerClosed, client.Stats().Breaker)
		for range breakerConsecutive {
			_, err := client.Publish(t.Context(), "orders", struct{}{})
			require.ErrorIs(t, err, context.DeadlineExceeded)
		}
		assert.Equal(t, core.BreakerOpen, client.Stats().Breaker)
	})
}

// What breaks a connection is worth a quick retry; a server that cannot be
// reached is left alone.
func TestQuickRetryAfterABrokenConnection(t *testing.T) {
	tries := func(cause error) (n int) {
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{
			Transport: roundTripFunc(func(*http.Request) (*http.Response, error) { n++; return nil, cause }),
		}})
		_, err := client.Publish(t.Context(), "orders", struct{}{})
		require.ErrorIs(t, err, cause)
		return n
	}
	for _, err := range []error{
		io.EOF, io.ErrUnexpectedEOF, &net.OpError{Err: syscall.ECONNRESET}, syscall.EPIPE, net.ErrClosed,
		errors.New("http: server closed idle connection"),
	} {
		assert.Equal(t, 2, tries(err), "%v", err)
	}
	for _, err := range []error{syscall.ECONNREFUSED, context.DeadlineExceeded, errors.New("no such host")} {
		assert.Equal(t, 1, tries(err), "%v", err)
	}
}
