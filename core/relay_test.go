package core_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestRelayDeliversWhatIsStored(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		insert(t, store, "orders", 1200)
		insert(t, store, "bills", 1)
		var seen events
		config.Outbox, config.Observer = store, seen.observer()
		startTestClient(t, config)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("orders"), 1200)
		assert.Len(t, server.MessagesOf("bills"), 1)
		assert.Empty(t, records(t, store))
		assert.Len(t, server.Requests(), 4, "messages alike share requests")
		for _, event := range seen.of("delivered") {
			assert.True(t, event.FromOutbox)
		}
	})
}

func TestRelayIsToldOfWhatIsStored(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		config.Outbox = memory.New()
		client := startTestClient(t, config)
		synctest.Wait()
		server.FailNext(1, 500)
		_, err := client.Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		time.Sleep(backoffBase + time.Millisecond)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("orders"), 1)
	})
}

func TestRelayFindsWhatOthersHaveStored(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		config.Outbox = store
		later := outbox.Record{ID: "later", Topic: "orders", Payload: json.RawMessage(`{}`), Attributes: json.RawMessage(`{}`)}
		require.NoError(t, store.Insert(t.Context(), time.Hour, later))
		startTestClient(t, config)
		synctest.Wait()
		insert(t, store, "orders", 1)
		time.Sleep(relayPoll + time.Millisecond)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("orders"), 1)
	})
}

func TestOutageIsSurvived(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		var down atomic.Bool
		through := config.HTTPClient.Transport
		config.HTTPClient.Transport = roundTripFunc(func(r *http.Request) (*http.Response, error) {
			if down.Load() {
				return nil, errors.New("connection refused")
			}
			return through.RoundTrip(r)
		})
		config.Outbox = store
		client := startTestClient(t, config)
		down.Store(true)
		for i := range 60 * 50 { // 50 a second, for a minute
			start := time.Now()
			_, err := client.Publish(t.Context(), "orders", map[string]int{"n": i})
			require.NoError(t, err)
			require.Zero(t, time.Since(start), "an outage costs no time")
			time.Sleep(20 * time.Millisecond)
		}
		stats, err := store.Stats(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 3000, stats.Pending)
		attempts := 0
		for _, record := range records(t, store) {
			attempts += record.Attempts
		}
		assert.Less(t, attempts, 100, "the relay waits for the breaker and burns no attempts")

		down.Store(false)
		time.Sleep(30 * time.Second)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("orders"), 3000)
		assert.Empty(t, records(t, store))
	})
}

func TestScheduledMessageKeepsItsTimeThroughAnOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		config.Outbox = memory.New()
		client := startTestClient(t, config)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return 503, true })
		at, soon := time.Now().Add(time.Hour), time.Now().Add(time.Minute)
		for _, at := range []time.Time{at, at, soon} {
			_, err := client.Publish(t.Context(), "orders", struct{}{}, core.DeliverAt(at))
			require.NoError(t, err)
		}
		time.Sleep(2 * time.Minute)
		server.FailWhen(nil)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		messages := server.MessagesOf("orders")
		require.Len(t, messages, 3)
		scheduled, past := 0, 0
		for _, message := range messages {
			switch message.Via {
			case postofficetest.Scheduled:
				assert.WithinDuration(t, at, message.DeliverAt, time.Microsecond)
				scheduled++
			case postofficetest.Single:
				past++
			}
		}
		assert.Equal(t, 2, scheduled)
		assert.Equal(t, 1, past, "what is overdue is delivered at once")
	})
}

func TestRelayKeepsTryingWithGrowingPauses(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		insert(t, store, "orders", 1)
		failOn(server, "orders")
		var seen events
		config.Outbox, config.Observer = store, seen.observer()
		startTestClient(t, config)
		time.Sleep(24 * time.Hour)
		synctest.Wait()
		list := records(t, store)
		require.Len(t, list, 1)
		assert.Equal(t, outbox.Pending, list[0].State, "never given up")
		assert.Greater(t, list[0].Attempts, 24*12, "5 minutes is the longest pause")
		assert.Less(t, list[0].Attempts, 24*12*4, "2.5 minutes is the mean of the longest")
		assert.Contains(t, list[0].LastError, "answered 500")
		assert.Len(t, seen.of("failed"), list[0].Attempts)

		server.FailWhen(nil)
		time.Sleep(backoffMax + relayPoll)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("orders"), 1)
	})
}

