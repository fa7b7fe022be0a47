package sqlstore

import (
	"cmp"
	"context"
	"database/sql"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
)

// The benchmarks come in pairs: "store" is a call of the store, "hand" is the
// statements that one would write by hand for the same table, with parameters
// and prepared. Compare within a run only. The time is that of a record.
//
// The variable POSTOFFICE_BENCH_WAITING lists how many rows wait; without it,
// 1000 and 100000 do. A million takes some minutes to load:
//
//	POSTOFFICE_BENCH_WAITING=1000,100000,1000000 go test -run '^$' -bench . -benchtime 20000x
//
// POSTOFFICE_BENCH_PAYLOAD is how many bytes the payload of each has, 492 without it.

// waiting returns how many rows wait.
func waiting(b *testing.B) []int {
	var list []int
	for part := range strings.SplitSeq(cmp.Or(os.Getenv("POSTOFFICE_BENCH_WAITING"), "1000,100000"), ",") {
		n, err := strconv.Atoi(part)
		require.NoError(b, err, "POSTOFFICE_BENCH_WAITING")
		list = append(list, n)
	}
	return list
}

// benchRecord is a record of the size of a common message.
func benchRecord() outbox.Record {
	return outbox.Record{
		ID:         uuid.Must(uuid.NewV7()).String(),
		Topic:      "orders",
		Payload:    []byte(`{"x":"` + strings.Repeat("x", 492) + `"}`),
		Attributes: []byte(`{"tenant":"1"}`),
	}
}

// loaded are the columns that load fills, in this order.
const loaded = "id, state, due_at, token, attempts, created_at, deliver_at, size, topic, last_error, attributes, payload"

// load fills a table with rows that have been due for a while, the first for
// longest, within the database. Their IDs come before those of new records.
func load(tb testing.TB, store *Store, rows int) {
	tb.Helper()
	loadTopics(tb, store, rows, 1, -time.Hour)
}

// loadTopics does the same with rows of so many topics in turns, in order from
// orders00000 on, or of the topic orders if it is one. They are due after a delay.
func loadTopics(tb testing.TB, store *Store, rows, topics int, delay time.Duration) {
	tb.Helper()
	topic := "'orders'"
	if topics > 1 {
		topic = map[Dialect]string{
			Postgres: "'orders' || lpad(CAST(n % TOPICS AS text), 5, '0')",
			MySQL:    "concat('orders', lpad(seq % TOPICS, 5, '0'))",
			SQLite:   "printf('orders%05d', n % TOPICS)",
		}[store.dialect]
		topic = strings.ReplaceAll(topic, "TOPICS", strconv.Itoa(topics))
	}
	var text string
	switch store.dialect {
	case Postgres:
		text = `INSERT INTO TABLE (COLUMNS) SELECT '00000000-0000-7000-8000-' || lpad(to_hex(n), 12, '0'), 0, NOW + DELAY + n, '', 0, NOW, NULL, PAYLOAD + 20, TOPIC, '',
	convert_to('{"tenant":"1"}', 'UTF8'), convert_to('{"x":"' || repeat('x', PAYLOAD) || '"}', 'UTF8') FROM generate_series(1, ROWS) AS n`
	case MySQL:
		text = `INSERT INTO TABLE (COLUMNS) SELECT concat('00000000-0000-7000-8000-', lpad(hex(seq), 12, '0')), 0, NOW + DELAY + seq, '', 0, NOW, NULL, PAYLOAD + 20, TOPIC, '',
	'{"tenant":"1"}', concat('{"x":"', repeat('x', PAYLOAD), '"}') FROM seq_1_to_ROWS`
	default:
		text = `WITH RECURSIVE s (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM s WHERE n < ROWS)
INSERT INTO TABLE (COLUMNS) SELECT printf('00000000-0000-7000-8000-%012x', n), 0, NOW + DELAY + n, '', 0, NOW, NULL, PAYLOAD + 20, TOPIC, '',
	CAST('{"tenant":"1"}' AS BLOB), CAST('{"x":"' || printf('%.*c', PAYLOAD, 'x') || '"}' AS BLOB) FROM s`
	}
	text = strings.NewReplacer("TABLE", store.table.SQL(), "COLUMNS", loaded, "NOW", store.dialect.now(), "ROWS", strconv.Itoa(rows),
		"DELAY", strconv.FormatInt(delay.Microseconds(), 10), "TOPIC", topic, "PAYLOAD", cmp.Or(os.Getenv("POSTOFFICE_BENCH_PAYLOAD"), "492")).Replace(text)
	n, err := change(tb.Context(), store.db.DB, text)
	require.NoError(tb, err)
	require.Equal(tb, rows, n)
}

