package core_test

import (
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
)

// poisoned is a server that gives each request with a poison message a verdict.
func poisoned(v verdict) *bubbleServer {
	return &bubbleServer{judge: func(p post) verdict {
		if p.has("poison") {
			return v
		}
		return taken
	}}
}

// fates are what a server may do to a message that it cannot take.
var fates = map[string]verdict{
	"400":   {status: http.StatusBadRequest},
	"403":   {status: http.StatusForbidden},
	"500":   {status: http.StatusInternalServerError},
	"502":   {status: http.StatusBadGateway},
	"reset": {status: reset},
}

// ways are those in which 500 messages reach the server.
var ways = map[string]func(*testing.T, *core.Client, outbox.Store, []any){
	"bulk call": func(t *testing.T, client *core.Client, _ outbox.Store, payloads []any) { bulk(t, client, payloads) },
	"relay": func(t *testing.T, _ *core.Client, store outbox.Store, payloads []any) {
		insertPayloads(t, store, "orders", payloads)
	},
	"Durable": func(t *testing.T, client *core.Client, _ outbox.Store, payloads []any) {
		_, err := publisherIn(t, client, core.Durable).PublishBulk(t.Context(), "orders", payloads)
		require.NoError(t, err)
	},
	"Memory": func(t *testing.T, client *core.Client, _ outbox.Store, payloads []any) {
		_, err := publisherIn(t, client, core.Memory).PublishBulk(t.Context(), "orders", payloads)
		require.NoError(t, err)
	},
	"scheduled": func(t *testing.T, client *core.Client, _ outbox.Store, payloads []any) {
		_, err := client.PublishBulk(t.Context(), "orders", payloads, core.DeliverIn(time.Hour))
		require.NoError(t, err)
	},
}

// Whatever status messages get that the server cannot take, and however many
// there are: all the others arrive, soon and once, the circuit breaker stays
// closed, and the requests are not many more than the messages.
func TestPoisonHoldsBackNoOther(t *testing.T) {
	const messages = 500
	for fate, v := range fates {
		for way, send := range ways {
			for _, poison := range []int{1, 10, 250, 499} {
				t.Run(fmt.Sprintf("%s/%s/%d", fate, way, poison), func(t *testing.T) {
					t.Parallel()
					synctest.Test(t, func(t *testing.T) {
						server, store := poisoned(v), memory.New()
						client, changes := bubbleClient(t, server, core.Config{Outbox: store})
						require.NoError(t, client.Start(t.Context()))
						start := time.Now()
						send(t, client, store, kinds(messages-poison, poison))
						for different := 0; different < messages-poison && time.Since(start) < 20*time.Second; {
							time.Sleep(20 * time.Millisecond)
							synctest.Wait()
							_, different = server.count("good")
						}
						took, requests := time.Since(start), server.requests()
						t.Logf("%d of %d at fault: %d requests, %s", poison, messages, requests, took)
						arrivals, different := server.count("good")
						assert.Equal(t, messages-poison, different)
						assert.Equal(t, different, arrivals, "each once")
						limit := map[int]int{1: 50, 10: 200, 250: 2*messages - poison, 499: messages + messages/4 + 50}[poison]
						if way == "scheduled" { // one by one
							limit = 2 * messages
						}
						assert.LessOrEqual(t, requests, limit, "requests")
						time.Sleep(2 * time.Second)
						assert.Equal(t, poison, stillStored(t, store), "the others stay")
						assert.Empty(t, changes.all(), "of the circuit breaker")
					})
				})
			}
		}
	}
}

// The one good message arrives though it comes after all that fail, when each
// request takes its time, and also when the server has been down before.
func TestPoisonBeforeTheOnlyGoodMessage(t *testing.T) {
	for _, fate := range []string{"500", "reset"} {
		v := fates[fate]
		for way, send := range ways {
			t.Run(fate+"/"+way, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var down atomic.Bool
					down.Store(true)
					slow := v
					slow.after = 5 * time.Millisecond
					server := &bubbleServer{judge: func(p post) verdict {
						switch {
						case down.Load():
							return verdict{status: http.StatusInternalServerError}
						case p.has("poison"):
							return slow
						}
						return taken
					}}
					store := memory.New()
					client, changes := bubbleClient(t, server, core.Config{Outbox: store})
					require.NoError(t, client.Start(t.Context()))
					send(t, client, store, append(kinds(0, 499), kinds(1, 0)...))
					time.Sleep(10 * time.Second)
					down.Store(false)
					before := len(changes.all())
					start := time.Now()
					for different := 0; different == 0 && time.Since(start) < time.Minute; {
						time.Sleep(20 * time.Millisecond)
						synctest.Wait()
						_, different = server.count("good")
					}
					t.Logf("%s, %d requests", time.Since(start), server.requests())
					assert.Less(t, time.Since(start), 20*time.Second)
					time.Sleep(10 * time.Second)
					assert.LessOrEqual(t, len(changes.all())-before, 2, "half-open and closed: it does not open again")
				})
			})
		}
	}
}