func TestRelayHonoursRetryAfter(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		insert(t, store, "orders", 3)
		server.AnswerNext(1, postofficetest.Answer{Status: 429, RetryAfter: 20 * time.Minute})
		config.Outbox = store
		startTestClient(t, config)
		time.Sleep(20*time.Minute - time.Second)
		synctest.Wait()
		assert.Len(t, server.Requests(), 1)
		time.Sleep(relayPoll + time.Second)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("orders"), 3)
	})
}

func TestRefusedMessagesBecomeDead(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		insert(t, store, "orders", 10)
		server.FailWhen(func(_ *http.Request, body []byte) (int, bool) { return 400, bytes.Contains(body, []byte(`"n":4`)) })
		var seen events
		config.Outbox, config.Observer = store, seen.observer()
		startTestClient(t, config)
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("orders"), 9)
		list := records(t, store)
		require.Len(t, list, 1)
		assert.Equal(t, outbox.Dead, list[0].State)
		assert.Contains(t, list[0].LastError, "answered 400")
		assert.Len(t, seen.of("dead"), 1)

		server.FailWhen(nil)
		retried, err := store.Retry(t.Context(), outbox.Selection{All: true})
		require.NoError(t, err)
		assert.Equal(t, 1, retried)
		time.Sleep(relayPoll + time.Second)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("orders"), 10)
	})
}

func TestUnknownTopicHoldsBackNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		insert(t, store, "foreign", 200)
		insert(t, store, "orders", 100)
		config.Outbox = store
		startTestClient(t, config)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("orders"), 100)
		assert.Len(t, records(t, store), 200)

		addTopics(t, server, "foreign")
		time.Sleep(backoffMax + relayPoll)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("foreign"), 200)
	})
}

func TestPoisonInTheOutboxHoldsBackNoOther(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		insert(t, store, "orders", 3000)
		failOn(server, `"n":1234}`)
		config.Outbox = store
		startTestClient(t, config)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("orders"), 2999)
		assert.Len(t, records(t, store), 1)
	})
}

func TestManyPoisonMessagesDoNotHideTheOthers(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		insert(t, store, "orders", 400)
		numbers := regexp.MustCompile(`{"n":(\d+)}`)
		server.FailWhen(func(_ *http.Request, body []byte) (int, bool) {
			for _, found := range numbers.FindAllSubmatch(body, -1) {
				if n, err := strconv.Atoi(string(found[1])); err != nil || n < 300 { // three of four
					return 500, true
				}
			}
			return 0, false
		})
		config.Outbox = store
		startTestClient(t, config)
		time.Sleep(time.Hour)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("orders"), 100)
		assert.Len(t, records(t, store), 300)
	})
}

func TestMissingTopicOfOursIsCreatedByTheRelay(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		config.Outbox, config.Topics, config.OriginHost = store, []string{"lost"}, "http://app.test"
		startTestClient(t, config)
		// The server forgets the topic, as one does whose database is reset.
		server.AnswerNext(1, postofficetest.Answer{Status: 406, ContentType: "application/json", Body: `{"data":{"errors":"Topic does not exist"}}`})
		insert(t, store, "lost", 2)
		time.Sleep(relayPoll + time.Second)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("lost"), 2)
		paths := []string{}
		for _, request := range server.Requests() {
			paths = append(paths, request.Path)
		}
		assert.Equal(t, []string{"/api/topics", "/api/bulk_messages", "/api/topics", "/api/bulk_messages"}, paths)
	})
}

// countingStore is an outbox that counts the claims.
type countingStore struct {
	outbox.Store
	claims atomic.Int64
}

func (s *countingStore) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	s.claims.Add(1)
	return s.Store.Claim(ctx, options)
}

// lockedStore has a due row that a transaction of somebody's has locked.
type lockedStore struct{ *countingStore }

func (s lockedStore) Claim(context.Context, outbox.ClaimOptions) ([]outbox.Record, error) {
	s.claims.Add(1)
	return nil, nil
}

func TestRelayLeavesLockedRowsAlone(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		store := lockedStore{&countingStore{Store: memory.New()}}
		insert(t, store, "orders", 1)
		config.Outbox = store
		startTestClient(t, config)
		time.Sleep(time.Minute)
		claims := store.claims.Load()
		assert.LessOrEqual(t, claims, int64(time.Minute/lockedPause)+1)
		assert.Greater(t, claims, int64(time.Minute/relayPoll))
	})
}

// silentStore answers nothing for a while, as a database behind a firewall
// that drops packets.
type silentStore struct {
	outbox.Store
	until time.Time
}

func (s *silentStore) wait(ctx context.Context) error {
	if time.Now().After(s.until) {
		return nil
	}
	<-ctx.Done()
	return ctx.Err()
}

func (s *silentStore) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	if err := s.wait(ctx); err != nil {
		return nil, err
	}
	return s.Store.Claim(ctx, options)
}

