package sqlstore

import (
	"bytes"
	"errors"
	"net"
	"net/url"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// turns is a proxy in front of a server that counts how often a client speaks
// after the server has: that many round trips.
type turns struct {
	address string
	count   atomic.Int64
	// silence is what the client says when the connection falls silent.
	silence atomic.Pointer[string]
}

func newTurns(t *testing.T, server string) *turns {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	p := &turns{address: listener.Addr().String()}
	var group sync.WaitGroup
	t.Cleanup(func() {
		require.NoError(t, listener.Close())
		group.Wait()
	})
	group.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			backend, err := net.Dial("tcp", server)
			if err != nil {
				_ = client.Close()
				continue
			}
			var answered atomic.Bool
			answered.Store(true)
			pass := func(from, to net.Conn, seen func()) {
				defer func() { _, _ = from.Close(), to.Close() }()
				buffer := make([]byte, 64<<10)
				for {
					n, err := from.Read(buffer)
					if silent := p.silence.Load(); silent != nil && bytes.Contains(buffer[:n], []byte(*silent)) {
						continue // until the client gives up
					}
					if n > 0 {
						seen()
						if _, err := to.Write(buffer[:n]); err != nil {
							return
						}
					}
					if err != nil {
						return
					}
				}
			}
			group.Go(func() {
				pass(client, backend, func() {
					if answered.CompareAndSwap(true, false) {
						p.count.Add(1)
					}
				})
			})
			group.Go(func() { pass(backend, client, func() { answered.Store(true) }) })
		}
	})
	return p
}

// during returns the round trips of a call.
func (p *turns) during(t *testing.T, call func() error) int {
	t.Helper()
	before := p.count.Load()
	require.NoError(t, call())
	return int(p.count.Load() - before)
}

// TestRoundTrips counts what each call costs on a connection that has been in
// use for a while.
func TestRoundTrips(t *testing.T) {
	through := func(t *testing.T, dsn string) (*turns, string) {
		u, err := url.Parse(dsn)
		require.NoError(t, err)
		p := newTurns(t, u.Host)
		u.Host = p.address
		return p, u.String()
	}
	for name, c := range map[string]struct {
		open                                   func(t *testing.T) (*turns, *Store)
		insert, many, claim, reschedule, other int
	}{
		"pgx": {func(t *testing.T) (*turns, *Store) {
			p, dsn := through(t, testdb.Postgres(t).Create(t))
			return p, opened(t, connect(t, "pgx", dsn), Postgres)
		}, 1, 1, 1, 1, 1},
		"pq": {func(t *testing.T) (*turns, *Store) {
			p, dsn := through(t, testdb.Postgres(t).Create(t))
			return p, opened(t, connect(t, "postgres", dsn), Postgres)
		}, 2, 2, 2, 1, 2},
		"pq prepared": {func(t *testing.T) (*turns, *Store) {
			p, dsn := through(t, testdb.Postgres(t).Create(t))
			return p, opened(t, connect(t, "postgres", dsn), Postgres, WithPreparedInserts(true))
		}, 1, 1, 2, 1, 2},
		"mariadb": {func(t *testing.T) (*turns, *Store) {
			config, err := mysql.ParseDSN(testdb.MariaDB(t).Create(t))
			require.NoError(t, err)
			p := newTurns(t, config.Addr)
			config.Addr = p.address
			return p, opened(t, connectMySQL(t, config.FormatDSN(), nil), MySQL)
		}, 1, 1, 6, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			proxy, store := c.open(t)
			store.db.SetMaxOpenConns(1)
			ctx := t.Context()
			insert := func() error { return store.Insert(ctx, 0, message(t)) }
			many := func() error { return store.Insert(ctx, 0, messages(t, 100)...) }
			require.NoError(t, insert())
			require.NoError(t, many())
			assert.Equal(t, c.insert, proxy.during(t, insert), "one record")
			assert.Equal(t, c.many, proxy.during(t, many), "a hundred records")
			claimed(t, store, 1)
			var records []outbox.Record
			assert.Equal(t, c.claim, proxy.during(t, func() error { records = claimed(t, store, 100); return nil }), "a claim")
			changes := make([]outbox.Change, len(records))
			for i, record := range records {
				changes[i] = outbox.Change{ID: record.ID, LeaseToken: record.LeaseToken, LastError: "server answered 503"}
			}
			assert.Equal(t, c.reschedule, proxy.during(t, func() error {
				n, err := store.Reschedule(ctx, changes...)
				assert.Equal(t, 100, n)
				return err
			}), "a hundred changes")
			assert.Equal(t, 1, proxy.during(t, func() error { _, err := store.Delete(ctx, idsOf(records)...); return err }))
			for range 2 { // the first one prepares
				require.NoError(t, errors.Join(justErr(store.Stats(ctx)), justErr(store.List(ctx, outbox.Query{}))))
				_, _, err := store.Next(ctx)
				require.NoError(t, err)
			}
			assert.Equal(t, c.other, proxy.during(t, func() error { _, _, err := store.Next(ctx); return err }))
			assert.Equal(t, c.other, proxy.during(t, func() error { _, err := store.Stats(ctx); return err }))
			assert.Equal(t, c.other, proxy.during(t, func() error { _, err := store.List(ctx, outbox.Query{}); return err }))
		})
	}
}

// justErr drops a result.
func justErr[T any](_ T, err error) error { return err }
