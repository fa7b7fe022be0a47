package bench

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"path/filepath"
	"runtime"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
)

const durableConcurrency = 32

// durableScenarios are messages committed within the call, and posted and
// deleted afterwards.
func durableScenarios(server *helper) []scenario {
	return []scenario{{
		name: fmt.Sprintf("concurrency=%d", durableConcurrency),
		sides: []side{
			{"floor", rawSQLite},
			{"ours", func(tb testing.TB) job { return durable(tb, server) }},
		},
	}}
}

// durable publishes with AfterResponse Durable. Stop tells when everything
// is posted and deleted, so each run has a client of its own.
func durable(tb testing.TB, server *helper) job {
	store, err := sqlite.Open(tb.Context(), filepath.Join(tb.TempDir(), "outbox.db"))
	require.NoError(tb, err)
	return job{
		run: func(tb testing.TB, n int) figures {
			client := newClient(tb, server, core.Config{Outbox: store})
			require.NoError(tb, client.Start(tb.Context()))
			watch := newStopwatch(durableConcurrency, n, sampled)
			result := counted(tb, server, n, func() {
				spread(n, durableConcurrency, func(worker, first, count int) {
					c := newCaller(tb, client, core.Durable, usual, worker)
					for i := range count {
						watch.call(worker, i, func() {
							receipt, err := c.publish(first + i)
							if err != nil || receipt.State != core.Stored {
								tb.Errorf("Publish returned %v, %v", receipt.State, err)
							}
						})
					}
				})
				stop(tb, client)
			})
			watch.add(result)
			stats, err := store.Stats(tb.Context())
			require.NoError(tb, err)
			require.Zero(tb, stats.Pending+stats.Dead, "messages in the outbox")
			return result
		},
		close: func(tb testing.TB) { require.NoError(tb, store.Close()) },
	}
}

// rawWriter writes rows like the outbox's, with database/sql alone.
type rawWriter struct {
	db             *sql.DB
	conn           *sql.Conn
	insert, remove *sql.Stmt
	rows           chan rawRow
	attributes     []byte
	// stored holds the ids of rows to delete.
	stored []string
}

// rawRow is a row on its way to the writer; done gets the result.
type rawRow struct {
	id      string
	payload []byte
	done    chan error
}

// newRawWriter opens a database with the schema and the settings of the
// outbox.
func newRawWriter(tb testing.TB) *rawWriter {
	path := filepath.Join(tb.TempDir(), "raw.db")
	store, err := sqlite.Open(tb.Context(), path)
	require.NoError(tb, err)
	require.NoError(tb, store.Close())

	db, err := sql.Open("sqlite", path)
	require.NoError(tb, err)
	w := &rawWriter{db: db, rows: make(chan rawRow)}
	w.conn, err = w.db.Conn(tb.Context())
	require.NoError(tb, err)
	for _, pragma := range []string{
		"locking_mode = EXCLUSIVE", "busy_timeout = 0", "journal_mode = WAL", "synchronous = FULL", "journal_size_limit = 67108864",
	} {
		_, err := w.conn.ExecContext(tb.Context(), "PRAGMA "+pragma)
		require.NoError(tb, err)
	}
	w.insert, err = w.conn.PrepareContext(tb.Context(), `INSERT INTO outbox
(id, state, due_at, token, attempts, created_at, size, topic, last_error, attributes, payload)
VALUES (?, 0, ?, ?, 0, ?, ?, ?, '', ?, ?)`)
	require.NoError(tb, err)
	w.remove, err = w.conn.PrepareContext(tb.Context(), "DELETE FROM outbox WHERE id = ?")
	require.NoError(tb, err)
	return w
}

func (w *rawWriter) close(tb testing.TB) {
	require.NoError(tb, w.insert.Close())
	require.NoError(tb, w.remove.Close())
	require.NoError(tb, w.conn.Close())
	require.NoError(tb, w.db.Close())
}

// run writes what comes until the channel is closed, and deletes it again.
func (w *rawWriter) run(ctx context.Context) error {
	for first := range w.rows {
		group := w.gather(first)
		err := w.transact(ctx, func() error {
			if err := w.removeStored(ctx, core.DefaultBulkLimit); err != nil {
				return err
			}
			for _, row := range group {
				now := time.Now().UnixMicro()
				size := len(topic) + len(row.payload) + len(w.attributes)
				if _, err := w.insert.ExecContext(ctx, row.id, now+60e6, "token", now, size, topic, w.attributes, row.payload); err != nil {
					return err
				}
			}
			return nil
		})
		for _, row := range group {
			row.done <- err
			w.stored = append(w.stored, row.id)
		}
	}
	for len(w.stored) > 0 {
		if err := w.transact(ctx, func() error { return w.removeStored(ctx, 1) }); err != nil {
			return err
		}
	}
	return nil
}

// gather collects the rows that wait by now, and gives those who just got
// their results a turn to come back.
func (w *rawWriter) gather(first rawRow) []rawRow {
	group := []rawRow{first}
	for yielded := false; ; {
		select {
		case row, ok := <-w.rows:
			if !ok {
				return group
			}
			group = append(group, row)
			continue
		default:
		}
		if yielded {
			return group
		}
		runtime.Gosched()
		yielded = true
	}
}

// removeStored deletes up to 500 stored rows, if there are enough.
func (w *rawWriter) removeStored(ctx context.Context, enough int) error {
	if len(w.stored) < enough {
		return nil
	}
	now := w.stored[:min(len(w.stored), core.DefaultBulkLimit)]
	for _, id := range now {
		if _, err := w.remove.ExecContext(ctx, id); err != nil {
			return err
		}
	}
	w.stored = w.stored[len(now):]
	return nil
}

// transact runs a function in a transaction.
func (w *rawWriter) transact(ctx context.Context, run func() error) error {
	if _, err := w.conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	if err := run(); err != nil {
		return err
	}
	_, err := w.conn.ExecContext(ctx, "COMMIT")
	return err
}

// rawSQLite inserts rows for callers that wait for the commit, and deletes
// them.
func rawSQLite(tb testing.TB) job {
	w := newRawWriter(tb)
	payload, err := json.Marshal(newOrder(0))
	require.NoError(tb, err)
	w.attributes, err = json.Marshal(usual.byHand(0, 0))
	require.NoError(tb, err)
	return job{
		run: func(tb testing.TB, n int) figures {
			w.rows = make(chan rawRow)
			watch := newStopwatch(durableConcurrency, n, sampled)
			result := measure(tb, n, func() {
				finished := make(chan error, 1)
				go func() { finished <- w.run(tb.Context()) }()
				spread(n, durableConcurrency, func(worker, _, count int) {
					done := make(chan error, 1)
					for i := range count {
						watch.call(worker, i, func() {
							w.rows <- rawRow{uuid.Must(uuid.NewV7()).String(), payload, done}
							assert.NoError(tb, <-done)
						})
					}
				})
				close(w.rows)
				assert.NoError(tb, <-finished)
			})
			watch.add(result)
			var rows int
			require.NoError(tb, w.conn.QueryRowContext(tb.Context(), "SELECT count(*) FROM outbox").Scan(&rows))
			require.Zero(tb, rows, "rows left")
			return result
		},
		close: w.close,
	}
}
