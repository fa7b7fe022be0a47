package sqlite

import (
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// The benchmarks come in pairs: "store" is a call of the store, "floor" is
// the raw statements that it cannot do without, on a database with the same
// schema and settings. Compare within a run only.

// floor opens a database for raw statements.
func floor(b *testing.B) (*sql.Conn, func(query string) *sql.Stmt) {
	store, err := open(b.Context(), file(b), nil)
	require.NoError(b, err)
	var statements []*sql.Stmt
	b.Cleanup(func() {
		for _, statement := range statements {
			require.NoError(b, statement.Close())
		}
		require.NoError(b, store.writer.close())
	})
	return store.writer.conn, func(query string) *sql.Stmt {
		statement, err := store.writer.conn.PrepareContext(b.Context(), query)
		require.NoError(b, err)
		statements = append(statements, statement)
		return statement
	}
}

// template is the record that the benchmarks insert under many IDs.
var template = outbox.Record{
	Topic:      "orders",
	Payload:    make([]byte, 500),
	Attributes: []byte(`{"tenant":"1"}`),
}

func fresh() outbox.Record {
	record := template
	record.ID = uuid.Must(uuid.NewV7()).String()
	return record
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
}

func BenchmarkInsert(b *testing.B) {
	ctx := context.Background()
	for _, concurrency := range []int{1, 32} {
		b.Run(fmt.Sprintf("concurrency=%d/store", concurrency), func(b *testing.B) {
			store := opened(b, file(b))
			spread(b, concurrency, func() error { return store.Insert(ctx, 0, fresh()) })
		})
		b.Run(fmt.Sprintf("concurrency=%d/floor", concurrency), func(b *testing.B) {
			_, prepare := floor(b)
			insert := prepare(insertRecord)
			var mutex sync.Mutex
			spread(b, concurrency, func() error {
				r := fresh()
				now := time.Now().UnixMicro()
				mutex.Lock()
				defer mutex.Unlock()
				_, err := insert.Exec(r.ID, 0, now, "", now, nil, r.Size(), r.Topic, "", []byte(r.Attributes), []byte(r.Payload))
				return err
			})
		})
	}
}

// BenchmarkClaimDelete claims and deletes 100 records a turn; the time is
// that of a record.
func BenchmarkClaimDelete(b *testing.B) {
	const group = 100
	ctx := context.Background()
	for _, waiting := range []int{1_000, 100_000} {
		fill := func(b *testing.B, insert func(records []outbox.Record)) {
			for left := waiting + b.N + group; left > 0; left -= 1000 {
				records := make([]outbox.Record, min(left, 1000))
				for i := range records {
					records[i] = fresh()
				}
				insert(records)
			}
			b.ResetTimer()
		}
		b.Run(fmt.Sprintf("waiting=%d/store", waiting), func(b *testing.B) {
			store := opened(b, file(b))
			fill(b, func(records []outbox.Record) { require.NoError(b, store.Insert(ctx, 0, records...)) })
			for done := 0; done < b.N; done += group {
				claimed, err := store.Claim(ctx, outbox.ClaimOptions{Limit: group, Lease: time.Minute})
				require.NoError(b, err)
				require.Len(b, claimed, group)
				ids := make([]string, len(claimed))
				for i, record := range claimed {
					ids[i] = record.ID
				}
				_, err = store.Delete(ctx, ids...)
				require.NoError(b, err)
			}
			b.StopTimer()
		})
		b.Run(fmt.Sprintf("waiting=%d/floor", waiting), func(b *testing.B) {
			conn, prepare := floor(b)
			exec := func(query string) {
				_, err := conn.ExecContext(ctx, query)
				require.NoError(b, err)
			}
			insert, due, lease, remove := prepare(insertRecord), prepare(selectDue), prepare(leaseRecord), prepare(`DELETE FROM outbox WHERE id = ?`)
			fill(b, func(records []outbox.Record) {
				exec("BEGIN IMMEDIATE")
				for _, r := range records {
					now := time.Now().UnixMicro()
					_, err := insert.Exec(r.ID, 0, now, "", now, nil, r.Size(), r.Topic, "", []byte(r.Attributes), []byte(r.Payload))
					require.NoError(b, err)
				}
				exec("COMMIT")
			})
			for done := 0; done < b.N; done += group {
				exec("BEGIN IMMEDIATE")
				rows, err := due.Query(time.Now().UnixMicro(), group)
				require.NoError(b, err)
				var seqs []int64
				var ids []string
				for rows.Next() {
					seq, record, err := scanRecord(rows.Scan)
					require.NoError(b, err)
					seqs, ids = append(seqs, seq), append(ids, record.ID)
				}
				require.NoError(b, rows.Close())
				token := rand.Text()
				for _, seq := range seqs {
					_, err := lease.Exec(time.Now().Add(time.Minute).UnixMicro(), token, seq)
					require.NoError(b, err)
				}
				exec("COMMIT")
				exec("BEGIN IMMEDIATE")
				for _, id := range ids {
					_, err := remove.Exec(id)
					require.NoError(b, err)
				}
				exec("COMMIT")
			}
			b.StopTimer()
		})
	}
}

func BenchmarkStats(b *testing.B) {
	for _, waiting := range []int{1_000, 100_000} {
		b.Run(fmt.Sprintf("waiting=%d", waiting), func(b *testing.B) {
			store := opened(b, file(b))
			for range waiting / 1000 {
				records := make([]outbox.Record, 1000)
				for i := range records {
					records[i] = fresh()
				}
				require.NoError(b, store.Insert(b.Context(), 0, records...))
			}
			_, err := store.Claim(b.Context(), outbox.ClaimOptions{Limit: 100, Lease: time.Hour})
			require.NoError(b, err)
			for b.Loop() {
				if _, err := store.Stats(b.Context()); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
