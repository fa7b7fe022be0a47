package core_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"reflect"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestObserverIsToldWhatWasPublished(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		var seen events
		config.Outbox, config.Observer = memory.New(), seen.observer()
		client := newTestClient(t, config)
		_, err := client.Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		_, err = client.PublishBulk(t.Context(), "orders", []any{struct{}{}, struct{}{}})
		require.NoError(t, err)
		_, err = publisherIn(t, client, core.Memory).Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		_, err = publisherIn(t, client, core.Durable).Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		_, err = client.Publish(t.Context(), "orders", 7)
		require.ErrorIs(t, err, core.ErrInvalidMessage)
		_, err = client.PublishBulk(t.Context(), "orders", nil)
		require.NoError(t, err)
		assert.Equal(t, []core.Event{
			{Topic: "orders", Messages: 1, State: core.Delivered},
			{Topic: "orders", Messages: 2, State: core.Delivered},
			{Topic: "orders", Messages: 1, State: core.Queued},
			{Topic: "orders", Messages: 1, State: core.Stored},
		}, seen.of("published"), "what was refused, and nothing, is not published")
		assert.Empty(t, seen.of("stored"), "nothing was stored instead of being delivered")
		require.NoError(t, client.Flush(t.Context()))
	})
}

func TestObserverIsToldOfFailuresByClass(t *testing.T) {
	for status, class := range map[int]core.FailureClass{500: core.FailureTransient, 429: core.FailureTransient, 401: core.FailureConfig, 404: core.FailureConfig, 400: core.FailurePermanent} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
				var seen events
				config.Observer = seen.observer()
				server.FailNext(1, status)
				_, err := newTestClient(t, config).Publish(t.Context(), "orders", struct{}{})
				require.ErrorIs(t, err, core.ErrNotAccepted)
				failed := seen.of("failed")
				require.Len(t, failed, 1)
				assert.ErrorIs(t, err, failed[0].Err)
				failed[0].Err = nil
				assert.Equal(t, core.Event{Topic: "orders", Messages: 1, Class: class}, failed[0])
				assert.Empty(t, seen.of("dead"))
				assert.Empty(t, seen.of("published"))

				// With an outbox a permanently refused message is dead instead.
				var stored events
				config.Observer, config.Outbox = stored.observer(), memory.New()
				server.FailNext(1, status)
				_, err = newTestClient(t, config).Publish(t.Context(), "orders", struct{}{})
				require.NoError(t, err)
				name, other := "failed", "dead"
				if class == core.FailurePermanent {
					name, other = other, name
				}
				require.Len(t, stored.of(name), 1)
				assert.Equal(t, class, stored.of(name)[0].Class)
				assert.Empty(t, stored.of(other))
				assert.Empty(t, stored.of("spilled"), "it was sent")
			})
		})
	}
}

func TestObserverIsToldOfMixedFailures(t *testing.T) {
	for name, fromOutbox := range map[string]bool{"of the relay": true, "of a call": false} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
				statuses := map[string]int{`{"n":0}`: 500, `{"n":2}`: 500, `{"n":3}`: 400, `{"n":4}`: 401, `{"n":5}`: 429}
				server.FailWhen(func(_ *http.Request, body []byte) (int, bool) {
					for payload, status := range statuses {
						if strings.Contains(string(body), payload) {
							return status, true
						}
					}
					return 0, false
				})
				var seen events
				store := memory.New()
				config.Outbox, config.Observer = store, seen.observer()
				client := newTestClient(t, config)
				at := time.Now().Add(time.Hour) // so that each is sent by itself
				if fromOutbox {
					for i := range 7 {
						record := stored(fmt.Sprint(someID[:35], i))
						record.Payload, record.DeliverAt = fmt.Appendf(nil, `{"n":%d}`, i), at
						require.NoError(t, store.Insert(t.Context(), 0, record))
					}
					require.NoError(t, client.Start(t.Context()))
					synctest.Wait() // no time passes, so nothing is tried again
				} else {
					_, err := client.PublishBulk(t.Context(), "orders", numbered(7), core.DeliverAt(at))
					require.NoError(t, err)
				}
				assert.Len(t, server.MessagesOf("orders"), 1)
				failed := seen.of("failed")
				require.Len(t, failed, 2)
				for i, cause := range []string{"500", "401"} {
					assert.Equal(t, cause, statusOf(failed[i].Err), "that of the first of its class")
					failed[i].Err = nil
				}
				assert.Equal(t, []core.Event{
					{Topic: "orders", FromOutbox: fromOutbox, Messages: 3, Class: core.FailureTransient},
					{Topic: "orders", FromOutbox: fromOutbox, Messages: 1, Class: core.FailureConfig},
				}, failed, "the last was not sent")
				require.Len(t, seen.of("dead"), 1)
				assert.Equal(t, 1, seen.of("dead")[0].Messages)
			})
		})
	}
}

