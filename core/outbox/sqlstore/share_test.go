package sqlstore

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// untilDue waits until a pending record is due.
func untilDue(t *testing.T, store *Store) {
	t.Helper()
	require.Eventually(t, func() bool {
		wait, pending, err := store.Next(t.Context())
		return err == nil && pending && wait == 0
	}, 30*time.Second, 5*time.Millisecond)
}

// TestStoresShareWork shows that several stores, each with connections of its
// own as in processes of their own, claim each record once while others are
// inserted and deleted.
func TestStoresShareWork(t *testing.T) {
	onEach(t, append(stands, variants[2]), func(t *testing.T, stand stand) {
		const records, workers = 1500, 3
		first := opened(t, stand.open(t), stand.dialect)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()

		var mutex sync.Mutex
		seen := map[string]int{}
		var errs []error
		var group sync.WaitGroup
		note := func(err error) bool {
			mutex.Lock()
			defer mutex.Unlock()
			if err != nil {
				errs = append(errs, err)
			}
			return len(errs) == 0 && len(seen) < records
		}
		inserted := messages(t, records)
		for worker := range workers {
			store := another(t, first)
			group.Go(func() {
				for i := worker; i < records; i += workers * 10 {
					var some []outbox.Record
					for j := i; j < min(i+workers*10, records); j += workers {
						some = append(some, inserted[j])
					}
					if !note(store.Insert(ctx, 0, some...)) {
						return
					}
				}
			})
			group.Go(func() {
				for {
					claimed, err := store.Claim(ctx, outbox.ClaimOptions{Limit: 20, Lease: time.Hour, MaxBytes: 1500})
					mutex.Lock()
					for _, record := range claimed {
						seen[record.ID]++
					}
					mutex.Unlock()
					if err == nil {
						_, err = store.Delete(ctx, idsOf(claimed)...)
					}
					if !note(err) {
						return
					}
				}
			})
		}
		group.Wait()
		require.Empty(t, errs)
		assert.Len(t, seen, records)
		for id, n := range seen {
			assert.Equal(t, 1, n, id)
		}
		assert.Empty(t, stored(t, first))
	})
}

// TestDeadProcess shows that what a process held that died comes back after
// the lease, and that one that was only slow can change nothing then.
func TestDeadProcess(t *testing.T) {
	onEach(t, stands, func(t *testing.T, stand stand) {
		slow := opened(t, stand.open(t), stand.dialect)
		other := another(t, slow)
		require.NoError(t, slow.Insert(t.Context(), 0, messages(t, 5)...))
		lost, err := slow.Claim(t.Context(), outbox.ClaimOptions{Limit: 10, Lease: 50 * time.Millisecond})
		require.NoError(t, err)
		require.Len(t, lost, 5)
		untilDue(t, other)
		taken := claimed(t, other, 10)
		assert.Equal(t, idsOf(lost), idsOf(taken))
		before := stored(t, other)

		var changes []outbox.Change
		for _, record := range lost {
			changes = append(changes, outbox.Change{ID: record.ID, LeaseToken: record.LeaseToken, Dead: true, LastError: "late"})
		}
		n, err := slow.Reschedule(t.Context(), changes...)
		require.NoError(t, err)
		assert.Zero(t, n)
		assert.Equal(t, before, stored(t, other))
		n, err = slow.Delete(t.Context(), lost[0].ID)
		require.NoError(t, err)
		assert.Equal(t, 1, n, "what it has delivered it deletes, whoever holds it")
	})
}

// TestClaimsPassOverLockedRows shows that a claim does not wait for rows that
// another transaction holds, nor for one that inserts.
func TestClaimsPassOverLockedRows(t *testing.T) {
	onEach(t, stands[:2], func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		records := messages(t, 4)
		require.NoError(t, store.Insert(t.Context(), 0, records...))
		tx, err := store.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer func() { require.NoError(t, tx.Rollback()) }()
		_, err = tx.ExecContext(t.Context(), "UPDATE "+store.table.SQL()+" SET attempts = 7 WHERE id = "+store.dialect.text(records[0].ID))
		require.NoError(t, err)
		require.NoError(t, store.InsertTx(t.Context(), tx, message(t)))

		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		got, err := store.Claim(ctx, outbox.ClaimOptions{Limit: 10, Lease: time.Hour})
		require.NoError(t, err)
		assert.Equal(t, idsOf(records[1:]), idsOf(got))
		require.NoError(t, store.Insert(ctx, 0, message(t)))
		n, err := store.Delete(ctx, records[1].ID)
		require.NoError(t, err)
		assert.Equal(t, 1, n)
	})
}

// TestNoConnectionIsHeld shows that a pool of one connection is enough for
// each method, and that it is free afterwards.
func TestNoConnectionIsHeld(t *testing.T) {
	onEach(t, append(stands, variants...), func(t *testing.T, stand stand) {
		db := stand.open(t)
		db.SetMaxOpenConns(1)
		for _, options := range [][]Option{nil, {WithMaxRecords(400), WithMaxBytes(100_000)}} {
			store := opened(t, db, stand.dialect, options...)
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			free := func(err error) {
				t.Helper()
				require.NoError(t, err)
				assert.Zero(t, db.Stats().InUse)
			}
			free(store.Insert(ctx, 0, message(t)))
			free(store.Insert(ctx, 0, messages(t, 300)...))
			claimed, err := store.Claim(ctx, outbox.ClaimOptions{Limit: 3, Lease: time.Hour, MaxBytes: 1})
			free(err)
			_, err = store.Reschedule(ctx, outbox.Change{ID: claimed[0].ID, LeaseToken: claimed[0].LeaseToken, Dead: true})
			free(err)
			_, _, err = store.Next(ctx)
			free(err)
			_, err = store.Stats(ctx)
			free(err)
			_, err = store.Retry(ctx, outbox.Selection{IDs: idsOf(claimed)})
			free(err)
			_, err = store.Delete(ctx, claimed[0].ID)
			free(err)
			free(store.Check(ctx))
			tx, err := db.BeginTx(ctx, nil)
			require.NoError(t, err)
			require.NoError(t, store.InsertTx(ctx, tx, messages(t, 3)...))
			free(tx.Commit())
			if options != nil {
				require.ErrorIs(t, store.Insert(ctx, 0, messages(t, 300)...), outbox.ErrFull)
				tx, err := db.BeginTx(ctx, nil)
				require.NoError(t, err)
				begin := time.Now()
				require.ErrorIs(t, store.InsertTx(ctx, tx, messages(t, 300)...), outbox.ErrFull)
				assert.Less(t, time.Since(begin), countPatience/2, "it does not wait for a connection that cannot come")
				free(tx.Rollback())
			}
			n, err := store.Discard(ctx, outbox.Selection{All: true})
			free(err)
			assert.Equal(t, 303, n)
		}
	})
}