// Messages of one topic that fail do not keep the ones of another from being
// delivered within their calls, nor from the outbox.
func TestPoisonBesideHealthyTraffic(t *testing.T) {
	slow := map[string]verdict{"timeout": {status: http.StatusCreated, after: time.Hour}}
	for _, group := range []map[string]verdict{fates, slow} {
		for fate, v := range group {
			t.Run(fate, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					server, store := poisoned(v), memory.New()
					insertPayloads(t, store, "poison", kinds(0, 500))
					client, changes := bubbleClient(t, server, core.Config{Outbox: store})
					require.NoError(t, client.Start(t.Context()))
					for i := range 1200 {
						receipt, err := client.Publish(t.Context(), "orders", map[string]int{"good": i})
						require.NoError(t, err)
						require.Equal(t, core.Delivered, receipt.State, "message %d", i)
						time.Sleep(10 * time.Millisecond)
					}
					t.Logf("%d requests for the 500 in 12 s", server.requests()-1200)
					assert.Empty(t, changes.all(), "of the circuit breaker")
					insertPayloads(t, store, "bills", []any{map[string]string{"stored": "1"}})
					time.Sleep(10 * time.Second)
					arrivals, _ := server.count("stored")
					assert.Equal(t, 1, arrivals)
				})
			})
		}
	}
}

// Calls whose messages fail do not open the circuit breaker while others pass.
func TestFailingCallsAmongOthers(t *testing.T) {
	for fate, v := range fates {
		t.Run(fate, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				server, store := poisoned(v), memory.New()
				client, changes := bubbleClient(t, server, core.Config{Outbox: store})
				for _, payload := range kinds(100, 900) {
					receipt, err := client.Publish(t.Context(), "orders", payload)
					require.NoError(t, err)
					_, good := payload.(map[string]string)["good"]
					assert.Equal(t, good, receipt.State == core.Delivered)
					time.Sleep(time.Millisecond)
				}
				assert.Empty(t, changes.all(), "of the circuit breaker")
			})
		})
	}
}

// A server that is down is left alone soon, however it fails, and everything
// arrives when it is back.
func TestServerThatIsDownIsLeftAlone(t *testing.T) {
	for fate, v := range map[string]verdict{
		"500":     {status: http.StatusInternalServerError},
		"503":     {status: http.StatusServiceUnavailable},
		"reset":   {status: reset},
		"timeout": {status: http.StatusInternalServerError, after: time.Hour},
	} {
		for way, send := range ways {
			t.Run(fate+"/"+way, func(t *testing.T) {
				t.Parallel()
				synctest.Test(t, func(t *testing.T) {
					var down atomic.Bool
					down.Store(true)
					server := &bubbleServer{judge: func(post) verdict {
						if down.Load() {
							return v
						}
						return taken
					}}
					store := memory.New()
					client, _ := bubbleClient(t, server, core.Config{Outbox: store})
					send(t, client, store, kinds(500, 0))
					time.Sleep(time.Second)
					assert.LessOrEqual(t, server.requests(), 4, "by one delivery")

					for i := range 5 {
						_, err := client.Publish(t.Context(), "orders", map[string]string{"good": fmt.Sprint("call ", i)})
						require.NoError(t, err)
					}
					assert.Equal(t, core.BreakerOpen, client.Stats().Breaker)
					assert.LessOrEqual(t, server.requests(), 9)

					require.NoError(t, client.Start(t.Context()))
					before := server.requests()
					time.Sleep(time.Minute)
					t.Logf("%d requests within a minute", server.requests()-before)
					assert.LessOrEqual(t, server.requests()-before, 130)

					down.Store(false)
					time.Sleep(time.Minute)
					_, different := server.count("good")
					assert.Equal(t, 505, different)
					assert.Zero(t, stillStored(t, store))
				})
			})
		}
	}
}

// A message that the server takes too long for does not decide for others: they
// arrive soon, though they shared its first request.
func TestHangingMessageHoldsBackNoOther(t *testing.T) {
	for way, send := range ways {
		for _, withOutbox := range []bool{true, false} {
			if !withOutbox && way != "Memory" {
				continue
			}
			t.Run(fmt.Sprint(way, withOutbox), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					server, store := poisoned(verdict{status: http.StatusBadGateway, after: time.Hour}), memory.New()
					var config core.Config
					if withOutbox {
						config.Outbox = store
					}
					client, _ := bubbleClient(t, server, config)
					require.NoError(t, client.Start(t.Context()))
					start := time.Now()
					send(t, client, store, kinds(495, 5))
					for different := 0; different < 495 && time.Since(start) < 10*time.Minute; {
						time.Sleep(100 * time.Millisecond)
						synctest.Wait()
						_, different = server.count("good")
					}
					arrivals, different := server.count("good")
					t.Logf("%s, %d requests", time.Since(start), server.requests())
					assert.Equal(t, 495, different)
					assert.Equal(t, 495, arrivals, "each once")
					assert.Less(t, time.Since(start), 2*time.Minute)
					if !withOutbox {
						server.mu.Lock()
						server.judge = nil // so that Stop ends
						server.mu.Unlock()
					}
				})
			})
		}
	}
}