func TestRelayGivesUpOnASilentOutbox(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &silentStore{memory.New(), time.Now().Add(time.Minute)}
		insert(t, store, "orders", 1)
		config.Outbox = store
		startTestClient(t, config)
		time.Sleep(time.Minute + storeTimeout + relayErrorMax)
		assert.Len(t, payloadsOf(server, "orders"), 1)
	})
}

func TestOpenBreakerKeepsTheRelayFromClaiming(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &countingStore{Store: memory.New()}
		insert(t, store, "orders", 500)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return 502, true })
		config.Outbox = store
		startTestClient(t, config)
		time.Sleep(time.Minute)
		// One claim a second probes the server, and a few come in between.
		assert.Less(t, store.claims.Load(), int64(2*60))
	})
}

func TestWhatWasNotSentCountsNoAttempt(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		for i := range 100 { // each needs a request of its own
			id := uuid.Must(uuid.NewV7()).String()
			require.NoError(t, store.Insert(t.Context(), 0, outbox.Record{
				ID: id, Topic: "orders", Payload: json.RawMessage(`{}`), Attributes: fmt.Appendf(nil, `{"n":"%d"}`, i),
			}))
		}
		server.FailNext(1, 429)
		config.Outbox = store
		startTestClient(t, config)
		synctest.Wait() // no time passes, so nothing is tried again
		attempts := map[int]int{}
		for _, record := range records(t, store) {
			attempts[record.Attempts]++
			assert.Empty(t, record.LeaseToken)
		}
		assert.Equal(t, 1, attempts[1], "one request failed")
		assert.NotZero(t, attempts[0], "the rest of its slot was not sent")
		assert.Len(t, attempts, 2)
	})
}

func TestServerThatFailsEachMessageIsNotAskedForAll(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		failOn(server, "orders")
		store := memory.New()
		list := make([]outbox.Record, 100)
		for i := range list {
			list[i] = outbox.Record{
				ID: uuid.NewString(), Topic: "orders", Payload: json.RawMessage(`{}`), Attributes: json.RawMessage(`{}`),
				// Scheduled messages travel singly, so there is no bulk to fail.
				DeliverAt: time.Now().Add(time.Hour),
			}
		}
		require.NoError(t, store.Insert(t.Context(), 0, list...))
		config.Outbox = store
		startTestClient(t, config)
		synctest.Wait()
		assert.Len(t, server.Requests(), 2, "one with a message, and one that asks the server")
	})
}

// flakyStore is an outbox whose methods fail while a flag is up.
type flakyStore struct {
	outbox.Store
	noClaim, noDelete atomic.Bool
}

var errFlaky = errors.New("database is gone")

func (s *flakyStore) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	if s.noClaim.Load() {
		return nil, errFlaky
	}
	return s.Store.Claim(ctx, options)
}

func (s *flakyStore) Delete(ctx context.Context, ids ...string) (int, error) {
	if s.noDelete.Load() {
		return 0, errFlaky
	}
	return s.Store.Delete(ctx, ids...)
}

func TestRelayOutlivesAnOutageOfItsOutbox(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &flakyStore{Store: memory.New()}
		insert(t, store, "orders", 3)
		store.noClaim.Store(true)
		config.Outbox = store
		startTestClient(t, config)
		time.Sleep(time.Hour)
		assert.Empty(t, server.Requests())
		store.noClaim.Store(false)
		time.Sleep(relayErrorMax)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("orders"), 3)
	})
}

func TestDeliveredMessageIsNotSentAgainBecauseItCannotBeDeleted(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &flakyStore{Store: memory.New()}
		insert(t, store, "orders", 3)
		store.noDelete.Store(true)
		config.Outbox = store
		startTestClient(t, config)
		time.Sleep(time.Hour) // many leases
		assert.Len(t, server.MessagesOf("orders"), 3)
		assert.Len(t, records(t, store), 3)
		store.noDelete.Store(false)
		time.Sleep(relayErrorMax)
		synctest.Wait()
		assert.Len(t, server.MessagesOf("orders"), 3)
		assert.Empty(t, records(t, store))
	})
}

func TestRelaysShareAnOutbox(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		insert(t, store, "orders", 5000)
		config.Outbox = store
		for range 4 {
			startTestClient(t, config)
		}
		synctest.Wait()
		payloads := payloadsOf(server, "orders")
		assert.Len(t, payloads, 5000, "none is lost, none is sent twice")
		assert.Empty(t, records(t, store))
	})
}

