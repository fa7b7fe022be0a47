package core_test

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// slowServer takes 0.6 s for each MB of a request, as a real server may.
func slowServer() *bubbleServer {
	return &bubbleServer{judge: func(p post) verdict {
		return verdict{status: http.StatusCreated, after: time.Duration(p.size) * 600 * time.Nanosecond}
	}}
}

// largePayload makes a payload of so many bytes.
func largePayload(name string, size int) map[string]string {
	return map[string]string{name: strings.Repeat("x", size)}
}

// A large message gets the time that the server needs for it, however it is
// sent: it arrives once, leaves the outbox, and troubles no small one.
func TestLargeMessagesArriveOnce(t *testing.T) {
	t.Parallel()
	const three, most = 3_000_000, 6_900_000
	large := []any{largePayload("three", three), largePayload("most", most)}
	publish := func(mode core.Mode) func(*testing.T, *core.Client, outbox.Store) {
		return func(t *testing.T, client *core.Client, _ outbox.Store) {
			p := publisherIn(t, client, mode)
			for _, payload := range large {
				_, err := p.Publish(t.Context(), "orders", payload)
				require.NoError(t, err)
			}
		}
	}
	for name, send := range map[string]func(*testing.T, *core.Client, outbox.Store){
		"in the call":    publish(core.Off),
		"Durable":        publish(core.Durable),
		"Memory":         publish(core.Memory),
		"by the relay":   func(t *testing.T, _ *core.Client, store outbox.Store) { insertPayloads(t, store, "orders", large) },
		"in a bulk call": func(t *testing.T, client *core.Client, _ outbox.Store) { bulk(t, client, large) },
		"among small ones": func(t *testing.T, client *core.Client, _ outbox.Store) {
			bulk(t, client, append(kinds(100, 0), large[1]))
			bulk(t, client, append(kinds(0, 100), large[0]))
		},
		"scheduled, by the relay": func(t *testing.T, client *core.Client, store outbox.Store) {
			insertPayloads(t, store, "orders", large[:1])
			_, err := client.Publish(t.Context(), "orders", large[1], core.DeliverIn(time.Hour))
			require.NoError(t, err)
		},
	} {
		for withOutbox, times := range map[bool]string{true: "with an outbox", false: "without"} {
			if !withOutbox && (strings.Contains(name, "relay") || name == "Durable") {
				continue
			}
			t.Run(name+", "+times, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server, config, store := slowServer(), core.Config{}, memory.New()
					if withOutbox {
						config.Outbox = store
					}
					client, changes := bubbleClient(t, server, config)
					require.NoError(t, client.Start(t.Context()))
					small := make(chan error, 1)
					go func() {
						for i := range 100 { // beside the large ones
							receipt, err := client.Publish(context.Background(), "orders", map[string]int{"small": i})
							if err == nil && receipt.State != core.Delivered {
								err = fmt.Errorf("small message %d is %v", i, receipt.State)
							}
							if err != nil {
								small <- err
								return
							}
							time.Sleep(100 * time.Millisecond)
						}
						small <- nil
					}()
					send(t, client, store)
					require.NoError(t, <-small)
					time.Sleep(2 * time.Minute)
					synctest.Wait()
					for _, text := range []string{"three", "most"} {
						arrivals, different := server.count(text)
						assert.Equal(t, []int{1, 1}, []int{arrivals, different}, text)
					}
					assert.Zero(t, stillStored(t, store))
					assert.Empty(t, changes.all(), "of the circuit breaker")
				})
			})
		}
	}
}

func bulk(t *testing.T, client *core.Client, payloads []any) {
	t.Helper()
	_, err := client.PublishBulk(t.Context(), "orders", payloads)
	require.NoError(t, err)
}

// The time of a request is the configured one and 2 ms for each full kB.
func TestTimeGrowsWithTheBody(t *testing.T) {
	for _, test := range []struct {
		size int
		want time.Duration
	}{{0, core.DefaultTimeout}, {900, core.DefaultTimeout}, {1_000_000, core.DefaultTimeout + 2*time.Second}, {6_900_000, core.DefaultTimeout + 13_800*time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			client, _ := bubbleClient(t, silentServer(), core.Config{})
			start := time.Now()
			_, err := client.Publish(t.Context(), "orders", largePayload("x", test.size))
			require.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, test.want, time.Since(start), "%d bytes", test.size)
		})
	}
}

