package core_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
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

// insertCounter is an outbox that counts its commits, and fails if asked to.
type insertCounter struct {
	*memory.Store
	mu      sync.Mutex
	inserts []int // the records of each
	fails   error
}

func (s *insertCounter) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails != nil {
		return s.fails
	}
	s.inserts = append(s.inserts, len(records))
	return s.Store.Insert(ctx, delay, records...)
}

func (s *insertCounter) fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = err
}

func (s *insertCounter) commits() []int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.inserts)
}

// unitOf publishes three messages of two topics with a publisher.
func unitOf(t *testing.T, p *core.Publisher) {
	t.Helper()
	for _, topic := range []string{"orders", "bills", "orders"} {
		receipt, err := p.Publish(t.Context(), topic, map[string]string{"of": topic})
		require.NoError(t, err)
		require.Equal(t, core.Receipt{State: core.Held}, receipt)
	}
}

// jobIn makes a publisher that is a unit of work.
func jobIn(t *testing.T, client *core.Client, mode core.Mode) *core.Publisher {
	t.Helper()
	p, err := client.NewPublisher(core.Options{AfterResponse: mode, FlushOn: core.Committed})
	require.NoError(t, err)
	return p
}

// posted counts the requests with messages.
func posted(server *postofficetest.Server) (posts int) {
	for _, request := range server.Requests() {
		if request.Method == http.MethodPost && strings.Contains(request.Path, "messages") {
			posts++
		}
	}
	return posts
}

// inModes runs a test of units of work in each mode, with an outbox that counts
// commits.
func inModes(t *testing.T, test func(t *testing.T, mode core.Mode, server *postofficetest.Server, store *insertCounter, config core.Config)) {
	t.Helper()
	for _, mode := range []core.Mode{core.Off, core.Durable, core.Memory} {
		t.Run(mode.String(), func(t *testing.T) {
			inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
				store := &insertCounter{Store: memory.New()}
				config.Outbox = store
				test(t, mode, server, store, config)
			})
		})
	}
}

func TestUnitIsAcceptedTogether(t *testing.T) {
	inModes(t, func(t *testing.T, mode core.Mode, server *postofficetest.Server, store *insertCounter, config core.Config) {
		client := newTestClient(t, config)
		p := jobIn(t, client, mode)
		unitOf(t, p)
		time.Sleep(time.Minute)
		require.NoError(t, client.Flush(t.Context()))
		assert.Empty(t, server.Messages())
		assert.Empty(t, store.commits())
		assert.Equal(t, 3, client.Stats().Queued, "they count for the bounds of memory")

		receipt, err := p.End(t.Context(), core.Outcome{})
		require.NoError(t, err)
		switch mode {
		case core.Off:
			assert.Equal(t, core.Delivered, receipt.State)
			assert.Equal(t, 2, posted(server), "one for each topic")
			assert.Len(t, server.Messages(), 3)
			assert.Empty(t, store.commits())
		case core.Durable:
			assert.Equal(t, core.Stored, receipt.State)
			assert.Len(t, receipt.IDs, 3)
			assert.Equal(t, []int{3}, store.commits(), "one commit")
		case core.Memory:
			assert.Equal(t, core.Queued, receipt.State)
		}
		time.Sleep(time.Second)
		assert.Len(t, server.MessagesOf("orders"), 2)
		assert.Len(t, server.MessagesOf("bills"), 1)
		isEmpty(t, client)

		receipt, err = p.End(t.Context(), core.Outcome{})
		require.NoError(t, err)
		assert.Equal(t, core.Receipt{State: core.Delivered}, receipt, "a second End has no effect")
		receipt, err = p.Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		assert.Equal(t, map[core.Mode]core.State{core.Off: core.Delivered, core.Durable: core.Stored, core.Memory: core.Queued}[mode], receipt.State, "after the end")
	})
}

