package core_test

import (
	"context"
	"fmt"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// begin makes a request's publisher and its end.
func begin(t *testing.T, client *core.Client, options core.Options) (p *core.Publisher, end func(status int)) {
	t.Helper()
	ctx, finish := client.BeginRequest(t.Context(), nil, options)
	return core.MustFromContext(ctx), func(status int) {
		if status != 0 {
			core.EndRequest(ctx, status)
		}
		finish()
	}
}

// publisherIn makes a publisher of a mode.
func publisherIn(t *testing.T, client *core.Client, mode core.Mode) *core.Publisher {
	t.Helper()
	p, _ := begin(t, client, core.Options{AfterResponse: mode})
	return p
}

// queueN publishes so many messages and checks where they went.
func queueN(t *testing.T, p *core.Publisher, n int, want core.State) {
	t.Helper()
	for i := range n {
		receipt, err := p.Publish(t.Context(), "orders", map[string]int{"n": i})
		require.NoError(t, err)
		require.Equal(t, want, receipt.State)
	}
}

// isEmpty checks that a client holds nothing in memory: neither messages nor
// room for them.
func isEmpty(t *testing.T, client *core.Client) {
	t.Helper()
	stats := client.Stats()
	assert.Zero(t, stats.Queued, "messages")
	assert.Zero(t, stats.QueuedBytes, "bytes")
	assert.Zero(t, stats.AtRisk)
	assert.Zero(t, stats.AtRiskFor)
	assert.NoError(t, client.Flush(t.Context()), "there is nothing to wait for")
}

func TestMemoryCoalescesMessagesOfManyRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		for range 20 {
			queueN(t, publisherIn(t, client, core.Memory), 20, core.Queued)
		}
		receipt, err := publisherIn(t, client, core.Memory).PublishBulk(t.Context(), "orders", numbered(99))
		require.NoError(t, err)
		assert.Equal(t, core.Receipt{State: core.Queued}, receipt)
		synctest.Wait()
		assert.Empty(t, payloadsOf(server, "orders"))
		queueN(t, publisherIn(t, client, core.Memory), 1, core.Queued)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 500, "a full batch is posted at once")

		queueN(t, publisherIn(t, client, core.Memory), 50, core.Queued)
		time.Sleep(core.DefaultBatchDelay - time.Millisecond)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 500)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 550)
		assert.LessOrEqual(t, len(server.Requests()), 1+maxShards)
		isEmpty(t, client)
	})
}

// together is a payload whose encoding waits until all of a group are encoded.
type together struct{ group *sync.WaitGroup }

func (p together) MarshalJSON() ([]byte, error) {
	p.group.Done()
	p.group.Wait()
	return []byte("{}"), nil
}

// publishTogether publishes messages in calls that are all under way at the
// same time.
func publishTogether(t *testing.T, p *core.Publisher, n int) {
	t.Helper()
	var group, calls sync.WaitGroup
	group.Add(n)
	for range n {
		calls.Go(func() {
			_, err := p.Publish(t.Context(), "orders", together{&group})
			assert.NoError(t, err)
		})
	}
	calls.Wait()
}

func TestConcurrentCallsShareABatchUnlessThereIsMuchToDo(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		config.Batching.Payloads = 10
		client := newTestClient(t, config)
		p := publisherIn(t, client, core.Memory)
		requests := func() int {
			time.Sleep(core.DefaultBatchDelay)
			synctest.Wait()
			return len(server.Requests())
		}
		publishTogether(t, p, 8)
		assert.Equal(t, 1, requests())
		queueN(t, p, 10, core.Queued) // a batch that is full at once
		synctest.Wait()
		require.Len(t, server.Requests(), 2)
		publishTogether(t, p, 8)
		assert.LessOrEqual(t, requests(), 2+maxShards)
		for range 2 { // the first of which is the end of much to do
			before := len(server.Requests())
			queueN(t, p, 1, core.Queued)
			assert.Equal(t, before+1, requests())
		}
		before := len(server.Requests())
		publishTogether(t, p, 8)
		assert.Equal(t, before+1, requests(), "batches are large again")
		assert.Len(t, payloadsOf(server, "orders"), 8+10+8+2+8)
		isEmpty(t, client)
	})
}

