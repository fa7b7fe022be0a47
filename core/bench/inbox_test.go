package bench

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// inboxStores are the stores that an inbox is measured in.
var inboxStores = []struct {
	name string
	open func(tb testing.TB) outbox.Keeper
}{
	{"sqlite", func(tb testing.TB) outbox.Keeper {
		store, err := sqlite.Open(tb.Context(), filepath.Join(tb.TempDir(), "inbox.db"))
		require.NoError(tb, err)
		tb.Cleanup(func() { require.NoError(tb, store.Close()) })
		return store
	}},
	{"postgres", func(tb testing.TB) outbox.Keeper {
		db, err := sql.Open("pgx", testdb.Postgres(tb).Create(tb))
		require.NoError(tb, err)
		tb.Cleanup(func() { require.NoError(tb, db.Close()) })
		db.SetMaxOpenConns(durableConcurrency)
		db.SetMaxIdleConns(durableConcurrency)
		require.NoError(tb, sqlstore.Migrate(tb.Context(), db, sqlstore.Postgres))
		store, err := sqlstore.New(db, sqlstore.Postgres)
		require.NoError(tb, err)
		return store
	}},
}

// inboxScenarios are messages stored in an inbox within the call of its handler, and
// handled afterwards, beside inserts alone, and messages published with Durable that
// are posted afterwards.
func inboxScenarios(server *helper) []scenario {
	var list []scenario
	for _, store := range inboxStores {
		list = append(list, scenario{name: "store=" + store.name, sides: []side{
			{"inserts", func(tb testing.TB) job { return insertsIn(store.open(tb)) }},
			{"durable", func(tb testing.TB) job { return durableIn(tb, server, store.open(tb)) }},
			{"ours", func(tb testing.TB) job { return inboxIn(tb, store.open(tb), 0) }},
		}})
	}
	return list
}

// waitingScenarios are the same with messages in the inbox that wait to be tried
// again.
func waitingScenarios(waiting ...int) []scenario {
	var list []scenario
	for _, store := range inboxStores {
		sc := scenario{name: "store=" + store.name}
		for i, n := range waiting {
			name := fmt.Sprintf("waiting=%d", n)
			if i == 0 {
				name = "floor"
			}
			sc.sides = append(sc.sides, side{name, func(tb testing.TB) job { return inboxIn(tb, store.open(tb), n) }})
		}
		list = append(list, sc)
	}
	return list
}

// insertsIn inserts messages as Durable does, held by a token, and no more.
func insertsIn(store outbox.Keeper) job {
	return job{run: func(tb testing.TB, n int) figures {
		payload, err := json.Marshal(newOrder(0))
		require.NoError(tb, err)
		return measure(tb, n, func() {
			spread(n, durableConcurrency, func(_, _, count int) {
				for range count {
					assert.NoError(tb, store.Insert(tb.Context(), time.Hour, outbox.Record{
						ID: uuid.Must(uuid.NewV7()).String(), Topic: topic, LeaseToken: "token", Payload: payload, Attributes: []byte(`{"kind":"order"}`),
					}))
				}
			})
		})
	}}
}

// durableIn publishes with AfterResponse Durable, until all is posted and deleted.
func durableIn(tb testing.TB, server *helper, store outbox.Keeper) job {
	return job{run: func(tb testing.TB, n int) figures {
		client := newClient(tb, server, core.Config{Outbox: store})
		require.NoError(tb, client.Start(tb.Context()))
		return counted(tb, server, n, func() {
			spread(n, durableConcurrency, func(worker, first, count int) {
				c := newCaller(tb, client, core.Durable, usual, worker)
				for i := range count {
					_, err := c.publish(first + i)
					assert.NoError(tb, err)
				}
			})
			stop(tb, client)
		})
	}}
}

// inboxIn has an inbox accept messages while its workers handle them. The time is that
// until the last one is acknowledged; handled/s counts until the last one is handled.
func inboxIn(tb testing.TB, store outbox.Keeper, waiting int) job {
	fillInbox(tb, store, waiting)
	runs := 0
	return job{run: func(tb testing.TB, n int) figures {
		inbox, err := delivery.NewInbox(store, delivery.InboxOptions{Logger: slog.New(slog.DiscardHandler)})
		require.NoError(tb, err)
		var handled atomic.Int64
		handler := delivery.Queued(inbox, func(context.Context, delivery.Message[order]) error {
			handled.Add(1)
			return nil
		}, delivery.WithTopic(topic))
		require.NoError(tb, inbox.Start(tb.Context()))
		runs++
		payload, err := json.Marshal(newOrder(0))
		require.NoError(tb, err)
		body := strings.TrimSuffix(string(payload), "}") + `,"attributes":{"region":"north","kind":"order"}}`
		begun := time.Now()
		result := measure(tb, n, func() {
			spread(n, durableConcurrency, func(_, first, count int) {
				for i := range count {
					r := httptest.NewRequestWithContext(tb.Context(), http.MethodPost, "/consume", strings.NewReader(body))
					r.Header.Set("Content-Type", "application/json")
					r.Header.Set("message-id", fmt.Sprint(runs, "-", first+i))
					w := httptest.NewRecorder()
					handler.ServeHTTP(w, r)
					assert.Equal(tb, http.StatusNoContent, w.Code)
				}
			})
		})
		require.NoError(tb, inbox.Flush(tb.Context()))
		result["handled/s"] = float64(n) / time.Since(begun).Seconds()
		assert.EqualValues(tb, n, handled.Load())
		require.NoError(tb, inbox.Stop(tb.Context()))
		return result
	}}
}

// fillInbox stores messages that wait for an hour.
func fillInbox(tb testing.TB, store outbox.Keeper, n int) {
	for stored := 0; stored < n; stored += 1000 {
		records := make([]outbox.Record, 1000)
		for i := range records {
			id := uuid.Must(uuid.NewV7()).String()
			records[i] = outbox.Record{ID: id, Topic: topic, Payload: []byte(`{"id":1}`), Attributes: []byte(`{}`)}
		}
		require.NoError(tb, store.Insert(tb.Context(), time.Hour, records...))
	}
}

func TestInbox(t *testing.T)        { try(t, inboxScenarios(startHelper(t))) }
func TestInboxWaiting(t *testing.T) { try(t, waitingScenarios(0, 2000)) }

func BenchmarkInbox(b *testing.B) { benchmark(b, inboxScenarios(startHelper(b))) }

func BenchmarkInboxWaiting(b *testing.B) {
	waiting := []int{0, 10_000, 1_000_000}
	if testing.Short() {
		waiting = waiting[:2]
	}
	benchmark(b, waitingScenarios(waiting...))
}