// spread calls a function b.N times from several goroutines.
func spread(b *testing.B, concurrency int, call func() error) {
	b.ResetTimer()
	var next atomic.Int64
	var group sync.WaitGroup
	for range concurrency {
		group.Go(func() {
			for next.Add(1) <= int64(b.N) {
				if err := call(); err != nil {
					b.Error(err)
					return
				}
			}
		})
	}
	group.Wait()
	b.StopTimer()
}

func BenchmarkInsert(b *testing.B) {
	ctx := context.Background()
	for _, stand := range stands {
		for _, rows := range waiting(b) {
			b.Run(fmt.Sprintf("%s/waiting=%d", stand.name, rows), func(b *testing.B) {
				db := stand.open(b)
				store := opened(b, db, stand.dialect)
				load(b, store, rows)
				for _, concurrency := range []int{1, 8} {
					b.Run(fmt.Sprintf("concurrency=%d/store", concurrency), func(b *testing.B) {
						spread(b, concurrency, func() error { return store.Insert(ctx, 0, benchRecord()) })
					})
					b.Run(fmt.Sprintf("concurrency=%d/hand", concurrency), func(b *testing.B) {
						insert, err := db.PrepareContext(ctx, store.insertText(1, false))
						require.NoError(b, err)
						spread(b, concurrency, func() error {
							r := benchRecord()
							_, err := insert.ExecContext(ctx, r.ID, 0, 0, 0, "", nil, r.Size(), r.Topic, "", []byte(r.Attributes), []byte(r.Payload))
							return err
						})
						require.NoError(b, insert.Close())
					})
				}
			})
		}
	}
}

// BenchmarkClaimDelete claims and deletes 100 records a turn.
func BenchmarkClaimDelete(b *testing.B) {
	const group = 100
	ctx := context.Background()
	turns := func(b *testing.B, store outbox.Store) {
		b.ResetTimer()
		for done := 0; done < b.N; done += group {
			claimed, err := store.Claim(ctx, outbox.ClaimOptions{Limit: group, Lease: time.Minute})
			require.NoError(b, err)
			require.Len(b, claimed, group)
			ids := make([]string, len(claimed))
			for i, record := range claimed {
				ids[i] = record.ID
			}
			n, err := store.Delete(ctx, ids...)
			require.NoError(b, err)
			require.Equal(b, group, n)
		}
		b.StopTimer()
	}
	for _, rows := range waiting(b) {
		for _, stand := range stands {
			b.Run(fmt.Sprintf("%s/waiting=%d/store", stand.name, rows), func(b *testing.B) {
				store := opened(b, stand.open(b), stand.dialect)
				load(b, store, rows+b.N+group)
				turns(b, store)
			})
			b.Run(fmt.Sprintf("%s/waiting=%d/hand", stand.name, rows), func(b *testing.B) {
				store := opened(b, stand.open(b), stand.dialect)
				load(b, store, rows+b.N+group)
				hand := newHand(b, store, group)
				b.ResetTimer()
				for done := 0; done < b.N; done += group {
					hand.turn(ctx, b)
				}
				b.StopTimer()
			})
		}
		b.Run(fmt.Sprintf("embedded/waiting=%d/store", rows), func(b *testing.B) {
			store, err := sqlite.Open(ctx, sqliteFile(b))
			require.NoError(b, err)
			defer func() { require.NoError(b, store.Close()) }()
			for left := rows + b.N + group; left > 0; left -= 1000 {
				records := make([]outbox.Record, min(left, 1000))
				for i := range records {
					records[i] = benchRecord()
				}
				require.NoError(b, store.Insert(ctx, 0, records...))
			}
			turns(b, store)
		})
	}
}