func TestMemoryChecksEveryTopic(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL()})
	p := publisherIn(t, client, core.Memory)
	for range 2 { // the second time with an encoder that has seen a topic
		for _, topic := range []string{"", " ", "a\x00b"} {
			runtime.GC() // twice, which leaves no encoder
			runtime.GC()
			for range 2 {
				_, err := p.Publish(t.Context(), topic, struct{}{})
				require.ErrorIs(t, err, core.ErrInvalidMessage, "%q", topic)
			}
		}
		queueN(t, p, 1, core.Queued)
	}
}

func TestMemoryKeepsApartWhatDiffers(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		p := publisherIn(t, client, core.Memory)
		at := time.Now().Add(time.Hour)
		publish := func(topic string, options ...core.PublishOption) {
			for range 2 {
				_, err := p.Publish(t.Context(), topic, struct{}{}, options...)
				require.NoError(t, err)
			}
		}
		publish("orders")
		publish("bills")
		publish("orders", core.WithAttribute("region", "north"))
		publish("orders", core.DeliverAt(at))
		time.Sleep(core.DefaultBatchDelay)
		synctest.Wait()
		paths := map[string]int{}
		for _, request := range server.Requests() {
			paths[request.Path]++
		}
		assert.Equal(t, map[string]int{"/api/bulk_messages": 3, "/api/schedule_messages": 2}, paths)
		scheduled := 0
		for _, message := range server.MessagesOf("orders") {
			if message.Via == postofficetest.Scheduled {
				assert.WithinDuration(t, at, message.DeliverAt, time.Microsecond)
				scheduled++
			}
		}
		assert.Equal(t, 2, scheduled)
	})
}

func TestBatchesAreBoundedByBytes(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		config.Batching.Bytes = 10_000
		client := newTestClient(t, config)
		p := publisherIn(t, client, core.Memory)
		for range 25 {
			_, err := p.Publish(t.Context(), "orders", map[string]string{"text": strings.Repeat("x", 1000)})
			require.NoError(t, err)
			time.Sleep(core.DefaultBatchDelay / 11) // slowly, so that all share a batch until it is full
		}
		synctest.Wait()
		assert.Len(t, server.Requests(), 2)
		assert.Len(t, payloadsOf(server, "orders"), 20)

		for range 3 {
			_, err := p.Publish(t.Context(), "orders", map[string]string{"text": strings.Repeat("x", 5_000_000)})
			require.NoError(t, err)
		}
		time.Sleep(core.DefaultBatchDelay)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 28)
		for _, request := range server.Requests() {
			assert.Equal(t, http.StatusCreated, request.Status, "no batch is larger than the server takes")
		}
	})
}

func TestEachBatchWaitsForItsOwnDelay(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		p := publisherIn(t, client, core.Memory)
		const step = core.DefaultBatchDelay / 4
		posted := func(topic string) int {
			synctest.Wait()
			return len(payloadsOf(server, topic))
		}
		for _, topic := range []string{"orders", "bills"} {
			_, err := p.Publish(t.Context(), topic, struct{}{})
			require.NoError(t, err)
			time.Sleep(step)
		}
		time.Sleep(2 * step)
		assert.Equal(t, []int{1, 0}, []int{posted("orders"), posted("bills")})
		time.Sleep(step - time.Millisecond)
		assert.Zero(t, posted("bills"))
		time.Sleep(time.Millisecond)
		assert.Equal(t, 1, posted("bills"))
	})
}

func TestFlushDeliversWhatWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		queueN(t, publisherIn(t, client, core.Memory), 1200, core.Queued)
		start := time.Now()
		require.NoError(t, client.Flush(t.Context()))
		assert.Zero(t, time.Since(start), "without waiting for the delay")
		assert.Len(t, payloadsOf(server, "orders"), 1200)
		isEmpty(t, client)
		require.NoError(t, client.Flush(t.Context()))
	})
}

