//go:build unix

package faults

import (
	"bytes"
	"context"
	"database/sql"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
)

// sqlKind is a store in a database that a caller can have transactions in.
func sqlKind(k kind) bool { return k.openDatabase != nil }

// endings are the ways in which a caller's transaction ends, and whether it
// must have taken effect then.
var endings = []struct {
	name    string
	end     func(tx *sql.Tx) error
	commits bool
}{
	{"commit", func(tx *sql.Tx) error { return tx.Commit() }, true},
	{"rollback", func(tx *sql.Tx) error { return tx.Rollback() }, false},
	{"panic", func(*sql.Tx) error { panic("the handler's own") }, false},
}

// TestCallersTransaction writes a row of the caller's and publishes in one
// transaction, which ends in different ways: the message is in the outbox if
// and only if the row is in its table.
func TestCallersTransaction(t *testing.T) {
	t.Parallel()
	eachStore(t, sqlKind, func(t *testing.T, k kind) {
		times := byForm(1000, 50)
		b := newBusiness(t, k)
		l := newLedger()
		for _, ending := range endings {
			for n := range times {
				id := fmt.Sprintf("%s-%d", ending.name, n)
				err := b.transact(t, b.db, id, ending.end)
				if ending.name == "panic" {
					require.EqualError(t, err, "panic: the handler's own")
				} else {
					require.NoError(t, err)
				}
				if ending.commits {
					l.accepted[id] = true
				}
			}
		}
		b.agree(t, l)
		assert.Len(t, l.arrived, times)
		l.report(t, "%d transactions of each ending", times)
	})
}

// TestConnectionKilledAtCommit cuts the connection to the database when the
// COMMIT of a caller's transaction is on its way: before the database has
// got it, and after that, so that the answer is lost. The caller learns
// neither; the row and the message agree all the same.
func TestConnectionKilledAtCommit(t *testing.T) {
	t.Parallel()
	eachStore(t, own, func(t *testing.T, k kind) {
		times := byForm(1000, 50)
		b := newBusiness(t, k)
		l := newLedger()
		for n := range times {
			way := newProxy(t, b.address)
			then := []verdict{reset, forwardAndReset}[n%2]
			way.behave(func() func([]byte) verdict {
				return func(data []byte) verdict {
					if bytes.Contains(bytes.ToUpper(data), []byte("COMMIT")) {
						return then
					}
					return pass
				}
			})
			db := k.database(t, strings.Replace(b.place, b.address, way.address(), 1))
			id := fmt.Sprintf("cut-%d", n)
			require.Error(t, b.transact(t, db, id, func(tx *sql.Tx) error { return tx.Commit() }))
			require.NoError(t, db.Close())
			way.finish()
			if then == forwardAndReset {
				l.accepted[id] = true // it was committed, and nobody was told
			}
		}
		b.agree(t, l)
		l.report(t, "connection cut at COMMIT %d times", times)
	})
}

// TestKilledInTransaction kills an app with SIGKILL while it publishes in
// transactions: every row has its message, delivered or in the outbox, and
// no message is without a row.
func TestKilledInTransaction(t *testing.T) {
	t.Parallel()
	eachStore(t, sqlKind, func(t *testing.T, k kind) {
		const lease = 3 * time.Second
		times := byForm(100, 3)
		b := newBusiness(t, k)
		l := newLedger()
		for round := range times {
			p := start(t, app{
				Store: k.name, Place: b.place, Server: b.server.URL(), Run: fmt.Sprint("r", round),
				Publishers: 8, Transactions: true, Lease: lease,
			})
			p.await(t, lineStarted)
			accepted := rand.IntN(300)
			until(t, func() bool { return p.acceptedCount() >= accepted || p.exited() }, "%d are accepted", accepted)
			p.kill()
			require.Empty(t, p.refused)
			l.accept(p, true)
		}
		require.NoError(t, b.client.Stop(t.Context()))
		drain(t, k, b.place, b.server, lease)
		l.arrive(b.server)
		rows := b.rows(t)
		l.report(t, "killed %d times, %d rows", times, len(rows))
		l.noneLost(t)
		for id := range l.arrived {
			assert.Contains(t, rows, id, "a message without a row")
		}
		for id := range rows {
			assert.Contains(t, l.arrived, id, "a row without a message")
		}
		assert.LessOrEqual(t, l.duplicates(), times*inFlight)
	})
}

// business is an app with a table of its own beside the outbox.
type business struct {
	kind           kind
	place, address string
	db             *sql.DB
	server         *office
	client         *core.Client
}

func newBusiness(t *testing.T, k kind) *business {
	t.Helper()
	b := &business{kind: k, place: k.create(t), server: newOffice(t)}
	b.address = addressIn(b.place)
	store, closeStore, err := k.open(t.Context(), b.place, nil)
	require.NoError(t, err)
	t.Cleanup(func() { assert.NoError(t, closeStore()) })
	b.db = k.database(t, b.place)
	_, err = b.db.ExecContext(t.Context(), "CREATE TABLE business (id VARCHAR(100) PRIMARY KEY)")
	require.NoError(t, err)
	b.client, err = core.NewClient(app{Server: b.server.URL()}.config(nil, store))
	require.NoError(t, err)
	return b
}

// transact writes a row and publishes in a transaction, which the function
// ends. A panic of it is caught as a server's would be, after the rollback
// that the caller has deferred.
func (b *business) transact(t *testing.T, db *sql.DB, id string, end func(*sql.Tx) error) (err error) {
	t.Helper()
	tx, err := db.BeginTx(context.Background(), nil)
	require.NoError(t, err)
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic: %v", cause)
		}
	}()
	defer func() { _ = tx.Rollback() }()
	_, err = tx.ExecContext(context.Background(), "INSERT INTO business (id) VALUES ('"+id+"')")
	require.NoError(t, err)
	receipt, err := b.client.PublishTx(context.Background(), tx, topic, newPayload(id))
	require.NoError(t, err)
	require.Equal(t, core.Stored, receipt.State)
	require.Len(t, receipt.IDs, 1)
	return end(tx)
}

// agree delivers what is in the outbox and sees that it is what is in the
// table, and what was accepted.
func (b *business) agree(t *testing.T, l *ledger) {
	t.Helper()
	require.NoError(t, b.client.Stop(t.Context()))
	drain(t, b.kind, b.place, b.server, 0)
	l.arrive(b.server)
	rows := b.rows(t)
	delivered := map[string]bool{}
	for id := range l.arrived {
		delivered[id] = true
	}
	assert.Equal(t, rows, delivered, "a message for each row and no other")
	assert.Equal(t, l.accepted, delivered)
	assert.Zero(t, l.duplicates())
}

// rows returns the ids in the table, and closes the database.
func (b *business) rows(t *testing.T) map[string]bool {
	t.Helper()
	rows := map[string]bool{}
	list, err := b.db.QueryContext(t.Context(), "SELECT id FROM business")
	require.NoError(t, err)
	for list.Next() {
		var id string
		require.NoError(t, list.Scan(&id))
		rows[id] = true
	}
	require.NoError(t, list.Err())
	require.NoError(t, list.Close())
	require.NoError(t, b.db.Close())
	return rows
}