func TestUnitIsDroppedTogether(t *testing.T) {
	for name, outcome := range map[string]core.Outcome{
		"Err": {Err: errors.New("broken")}, "Panicked": {Panicked: true}, "Status": {Status: 400},
	} {
		t.Run(name, func(t *testing.T) {
			inModes(t, func(t *testing.T, mode core.Mode, server *postofficetest.Server, store *insertCounter, config core.Config) {
				var seen events
				config.Observer = seen.observer()
				client := newTestClient(t, config)
				p := jobIn(t, client, mode)
				unitOf(t, p)
				receipt, err := p.End(t.Context(), outcome)
				require.NoError(t, err)
				assert.Equal(t, core.Receipt{}, receipt)
				assert.Equal(t, []core.Event{
					{Topic: "orders", Messages: 1}, {Topic: "bills", Messages: 1}, {Topic: "orders", Messages: 1},
				}, seen.of("discarded"))
				assert.Empty(t, seen.of("published"), "they were never accepted")
				isEmpty(t, client)
				assert.Empty(t, server.Messages())
				assert.Empty(t, store.commits())
			})
		})
	}
}

func TestUnitWithoutServer(t *testing.T) {
	inModes(t, func(t *testing.T, mode core.Mode, server *postofficetest.Server, store *insertCounter, config core.Config) {
		client := newTestClient(t, config)
		p := jobIn(t, client, mode)
		unitOf(t, p)
		server.FailNext(1000, http.StatusServiceUnavailable)
		receipt, err := p.End(t.Context(), core.Outcome{})
		require.NoError(t, err)
		if mode != core.Memory {
			assert.Equal(t, core.Stored, receipt.State)
			assert.Len(t, receipt.IDs, 3)
			assert.Equal(t, []int{3}, store.commits(), "one commit")
		}
		require.NoError(t, client.Stop(t.Context()))
		assert.Len(t, records(t, store.Store), 3)
		isEmpty(t, client)
	})
}

func TestUnitWithoutServerAndOutbox(t *testing.T) {
	inModes(t, func(t *testing.T, mode core.Mode, server *postofficetest.Server, store *insertCounter, config core.Config) {
		if mode == core.Memory {
			return // there is nothing that can fail
		}
		var seen events
		config.Observer = seen.observer()
		client := newTestClient(t, config)
		p := jobIn(t, client, mode)
		unitOf(t, p)
		server.FailNext(1000, http.StatusServiceUnavailable)
		store.fail(errBrokenStore)
		receipt, err := p.End(t.Context(), core.Outcome{})
		require.ErrorIs(t, err, core.ErrNotAccepted)
		require.ErrorIs(t, err, errBrokenStore)
		assert.Equal(t, core.Receipt{}, receipt)
		discarded := 0
		for _, event := range seen.of("discarded") {
			discarded += event.Messages
			require.ErrorIs(t, event.Err, core.ErrNotAccepted)
		}
		assert.Equal(t, 3, discarded)
		isEmpty(t, client)
		if mode == core.Durable {
			assert.Zero(t, posted(server), "several messages could be accepted in part")
		}
	})
}

// A single message cannot be accepted in part, so the server may take what the
// outbox cannot.
func TestUnitOfOneMessageWithoutOutbox(t *testing.T) {
	inModes(t, func(t *testing.T, mode core.Mode, server *postofficetest.Server, store *insertCounter, config core.Config) {
		client := newTestClient(t, config)
		p := jobIn(t, client, mode)
		_, err := p.Publish(t.Context(), "orders", struct{}{})
		require.NoError(t, err)
		store.fail(errBrokenStore)
		receipt, err := p.End(t.Context(), core.Outcome{})
		require.NoError(t, err)
		if mode != core.Memory {
			assert.Equal(t, core.Delivered, receipt.State)
		}
		require.NoError(t, client.Flush(t.Context()))
		assert.Len(t, server.Messages(), 1)
		isEmpty(t, client)
	})
}

func TestUnitWithDedupKeys(t *testing.T) {
	inModes(t, func(t *testing.T, mode core.Mode, server *postofficetest.Server, store *insertCounter, config core.Config) {
		client := newTestClient(t, config)
		server.Hang()
		_, err := client.Publish(t.Context(), "orders", struct{}{}, core.WithDedupKey("a"))
		require.NoError(t, err)
		p := jobIn(t, client, mode)
		for _, key := range []string{"a", "b", "b"} {
			receipt, err := p.Publish(t.Context(), "orders", struct{}{}, core.WithDedupKey(key))
			require.NoError(t, err)
			require.Equal(t, core.Held, receipt.State)
		}
		server.Resume()
		_, err = p.End(t.Context(), core.Outcome{})
		require.NoError(t, err)
		assert.Len(t, store.commits(), 2, "all keys in one commit")
		isEmpty(t, client)
	})
	t.Run("OutboxFails", func(t *testing.T) {
		inModes(t, func(t *testing.T, mode core.Mode, server *postofficetest.Server, store *insertCounter, config core.Config) {
			client := newTestClient(t, config)
			p := jobIn(t, client, mode)
			_, err := p.Publish(t.Context(), "orders", struct{}{})
			require.NoError(t, err)
			_, err = p.Publish(t.Context(), "orders", struct{}{}, core.WithDedupKey("a"))
			require.NoError(t, err)
			store.fail(errBrokenStore)
			_, err = p.End(t.Context(), core.Outcome{})
			require.ErrorIs(t, err, errBrokenStore)
			require.NoError(t, client.Flush(t.Context()))
			assert.Empty(t, server.Messages(), "none is accepted without the one with the key")
			isEmpty(t, client)
		})
	})
}

