package core_test

import (
	"context"
	"database/sql"
	"errors"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// The tests here have a message of a key leave the outbox, and the next one of
// the key come, while somebody still has the id of the first and acts on it.

// publishKeyed publishes a message with a number and the key "4711 paid", and
// returns the id of who holds the key.
func publishKeyed(t *testing.T, client *core.Client, n int) string {
	t.Helper()
	receipt, err := client.Publish(t.Context(), "orders", map[string]int{"n": n}, core.WithDedupKey("4711 paid"), core.WithMessageID())
	require.NoError(t, err)
	require.Equal(t, core.Stored, receipt.State)
	require.Len(t, receipt.IDs, 1)
	return receipt.IDs[0]
}

// lostAnswers is a store whose deletes take effect, while their answers are lost.
type lostAnswers struct {
	outbox.Store
	lost atomic.Bool
}

func (s *lostAnswers) Delete(ctx context.Context, ids ...string) (int, error) {
	n, err := s.Store.Delete(ctx, ids...)
	if s.lost.Load() {
		return 0, errors.New("connection reset")
	}
	return n, err
}

func TestDeleteOfUnknownOutcomeIsRepeatedWithoutHarm(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := &lostAnswers{Store: memory.New()}
		store.lost.Store(true)
		config.Outbox = store
		client := startTestClient(t, config)
		publishKeyed(t, client, 1)
		synctest.Wait()
		require.Len(t, payloadsOf(server, "orders"), 1)
		require.Empty(t, records(t, store))

		second := publishKeyed(t, client, 2)
		time.Sleep(time.Hour) // the relay repeats its delete, and nothing else
		synctest.Wait()
		require.Len(t, records(t, store), 1)
		assert.Equal(t, second, records(t, store)[0].ID)
		store.lost.Store(false)
		time.Sleep(time.Minute)
		assert.Equal(t, []string{`{"n":1}`, `{"n":2}`}, payloadsOf(server, "orders"))
		assert.Empty(t, records(t, store))
	})
}

// stalled holds back the answer to the first message that is posted.
type stalled struct {
	http.RoundTripper
	first            sync.Once
	entered, release chan struct{}
}

func (s *stalled) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := s.RoundTripper.RoundTrip(r)
	if strings.Contains(r.URL.Path, "messages") {
		s.first.Do(func() {
			close(s.entered)
			<-s.release
		})
	}
	return answer, err
}

func TestLateDeliveryDoesNotDeleteTheNextMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		config.Outbox = store
		config.Timeout, config.BulkTimeout = time.Hour, time.Hour
		slow := config
		stall := &stalled{RoundTripper: config.HTTPClient.Transport, entered: make(chan struct{}), release: make(chan struct{})}
		slow.HTTPClient = &http.Client{Transport: stall}
		holder := startTestClient(t, slow)
		publishKeyed(t, holder, 1)
		<-stall.entered
		time.Sleep(5 * time.Hour) // the lease has ended
		other := startTestClient(t, config)
		time.Sleep(time.Minute)
		require.Empty(t, records(t, store), "another replica has delivered it")
		require.NoError(t, other.Stop(t.Context()))

		second := publishKeyed(t, newTestClient(t, config), 2)
		stopped := make(chan error, 1)
		go func() { stopped <- holder.Stop(t.Context()) }()
		synctest.Wait() // so that the holder's relay does not deliver the second
		close(stall.release)
		require.NoError(t, <-stopped)
		left := records(t, store)
		require.Len(t, left, 1)
		assert.Equal(t, second, left[0].ID)
		assert.Equal(t, []string{`{"n":1}`, `{"n":1}`}, payloadsOf(server, "orders"))
	})
}

func TestRecoveryThatDeletesLateMissesTheNextMessage(t *testing.T) {
	store := memory.New()
	client := newTestClient(t, core.Config{URL: testServer, OriginHost: origin, Outbox: store})
	first := publishKeyed(t, client, 1)
	list := ask(client.RecoveryHandler(), "GET", "/postoffice/messages/", "us@er", "p:ss")
	body, err := io.ReadAll(list.Body)
	require.NoError(t, err)
	require.Contains(t, string(body), first)
	require.Contains(t, string(body), `"message_id":"`+paidID+`"`)
	path := "/postoffice/messages/" + first + "/"
	require.Equal(t, http.StatusNoContent, ask(client.RecoveryHandler(), "DELETE", path, "us@er", "p:ss").Code)

	second := publishKeyed(t, client, 2)
	assert.Equal(t, http.StatusNotFound, ask(client.RecoveryHandler(), "DELETE", path, "us@er", "p:ss").Code)
	derived := "/postoffice/messages/" + paidID + "/"
	assert.Equal(t, http.StatusNotFound, ask(client.RecoveryHandler(), "DELETE", derived, "us@er", "p:ss").Code)
	require.Len(t, records(t, store), 1)
	assert.Equal(t, second, records(t, store)[0].ID)
}

