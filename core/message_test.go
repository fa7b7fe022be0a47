package core_test

import (
	"context"
	"fmt"
	"math"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// A time that has passed means at once, however long ago, whether the message
// is posted within the call, from memory or from the outbox.
func TestDeliverAtLongAgoIsAtOnce(t *testing.T) {
	now := time.Now()
	for name, at := range map[string]time.Time{
		"now":             now,
		"a moment ago":    now.Add(-1),
		"year 1":          time.Date(1, 1, 1, 0, 0, 0, 1, time.UTC),
		"year -1":         time.Date(-1, 1, 1, 0, 0, 0, 0, time.UTC),
		"year -300000":    time.Date(-300_000, 1, 1, 0, 0, 0, 0, time.UTC),
		"least Unix time": time.Unix(math.MinInt64/2, 0),
		"least duration":  now.Add(math.MinInt64),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := newServer(t, "orders")
			store, err := sqlite.Open(t.Context(), t.TempDir()+"/outbox.db")
			require.NoError(t, err)
			t.Cleanup(func() { require.NoError(t, store.Close()) })
			client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store})
			for _, mode := range []core.Mode{core.Off, core.Memory, core.Durable} {
				_, err := publisherIn(t, client, mode).Publish(t.Context(), "orders", struct{}{}, core.DeliverAt(at))
				require.NoError(t, err)
			}
			require.NoError(t, client.Flush(t.Context()))
			server.FailNext(1, 500)
			_, err = client.Publish(t.Context(), "orders", struct{}{}, core.DeliverAt(at))
			require.NoError(t, err)
			require.NoError(t, client.Start(t.Context()))
			require.Eventually(t, func() bool { return len(server.MessagesOf("orders")) == 4 }, 30*time.Second, time.Millisecond)
			for _, message := range server.MessagesOf("orders") {
				assert.NotEqual(t, postofficetest.Scheduled, message.Via)
			}
		})
	}
}

// The last moments that can be scheduled stay within the year 9999, and no
// message comes early by less than the microsecond that the server keeps.
func TestDeliverAtIsRoundedUpWithinItsYears(t *testing.T) {
	lastSecond := time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC)
	east := time.FixedZone("", 14*60*60)
	for at, want := range map[time.Time]string{
		lastSecond: "9999-12-31T23:59:59.000000Z",
		lastSecond.Add(time.Second - time.Microsecond): "9999-12-31T23:59:59.999999Z",
		lastSecond.Add(time.Second - 1):                "9999-12-31T23:59:59.999999Z",
		lastSecond.In(east):                            "9999-12-31T23:59:59.000000Z",
		time.Date(2260, 1, 2, 3, 4, 5, 1, time.UTC):    "2260-01-02T03:04:05.000001Z",
		time.Date(2260, 1, 2, 3, 4, 5, 1000, east):     "2260-01-01T13:04:05.000001Z",
	} {
		server := newServer(t, "orders")
		store := memory.New()
		client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store})
		_, err := client.Publish(t.Context(), "orders", struct{}{}, core.DeliverAt(at))
		require.NoError(t, err)
		assert.Equal(t, want, server.MessagesOf("orders")[0].DeliverAt.UTC().Format(scheduleLayout))
		server.Stop()
		_, err = client.Publish(t.Context(), "orders", struct{}{}, core.DeliverAt(at))
		require.NoError(t, err)
		assert.Equal(t, want, records(t, store)[0].DeliverAt.UTC().Format(scheduleLayout), "in the outbox")
	}
	client := newTestClient(t, core.Config{URL: "http://127.0.0.1:1"})
	for _, at := range []time.Time{
		lastSecond.Add(time.Second), time.Date(9999, 12, 31, 23, 59, 59, 0, time.FixedZone("", -1)),
		time.Date(300_000, 1, 1, 0, 0, 0, 0, time.UTC), time.Unix(math.MaxInt64/2, 0),
	} {
		_, err := client.Publish(t.Context(), "orders", struct{}{}, core.DeliverAt(at))
		require.ErrorIs(t, err, core.ErrInvalidMessage)
		require.ErrorContains(t, err, "DeliverAt is after the year 9999", fmt.Sprint(at))
	}
}

