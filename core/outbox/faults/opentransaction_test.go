//go:build unix

package faults

import (
	"context"
	"database/sql"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// TestOpenTransaction has somebody else's transaction hold a row of the
// outbox: one that is due, as a person at a console does, or a new one, as an
// app does that has published in a long transaction. The relay delivers and
// deletes the others, and does not spin.
func TestOpenTransaction(t *testing.T) {
	t.Parallel()
	for name, hold := range map[string]func(*testing.T, *sql.Tx, outbox.Store, outbox.Record){
		"a row that is due": func(t *testing.T, tx *sql.Tx, store outbox.Store, record outbox.Record) {
			require.NoError(t, store.Insert(t.Context(), 0, record))
			_, err := tx.ExecContext(t.Context(), "UPDATE "+sqlstore.DefaultTable+" SET last_error = 'seen' WHERE id = '"+record.ID+"'")
			require.NoError(t, err)
		},
		"a new row": func(t *testing.T, tx *sql.Tx, store outbox.Store, record outbox.Record) {
			require.NoError(t, store.(outbox.TxStore).InsertTx(t.Context(), tx, record))
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			eachStore(t, own, func(t *testing.T, k kind) {
				place, server, l := k.create(t), newOffice(t), newLedger()
				opened, closeStore, err := k.open(t.Context(), place, nil)
				require.NoError(t, err)
				db := k.database(t, place)
				tx, err := db.BeginTx(context.Background(), nil)
				require.NoError(t, err)
				held := newRecords("held", 0, 1)
				hold(t, tx, opened, held[0])

				store := &lookedAt{Store: opened}
				client, err := core.NewClient(app{Server: server.URL()}.config(nil, store))
				require.NoError(t, err)
				require.NoError(t, client.Start(t.Context()))
				others := newRecords("r", 0, 5)
				require.NoError(t, store.Insert(t.Context(), 0, others...))
				for _, record := range append(held, others...) {
					l.accepted[idOf(record.Payload)] = true
				}
				until(t, func() bool { return server.distinct() == 5 }, "the others are delivered")
				before := store.claims.Load()
				<-time.After(3 * time.Second)
				claims := store.claims.Load() - before
				l.keep(t, store)
				delete(l.stored, idOf(held[0].Payload))
				left := len(l.stored)
				require.NoError(t, tx.Commit())
				require.NoError(t, db.Close())
				until(t, func() bool { return server.distinct() == 6 }, "the row is delivered when it is free")
				require.NoError(t, client.Stop(t.Context()))
				require.NoError(t, closeStore())
				l.arrive(server)
				look(t, k, place, l)
				l.report(t, "a row held for 3 s, %d claims and %d of 5 other rows not deleted meanwhile", claims, left)
				assert.Less(t, claims, int64(3*callsPerSecond), "the relay does not spin")
				assert.Zero(t, left, "the other rows are deleted")
				assert.Zero(t, l.duplicates())
			})
		})
	}
}