// eachStore runs a benchmark on each stand and the embedded store, with rows
// of common messages.
func eachStore(b *testing.B, rows int, run func(b *testing.B, store outbox.Store)) {
	for _, stand := range stands {
		b.Run(stand.name, func(b *testing.B) {
			store := opened(b, stand.open(b), stand.dialect)
			load(b, store, rows)
			run(b, store)
		})
	}
	b.Run("embedded", func(b *testing.B) {
		store, err := sqlite.Open(b.Context(), sqliteFile(b))
		require.NoError(b, err)
		defer func() { require.NoError(b, store.Close()) }()
		for left := rows; left > 0; left -= 1000 {
			records := make([]outbox.Record, min(left, 1000))
			for i := range records {
				records[i] = benchRecord()
			}
			require.NoError(b, store.Insert(b.Context(), 0, records...))
		}
		run(b, store)
	})
}

// listings are how much of the payloads a list returns.
var listings = map[string]int{"whole": 0, "beginning": 500, "none": -1}

// BenchmarkList lists a page of 50 in the middle of the waiting ones. The time
// is that of a page.
func BenchmarkList(b *testing.B) {
	for _, rows := range waiting(b) {
		b.Run(fmt.Sprintf("waiting=%d", rows), func(b *testing.B) {
			eachStore(b, rows, func(b *testing.B, store outbox.Store) {
				half, err := store.List(b.Context(), outbox.Query{Limit: rows / 2, MaxPayload: -1})
				require.NoError(b, err)
				for name, most := range listings {
					b.Run("payload="+name, func(b *testing.B) {
						for b.Loop() {
							page, err := store.List(b.Context(), outbox.Query{After: half[len(half)-1].ID, Limit: 50, MaxPayload: most})
							require.NoError(b, err)
							require.Len(b, page, 50)
						}
					})
				}
			})
		})
	}
}

// BenchmarkListLarge lists a page of 50 whose payloads have a megabyte, and one
// of its records by its ID.
func BenchmarkListLarge(b *testing.B) {
	eachStore(b, 1000, func(b *testing.B, store outbox.Store) {
		_, err := store.Discard(b.Context(), outbox.Selection{All: true})
		require.NoError(b, err)
		var ids []string
		for range 50 {
			record := benchRecord()
			record.Payload = []byte(`{"x":"` + strings.Repeat("x", 1_000_000) + `"}`)
			require.NoError(b, store.Insert(b.Context(), 0, record))
			ids = append(ids, record.ID)
		}
		for name, most := range listings {
			for which, query := range map[string]outbox.Query{"50": {}, "one": {IDs: ids[25:26]}} {
				query.MaxPayload = most
				b.Run("records="+which+"/payload="+name, func(b *testing.B) {
					for b.Loop() {
						page, err := store.List(b.Context(), query)
						require.NoError(b, err)
						require.NotEmpty(b, page)
					}
				})
			}
		}
	})
}

// BenchmarkCount counts what waits, beside Stats and beside the count by hand in
// the same index.
func BenchmarkCount(b *testing.B) {
	pending, dead := outbox.Pending, outbox.Dead
	for _, rows := range waiting(b) {
		b.Run(fmt.Sprintf("waiting=%d", rows), func(b *testing.B) {
			eachStore(b, rows, func(b *testing.B, store outbox.Store) {
				for name, selection := range map[string]outbox.Selection{
					"all": {All: true}, "pending": {All: true, State: &pending}, "dead": {All: true, State: &dead},
					"topic": {Topic: "orders"}, "dead of a topic": {Topic: "orders", State: &dead},
				} {
					b.Run(name, func(b *testing.B) {
						for b.Loop() {
							n, err := store.Count(b.Context(), selection)
							require.NoError(b, err)
							require.Equal(b, selection.State != &dead, n == rows)
						}
					})
				}
				if s, ok := store.(*Store); ok {
					b.Run("hand", func(b *testing.B) {
						for b.Loop() {
							var n int
							query := "SELECT count(*) FROM " + s.table.using(s.table.topic()) + " WHERE " + s.dialect.pending()
							require.NoError(b, s.db.QueryRowContext(b.Context(), query).Scan(&n))
						}
					})
				}
				b.Run("stats", func(b *testing.B) {
					for b.Loop() {
						_, err := store.Stats(b.Context())
						require.NoError(b, err)
					}
				})
			})
		})
	}
}