// A message in the outbox that was tried and failed shows that attempt,
// whoever made it; one that was not sent shows none.
func TestStoredMessagesShowTheirAttempts(t *testing.T) {
	bulk := func(options ...core.PublishOption) func(*testing.T, *core.Client) error {
		return func(t *testing.T, c *core.Client) error {
			_, err := c.PublishBulk(t.Context(), "orders", core.Payloads(make([]struct{}, 3)), options...)
			return err
		}
	}
	single := func(mode core.Mode, options ...core.PublishOption) func(*testing.T, *core.Client) error {
		return func(t *testing.T, c *core.Client) error {
			_, err := publisherIn(t, c, mode).Publish(t.Context(), "orders", struct{}{}, options...)
			return err
		}
	}
	for name, test := range map[string]struct {
		publish       func(*testing.T, *core.Client) error
		tried, opened []int // with a breaker that is open, too
	}{
		"off":       {single(core.Off), []int{1}, []int{0}},
		"durable":   {single(core.Durable), []int{1}, []int{0}},
		"memory":    {single(core.Memory), []int{1}, []int{0}},
		"dedup key": {single(core.Off, core.WithDedupKey("k")), []int{0}, []int{0}},
		"bulk":      {bulk(), []int{1, 1, 1}, []int{0, 0, 0}},
		"singly":    {bulk(core.DeliverIn(time.Hour)), []int{1, 0, 0}, []int{0, 0, 0}},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
				server.FailNext(1000, 429) // not tried again at once
				store := memory.New()
				config.Outbox = store
				client := newTestClient(t, config) // without a relay
				attempts := func() (list []int) {
					require.NoError(t, test.publish(t, client))
					require.NoError(t, client.Flush(t.Context()))
					time.Sleep(time.Second / 2)
					synctest.Wait()
					for _, record := range records(t, store) {
						list = append(list, record.Attempts)
						if record.Attempts > 0 {
							assert.Contains(t, record.LastError, "answered 429")
						}
						_, err := store.Delete(t.Context(), record.ID)
						require.NoError(t, err)
					}
					return list
				}
				assert.ElementsMatch(t, test.tried, attempts())
				for client.Stats().Breaker != core.BreakerOpen {
					_, err := client.Publish(t.Context(), "orders", struct{}{})
					require.NoError(t, err)
				}
				for _, record := range records(t, store) {
					_, err := store.Delete(t.Context(), record.ID)
					require.NoError(t, err)
				}
				assert.ElementsMatch(t, test.opened, attempts())
			})
		})
	}
}

// What waits in memory, because the outbox could not store it, has been tried
// more than once when it is stored in the end.
func TestAttemptsInMemoryCountWhenStored(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		server.FailNext(1000, 429)
		store := &failingFirst{Store: memory.New(), refusals: 2}
		config.Outbox = store
		client := newTestClient(t, config)
		_, err := publisherIn(t, client, core.Memory).Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		require.NoError(t, client.Flush(t.Context()))
		synctest.Wait()
		assert.Equal(t, len(server.Requests()), records(t, store)[0].Attempts)
		assert.NotEmpty(t, records(t, store)[0].LastError)
	})
}

// failingFirst is an outbox that fails the first inserts.
type failingFirst struct {
	outbox.Store
	refusals int
}

func (s *failingFirst) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	if s.refusals--; s.refusals >= 0 {
		return errBrokenStore
	}
	return s.Store.Insert(ctx, delay, records...)
}

// The server's Retry-After holds for the first pause of a message too, which
// failed within its call or from memory.
func TestFirstPauseHonoursRetryAfter(t *testing.T) {
	for name, test := range map[string]struct {
		value string
		pause time.Duration
	}{
		"a minute":        {"60", time.Minute},
		"more than fits":  {"99999999999", time.Hour},
		"a date far away": {"Fri, 31 Dec 9999 23:59:59 GMT", time.Hour},
	} {
		for mode, publish := range map[string]func(t *testing.T, c *core.Client){
			"off": func(t *testing.T, c *core.Client) {
				_, err := c.Publish(t.Context(), "orders", struct{}{})
				require.NoError(t, err)
			},
			"bulk": func(t *testing.T, c *core.Client) {
				_, err := c.PublishBulk(t.Context(), "orders", core.Payloads(make([]struct{}, 3)))
				require.NoError(t, err)
			},
			"memory":  func(t *testing.T, c *core.Client) { queueN(t, publisherIn(t, c, core.Memory), 1, core.Queued) },
			"durable": func(t *testing.T, c *core.Client) { queueN(t, publisherIn(t, c, core.Durable), 1, core.Stored) },
		} {
			t.Run(name+" "+mode, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var requests []time.Duration
					began := time.Now()
					client := startTestClient(t, core.Config{URL: testServer, Outbox: memory.New(), HTTPClient: &http.Client{
						Transport: answering(func(w http.ResponseWriter, _ *http.Request) {
							requests = append(requests, time.Since(began))
							w.Header().Set("Retry-After", test.value)
							w.WriteHeader(http.StatusServiceUnavailable)
						}),
					}})
					publish(t, client)
					time.Sleep(test.pause + 10*time.Second)
					synctest.Wait()
					require.Len(t, requests, 2)
					assert.Less(t, requests[0], time.Second)
					assert.GreaterOrEqual(t, requests[1], test.pause)
				})
			})
		}
	}
}