func TestFlushWaitsForRetriesAndHonoursItsContext(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		server.FailNext(3, 500)
		client := newTestClient(t, config)
		queueN(t, publisherIn(t, client, core.Memory), 1, core.Queued)
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, client.Flush(ctx), context.DeadlineExceeded)
		require.NoError(t, client.Flush(t.Context()))
		assert.Len(t, payloadsOf(server, "orders"), 1)
		isEmpty(t, client)
	})
}

// blocking is a server that answers a request when it is told to.
type blocking struct {
	answers chan int
	waiting *atomic.Int32 // counts requests
}

func newBlocking() blocking { return blocking{make(chan int), new(atomic.Int32)} }

func (s blocking) RoundTrip(r *http.Request) (*http.Response, error) {
	s.waiting.Add(1)
	defer s.waiting.Add(-1)
	select {
	case status := <-s.answers:
		return &http.Response{StatusCode: status, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
}

func TestFullMemorySpillsToTheOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newBlocking()
		store := memory.New()
		var seen events
		client := newTestClient(t, core.Config{
			URL: testServer, HTTPClient: &http.Client{Transport: server}, Outbox: store, Observer: seen.observer(),
			Batching: core.Batching{MaxMessages: 50, MaxBytes: 100_000},
		})
		p := publisherIn(t, client, core.Memory)
		queueN(t, p, 50, core.Queued)
		queueN(t, p, 10, core.Stored)
		assert.Len(t, records(t, store), 10)
		assert.Len(t, seen.of("stored"), 10)
		time.Sleep(core.DefaultBatchDelay)
		server.answers <- http.StatusCreated
		synctest.Wait()
		queueN(t, p, 50, core.Queued)
		time.Sleep(core.DefaultBatchDelay)
		server.answers <- http.StatusCreated
		synctest.Wait()

		_, err := p.Publish(t.Context(), "orders", map[string]string{"text": strings.Repeat("x", 200_000)})
		require.NoError(t, err, "one that is larger than all the room is taken when there is no other")
		receipt, err := p.Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		assert.Equal(t, core.Stored, receipt.State, "bytes are bounded, too")
		time.Sleep(core.DefaultBatchDelay)
		server.answers <- http.StatusCreated
		synctest.Wait()
		isEmpty(t, client)
	})
}

func TestFullMemoryRefusesWhatMayBeDropped(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		client := newTestClient(t, core.Config{
			URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Outbox: store, Batching: core.Batching{MaxMessages: 2},
		})
		p, end := begin(t, client, core.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded})
		queueN(t, p, 2, core.Queued)
		_, err := p.Publish(t.Context(), "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrNotAccepted, "at once: it would wait for its own end")
		assert.Empty(t, records(t, store), "what is stored could not be dropped any more")
		end(500)
		isEmpty(t, client)
	})
}

func TestFlushOnThatPanicsLosesNothing(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		p, end := begin(t, client, core.Options{AfterResponse: core.Memory, FlushOn: func(core.Outcome) bool { panic("oh") }})
		queueN(t, p, 2, core.Queued)
		assert.PanicsWithValue(t, "oh", func() { end(200) })
		require.NoError(t, client.Flush(t.Context()))
		assert.Len(t, payloadsOf(server, "orders"), 2)
		isEmpty(t, client)
	})
}

func TestOutcomeHasAFinalStatus(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer})
	for status, want := range map[int]int{0: 200, 100: 200, 103: 200, 101: 101, 200: 200, 304: 304, 500: 500} {
		var got core.Outcome
		options := core.Options{AfterResponse: core.Memory, FlushOn: func(outcome core.Outcome) bool { got = outcome; return false }}
		ctx, end := client.BeginRequest(t.Context(), nil, options)
		_, err := core.MustFromContext(ctx).Publish(ctx, "orders", struct{}{})
		require.NoError(t, err)
		core.EndRequest(ctx, status)
		end()
		assert.Equal(t, core.Outcome{Status: want}, got, status)
	}
}

func TestFullMemoryWithoutOutboxWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newBlocking()
		client := newTestClient(t, core.Config{
			URL: testServer, HTTPClient: &http.Client{Transport: server}, Batching: core.Batching{MaxMessages: 10},
		})
		p := publisherIn(t, client, core.Memory)
		queueN(t, p, 10, core.Queued)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		start := time.Now()
		_, err := p.Publish(ctx, "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrNotAccepted)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, time.Second, time.Since(start))

		var waiting sync.WaitGroup
		waiting.Go(func() { queueN(t, p, 1, core.Queued) })
		synctest.Wait()
		server.answers <- http.StatusCreated
		waiting.Wait()

		queueN(t, p, 9, core.Queued)
		var refused error
		waiting.Go(func() { _, refused = p.Publish(t.Context(), "orders", struct{}{}) })
		synctest.Wait()
		var stopped error
		waiting.Go(func() { stopped = client.Stop(context.WithoutCancel(t.Context())) })
		synctest.Wait()
		require.ErrorIs(t, refused, core.ErrClosed)
		server.answers <- http.StatusCreated
		waiting.Wait()
		require.NoError(t, stopped)
	})
}

func TestOpenBreakerSpillsToTheOutbox(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		config.Outbox = store
		client := startTestClient(t, config)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return 503, true })
		p := publisherIn(t, client, core.Memory)
		for client.Stats().Breaker != core.BreakerOpen {
			queueN(t, p, 1, core.Queued)
			require.NoError(t, client.Flush(t.Context()))
		}
		queueN(t, p, 10, core.Stored)
		server.FailWhen(nil)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, records(t, store))
		isEmpty(t, client)
	})
}

func TestMemoryStoresWhatTheServerDoesNotTake(t *testing.T) {
	for name, test := range map[string]struct {
		status int
		state  outbox.State
	}{
		"for now": {500, outbox.Pending}, "for good": {400, outbox.Dead},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
				store := memory.New()
				config.Outbox = store
				client := newTestClient(t, config)
				server.FailWhen(func(_ *http.Request, body []byte) (int, bool) {
					return test.status, strings.Contains(string(body), `"n":3}`)
				})
				queueN(t, publisherIn(t, client, core.Memory), 10, core.Queued)
				require.NoError(t, client.Flush(t.Context()))
				assert.Len(t, payloadsOf(server, "orders"), 9)
				list := records(t, store)
				require.Len(t, list, 1)
				assert.Equal(t, test.state, list[0].State)
				assert.JSONEq(t, `{"n":3}`, string(list[0].Payload))
				isEmpty(t, client)
			})
		})
	}
}

func TestMemoryWithoutOutboxTriesAgain(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		var seen events
		config.Observer = seen.observer()
		client := newTestClient(t, config)
		var down atomic.Bool
		down.Store(true)
		server.FailWhen(func(_ *http.Request, body []byte) (int, bool) {
			if strings.Contains(string(body), `"n":3}`) {
				return 400, true
			}
			return 503, down.Load()
		})
		queueN(t, publisherIn(t, client, core.Memory), 1000, core.Queued)
		time.Sleep(time.Minute)
		synctest.Wait()
		assert.Empty(t, server.MessagesOf("orders"))
		down.Store(false)
		time.Sleep(memoryRetryMax + time.Second)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 999, "the one that the server refuses for good is gone")
		lost := 0
		for _, event := range seen.of("dead") {
			lost += event.Messages
			assert.ErrorContains(t, event.Err, "400")
		}
		assert.Equal(t, 1, lost, "and that is told")
		isEmpty(t, client)
	})
}

func TestMemoryHonoursRetryAfter(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		server.FailNext(1, 429, postofficetest.RetryAfter(10*time.Minute))
		queueN(t, publisherIn(t, client, core.Memory), 1, core.Queued)
		time.Sleep(10 * time.Minute)
		synctest.Wait()
		assert.Len(t, server.Requests(), 1)
		time.Sleep(time.Second)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 1)
	})
}

