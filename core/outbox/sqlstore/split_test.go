package sqlstore

import (
	"strings"
	"sync"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"modernc.org/sqlite"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// sized returns a record with a payload of so many bytes.
func sized(tb testing.TB, bytes int) outbox.Record {
	record := message(tb)
	record.Payload = []byte(`{"x":"` + strings.Repeat(`"`, bytes-8) + `"}`)
	return record
}

// TestPacketLimits shows that a limit for the bytes of a statement holds back
// only the record that exceeds it alone, and that an insert of many is split.
func TestPacketLimits(t *testing.T) {
	const lowered = 1 << 20
	for _, c := range []struct {
		name        string
		server      string
		driver      int
		interpolate bool
		fits        int  // as a payload, with quotes doubled
		takesAll    bool // of one record: the driver sends it in pieces
	}{
		{name: "server", server: "1048576", fits: lowered * 9 / 10},
		{name: "server, which the driver asks", server: "1048576", driver: -1, fits: lowered * 9 / 10},
		{name: "server, interpolated", server: "1048576", interpolate: true, fits: lowered * 4 / 10},
		{name: "driver", server: "16777216", driver: lowered, fits: lowered * 9 / 10, takesAll: true},
		{name: "driver, interpolated", server: "16777216", driver: lowered, interpolate: true, fits: lowered * 4 / 10, takesAll: true},
		{name: "server, small", server: "16384", fits: 14000},
	} {
		t.Run(c.name, func(t *testing.T) {
			db := connectMySQL(t, testdb.MariaDB(t).Create(t), nil)
			var before string
			_, err := first(t.Context(), db, "SELECT @@GLOBAL.max_allowed_packet", nil, &before)
			require.NoError(t, err)
			var name string
			var port string
			_, err = first(t.Context(), db, "SELECT DATABASE(), @@port", nil, &name, &port)
			require.NoError(t, err)
			run(t, db, "SET GLOBAL max_allowed_packet = "+c.server)
			t.Cleanup(func() { run(t, db, "SET GLOBAL max_allowed_packet = "+before) })
			limited := connectMySQL(t, "root@tcp(127.0.0.1:"+port+")/"+name, func(config *mysql.Config) {
				config.InterpolateParams = c.interpolate
				switch {
				case c.driver > 0:
					config.MaxAllowedPacket = c.driver
				case c.driver < 0:
					config.MaxAllowedPacket = 0
				}
			})
			limited.SetMaxOpenConns(1)
			table := opened(t, db, MySQL)
			for _, checked := range []bool{false, true} {
				store, err := New(limited, MySQL, WithTable(table.table.String()))
				require.NoError(t, err)
				if checked {
					require.NoError(t, store.Check(t.Context()))
				}
				oversized := sized(t, 7_000_000)
				refused := func(records ...outbox.Record) {
					t.Helper()
					err := store.Insert(t.Context(), 0, records...)
					if !c.takesAll {
						require.ErrorIs(t, err, outbox.ErrInvalid)
						assert.ErrorContains(t, err, oversized.ID)
						assert.NotContains(t, err.Error(), `""""`)
						return
					}
					require.NoError(t, err)
					n, err := store.Delete(t.Context(), idsOf(records)...)
					require.NoError(t, err)
					assert.Equal(t, len(records), n)
				}
				for range 3 {
					refused(oversized)
					require.NoError(t, store.Insert(t.Context(), 0, message(t)), "those after it are stored")
				}
				require.NoError(t, store.Insert(t.Context(), 0, sized(t, c.fits)), "what fits is stored")
				many := messages(t, 600)
				for i := range many {
					many[i].Payload = sized(t, min(8_000, c.fits)).Payload
				}
				require.NoError(t, store.Insert(t.Context(), 0, many...), "many together have 4.8 MB")
				refused(message(t), oversized, message(t))
				assert.Len(t, stored(t, table), 3+1+600, "all are kept, or none")

				tx, err := limited.BeginTx(t.Context(), nil)
				require.NoError(t, err)
				require.NoError(t, store.InsertTx(t.Context(), tx, messages(t, 300)...))
				require.NoError(t, tx.Commit())

				held := claimed(t, store, 2000)
				for more := held; len(more) > 0; held = append(held, more...) {
					more = claimed(t, store, 2000)
				}
				require.Len(t, held, 3+1+600+300)
				changes := make([]outbox.Change, len(held))
				for i, record := range held {
					changes[i] = outbox.Change{ID: record.ID, LeaseToken: record.LeaseToken, LastError: strings.Repeat("(503)", 200)}
				}
				n, err := store.Reschedule(t.Context(), changes...)
				require.NoError(t, err)
				assert.Equal(t, len(held), n)
				n, err = store.Count(t.Context(), outbox.Selection{IDs: idsOf(held)})
				require.NoError(t, err)
				assert.Equal(t, len(held), n)
				list, err := store.List(t.Context(), outbox.Query{IDs: idsOf(held), Limit: 500, MaxPayload: -1})
				require.NoError(t, err)
				assert.Len(t, list, 500)
				n, err = store.Retry(t.Context(), outbox.Selection{IDs: idsOf(held)})
				require.NoError(t, err)
				assert.Equal(t, len(held), n)
				n, err = store.Delete(t.Context(), idsOf(held)...)
				require.NoError(t, err)
				assert.Equal(t, len(held), n)
				require.NoError(t, store.Close())
			}
		})
	}
}

// TestStatementLimitOfSQLite shows that a limit of the connection splits an
// insert too.
func TestStatementLimitOfSQLite(t *testing.T) {
	store := opened(t, stands[2].open(t), SQLite)
	store.db.SetMaxOpenConns(1)
	conn, err := store.db.Conn(t.Context())
	require.NoError(t, err)
	const sqlLength, bytes = 1, 20_000 // SQLITE_LIMIT_SQL_LENGTH
	_, err = sqlite.Limit(conn, sqlLength, bytes)
	require.NoError(t, err)
	require.NoError(t, conn.Close())
	require.NoError(t, store.Insert(t.Context(), 0, messages(t, 300)...))
	held := claimed(t, store, 20)
	require.Len(t, held, 20)
	n, err := store.Delete(t.Context(), idsOf(stored(t, store))...)
	require.NoError(t, err)
	assert.Equal(t, 300, n)
}

// TestBrokenStatementsAreNotKept shows that a prepared statement which failed
// is prepared anew, also while others use it.
func TestBrokenStatementsAreNotKept(t *testing.T) {
	onEach(t, []stand{stands[1], stands[2], variants[2]}, func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect, WithPreparedInserts(true))
		run(t, store.db.DB, refusal(store)...)
		refused, taken := messages(t, 100), messages(t, 100)
		for i := range refused {
			refused[i].Topic = "refused"
		}
		var group sync.WaitGroup
		for worker := range 4 {
			group.Go(func() {
				for i := worker; i < len(taken); i += 4 {
					assert.Error(t, store.Insert(t.Context(), 0, refused[i]))
					assert.NoError(t, store.Insert(t.Context(), 0, taken[i]))
				}
			})
		}
		group.Wait()
		assert.Len(t, stored(t, store), 100)
	})
}