func TestObserverIsToldWhatWasSpilled(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		var seen events
		config.Outbox, config.Observer = memory.New(), seen.observer()
		client := newTestClient(t, config)
		server.FailNext(breakerConsecutive, 500)
		for range breakerConsecutive {
			_, err := client.Publish(t.Context(), "orders", struct{}{})
			require.NoError(t, err)
		}
		assert.Empty(t, seen.of("spilled"), "they were sent")
		require.Len(t, seen.of("failed"), breakerConsecutive)
		_, err := client.PublishBulk(t.Context(), "orders", []any{struct{}{}, struct{}{}})
		require.NoError(t, err)
		assert.Equal(t, []core.Event{{Topic: "orders", Messages: 2, Err: core.ErrBreakerOpen}}, seen.of("spilled"))
		assert.Len(t, seen.of("stored"), breakerConsecutive+1, "both were stored")
		assert.Len(t, seen.of("failed"), breakerConsecutive, "nothing was sent")
		assert.Equal(t, core.BreakerOpen, client.Stats().Breaker)
	})
}

func TestObserverIsToldAttemptsAndAge(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		var seen events
		config.Outbox, config.Observer = memory.New(), seen.observer()
		client := startTestClient(t, config)
		synctest.Wait()
		began := time.Now()
		server.FailNext(3, 500)
		_, err := client.Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		require.Empty(t, seen.of("delivered"))
		time.Sleep(time.Minute)
		synctest.Wait()
		delivered := seen.of("delivered")
		require.Len(t, delivered, 1)
		assert.True(t, delivered[0].FromOutbox)
		assert.Equal(t, 4, delivered[0].Attempts, "the call failed once, and the relay twice")
		assert.Greater(t, delivered[0].Age, time.Duration(0))
		assert.LessOrEqual(t, delivered[0].Age, time.Since(began))

		_, err = publisherIn(t, client, core.Memory).Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		time.Sleep(core.DefaultBatchDelay)
		synctest.Wait()
		assert.Equal(t, core.Event{Topic: "orders", Messages: 1, Attempts: 1, Age: core.DefaultBatchDelay}, seen.of("delivered")[1])
	})
}

func TestRetriesInMemoryCountAttemptsAndAge(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		var seen events
		config.Observer = seen.observer()
		client := newTestClient(t, config)
		server.FailNext(2, 500)
		_, err := publisherIn(t, client, core.Memory).Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		began := time.Now()
		require.NoError(t, client.Flush(t.Context()))
		assert.Equal(t, []core.Event{{Topic: "orders", Messages: 1, Attempts: 3, Age: time.Since(began)}}, seen.of("delivered"))
		assert.Len(t, seen.of("failed"), 2)
	})
}

func TestObserverIsToldOfSetup(t *testing.T) {
	server := postofficetest.Start(t)
	var results []core.SetupResult
	client := newTestClient(t, core.Config{
		URL: server.URL(), Topics: []string{"orders"}, OriginHost: "http://user:secret@app.test",
		Consumers: []core.Consumer{{Topic: "orders", Target: "http://user:secret@app.test/orders"}},
		Observer:  core.Observer{Setup: func(result core.SetupResult) { results = append(results, result) }},
	})
	for range 2 {
		_, err := client.Setup(t.Context())
		require.NoError(t, err)
	}
	require.Len(t, results, 4)
	assert.Equal(t, []core.SetupStatus{core.SetupCreated, core.SetupCreated, core.SetupExists, core.SetupExists},
		[]core.SetupStatus{results[0].Status, results[1].Status, results[2].Status, results[3].Status})
	assert.NotContains(t, results[1].Target, "secret")
}

func TestObserverIsToldOfRecovery(t *testing.T) {
	var seen events
	handler, _ := recoveryOf(t, core.Config{AllowOpenRecovery: true, Observer: seen.observer()}, stored(someID))
	for range 2 {
		ask(handler, http.MethodGet, "/postoffice/messages/")
	}
	ask(handler, http.MethodDelete, "/postoffice/messages/"+someID+"/")
	ask(handler, http.MethodDelete, "/postoffice/messages/"+otherID+"/")
	assert.Equal(t, []core.Event{{Messages: 1, FromOutbox: true}, {FromOutbox: true}}, seen.of("listed"), "the second list is empty")
	assert.Equal(t, []core.Event{{Messages: 1, FromOutbox: true}}, seen.of("recovered"))
}