// Messages in the outbox share a request if they have the topic, the attributes
// and the time of delivery in common.
func TestMessagesAlikeInTheOutboxShareRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		now, store := time.Now(), memory.New()
		for _, record := range []outbox.Record{
			{Topic: "orders"},
			{Topic: "bills"},
			{Topic: "orders", Attributes: json.RawMessage(`{"x":"1"}`)},
			{Topic: "orders", DeliverAt: now.Add(-time.Hour)},
			{Topic: "orders", DeliverAt: now.Add(time.Hour)},
			{Topic: "orders", DeliverAt: now.Add(2 * time.Hour)},
			{Topic: "orders"},
		} {
			record.ID, record.Payload = uuid.NewString(), json.RawMessage(`{}`)
			if record.Attributes == nil {
				record.Attributes = json.RawMessage(`{}`)
			}
			require.NoError(t, store.Insert(t.Context(), 0, record))
		}
		config.Outbox = store
		startTestClient(t, config)
		synctest.Wait()
		paths := map[string]int{}
		for _, request := range server.Requests() {
			paths[request.Path]++
		}
		assert.Equal(t, map[string]int{"/api/bulk_messages": 1, "/api/messages": 2, "/api/schedule_messages": 2}, paths)
		assert.Len(t, server.Messages(), 7)
	})
}

// neverRescheduled is a store that cannot note what became of messages.
type neverRescheduled struct{ outbox.Store }

func (neverRescheduled) Reschedule(context.Context, ...outbox.Change) (int, error) {
	return 0, errors.New("database is read-only")
}

// Messages are told to be dead when they are, and not each time that this could
// not be noted.
func TestDeadMessagesAreToldOnceTheyAre(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		var seen events
		store := memory.New()
		config.Outbox, config.Observer = neverRescheduled{store}, seen.observer()
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return http.StatusBadRequest, true })
		require.NoError(t, store.Insert(t.Context(), 0, stored(someID)))
		client := startTestClient(t, config)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		assert.Empty(t, seen.of("dead"))
		assert.Zero(t, client.LastHour()[0].Dead)
		assert.Equal(t, outbox.Pending, records(t, store)[0].State)
	})
}

// Each event has the error of its own messages.
func TestEventsHaveTheirOwnErrors(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		var seen events
		store := memory.New()
		config.Outbox, config.Observer = store, seen.observer()
		server.FailWhen(func(_ *http.Request, body []byte) (int, bool) {
			if bytes.Contains(body, []byte("bad")) {
				return http.StatusBadRequest, true
			}
			return http.StatusTooManyRequests, true
		})
		bad, late := stored(someID), stored(otherID)
		bad.Payload, late.Payload = []byte(`{"bad":1}`), []byte(`{"late":1}`)
		bad.DeliverAt = time.Now().Add(time.Hour)
		late.DeliverAt = bad.DeliverAt
		require.NoError(t, store.Insert(t.Context(), 0, bad, late))
		startTestClient(t, config)
		time.Sleep(time.Second)
		synctest.Wait()
		require.NotEmpty(t, seen.of("dead"))
		assert.ErrorContains(t, seen.of("dead")[0].Err, "400")
		require.NotEmpty(t, seen.of("failed"))
		assert.ErrorContains(t, seen.of("failed")[0].Err, "429")

		// So do the ones of a call.
		seen = events{}
		client := newTestClient(t, config)
		_, err := client.PublishBulk(t.Context(), "orders", []any{map[string]int{"bad": 1}, map[string]int{"late": 1}}, core.DeliverIn(time.Hour))
		require.NoError(t, err)
		require.Len(t, seen.of("dead"), 1)
		assert.Equal(t, "400", statusOf(seen.of("dead")[0].Err))
		require.Len(t, seen.of("stored"), 1)
		assert.Equal(t, "429", statusOf(seen.of("stored")[0].Err))
	})
}

// statusOf is the status of the only answer that an error names.
func statusOf(err error) string {
	response, _ := err.(*core.ResponseError) //nolint:errorlint // nothing is wrapped around it
	if response == nil {
		return ""
	}
	return strconv.Itoa(response.StatusCode)
}

// What a person has discarded while it was posted is not dead.
func TestDiscardedWhilePostedIsNotDead(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		var seen events
		store := memory.New()
		config.Outbox, config.Observer = store, seen.observer()
		server.FailWhen(func(*http.Request, []byte) (int, bool) {
			_, _ = store.Discard(context.Background(), outbox.Selection{All: true})
			return http.StatusBadRequest, true
		})
		require.NoError(t, store.Insert(t.Context(), 0, stored(someID)))
		client := startTestClient(t, config)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, seen.of("dead"))
		assert.Zero(t, client.LastHour()[0].Dead)
	})
}