func TestUnitSharesRequests(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		config.Outbox = memory.New()
		client := newTestClient(t, config)
		p, err := client.NewPublisher(core.Options{FlushOn: core.Committed})
		require.NoError(t, err)
		for range 3 {
			_, err = p.PublishBulk(t.Context(), "orders", []any{struct{}{}, struct{}{}})
			require.NoError(t, err)
			_, err = p.Publish(t.Context(), "orders", struct{}{}, core.WithAttribute("kind", "b"))
			require.NoError(t, err)
			_, err = p.Publish(t.Context(), "orders", struct{}{}, core.DeliverIn(time.Hour))
			require.NoError(t, err)
		}
		receipt, err := p.Publish(t.Context(), "orders", struct{}{}, core.WithMessageID())
		require.NoError(t, err)
		require.Len(t, receipt.IDs, 1, "of the attribute")
		receipt, err = p.End(t.Context(), core.Outcome{})
		require.NoError(t, err)
		assert.Equal(t, core.Delivered, receipt.State)
		assert.Len(t, server.Messages(), 13)
		assert.Equal(t, 6, posted(server), "two bulks, three scheduled messages and one with an id")
	})
}

// TestPublishedEventsOfAUnit reports messages as published when they are
// accepted.
func TestPublishedEventsOfAUnit(t *testing.T) {
	inModes(t, func(t *testing.T, mode core.Mode, _ *postofficetest.Server, _ *insertCounter, config core.Config) {
		var mu sync.Mutex
		var published []core.Event
		config.Observer.Published = func(event core.Event) {
			mu.Lock()
			defer mu.Unlock()
			published = append(published, event)
		}
		client := newTestClient(t, config)
		p := jobIn(t, client, mode)
		unitOf(t, p)
		assert.Empty(t, published)
		receipt, err := p.End(t.Context(), core.Outcome{})
		require.NoError(t, err)
		mu.Lock()
		defer mu.Unlock()
		require.Len(t, published, 3)
		for _, event := range published {
			assert.Equal(t, receipt.State, event.State)
		}
	})
}