func TestStatsTellWhatIsInMemory(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		assert.Equal(t, core.Stats{MaxQueued: core.DefaultMaxMessages, MaxQueuedBytes: core.DefaultMaxBytes, Breaker: core.BreakerClosed}, client.Stats())
		queueN(t, publisherIn(t, client, core.Memory), 3, core.Queued)
		stats := client.Stats()
		assert.Equal(t, 3, stats.Queued, "reserved room does not count")
		assert.Positive(t, stats.QueuedBytes)
		require.NoError(t, client.Flush(t.Context()))
		assert.Zero(t, client.Stats().Queued)
		assert.Zero(t, client.Stats().QueuedBytes)
	})
}

type traceKey struct{}

// tracer is an Observer that keeps a trail of its hooks.
func tracer(name string, trail *[]string) core.Observer {
	return core.Observer{
		Publish: func(ctx context.Context, call core.PublishCall) (context.Context, func(core.Receipt, error)) {
			*trail = append(*trail, name+" publish "+call.Topic)
			return context.WithValue(ctx, traceKey{}, &call), func(_ core.Receipt, err error) {
				*trail = append(*trail, name+" published")
				if err != nil {
					*trail = append(*trail, err.Error())
				}
			}
		},
		Origin: func(ctx context.Context) any { return ctx.Value(traceKey{}) },
		Send: func(ctx context.Context, call core.SendCall) (context.Context, func(error)) {
			*trail = append(*trail, name+" send")
			for _, origin := range call.Origins {
				*trail = append(*trail, name+" origin "+origin.(*core.PublishCall).Topic)
			}
			return ctx, func(err error) {
				*trail = append(*trail, name+" sent")
				if err != nil {
					*trail = append(*trail, err.Error())
				}
			}
		},
	}
}

func TestHooksFollowMessages(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		var trail []string
		config.Observer = tracer("a", &trail)
		client := newTestClient(t, config)
		_, err := client.Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		assert.Equal(t, []string{"a publish orders", "a send", "a sent", "a published"}, trail)

		trail = nil
		server.FailNext(1, 500)
		_, err = client.Publish(t.Context(), "orders", struct{}{})
		require.Error(t, err)
		require.Len(t, trail, 6)
		assert.Contains(t, trail[3], "answered 500")
		assert.Equal(t, err.Error(), trail[5])

		trail = nil
		p := publisherIn(t, client, core.Memory)
		queueN(t, p, 2, core.Queued)
		_, err = p.PublishBulk(t.Context(), "orders", []any{struct{}{}, struct{}{}})
		require.NoError(t, err)
		server.FailNext(1, 429)
		require.NoError(t, client.Flush(t.Context()))
		require.Len(t, trail, 6+6+5)
		assert.Equal(t, []string{"a send", "a origin orders", "a origin orders", "a origin orders", "a sent"}, trail[len(trail)-5:],
			"a call has one origin, and a retry those of the first try")
	})
}

func TestPanicsEndCalls(t *testing.T) {
	var trail []string
	client := newTestClient(t, core.Config{URL: testServer, Observer: tracer("a", &trail), HTTPClient: &http.Client{
		Transport: roundTripFunc(func(*http.Request) (*http.Response, error) { panic("round trip") }),
	}})
	assert.Panics(t, func() { _, _ = client.Publish(t.Context(), "orders", struct{}{}) })
	assert.Equal(t, []string{
		"a publish orders", "a send", "a sent", "panic", "a published", "panic",
	}, trail)
}

func TestRequestsHaveSoManyOrigins(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		var calls []core.SendCall
		config.Observer = core.Observer{
			Origin: func(context.Context) any { return new(int) },
			Send: func(ctx context.Context, call core.SendCall) (context.Context, func(error)) {
				calls = append(calls, call)
				return ctx, nil
			},
		}
		client := newTestClient(t, config)
		p := publisherIn(t, client, core.Memory)
		queueN(t, p, maxOrigins+10, core.Queued)
		require.NoError(t, client.Flush(t.Context()))
		require.Len(t, calls, 1)
		assert.Equal(t, maxOrigins+10, calls[0].Messages)
		assert.Len(t, calls[0].Origins, maxOrigins)
	})
}