// closedStore is an outbox that can be shut and opened.
type closedStore struct {
	outbox.Store
	shut atomic.Bool
}

func (s *closedStore) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	if s.shut.Load() {
		return errBrokenStore
	}
	return s.Store.Insert(ctx, delay, records...)
}

func TestMemoryKeepsWhatNeitherServerNorOutboxTakes(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &closedStore{Store: memory.New()}
		store.shut.Store(true)
		config.Outbox = store
		client := newTestClient(t, config)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return 500, true })
		queueN(t, publisherIn(t, client, core.Memory), 10, core.Queued)
		time.Sleep(time.Hour)
		assert.Empty(t, records(t, store))
		store.shut.Store(false)
		require.NoError(t, client.Flush(t.Context()))
		synctest.Wait()
		assert.Len(t, records(t, store), 10)
		isEmpty(t, client)
	})
}

func TestRefusedMessageWaitsForItsOutbox(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &closedStore{Store: memory.New()}
		store.shut.Store(true)
		config.Outbox = store
		client := newTestClient(t, config)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return 400, true })
		queueN(t, publisherIn(t, client, core.Memory), 1, core.Queued)
		time.Sleep(time.Minute)
		store.shut.Store(false)
		require.NoError(t, client.Flush(t.Context()))
		synctest.Wait()
		list := records(t, store)
		require.Len(t, list, 1)
		assert.Equal(t, outbox.Dead, list[0].State)
	})
}

func TestStopDeliversWhatWaits(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		queueN(t, publisherIn(t, client, core.Memory), 700, core.Queued)
		start := time.Now()
		require.NoError(t, client.Stop(t.Context()))
		assert.Zero(t, time.Since(start))
		assert.Len(t, payloadsOf(server, "orders"), 700)
		isEmpty(t, client)
	})
}

func TestStopStoresInTimeWhatAHangingServerDoesNotTake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := memory.New()
		client := newTestClient(t, core.Config{URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Outbox: store})
		require.NoError(t, client.Start(t.Context()))
		p := publisherIn(t, client, core.Memory)
		queueN(t, p, 3000, core.Queued)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		start := time.Now()
		require.NoError(t, client.Stop(ctx))
		assert.LessOrEqual(t, time.Since(start), 3*time.Second)
		assert.Len(t, records(t, store), 3000)
		isEmpty(t, client)
	})
}

func TestStopTellsWhatIsLostWithoutAnOutbox(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, err := core.NewClient(core.Config{URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Logger: quiet})
		require.NoError(t, err)
		queueN(t, publisherIn(t, client, core.Memory), 1200, core.Queued)
		time.Sleep(time.Minute) // some of it waits for its retry
		queueN(t, publisherIn(t, client, core.Memory), 1, core.Queued)
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second)
		defer cancel()
		err = client.Stop(ctx)
		require.ErrorIs(t, err, core.ErrUndelivered)
		require.ErrorContains(t, err, "1201 messages")
		require.ErrorIs(t, client.Stop(t.Context()), core.ErrUndelivered, "a second call says it again")
	})
}

func TestStoppedClientQueuesNothing(t *testing.T) {
	server := newServer(t, "orders")
	client := newTestClient(t, core.Config{URL: server.URL()})
	p := publisherIn(t, client, core.Memory)
	require.NoError(t, client.Stop(t.Context()))
	_, err := p.Publish(t.Context(), "orders", struct{}{})
	require.ErrorIs(t, err, core.ErrClosed)
}

