package sqlstore

import (
	"context"
	"database/sql"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// BenchmarkGrowth passes b.N rows through a table, inserted, claimed and deleted in
// batches of 100 by two goroutines each, with the database's vacuum or purge at its
// defaults. It reports what the table has grown to, the log written, and the time of
// a claim of 100 rows before and after:
//
//	go test -run '^$' -bench Growth -benchtime 10000000x -timeout 1h ./core/outbox/sqlstore
func BenchmarkGrowth(b *testing.B) {
	for _, stand := range stands {
		if stand.dialect == SQLite {
			continue
		}
		b.Run(stand.name, func(b *testing.B) {
			db := stand.open(b)
			store := opened(b, db, stand.dialect)
			before := claimTime(b, store)
			start := growthOf(b, db, store)
			b.ResetTimer()
			passThrough(b, store, max(b.N/growthBatch, 1), func(done int) {
				g := growthOf(b, db, store)
				b.Logf("%d rows passed: table %.1f MB, indexes %.1f MB, %d dead", done, megabytes(g.table), megabytes(g.indexes), g.dead)
			})
			b.StopTimer()
			end, after := growthOf(b, db, store), claimTime(b, store)
			b.ReportMetric(megabytes(end.table), "table-MB")
			b.ReportMetric(megabytes(end.indexes), "indexes-MB")
			b.ReportMetric(float64(end.dead), "dead")
			b.ReportMetric(float64(end.log-start.log)/float64(b.N), "log-B/row")
			b.ReportMetric(before.Seconds()*1000, "claim-before-ms")
			b.ReportMetric(after.Seconds()*1000, "claim-after-ms")
		})
	}
}

// growthBatch is how many rows are inserted, claimed and deleted at a time.
const growthBatch = 100

// claimTime returns the median time of a claim of a batch while 10,000 rows wait
// that became due last. It leaves the table empty.
func claimTime(b *testing.B, store *Store) time.Duration {
	b.Helper()
	ctx := context.Background()
	loadTopics(b, store, 10_000, 1, 0)
	var times []time.Duration
	for range 51 {
		start := time.Now()
		claimed, err := store.Claim(ctx, outbox.ClaimOptions{Limit: growthBatch, Lease: time.Minute})
		times = append(times, time.Since(start))
		require.NoError(b, err)
		require.Len(b, claimed, growthBatch)
		_, err = store.Delete(ctx, idsOf(claimed)...)
		require.NoError(b, err)
	}
	_, err := store.Discard(ctx, outbox.Selection{All: true})
	require.NoError(b, err)
	slices.Sort(times)
	return times[len(times)/2]
}

// passThrough inserts batches, and claims and deletes them while others are
// inserted; at most 10,000 rows wait. It calls a function after each tenth.
func passThrough(b *testing.B, store *Store, batches int, tenth func(done int)) {
	b.Helper()
	ctx := context.Background()
	inserted := make(chan struct{}, 10_000/growthBatch)
	var next, deleted atomic.Int64
	take := func() error {
		claimed, err := store.Claim(ctx, outbox.ClaimOptions{Limit: growthBatch, Lease: time.Hour})
		if err != nil || len(claimed) == 0 {
			return err
		}
		n, err := store.Delete(ctx, idsOf(claimed)...)
		step := int64(max(batches/10, 1) * growthBatch)
		if now := deleted.Add(int64(n)); now/step > (now-int64(n))/step {
			tenth(int(now))
		}
		return err
	}
	var inserts, claims sync.WaitGroup
	for range 2 {
		inserts.Go(func() {
			for next.Add(1) <= int64(batches) && !b.Failed() {
				records := make([]outbox.Record, growthBatch)
				for i := range records {
					records[i] = benchRecord()
				}
				if err := store.Insert(ctx, 0, records...); err != nil {
					b.Error(err)
				}
				inserted <- struct{}{}
			}
		})
		claims.Go(func() {
			for range inserted {
				if err := take(); err != nil {
					b.Error(err)
				}
			}
		})
	}
	inserts.Wait()
	close(inserted)
	claims.Wait()
	// A claim passes over what another one locks, and may have found less.
	for deleted.Load() < int64(batches*growthBatch) && !b.Failed() {
		require.NoError(b, take())
	}
}

// growth is what a table takes, in bytes.
type growth struct {
	table, indexes int64
	// dead are rows that are deleted and not vacuumed, as PostgreSQL estimates, or
	// transactions that InnoDB has not purged.
	dead int64
	log  int64 // written since the server was made
}

// growthOf asks the database.
func growthOf(b *testing.B, db *sql.DB, store *Store) growth {
	b.Helper()
	var g growth
	ask := func(to *int64, query string, args ...any) {
		require.NoError(b, db.QueryRowContext(b.Context(), query, args...).Scan(to))
	}
	if store.dialect == Postgres {
		name := store.table.SQL()
		ask(&g.table, "SELECT pg_table_size($1::regclass)", name)
		ask(&g.indexes, "SELECT pg_indexes_size($1::regclass)", name)
		ask(&g.dead, "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relid = $1::regclass", name)
		ask(&g.log, "SELECT pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint")
		return g
	}
	run(b, db, "ANALYZE TABLE "+store.table.SQL())
	of := " FROM information_schema.tables WHERE table_schema = DATABASE() AND table_name = ?"
	ask(&g.table, "SELECT data_length + data_free"+of, store.table.String())
	ask(&g.indexes, "SELECT index_length"+of, store.table.String())
	ask(&g.dead, "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'Innodb_history_list_length'")
	ask(&g.log, "SELECT variable_value FROM information_schema.global_status WHERE variable_name = 'Innodb_lsn_current'")
	return g
}

func megabytes(bytes int64) float64 { return float64(bytes) / 1e6 }