// hand claims and deletes rows by statements with parameters.
type hand struct {
	store                        *Store
	group                        int
	due, lease, read, claim, del *sql.Stmt
}

func newHand(b *testing.B, store *Store, group int) *hand {
	h := &hand{store: store, group: group}
	name, now := store.table.SQL(), store.dialect.now()
	list := "(?" + strings.Repeat(", ?", group-1) + ")"
	prepare := func(query string) *sql.Stmt {
		if store.dialect == Postgres {
			query = numbered(query)
		}
		statement, err := store.db.PrepareContext(b.Context(), query)
		require.NoError(b, err)
		b.Cleanup(func() { require.NoError(b, statement.Close()) })
		return statement
	}
	due := "SELECT id FROM " + name + " WHERE state = 0 AND due_at <= " + now + " ORDER BY due_at, id LIMIT ?"
	lease := "UPDATE " + name + " SET due_at = " + now + " + 60000000, token = ?, attempts = attempts + 1 WHERE id IN "
	h.del = prepare("DELETE FROM " + name + " WHERE id IN " + list)
	switch store.dialect {
	case Postgres:
		h.claim = prepare(lease + "(" + due + " FOR UPDATE SKIP LOCKED) RETURNING " + columns)
	case MySQL:
		h.due = prepare(due + " FOR UPDATE SKIP LOCKED")
		h.lease = prepare(lease + list)
		h.read = prepare("SELECT " + columns + " FROM " + name + " WHERE id IN " + list)
	default:
		h.due = prepare(due)
		h.lease = prepare(lease + list + " AND state = 0 AND due_at <= " + now + " RETURNING " + columns)
	}
	return h
}

// turn claims and deletes a group.
func (h *hand) turn(ctx context.Context, b *testing.B) {
	token := uuid.NewString()
	var records []outbox.Record
	scan := func(rows *sql.Rows, err error) {
		require.NoError(b, err)
		defer func() { require.NoError(b, rows.Close()) }()
		for rows.Next() {
			record, err := scanRecord(rows.Scan)
			require.NoError(b, err)
			records = append(records, record)
		}
		require.NoError(b, rows.Err())
	}
	args := make([]any, 0, h.group)
	find := func(rows *sql.Rows, err error) {
		require.NoError(b, err)
		for rows.Next() {
			var id string
			require.NoError(b, rows.Scan(&id))
			args = append(args, id)
		}
		require.NoError(b, rows.Close())
	}
	switch h.store.dialect {
	case Postgres:
		scan(h.claim.QueryContext(ctx, token, h.group))
		for _, record := range records {
			args = append(args, record.ID)
		}
	case SQLite:
		find(h.due.QueryContext(ctx, h.group))
		scan(h.lease.QueryContext(ctx, append([]any{token}, args...)...))
	case MySQL:
		tx, err := h.store.db.BeginTx(ctx, &sql.TxOptions{Isolation: sql.LevelReadCommitted})
		require.NoError(b, err)
		find(tx.StmtContext(ctx, h.due).QueryContext(ctx, h.group))
		_, err = tx.StmtContext(ctx, h.lease).ExecContext(ctx, append([]any{token}, args...)...)
		require.NoError(b, err)
		scan(tx.StmtContext(ctx, h.read).QueryContext(ctx, args...))
		require.NoError(b, tx.Commit())
	}
	require.Len(b, records, h.group)
	_, err := h.del.ExecContext(ctx, args...)
	require.NoError(b, err)
}