// TestStopDiscardsUnitsThatNeverEnded does not wait for them.
func TestStopDiscardsUnitsThatNeverEnded(t *testing.T) {
	inModes(t, func(t *testing.T, mode core.Mode, server *postofficetest.Server, _ *insertCounter, config core.Config) {
		var seen events
		config.Observer = seen.observer()
		var text logText
		config.Logger = text.logger()
		client := newTestClient(t, config)
		p := jobIn(t, client, mode)
		unitOf(t, p)
		require.NoError(t, client.Stop(t.Context()))
		assert.Len(t, seen.of("discarded"), 3)
		assert.Contains(t, text.String(), "neither by a response nor by Publisher.End")
		isEmpty(t, client)
		_, err := p.Publish(t.Context(), "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrClosed)
		receipt, err := p.End(t.Context(), core.Outcome{Err: errBrokenStore})
		require.NoError(t, err, "they would be dropped, too")
		assert.Equal(t, core.Receipt{}, receipt)
		for range 2 {
			receipt, err = p.End(t.Context(), core.Outcome{})
			require.ErrorIs(t, err, core.ErrClosed, "the job must not believe that they are accepted")
			assert.Equal(t, core.Receipt{}, receipt)
		}
		assert.Empty(t, server.Messages())
	})
}

// TestEndWhileStopping ends a unit between the begin of Stop and its end.
func TestEndWhileStopping(t *testing.T) {
	inModes(t, func(t *testing.T, mode core.Mode, server *postofficetest.Server, _ *insertCounter, config core.Config) {
		var seen events
		config.Observer = seen.observer()
		client := newTestClient(t, config)
		busy, end := begin(t, client, core.Options{AfterResponse: core.Memory, FlushOn: core.Succeeded})
		queueN(t, busy, 1, core.Held) // which Stop waits for
		p := jobIn(t, client, mode)
		unitOf(t, p)
		var stopping sync.WaitGroup
		stopping.Go(func() { assert.NoError(t, client.Stop(context.WithoutCancel(t.Context()))) })
		synctest.Wait()
		_, err := p.End(t.Context(), core.Outcome{})
		require.ErrorIs(t, err, core.ErrClosed)
		assert.Len(t, seen.of("discarded"), 3)
		end(200)
		stopping.Wait()
		assert.Len(t, server.Messages(), 1)
	})
}

func TestNewPublisherOptions(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer})
	yes := func(core.Outcome) bool { return true }
	for name, test := range map[string]struct {
		options core.Options
		field   string
	}{
		"Mode":        {core.Options{AfterResponse: 7}, "Options.AfterResponse"},
		"Off":         {core.Options{FlushOn: yes}, "Options.FlushOn"},
		"Durable":     {core.Options{AfterResponse: core.Durable, FlushOn: yes}, "Options.FlushOn"},
		"NotAccepted": {core.Options{NotAccepted: func(http.ResponseWriter, *http.Request, error) {}}, "Options.NotAccepted"},
	} {
		t.Run(name, func(t *testing.T) {
			p, err := client.NewPublisher(test.options)
			assert.Nil(t, p)
			isField(t, err, core.ErrInvalidConfig, test.field)
			isField(t, client.Register(newRouter("", "").Router, test.options, func() { assert.Fail(t, "the app is changed") }), core.ErrInvalidConfig, test.field)
			called := false
			require.NoError(t, client.Serve(httptest.NewRecorder(), nil, test.options, func(_ http.ResponseWriter, r *http.Request) error {
				called = true
				p := core.MustFromContext(r.Context())
				_, err := p.Publish(r.Context(), "orders", struct{}{})
				isField(t, err, core.ErrInvalidConfig, test.field)
				_, err = p.PublishBulk(r.Context(), "orders", []any{struct{}{}})
				isField(t, err, core.ErrInvalidConfig, test.field)
				_, err = p.End(r.Context(), core.Outcome{})
				isField(t, err, core.ErrInvalidConfig, test.field)
				return nil
			}))
			assert.True(t, called)
		})
	}
	_, err := (*core.Client)(nil).NewPublisher(core.Options{})
	isField(t, err, core.ErrInvalidConfig, "client")
}

func TestNewPublisherWithoutFlushOn(t *testing.T) {
	inModes(t, func(t *testing.T, mode core.Mode, _ *postofficetest.Server, _ *insertCounter, config core.Config) {
		client := newTestClient(t, config)
		p, err := client.NewPublisher(core.Options{AfterResponse: mode, Attributes: func(*http.Request) map[string]any {
			assert.Fail(t, "there is no request")
			return nil
		}})
		require.NoError(t, err)
		queueN(t, p, 1, map[core.Mode]core.State{core.Off: core.Delivered, core.Durable: core.Stored, core.Memory: core.Queued}[mode])
		receipt, err := p.End(t.Context(), core.Outcome{})
		require.NoError(t, err)
		assert.Equal(t, core.Receipt{State: core.Delivered}, receipt)
	})
}

func TestEndWithoutItsArguments(t *testing.T) {
	_, err := (*core.Publisher)(nil).End(t.Context(), core.Outcome{})
	require.ErrorIs(t, err, core.ErrNoPublisher)
	client := newTestClient(t, core.Config{URL: testServer})
	p, err := client.NewPublisher(core.Options{})
	require.NoError(t, err)
	_, err = p.End(nil, core.Outcome{}) //nolint:staticcheck // what is tested
	isField(t, err, core.ErrInvalidMessage, "ctx")
	require.NoError(t, (*core.Client)(nil).Serve(nil, nil, core.Options{}, func(_ http.ResponseWriter, r *http.Request) error {
		_, err := core.MustFromContext(r.Context()).End(r.Context(), core.Outcome{})
		isField(t, err, core.ErrInvalidConfig, "client")
		return nil
	}))
}