func TestDurableStoresThenDelivers(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &countingStore{Store: memory.New()}
		config.Outbox = store
		client := startTestClient(t, config)
		synctest.Wait()
		p := publisherIn(t, client, core.Durable)
		var ids []string
		for i := range 30 {
			receipt, err := p.Publish(t.Context(), "orders", map[string]int{"n": i})
			require.NoError(t, err)
			require.Equal(t, core.Stored, receipt.State)
			require.Len(t, receipt.IDs, 1)
			ids = append(ids, receipt.IDs...)
		}
		list := records(t, store)
		require.Len(t, list, 30)
		for i, record := range list {
			assert.Equal(t, ids[i], record.ID)
			assert.NotEmpty(t, record.LeaseToken, "held, so that the relay leaves it alone")
		}
		claims := store.claims.Load()
		time.Sleep(core.DefaultBatchDelay)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 30)
		assert.Empty(t, records(t, store))
		assert.Len(t, server.Requests(), 1)
		assert.Equal(t, claims, store.claims.Load(), "without a claim")
		time.Sleep(time.Hour)
		assert.Len(t, payloadsOf(server, "orders"), 30, "and never again")
		isEmpty(t, client)
	})
}

func TestDurableLeavesToTheRelayWhatIsNotDelivered(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		var seen events
		config.Outbox, config.Observer = store, seen.observer()
		client := startTestClient(t, config)
		server.FailNext(1, 429)
		p := publisherIn(t, client, core.Durable)
		queueN(t, p, 3, core.Stored)
		time.Sleep(5 * time.Second) // not for as long as the rows were held
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 3)
		assert.Empty(t, records(t, store))

		server.FailWhen(func(_ *http.Request, body []byte) (int, bool) { return 400, strings.Contains(string(body), `"n":1}`) })
		queueN(t, p, 3, core.Stored)
		time.Sleep(5 * time.Second)
		list := records(t, store)
		require.Len(t, list, 1)
		assert.Equal(t, outbox.Dead, list[0].State)
		require.Len(t, seen.of("dead"), 1)
		assert.False(t, seen.of("dead")[0].FromOutbox, "it was posted from memory")
		assert.True(t, seen.of("delivered")[0].FromOutbox, "the relay had it")
		isEmpty(t, client)
	})
}

func TestDurableIsHeldWhileItIsPosted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newBlocking()
		store := memory.New()
		client := startTestClient(t, core.Config{
			URL: testServer, HTTPClient: &http.Client{Transport: server}, Outbox: store, BulkTimeout: time.Minute, Timeout: time.Minute,
			Batching: core.Batching{InFlight: 1, MaxMessages: 2},
		})
		p := publisherIn(t, client, core.Durable)
		queueN(t, p, 1, core.Stored)
		time.Sleep(30 * time.Second) // many rounds of the relay
		queueN(t, p, 1, core.Stored) // waits for the only worker
		start := time.Now()
		require.NoError(t, client.Flush(t.Context()))
		assert.Zero(t, time.Since(start), "what is stored is no matter of Flush")
		for range 2 {
			server.answers <- http.StatusCreated
			time.Sleep(time.Second)
		}
		synctest.Wait()
		assert.Empty(t, records(t, store), "each was posted once, from memory")

		queueN(t, p, 1, core.Stored)
		time.Sleep(time.Second)
		queueN(t, p, 2, core.Stored)
		held := 0
		for _, record := range records(t, store) {
			if record.LeaseToken != "" {
				held++
			}
		}
		assert.Equal(t, 2, held, "the third has no room in memory")
		time.Sleep(backoffBase + time.Millisecond)
		synctest.Wait()
		assert.EqualValues(t, 2, server.waiting.Load(), "the worker's, and the relay's, which was told of the third")
		for range 3 {
			server.answers <- http.StatusCreated
		}
		synctest.Wait()
		assert.Empty(t, records(t, store))
	})
}

func TestHeldRowsAreNotPostedWhenTheirLeaseIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		server := newBlocking()
		store := memory.New()
		client := newTestClient(t, core.Config{ // not started: there is no relay
			URL: testServer, HTTPClient: &http.Client{Transport: server}, Outbox: store, Timeout: time.Hour,
			Batching: core.Batching{InFlight: 1},
		})
		p := publisherIn(t, client, core.Durable)
		for range 3 { // batches, posted one after the other
			queueN(t, p, 1, core.Stored)
			time.Sleep(time.Second)
		}
		for range 2 {
			time.Sleep(50 * time.Minute)
			server.answers <- http.StatusCreated
		}
		synctest.Wait()
		select {
		case server.answers <- http.StatusCreated:
			assert.Fail(t, "another process may have posted it by now")
		default:
		}
		assert.Len(t, records(t, store), 1)
		isEmpty(t, client)
	})
}

