package core_test

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

func TestDeadMessagesAreRetriedAndDiscarded(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		var seen events
		var log logText
		config.Outbox, config.Observer, config.Logger = store, seen.observer(), log.logger()
		client := startTestClient(t, config)
		refuse := true
		server.FailWhen(func(*http.Request, []byte) (int, bool) { return http.StatusBadRequest, refuse })
		var ids []string
		for _, topic := range []string{"orders", "orders", "orders", "bills"} {
			receipt, err := client.Publish(t.Context(), topic, map[string]string{"card": "4111"})
			require.NoError(t, err)
			ids = append(ids, receipt.IDs...)
		}
		box := client.Outbox()
		stats, err := box.Stats(t.Context())
		require.NoError(t, err)
		assert.Equal(t, 4, stats.Dead)
		dead := outbox.Dead
		list, err := box.List(t.Context(), outbox.Query{State: &dead, Topic: "orders"})
		require.NoError(t, err)
		assert.Len(t, list, 3)
		n, err := box.Count(t.Context(), outbox.Selection{State: &dead, Topic: "orders"})
		require.NoError(t, err)
		assert.Equal(t, 3, n)

		refuse = false
		n, err = box.Retry(t.Context(), outbox.Selection{IDs: ids[:1]})
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "orders"), 1, "the relay is told at once")

		n, err = box.Discard(t.Context(), outbox.Selection{Topic: "orders", State: &dead})
		require.NoError(t, err)
		assert.Equal(t, 2, n)
		assert.Equal(t, []core.Event{{Topic: "orders", Messages: 2, FromOutbox: true}}, seen.of("discarded"))
		assert.Contains(t, log.String(), "messages were discarded from the outbox")
		n, err = box.Retry(t.Context(), outbox.Selection{All: true})
		require.NoError(t, err)
		assert.Equal(t, 1, n)
		synctest.Wait()
		assert.Len(t, payloadsOf(server, "bills"), 1)
		assert.Empty(t, records(t, store))
		n, err = box.Discard(t.Context(), outbox.Selection{All: true})
		require.NoError(t, err)
		assert.Zero(t, n)
		assert.Len(t, seen.of("discarded"), 1)
		assert.NotContains(t, log.String(), "4111")
	})
}

func TestLookingAfterNoOutbox(t *testing.T) {
	box := newTestClient(t, core.Config{URL: testServer}).Outbox()
	_, err := box.Stats(t.Context())
	require.ErrorIs(t, err, core.ErrNoOutbox)
	_, err = box.List(t.Context(), outbox.Query{})
	require.ErrorIs(t, err, core.ErrNoOutbox)
	_, err = box.Count(t.Context(), outbox.Selection{All: true})
	require.ErrorIs(t, err, core.ErrNoOutbox)
	_, err = box.CountTopics(t.Context(), 1)
	require.ErrorIs(t, err, core.ErrNoOutbox)
	_, err = box.Retry(t.Context(), outbox.Selection{All: true})
	require.ErrorIs(t, err, core.ErrNoOutbox)
	_, err = box.Discard(t.Context(), outbox.Selection{All: true})
	require.ErrorIs(t, err, core.ErrNoOutbox)
}

func TestLookingAfterAnOutboxThatFails(t *testing.T) {
	store := memory.New()
	box := newTestClient(t, core.Config{URL: testServer, Outbox: store}).Outbox()
	require.NoError(t, store.Close())
	for _, call := range []func() error{
		func() error { _, err := box.Stats(t.Context()); return err },
		func() error { _, err := box.List(t.Context(), outbox.Query{}); return err },
		func() error { _, err := box.Count(t.Context(), outbox.Selection{All: true}); return err },
		func() error { _, err := box.Retry(t.Context(), outbox.Selection{All: true}); return err },
		func() error { _, err := box.Discard(t.Context(), outbox.Selection{All: true}); return err },
	} {
		err := call()
		require.ErrorIs(t, err, outbox.ErrClosed)
		assert.ErrorContains(t, err, "postoffice: outbox is closed")
	}
}

// plainStore is a store that does nothing more than every store.
type plainStore struct{ outbox.Store }

func TestCountTopics(t *testing.T) {
	store := memory.New()
	box := newTestClient(t, core.Config{URL: testServer, Outbox: store}).Outbox()
	require.NoError(t, store.Insert(t.Context(), 0, outbox.Record{ID: "1", Topic: "orders", Payload: []byte(`{}`), Attributes: []byte(`{}`), State: outbox.Dead}))
	counts, err := box.CountTopics(t.Context(), 10)
	require.NoError(t, err)
	assert.Equal(t, []outbox.TopicCount{{Topic: "orders", Dead: 1}}, counts)

	box = newTestClient(t, core.Config{URL: testServer, Outbox: plainStore{store}}).Outbox()
	_, err = box.CountTopics(t.Context(), 10)
	require.ErrorIs(t, err, errors.ErrUnsupported)
}