func TestJoinObservers(t *testing.T) {
	assert.Equal(t, core.Observer{}, core.JoinObservers(), "nobody watches nothing")

	t.Run("every function is joined", func(t *testing.T) {
		var calls int
		filled := fillObserver(&calls)
		for _, joined := range []core.Observer{core.JoinObservers(filled, filled), core.JoinObservers(filled), core.JoinObservers(core.Observer{}, filled, core.Observer{})} {
			value := reflect.ValueOf(joined)
			for i := range value.NumField() {
				assert.False(t, value.Field(i).IsNil(), value.Type().Field(i).Name)
			}
		}
		joined := reflect.ValueOf(core.JoinObservers(filled, filled))
		for i := range joined.NumField() {
			calls = 0
			function := joined.Field(i)
			arguments := make([]reflect.Value, function.Type().NumIn())
			for k := range arguments {
				arguments[k] = reflect.Zero(function.Type().In(k))
			}
			function.Call(arguments)
			assert.Equal(t, 2, calls, joined.Type().Field(i).Name)
		}
	})

	t.Run("in order, each with its own origins", func(t *testing.T) {
		inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
			var trail []string
			without := tracer("c", &trail)
			without.Origin, without.Publish = nil, nil
			config.Observer = core.JoinObservers(tracer("a", &trail), tracer("b", &trail), without)
			client := newTestClient(t, config)
			queueN(t, publisherIn(t, client, core.Memory), 1, core.Queued)
			require.NoError(t, client.Flush(t.Context()))
			assert.Equal(t, []string{
				"a publish orders", "b publish orders", "b published", "a published",
				"a send", "a origin orders", "b send", "b origin orders", "c send", "c sent", "b sent", "a sent",
			}, trail)
		})
	})

	t.Run("contexts and outcomes may be nil", func(t *testing.T) {
		silent := core.Observer{
			Publish: func(ctx context.Context, _ core.PublishCall) (context.Context, func(core.Receipt, error)) {
				return ctx, nil
			},
			Send: func(ctx context.Context, _ core.SendCall) (context.Context, func(error)) { return ctx, nil },
		}
		joined := core.JoinObservers(silent, silent)
		_, end := joined.Publish(t.Context(), core.PublishCall{})
		end(core.Receipt{}, errors.New("x"))
		_, sent := joined.Send(t.Context(), core.SendCall{})
		sent(nil)
		inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
			config.Observer = silent
			_, err := newTestClient(t, config).Publish(t.Context(), "orders", struct{}{})
			require.NoError(t, err)
		})
	})
}

// fillObserver makes an Observer whose functions count their calls.
func fillObserver(calls *int) core.Observer {
	var o core.Observer
	value := reflect.ValueOf(&o).Elem()
	for i := range value.NumField() {
		kind := value.Field(i).Type()
		value.Field(i).Set(reflect.MakeFunc(kind, func([]reflect.Value) []reflect.Value {
			*calls++
			results := make([]reflect.Value, kind.NumOut())
			for k := range results {
				results[k] = reflect.Zero(kind.Out(k))
			}
			return results
		}))
	}
	return o
}

// A call that an observer has been told of ends, also when the observer panics.
func TestCallsEndWhenTheObserverPanics(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		ended := false
		config.Observer = core.Observer{
			Published: func(core.Event) { panic("observer") },
			Publish: func(ctx context.Context, _ core.PublishCall) (context.Context, func(core.Receipt, error)) {
				return ctx, func(core.Receipt, error) { ended = true }
			},
		}
		client := newTestClient(t, config)
		assert.Panics(t, func() { _, _ = client.Publish(t.Context(), "orders", struct{}{}) })
		assert.True(t, ended)
	})
}

// What Stop loses is in the log.
func TestStopLogsWhatItLoses(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		var text logText
		config.Logger = text.logger()
		client, err := core.NewClient(config)
		require.NoError(t, err)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return http.StatusServiceUnavailable, true })
		queueN(t, publisherIn(t, client, core.Memory), 3, core.Queued)
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		defer cancel()
		require.ErrorIs(t, client.Stop(ctx), core.ErrUndelivered)
		assert.Contains(t, text.String(), "messages are lost")
		assert.Contains(t, text.String(), "messages=3")
	})
}

// The log line about discarded messages has the number of all since the last
// line.
func TestLogCountsDiscardedMessages(t *testing.T) {
	server := postofficetest.Start(t)
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: "orders"}))
	synctest.Test(t, func(t *testing.T) {
		var log strings.Builder
		client := newTestClient(t, core.Config{
			URL: testServer, HTTPClient: &http.Client{Transport: server.Transport()}, Logger: slog.New(slog.NewTextHandler(&log, nil)),
		})
		publish := func() string {
			log.Reset()
			_, err := client.Publish(t.Context(), "orders", struct{}{})
			require.NoError(t, err)
			return log.String()
		}
		assert.Contains(t, publish(), "messages=1")
		assert.Empty(t, publish())
		_, err := client.PublishBulk(t.Context(), "orders", []any{struct{}{}, struct{}{}})
		require.NoError(t, err)
		time.Sleep(10 * time.Second)
		line := publish()
		assert.Contains(t, line, "discarded")
		assert.Contains(t, line, "messages=4")
		assert.NotContains(t, line, "omitted")
	})
}