// A server that accepts no message is left alone, though it answers a request
// without messages, as one does whose database is read-only.
func TestServerThatAcceptsNothingIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var down atomic.Bool
		down.Store(true)
		server := &bubbleServer{judge: func(p post) verdict {
			if down.Load() && len(p.payloads) > 0 {
				return verdict{status: http.StatusInternalServerError, after: time.Millisecond}
			}
			return taken
		}}
		store := memory.New()
		insertPayloads(t, store, "orders", kinds(5000, 0))
		client, changes := bubbleClient(t, server, core.Config{Outbox: store})
		require.NoError(t, client.Start(t.Context()))
		time.Sleep(time.Minute)
		assert.NotEmpty(t, changes.all(), "of the circuit breaker")
		t.Logf("%d requests within a minute", server.requests())
		assert.Less(t, server.requests(), 2000)

		down.Store(false)
		time.Sleep(time.Minute)
		arrivals, different := server.count("good")
		assert.Equal(t, []int{5000, 5000}, []int{arrivals, different})
		assert.Equal(t, core.BreakerClosed, client.Stats().Breaker)
	})
}

// Messages that fail for ever, and nothing else, do not open the circuit
// breaker for a message that comes later.
func TestPoisonAloneDoesNotOpenTheBreaker(t *testing.T) {
	for fate, v := range fates {
		t.Run(fate, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server, store := poisoned(v), memory.New()
				insertPayloads(t, store, "orders", kinds(0, 500))
				client, changes := bubbleClient(t, server, core.Config{Outbox: store})
				require.NoError(t, client.Start(t.Context()))
				time.Sleep(5 * time.Minute)
				t.Logf("%d requests within 5 minutes", server.requests())
				receipt, err := client.Publish(t.Context(), "orders", map[string]int{"good": 1})
				require.NoError(t, err)
				assert.Equal(t, core.Delivered, receipt.State)
				assert.Empty(t, changes.all(), "of the circuit breaker")
			})
		})
	}
}

// Without an outbox, messages in memory that fail as if the server was down do
// not keep the others of their batch from being sent.
func TestFailingMessageInMemoryComesLastTheNextTime(t *testing.T) {
	for _, status := range []int{http.StatusBadGateway, http.StatusTooManyRequests} {
		synctest.Test(t, func(t *testing.T) {
			server := poisoned(verdict{status: status})
			client, _ := bubbleClient(t, server, core.Config{})
			p := publisherIn(t, client, core.Memory)
			_, err := p.PublishBulk(t.Context(), "orders", append(kinds(0, 3), kinds(20, 0)...), core.DeliverIn(24*time.Hour))
			require.NoError(t, err)
			time.Sleep(time.Minute)
			arrivals, different := server.count("good")
			assert.Equal(t, []int{20, 20}, []int{arrivals, different}, status)
			server.mu.Lock()
			server.judge = nil // so that Stop ends
			server.mu.Unlock()
		})
	}
}

// Retry-After holds back the messages of its request, and no others. Though one
// of them is answered so every time, the rest does not meet it again and again.
func TestRetryAfterOfOneMessageHoldsBackNoOther(t *testing.T) {
	patience := verdict{status: http.StatusServiceUnavailable, header: http.Header{"Retry-After": {"600"}}}
	for way, send := range ways {
		t.Run(way, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				server, store := poisoned(patience), memory.New()
				client, _ := bubbleClient(t, server, core.Config{Outbox: store, BulkLimit: 100})
				require.NoError(t, client.Start(t.Context()))
				send(t, client, store, append(kinds(0, 1), kinds(499, 0)...))
				time.Sleep(10 * time.Second)
				arrivals, different := server.count("good")
				if way != "bulk call" && way != "scheduled" {
					// In a call they are stored together, with one pause.
					assert.GreaterOrEqual(t, different, 400, "those of other requests")
				}
				assert.Equal(t, different, arrivals)
				time.Sleep(2 * time.Hour) // those of one call share their first pause
				arrivals, different = server.count("good")
				assert.Equal(t, []int{499, 499}, []int{arrivals, different})
			})
		})
	}
}