// silentServer answers nothing.
func silentServer() *bubbleServer {
	return &bubbleServer{judge: func(post) verdict { return verdict{status: 503, after: 1000 * time.Hour} }}
}

// What two relays share is posted by one of them, however long one large
// message or a configured timeout makes a post take.
func TestLeaseOutlastsTheLongestPost(t *testing.T) {
	t.Parallel()
	for name, config := range map[string]core.Config{
		"a large message":        {},
		"a Timeout of a minute":  {Timeout: time.Minute},
		"a BulkTimeout of 3 min": {BulkTimeout: 3 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				// Each request takes nearly all of its time.
				server := &bubbleServer{judge: func(p post) verdict {
					after := core.DefaultTimeout
					if len(p.payloads) > 1 {
						after = core.DefaultBulkTimeout
						if config.BulkTimeout > 0 {
							after = config.BulkTimeout
						}
					} else if config.Timeout > 0 {
						after = config.Timeout
					}
					return verdict{status: http.StatusCreated, after: after*9/10 + time.Duration(p.size)*1900*time.Nanosecond}
				}}
				store := memory.New()
				var payloads []any
				for i := range 30 {
					payloads = append(payloads, map[string]int{"n": i})
				}
				payloads = append(payloads, largePayload("n", 6_900_000), largePayload("n", 5_000_000))
				insertPayloads(t, store, "orders", payloads)
				config.Outbox, config.BulkLimit = store, 4
				for range 2 {
					client, _ := bubbleClient(t, server, config)
					require.NoError(t, client.Start(t.Context()))
					require.NoError(t, insertDurable(t, client))
				}
				time.Sleep(2 * time.Hour)
				arrivals, different := server.count("n")
				assert.Equal(t, different, arrivals, "none arrives twice")
				assert.Equal(t, len(payloads)+2*20, different)
				assert.Zero(t, stillStored(t, store))
			})
		})
	}
}

// insertDurable publishes more than can be posted at once.
func insertDurable(t *testing.T, client *core.Client) error {
	t.Helper()
	p := publisherIn(t, client, core.Durable)
	for i := range 20 {
		// The attributes keep each from sharing a request.
		if _, err := p.Publish(t.Context(), "orders", map[string]string{"n": fmt.Sprintf("%p %d", client, i)}, core.WithAttribute("i", i)); err != nil {
			return err
		}
	}
	return nil
}

// Stop breaks off the long post of the relay, and the message is given back.
func TestStopBreaksOffTheLongPostOfTheRelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		insertPayloads(t, store, "orders", []any{largePayload("x", 6_900_000)})
		client, _ := bubbleClient(t, silentServer(), core.Config{Outbox: store})
		require.NoError(t, client.Start(t.Context()))
		synctest.Wait()
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		require.NoError(t, client.Stop(ctx))
		records, err := store.List(t.Context(), outbox.Query{})
		require.NoError(t, err)
		require.Len(t, records, 1)
		assert.Empty(t, records[0].LeaseToken, "given back")
	})
}

// Attributes count for the size of a bulk request: it is cut beforehand, and
// nothing is learned from it that holds for other messages.
func TestLargeAttributesCountForTheSizeOfABulk(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := &bubbleServer{judge: func(p post) verdict {
			if p.size > 8_000_000 {
				return verdict{status: http.StatusRequestEntityTooLarge}
			}
			return taken
		}}
		client, _ := bubbleClient(t, server, core.Config{})
		var payloads []any
		for range 6 {
			payloads = append(payloads, largePayload("x", 1_000_000))
		}
		_, err := client.PublishBulk(t.Context(), "orders", payloads, core.WithAttribute("large", strings.Repeat("a", 4_000_000)))
		require.NoError(t, err)
		assert.Equal(t, 3, server.requests(), "with two each")
		_, err = client.PublishBulk(t.Context(), "orders", payloads)
		require.NoError(t, err)
		assert.Equal(t, 4, server.requests())
	})
}
