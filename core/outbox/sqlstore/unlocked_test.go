package sqlstore

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// unlocking is a driver of MySQL that leaves out the words by which a claim locks
// rows, as if the database took no notice of them.
type unlocking struct{ driver.Connector }

func (u unlocking) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := u.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return unlockingConn{conn.(mysqlConn)}, nil
}

// mysqlConn is what the driver's connections can do, as far as the store needs it.
type mysqlConn interface {
	driver.Conn
	driver.ConnPrepareContext
	driver.ExecerContext
	driver.QueryerContext
	driver.SessionResetter
	driver.Validator
	driver.NamedValueChecker
}

type unlockingConn struct{ mysqlConn }

func (c unlockingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	return c.mysqlConn.QueryContext(ctx, strings.ReplaceAll(query, " FOR UPDATE SKIP LOCKED", ""), args)
}

// TestClaimWithoutLocks has several stores claim at the same time on a database that
// locks nothing: none gets a row that another one has.
func TestClaimWithoutLocks(t *testing.T) {
	config, err := mysql.ParseDSN(testdb.MariaDB(t).Create(t))
	require.NoError(t, err)
	connector, err := mysql.NewConnector(config)
	require.NoError(t, err)
	db := sql.OpenDB(unlocking{connector})
	t.Cleanup(func() { require.NoError(t, db.Close()) })
	for name, perTopic := range map[string]int{"by age": 0, "by topic": 5} {
		t.Run(name, func(t *testing.T) {
			const records, claimers = 2000, 4
			store := opened(t, db, MySQL)
			require.NoError(t, store.Insert(t.Context(), 0, messages(t, records)...))
			var mutex sync.Mutex
			holders := map[string]int{}
			var group sync.WaitGroup
			for range claimers {
				store := another(t, store)
				group.Go(func() {
					for {
						claimed, err := store.Claim(t.Context(), outbox.ClaimOptions{Limit: 50, PerTopic: perTopic, Lease: time.Hour})
						mutex.Lock()
						assert.NoError(t, err)
						for _, record := range claimed {
							assert.Equal(t, 1, record.Attempts)
							holders[record.ID]++
						}
						all := len(holders) == records
						mutex.Unlock()
						if err != nil || all {
							return
						}
					}
				})
			}
			group.Wait()
			assert.Len(t, holders, records)
			for id, n := range holders {
				assert.Equal(t, 1, n, id)
			}
		})
	}
}
