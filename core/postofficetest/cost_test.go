package postofficetest_test

import (
	"context"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/wire"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// realistic is a server that costs as a real one.
var realistic = postofficetest.WithCost(postofficetest.RealisticCost())

// TestCost has the figures that were measured, within a third.
func TestCost(t *testing.T) {
	objects := func(bytes int) string {
		return `[` + strings.Repeat(`{"k":1},`, bytes/8-1) + `{"k":1}]`
	}
	for name, test := range map[string]struct {
		path, body string
		status     int
		want       time.Duration
	}{
		"a message":       {wire.MessagePath, message("orders", `{"k":1}`), 201, 1700 * time.Microsecond},
		"a scheduled one": {wire.SchedulePath, strings.Replace(message("orders", `{}`), `{`, `{"schedule_at":"2030-01-02T03:04:05Z",`, 1), 201, 1700 * time.Microsecond},
		"a bulk of 500":   {wire.BulkPath, message("orders", objects(500*8)), 201, 500 * 140 * time.Microsecond},
		"1 MB":            {wire.MessagePath, message("orders", `{"o":`+objects(1e6)+`}`), 201, 300 * time.Millisecond},
		"3 MB":            {wire.MessagePath, message("orders", `{"o":`+objects(3e6)+`}`), 201, 1100 * time.Millisecond},
		"6.9 MB":          {wire.MessagePath, message("orders", `{"o":`+objects(6.9e6)+`}`), 201, 3900 * time.Millisecond},
		"5,000 digits":    {wire.MessagePath, message("orders", `{"n":-`+strings.Repeat("9", 5_000)+`}`), 201, 9 * time.Millisecond},
		"50,000 digits":   {wire.MessagePath, message("orders", `{"n":`+strings.Repeat("9", 50_000)+`}`), 201, time.Second},
		"131,000 digits":  {wire.MessagePath, message("orders", `{"n":`+strings.Repeat("9", 131_000)+`}`), 201, 6500 * time.Millisecond},
		"300,000 digits":  {wire.MessagePath, message("orders", `{"n":`+strings.Repeat("9", 300_000)+`}`), 500, 16 * time.Second},
		"a long fraction": {wire.MessagePath, message("orders", `{"n":0.`+strings.Repeat("9", 50_000)+`}`), 201, 14450 * time.Microsecond},
		"digits as text":  {wire.MessagePath, message("orders", `{"n":"`+strings.Repeat("9", 50_000)+`"}`), 201, 14450 * time.Microsecond},
		"a topic":         {wire.TopicsPath, `{"name":"new","origin_host":"http://h/"}`, 201, 1560 * time.Microsecond},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, client *http.Client) {
				_, err := server.AddConsumer(postofficetest.Consumer{Topic: "orders", Target: "sink", Type: postofficetest.TypePubSub})
				require.NoError(t, err)
				begun := time.Now()
				got := send(t, client, http.MethodPost, server.URL()+test.path, "application/json", test.body)
				assert.Equal(t, test.status, got.status, "%.200s", got.body)
				assert.InDelta(t, test.want.Seconds(), time.Since(begun).Seconds(), test.want.Seconds()/3)
				begun = time.Now()
				assert.Equal(t, 200, send(t, client, http.MethodGet, server.URL()+wire.HealthPath, "", "").status)
				assert.Zero(t, time.Since(begun), "only what is posted costs")
			}, realistic)
		})
	}
}

// TestCostIsShared has callers wait for the cores.
func TestCostIsShared(t *testing.T) {
	const callers, each = 16, 20
	inBubble(t, func(t *testing.T, server *postofficetest.Server, client *http.Client) {
		begun := time.Now()
		var group sync.WaitGroup
		for range callers {
			group.Go(func() {
				for range each {
					assert.Equal(t, 201, postMessage(t, server, client, message("orders", `{}`)))
				}
			})
		}
		group.Wait()
		assert.InDelta(t, callers*each*0.0017/2, time.Since(begun).Seconds(), 0.02)
	}, realistic)
}