// TestEndAfterTheDeadline begins nothing.
func TestEndAfterTheDeadline(t *testing.T) {
	inModes(t, func(t *testing.T, mode core.Mode, server *postofficetest.Server, store *insertCounter, config core.Config) {
		client := newTestClient(t, config)
		for cause, want := range map[error]error{context.DeadlineExceeded: core.ErrNotAccepted, context.Canceled: nil} {
			p := jobIn(t, client, mode)
			unitOf(t, p)
			require.NoError(t, client.Flush(t.Context())) // the messages of the other unit
			time.Sleep(time.Minute)
			before := len(server.Messages()) + len(store.commits())
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			if want != nil {
				time.Sleep(2 * time.Second)
			}
			cancel()
			require.ErrorIs(t, ctx.Err(), cause)
			_, err := p.End(ctx, core.Outcome{})
			if want == nil {
				require.NoError(t, err, "a client that hangs up drops nothing")
				continue
			}
			require.ErrorIs(t, err, want)
			require.ErrorIs(t, err, cause)
			assert.Equal(t, before, len(server.Messages())+len(store.commits()))
			_, err = p.Publish(ctx, "orders", struct{}{})
			require.ErrorIs(t, err, cause, "nothing begins any more")
		}
	})
}

// panickingStore is an outbox that panics.
type panickingStore struct{ *memory.Store }

func (panickingStore) Insert(context.Context, time.Duration, ...outbox.Record) error {
	panic("in Insert")
}

// TestPanicOfTheOutboxReleasesMemory has an outbox that panics within a call of
// the app.
func TestPanicOfTheOutboxReleasesMemory(t *testing.T) {
	inModes(t, func(t *testing.T, mode core.Mode, _ *postofficetest.Server, store *insertCounter, config core.Config) {
		config.Outbox = panickingStore{store.Store}
		client := newTestClient(t, config)
		p, err := client.NewPublisher(core.Options{AfterResponse: mode, FlushOn: core.Committed})
		require.NoError(t, err)
		unitOf(t, p)
		_, err = p.Publish(t.Context(), "orders", struct{}{}, core.WithDedupKey("a"))
		require.NoError(t, err)
		assert.PanicsWithValue(t, "in Insert", func() { _, _ = p.End(t.Context(), core.Outcome{}) })
		isEmpty(t, client)
		if mode == core.Durable {
			p, err = client.NewPublisher(core.Options{AfterResponse: mode})
			require.NoError(t, err)
			assert.PanicsWithValue(t, "in Insert", func() { _, _ = p.Publish(t.Context(), "orders", struct{}{}) })
			isEmpty(t, client)
		}
	})
}

// TestPublishAfterAFailedEnd fails as the unit did: the client has been told
// that nothing is accepted.
func TestPublishAfterAFailedEnd(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &insertCounter{Store: memory.New()}
		config.Outbox = store
		client := newTestClient(t, config)
		p := jobIn(t, client, core.Durable)
		unitOf(t, p)
		store.fail(errBrokenStore)
		_, err := p.End(t.Context(), core.Outcome{})
		require.ErrorIs(t, err, errBrokenStore)
		store.fail(nil)
		_, err = p.Publish(t.Context(), "orders", struct{}{})
		require.ErrorIs(t, err, core.ErrNotAccepted)
		require.ErrorIs(t, err, errBrokenStore)
		_, err = p.End(t.Context(), core.Outcome{})
		require.ErrorIs(t, err, errBrokenStore)
		assert.Empty(t, server.Messages())
		isEmpty(t, client)
	})
}

// TestDedupKeyOfAUnitWithoutOutbox is refused by the call, as without a unit.
func TestDedupKeyOfAUnitWithoutOutbox(t *testing.T) {
	client := newTestClient(t, core.Config{URL: testServer})
	p := jobIn(t, client, core.Memory)
	_, err := p.Publish(t.Context(), "orders", struct{}{}, core.WithDedupKey("a"))
	isField(t, err, core.ErrInvalidMessage, "WithDedupKey")
	receipt, err := p.End(t.Context(), core.Outcome{})
	require.NoError(t, err)
	assert.Equal(t, core.Receipt{State: core.Delivered}, receipt)
	isEmpty(t, client)
}