func TestPageThatIsOutOfDateMissesTheNextMessage(t *testing.T) {
	inBubble(t, func(t *testing.T, _ *postofficetest.Server, config core.Config) {
		store := memory.New()
		config.Outbox = store
		client := newTestClient(t, config)
		first := publishKeyed(t, client, 1)
		_, err := client.Outbox().Discard(t.Context(), outbox.Selection{IDs: []string{first}})
		require.NoError(t, err)
		publishKeyed(t, client, 2)
		before := records(t, store)
		stale := outbox.Selection{IDs: []string{first, paidID}}
		for _, act := range []func(context.Context, outbox.Selection) (int, error){
			client.Outbox().Count, client.Outbox().Retry, client.Outbox().Discard,
		} {
			n, err := act(t.Context(), stale)
			require.NoError(t, err)
			assert.Zero(t, n)
		}
		assert.Equal(t, before, records(t, store))
	})
}

// TestDedupKeyHeldByARowOfAnEarlierRelease shows that a row whose id is made of
// the key counts.
func TestDedupKeyHeldByARowOfAnEarlierRelease(t *testing.T) {
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		store := memory.New()
		config.Outbox = store
		require.NoError(t, store.Insert(t.Context(), 0, outbox.Record{ID: paidID, Topic: "orders", Payload: []byte(`{"n":1}`), Attributes: []byte(`{}`)}))
		client := newTestClient(t, config)
		assert.Equal(t, paidID, publishKeyed(t, client, 2))
		require.Len(t, records(t, store), 1)
		require.NoError(t, client.Start(t.Context()))
		synctest.Wait()
		assert.Equal(t, []string{`{"n":1}`}, payloadsOf(server, "orders"))
		assert.NotEqual(t, paidID, publishKeyed(t, client, 3))
	})
}

// blindStore is a store in which nothing can be looked up.
type blindStore struct{ outbox.Store }

func (blindStore) List(context.Context, outbox.Query) ([]outbox.Entry, error) {
	return nil, errBrokenStore
}

func TestReceiptWithoutTheHolder(t *testing.T) {
	store := memory.New()
	id := publishKeyed(t, newTestClient(t, core.Config{URL: testServer, Outbox: blindStore{store}}), 1)
	assert.Equal(t, records(t, store)[0].ID, id, "the message is stored, so that its call does not fail")
}

// TestPublishTxWithDedupKey shows that the holder is looked up in the
// transaction: the pool has no other connection.
func TestPublishTxWithDedupKey(t *testing.T) {
	db, err := sql.Open("sqlite", t.TempDir()+"/app.db")
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	db.SetMaxOpenConns(1)
	require.NoError(t, sqlstore.Migrate(t.Context(), db, sqlstore.SQLite))
	store, err := sqlstore.New(db, sqlstore.SQLite)
	require.NoError(t, err)
	client := newTestClient(t, core.Config{URL: testServer, Outbox: store})
	publish := func(commit bool) string {
		tx, err := db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		receipt, err := client.PublishTx(t.Context(), tx, "orders", struct{}{}, core.WithDedupKey("4711 paid"), core.WithMessageID())
		require.NoError(t, err)
		require.Len(t, receipt.IDs, 1)
		if commit {
			require.NoError(t, tx.Commit())
		} else {
			require.NoError(t, tx.Rollback())
		}
		return receipt.IDs[0]
	}
	undone, first := publish(false), publish(true)
	assert.NotEqual(t, undone, first)
	assert.Equal(t, first, publish(true))
	assert.Equal(t, first, publishKeyed(t, client, 1))
	stored := records(t, store)
	require.Len(t, stored, 1)
	assert.Equal(t, first, stored[0].ID)
	assert.Equal(t, paidID, stored[0].DedupKey)
	assert.Equal(t, uuid.Version(7), uuid.MustParse(first).Version())
	assert.JSONEq(t, `{"message_id":"`+paidID+`"}`, string(stored[0].Attributes))
}

func TestPublishTxOfAHolderThatCannotBeFound(t *testing.T) {
	store := &txStore{Store: memory.New(), holderErr: errBrokenStore}
	client := newTestClient(t, core.Config{URL: testServer, Outbox: store})
	_, err := client.PublishTx(t.Context(), &fakeTx{}, "orders", struct{}{}, core.WithDedupKey("k"))
	require.ErrorIs(t, err, core.ErrNotAccepted, "the transaction is spoilt")
	require.ErrorIs(t, err, errBrokenStore)
	_, err = client.PublishTx(t.Context(), &fakeTx{}, "orders", struct{}{})
	require.NoError(t, err, "a message without a key has no holder")
}
