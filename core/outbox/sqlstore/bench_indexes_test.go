package sqlstore

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// BenchmarkIndexes tells what the indexes of version 2 of the schema cost: it
// inserts, claims and deletes in a table with them and in one without, in turns,
// and reports the ratio of the medians. Each turn is of 100 records.
func BenchmarkIndexes(b *testing.B) {
	const group = 100
	ctx := context.Background()
	for _, stand := range stands {
		b.Run(stand.name, func(b *testing.B) {
			db := stand.open(b)
			with, without := opened(b, db, stand.dialect), opened(b, db, stand.dialect)
			for _, index := range []string{without.table.key(), without.table.topic()} {
				if stand.dialect == MySQL {
					run(b, db, "ALTER TABLE "+without.table.SQL()+" DROP KEY "+index)
				} else {
					run(b, db, "DROP INDEX "+without.table.Qualified(index))
				}
			}
			insert := map[*Store][]time.Duration{}
			claim := map[*Store][]time.Duration{}
			stores := []*Store{with, without}
			for _, store := range stores {
				load(b, store, 20_000)
			}
			b.ResetTimer()
			for turn := range b.N {
				for i := range stores {
					store := stores[(i+turn)%2]
					start := time.Now()
					for range group {
						require.NoError(b, store.Insert(ctx, 0, benchRecord()))
					}
					insert[store] = append(insert[store], time.Since(start))
					start = time.Now()
					records, err := store.Claim(ctx, outbox.ClaimOptions{Limit: group, Lease: time.Minute})
					require.NoError(b, err)
					_, err = store.Delete(ctx, idsOf(records)...)
					require.NoError(b, err)
					claim[store] = append(claim[store], time.Since(start))
				}
			}
			median := func(list []time.Duration) float64 {
				slices.Sort(list)
				return float64(list[len(list)/2])
			}
			b.ReportMetric(median(insert[with])/median(insert[without]), "insert-ratio")
			b.ReportMetric(median(claim[with])/median(claim[without]), "claim-ratio")
			b.ReportMetric(median(insert[with])/group/1000, "insert-µs")
			b.ReportMetric(median(claim[with])/group/1000, "claim-µs")
		})
	}
}