func TestDurableHoldsNothingWhileTheBreakerIsOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		config.Outbox = store
		client := newTestClient(t, config)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return 500, true })
		for range breakerConsecutive {
			_, err := client.Publish(t.Context(), "orders", struct{}{})
			require.NoError(t, err)
		}
		queueN(t, publisherIn(t, client, core.Durable), 3, core.Stored)
		for _, record := range records(t, store) {
			assert.Empty(t, record.LeaseToken)
		}
		isEmpty(t, client)
	})
}

func TestDurableThroughAnOutage(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		config.Outbox, config.Batching.MaxMessages = store, 20
		client := startTestClient(t, config)
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return 503, true })
		p := publisherIn(t, client, core.Durable)
		for range 60 {
			queueN(t, p, 30, core.Stored) // more than memory takes
			time.Sleep(time.Second)
		}
		assert.Len(t, records(t, store), 1800)
		server.FailWhen(nil)
		time.Sleep(2 * time.Minute)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 1800, "each once")
		assert.Empty(t, records(t, store))
		isEmpty(t, client)
	})
}

func TestDurableSurvivesTheProcess(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		dying := core.Config{URL: testServer, HTTPClient: &http.Client{Transport: hanging}, Outbox: store, BulkTimeout: time.Hour}
		client := newTestClient(t, dying)
		queueN(t, publisherIn(t, client, core.Durable), 5, core.Stored)
		// What a crash leaves behind is the outbox as it is now.
		left := memory.New()
		for _, record := range records(t, store) {
			require.NoError(t, left.Insert(t.Context(), time.Until(record.DueAt), record))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.NoError(t, client.Stop(ctx))

		config.Outbox = left
		startTestClient(t, config)
		time.Sleep(5 * time.Hour)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 5)
	})
}

func TestDurableWithoutItsOutboxIsSentAtOnce(t *testing.T) {
	server := newServer(t, "orders")
	t.Run("none configured", func(t *testing.T) {
		client := newTestClient(t, core.Config{URL: server.URL()})
		queueN(t, publisherIn(t, client, core.Durable), 1, core.Delivered)
	})
	t.Run("not writable", func(t *testing.T) {
		client := newTestClient(t, core.Config{URL: server.URL(), Outbox: brokenStore{memory.New()}})
		queueN(t, publisherIn(t, client, core.Durable), 1, core.Delivered)
		isEmpty(t, client)
		server.FailNext(1, 500)
		_, err := publisherIn(t, client, core.Durable).Publish(t.Context(), "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrNotAccepted)
		require.ErrorIs(t, err, errBrokenStore)
	})
}

func TestFlushOnDecidesAtTheEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		var seen events
		config.Observer = seen.observer()
		client := newTestClient(t, config)
		options := core.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded}
		for _, test := range []struct {
			status int
			want   int
		}{{200, 2}, {404, 2}, {500, 0}, {0, 0}} {
			before := len(server.MessagesOf("orders"))
			p, end := begin(t, client, options)
			queueN(t, p, 2, core.Queued)
			time.Sleep(time.Second)
			require.NoError(t, client.Flush(t.Context()))
			assert.Len(t, payloadsOf(server, "orders"), before, "nothing leaves before the end")
			end(test.status)
			require.NoError(t, client.Flush(t.Context()))
			assert.Len(t, payloadsOf(server, "orders"), before+test.want, "status %d", test.status)
			isEmpty(t, client)

			queueN(t, p, 1, core.Queued) // by a goroutine that outlives the request
			require.NoError(t, client.Flush(t.Context()))
			assert.Len(t, payloadsOf(server, "orders"), before+test.want+1)
		}
		assert.Equal(t, []core.Event{{Topic: "orders", Messages: 1}, {Topic: "orders", Messages: 1}, {Topic: "orders", Messages: 1}, {Topic: "orders", Messages: 1}}, seen.of("discarded"))
	})
}