// TestCostOfWorkersAndPayloads has the Cost that WithCost's documentation shows:
// 2 workers, each held for 1.5 ms and for 0.12 ms for each payload.
func TestCostOfWorkersAndPayloads(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, client *http.Client) {
		took := func(requests int, path, body string) time.Duration {
			begun := time.Now()
			var group sync.WaitGroup
			for range requests {
				group.Go(func() {
					assert.Equal(t, 201, send(t, client, http.MethodPost, server.URL()+path, "application/json", body).status)
				})
			}
			group.Wait()
			return time.Since(begun)
		}
		single := message("orders", `{"text":"`+strings.Repeat("x", 10_000)+`"}`)
		ten := message("orders", `[`+strings.Repeat(`{},`, 9)+`{}]`)
		assert.Equal(t, 1620*time.Microsecond, took(1, wire.MessagePath, single))
		assert.Equal(t, 2700*time.Microsecond, took(1, wire.BulkPath, ten))
		assert.Equal(t, 1620*time.Microsecond, took(2, wire.MessagePath, single), "2 at a time")
		assert.Equal(t, 3*2700*time.Microsecond, took(5, wire.BulkPath, ten), "the others wait")
	}, postofficetest.WithCost(postofficetest.Cost{Cores: 2, Request: 1500 * time.Microsecond, Message: 120 * time.Microsecond}))
}

// TestCostInBubblesByTurns has every bubble begin at the same time.
func TestCostInBubblesByTurns(t *testing.T) {
	server := postofficetest.Start(t, postofficetest.WithCost(postofficetest.Cost{Cores: 1, Request: time.Minute}))
	addTopic(t, server, "orders")
	for range 2 {
		synctest.Test(t, func(t *testing.T) {
			client := &http.Client{Transport: server.Transport()}
			begun := time.Now()
			postMessage(t, server, client, message("orders", `{}`))
			postMessage(t, server, client, message("orders", `{}`))
			assert.Equal(t, 2*time.Minute, time.Since(begun))
		})
	}
}

// TestCostGoesOnWithoutTheClient accepts what the client has given up.
func TestCostGoesOnWithoutTheClient(t *testing.T) {
	cost := postofficetest.WithCost(postofficetest.Cost{Message: time.Second})
	giveUp := func(t *testing.T, server *postofficetest.Server, client *http.Client) {
		t.Helper()
		ctx, cancel := context.WithTimeout(t.Context(), 500*time.Millisecond)
		defer cancel()
		request, err := http.NewRequestWithContext(ctx, http.MethodPost, server.URL()+wire.MessagePath, strings.NewReader(message("orders", `{}`)))
		require.NoError(t, err)
		request.Header.Set("Content-Type", "application/json")
		_, err = client.Do(request) //nolint:bodyclose // there is no answer
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, server.WaitForMessages(limited(t), "orders", 1))
	}
	t.Run("network", func(t *testing.T) {
		server := postofficetest.Start(t, cost)
		addTopic(t, server, "orders")
		giveUp(t, server, newClient(t))
	})
	t.Run("bubble", func(t *testing.T) { inBubble(t, giveUp, cost) })
}

// TestCostEndsWithStop cuts requests in progress, which are not accepted then.
func TestCostEndsWithStop(t *testing.T) {
	for name, end := range map[string]func(*postofficetest.Server){"Stop": (*postofficetest.Server).Stop, "Close": (*postofficetest.Server).Close} {
		t.Run(name, func(t *testing.T) {
			server := postofficetest.Start(t, postofficetest.WithCost(postofficetest.Cost{Message: time.Hour}))
			addTopic(t, server, "orders")
			failed := make(chan error, 1)
			go func() {
				response, err := newClient(t).Post(server.URL()+wire.MessagePath, "application/json", strings.NewReader(message("orders", `{}`)))
				if err == nil {
					_ = response.Body.Close()
				}
				failed <- err
			}()
			require.NoError(t, server.Wait(limited(t), func() bool { return len(server.Requests()) == 1 }))
			end(server)
			require.Error(t, <-failed)
			assert.Empty(t, server.Messages())
		})
	}
}
