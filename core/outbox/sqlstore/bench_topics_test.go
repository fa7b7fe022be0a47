package sqlstore

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
)

// topicLoads are tables to claim from: rows of so many topics wait, or are leased.
var topicLoads = []topicLoad{
	{name: "age"}, {"1", 1, false}, {"200", 200, false}, {"10000", 10_000, false},
	{"1-leased", 1, true}, {"200-leased", 200, true}, {"10000-leased", 10_000, true},
}

type topicLoad struct {
	name   string
	topics int
	leased bool
}

// BenchmarkClaimTopics claims 100 records a turn and deletes them: by age from one
// topic, and by topic, at most 50 of each, from one, 200 and 10000 topics with as
// many rows. Where those are leased, the records of a turn are new and of two
// topics. The tables have their turns one after the other. It reports the median
// of the claim by age and delete in microseconds a record, and the ratios of the
// others to it.
func BenchmarkClaimTopics(b *testing.B) {
	for _, rows := range waiting(b) {
		for _, stand := range stands {
			b.Run(fmt.Sprintf("%s/waiting=%d", stand.name, rows), func(b *testing.B) {
				db := stand.open(b)
				compareTopics(b, func(load topicLoad) outbox.Store {
					store := opened(b, db, stand.dialect)
					delay := -time.Hour
					if load.leased {
						delay = time.Hour
					}
					loadTopics(b, store, rows, max(load.topics, 1), delay)
					if stand.dialect == Postgres {
						run(b, db, "VACUUM ANALYZE "+store.table.SQL())
					}
					return store
				})
			})
		}
		b.Run(fmt.Sprintf("embedded/waiting=%d", rows), func(b *testing.B) {
			compareTopics(b, func(load topicLoad) outbox.Store {
				store, err := sqlite.Open(b.Context(), sqliteFile(b))
				require.NoError(b, err)
				b.Cleanup(func() { require.NoError(b, store.Close()) })
				delay := time.Duration(0)
				if load.leased {
					delay = time.Hour
				}
				for chunk := range slices.Chunk(topicRecords(rows, 0, max(load.topics, 1)), 1000) {
					require.NoError(b, store.Insert(b.Context(), delay, chunk...))
				}
				return store
			})
		})
	}
}

// topicRecords returns records of topics in turns, beginning with one of them.
func topicRecords(n, first, topics int) []outbox.Record {
	records := make([]outbox.Record, n)
	for i := range records {
		records[i] = benchRecord()
		if topics > 1 {
			records[i].Topic = fmt.Sprintf("orders%05d", (first+i)%topics)
		}
	}
	return records
}

func compareTopics(b *testing.B, open func(load topicLoad) outbox.Store) {
	const group, perTopic = 100, 50
	ctx := b.Context()
	stores := make([]outbox.Store, len(topicLoads))
	options := make([]outbox.ClaimOptions, len(topicLoads))
	took := make([][]time.Duration, len(topicLoads))
	for i, load := range topicLoads {
		stores[i] = open(load)
		options[i] = outbox.ClaimOptions{Limit: group, Lease: time.Minute}
		if load.topics > 0 {
			options[i].PerTopic = perTopic
		}
		if load.topics == 1 {
			options[i].PerTopic = group
		}
	}
	b.ResetTimer()
	for turn := range b.N {
		for i, load := range topicLoads {
			records := topicRecords(group, turn*group, max(load.topics, 1))
			if load.leased && load.topics > 1 {
				for j := range records {
					records[j].Topic = fmt.Sprintf("orders%05d", (turn*7919+j/perTopic*100)%load.topics)
				}
			}
			require.NoError(b, stores[i].Insert(ctx, 0, records...))
			start := time.Now()
			claimed, err := stores[i].Claim(ctx, options[i])
			require.NoError(b, err)
			require.Len(b, claimed, group)
			_, err = stores[i].Delete(ctx, idsOf(claimed)...)
			require.NoError(b, err)
			took[i] = append(took[i], time.Since(start))
			if load.topics > 0 {
				options[i].AfterTopic = claimed[group-1].Topic
			}
		}
	}
	b.StopTimer()
	median := func(list []time.Duration) float64 {
		slices.SortFunc(list, cmp.Compare[time.Duration])
		return float64(list[len(list)/2])
	}
	b.ReportMetric(median(took[0])/group/1000, "age-µs")
	for i, load := range topicLoads[1:] {
		b.ReportMetric(median(took[i+1])/median(took[0]), load.name+"-ratio")
	}
}