func TestStopWaitsForRequestsThatHoldMessages(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		client := newTestClient(t, config)
		p, end := begin(t, client, core.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded})
		queueN(t, p, 2, core.Queued)
		var stopped error
		var stopping sync.WaitGroup
		stopping.Go(func() { stopped = client.Stop(context.WithoutCancel(t.Context())) })
		synctest.Wait()
		_, err := p.Publish(t.Context(), "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrClosed)
		end(200)
		stopping.Wait()
		require.NoError(t, stopped)
		assert.Len(t, payloadsOf(server, "orders"), 2)
	})
}

func TestSucceeded(t *testing.T) {
	assert.True(t, core.Succeeded(core.Outcome{Status: 200}))
	assert.True(t, core.Succeeded(core.Outcome{Status: 499}))
	assert.False(t, core.Succeeded(core.Outcome{Status: 500}))
	assert.False(t, core.Succeeded(core.Outcome{Panicked: true}))
}

func TestEndRequestWithoutPublisher(t *testing.T) {
	assert.NotPanics(t, func() { core.EndRequest(t.Context(), 200) })
	assert.NotPanics(t, func() { core.EndRequest(core.NewContext(t.Context(), nil), 200) })
}

func TestPublishFlushAndStopAtTheSameTime(t *testing.T) {
	for _, mode := range []core.Mode{core.Memory, core.Durable} {
		t.Run(mode.String(), func(t *testing.T) {
			server := newServer(t, "orders")
			store := memory.New()
			client := newTestClient(t, core.Config{URL: server.URL(), Outbox: store, Timeout: time.Minute, BulkTimeout: time.Minute, Batching: core.Batching{MaxMessages: 300, Delay: time.Millisecond}})
			require.NoError(t, client.Start(t.Context()))
			var running sync.WaitGroup
			var accepted atomic.Int64
			for i := range 16 {
				p := publisherIn(t, client, mode)
				running.Go(func() {
					for n := 0; ; n++ {
						payload := map[string]string{"id": fmt.Sprintf("%d-%d", i, n)}
						if _, err := p.Publish(context.Background(), "orders", payload); err != nil {
							assert.ErrorIs(t, err, core.ErrClosed)
							return
						}
						accepted.Add(1)
					}
				})
			}
			for range 4 {
				running.Go(func() {
					for range 20 {
						assert.NoError(t, client.Flush(context.Background()))
					}
				})
			}
			require.NoError(t, server.WaitForMessages(t.Context(), "orders", 2000))
			for range 2 {
				running.Go(func() { assert.NoError(t, client.Stop(context.Background())) })
			}
			running.Wait()
			seen := map[string]bool{}
			for _, message := range server.MessagesOf("orders") {
				seen[string(message.Payload)] = true
			}
			for _, record := range records(t, store) {
				seen[string(record.Payload)] = true
			}
			assert.Len(t, seen, int(accepted.Load()), "every accepted message is delivered or stored")
			isEmpty(t, client)
		})
	}
}

func TestBatchingIsChecked(t *testing.T) {
	_, err := core.NewClient(core.Config{URL: testServer, Batching: core.Batching{
		Payloads: 3001, Bytes: -1, Delay: -1, InFlight: -1, MaxMessages: -1, MaxBytes: -1,
	}})
	require.ErrorIs(t, err, core.ErrInvalidConfig)
	for _, field := range []string{"Payloads", "Bytes", "Delay", "InFlight", "MaxMessages", "MaxBytes"} {
		assert.ErrorContains(t, err, "Batching."+field+" is ")
	}
	_, err = core.NewClient(core.Config{URL: testServer, Batching: core.Batching{Delay: core.MaxBatchDelay + 1}})
	assert.ErrorContains(t, err, "Batching.Delay is ")
}
