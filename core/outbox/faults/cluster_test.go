//go:build unix

package faults

import (
	"database/sql"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-sql-driver/mysql"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/outboxtest"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// synced is what a data source name needs where a balancer stands before a Galera
// cluster.
const synced = "?wsrep_sync_wait=3"

// TestGalera has apps share an outbox on the nodes of a cluster, and takes nodes
// away from them.
func TestGalera(t *testing.T) {
	t.Parallel()
	cluster := testdb.NewGalera(t, 3)
	for _, relays := range []int{2, 4} {
		t.Run(fmt.Sprint(relays, " relays"), func(t *testing.T) { testClusterRelays(t, cluster, relays) })
	}
	t.Run("balancer", func(t *testing.T) { testBalancer(t, cluster) })
	t.Run("claims", func(t *testing.T) { testClusterClaims(t, cluster) })
	t.Run("certification", func(t *testing.T) { testCertification(t, cluster) })
	t.Run("nodes gone", func(t *testing.T) { testNodesGone(t, cluster) })
}

// testClusterRelays has relays on different nodes deliver the messages of one outbox.
func testClusterRelays(t *testing.T, cluster *testdb.Galera, relays int) {
	messages := byForm(100_000, 2000)
	k, server, l := mariadb(), newOffice(t), newLedger()
	places := cluster.Create(t)
	seed(t, k, places[0], l, "r", messages)
	begun := time.Now()
	var running []*process
	for i := range relays {
		running = append(running, start(t, app{Store: k.name, Place: places[i%len(places)], Server: server.URL(), Watched: true}))
	}
	awaitAll(t, server, messages)
	took := time.Since(begun)
	working := 0
	for _, p := range running {
		p.stop(t)
		if p.claimCount() > 0 {
			working++
		}
	}
	l.arrive(server)
	look(t, k, places[0], l)
	l.report(t, "on %d nodes, delivered in %v, %d relays had a share", len(places), took.Round(10*time.Millisecond), working)
	assert.Empty(t, l.stored)
	assert.Zero(t, l.duplicates())
}

// testBalancer has relays work through a balancer that spreads the connections of
// each over the nodes. Without wsrep_sync_wait the store warns.
func testBalancer(t *testing.T, cluster *testdb.Galera) {
	messages := byForm(100_000, 2000)
	k, server, l := mariadb(), newOffice(t), newLedger()
	way := testdb.NewProxy(t, cluster.Addresses()...)
	place := way.Through(cluster.Nodes[0], cluster.Create(t)[0])
	for options, warned := range map[string]bool{"": true, synced: false} {
		store, closeStore, err := k.open(t.Context(), place+options, nil)
		require.NoError(t, err)
		warnings := store.(*sqlstore.Store).Warnings(t.Context())
		assert.Equal(t, warned, strings.Contains(strings.Join(warnings, "; "), "wsrep_sync_wait=3"), "%q: %q", options, warnings)
		require.NoError(t, closeStore())
	}
	if full() {
		outboxtest.Run(t, func(t *testing.T) outbox.Store {
			place := way.Through(cluster.Nodes[0], cluster.Create(t)[0])
			store, closeStore, err := k.open(t.Context(), place+synced, nil)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, closeStore()) })
			return store
		})
	}
	seed(t, k, place+synced, l, "r", messages)
	relays := startRelays(t, 4, app{Store: k.name, Place: place + synced, Server: server.URL()})
	awaitAll(t, server, messages)
	for _, p := range relays {
		p.stop(t)
	}
	l.arrive(server)
	look(t, k, place+synced, l)
	l.report(t, "4 relays through a balancer")
	assert.Empty(t, l.stored)
	assert.Zero(t, l.duplicates())
}

// testClusterClaims has stores on different nodes claim the same rows at the same
// time: a node knows of the locks of others only when it commits. Each row has one
// holder, and the conflicts are counted.
func testClusterClaims(t *testing.T, cluster *testdb.Galera) {
	for name, perTopic := range map[string]int{"by age": 0, "by topic": 20} {
		t.Run(name, func(t *testing.T) { testClusterClaimsBy(t, cluster, perTopic) })
	}
}

func testClusterClaimsBy(t *testing.T, cluster *testdb.Galera, perTopic int) {
	const messages = 2000
	k, l := mariadb(), newLedger()
	places := cluster.Create(t)
	seed(t, k, places[0], l, "r", messages)
	var mutex sync.Mutex
	holders := map[string]int{}
	var conflicts int64
	var claiming sync.WaitGroup
	for _, place := range places {
		store, closeStore, err := k.open(t.Context(), place+synced, nil)
		require.NoError(t, err)
		claiming.Go(func() {
			for {
				records, err := store.Claim(t.Context(), outbox.ClaimOptions{Limit: 20, PerTopic: perTopic, Lease: time.Hour})
				mutex.Lock()
				assert.NoError(t, err)
				for _, record := range records {
					holders[record.ID]++
				}
				all := len(holders) == messages
				mutex.Unlock()
				if err != nil || all {
					break
				}
			}
			mutex.Lock()
			defer mutex.Unlock()
			conflicts += store.(*sqlstore.Store).Retries().Conflicts
			assert.NoError(t, closeStore())
		})
	}
	claiming.Wait()
	t.Logf("RESULT %s: %d claimed, %d conflicts", t.Name(), len(holders), conflicts)
	assert.Len(t, holders, messages)
	for id, times := range holders {
		assert.Equal(t, 1, times, id)
	}
	assert.NotZero(t, conflicts)
}

// testCertification has every other transaction of a caller's conflict with one on
// another node, so that its COMMIT fails: there is a message if and only if there is
// a row.
func testCertification(t *testing.T, cluster *testdb.Galera) {
	times := byForm(400, 40)
	k, l := mariadb(), newLedger()
	places := cluster.Create(t)
	k.create = func(*testing.T) string { return places[0] }
	b := newBusiness(t, k)
	other := k.database(t, places[1])
	defer func() { assert.NoError(t, other.Close()) }()
	_, err := b.db.ExecContext(t.Context(), "CREATE TABLE counters (id INT PRIMARY KEY, n INT)")
	require.NoError(t, err)
	_, err = b.db.ExecContext(t.Context(), "INSERT INTO counters VALUES (1, 0)")
	require.NoError(t, err)
	until(t, func() bool {
		var n int
		return other.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM counters").Scan(&n) == nil && n == 1
	}, "the other node has the table")
	failed := 0
	for n := range times {
		id := fmt.Sprintf("certified-%d", n)
		err := b.transact(t, b.db, id, func(tx *sql.Tx) error {
			if _, err := tx.ExecContext(t.Context(), "UPDATE counters SET n = n + 1 WHERE id = 1"); err != nil {
				return err
			}
			if n%2 == 1 {
				// It is at its end when the other node has committed, which takes no lock
				// of this one.
				if _, err := other.ExecContext(t.Context(), "UPDATE counters SET n = n + 10 WHERE id = 1"); err != nil {
					return err
				}
			}
			return tx.Commit()
		})
		var conflict *mysql.MySQLError
		switch {
		case err == nil:
			l.accepted[id] = true
		case assert.ErrorAs(t, err, &conflict):
			assert.EqualValues(t, 1213, conflict.Number)
			failed++
		}
	}
	b.agree(t, l)
	l.report(t, "%d transactions, %d failed at COMMIT", times, failed)
	assert.GreaterOrEqual(t, failed, times/2)
	assert.NotEmpty(t, l.accepted)
}

// testNodesGone takes nodes away from an app that publishes through a balancer: one
// is killed, one is cut off, each is restarted in turn, and at last the quorum is lost. The server is well, and
// takes what the outbox does not.
func testNodesGone(t *testing.T, cluster *testdb.Galera) {
	const lease = 5 * time.Second
	k, server, l := mariadb(), newOffice(t), newLedger()
	way := testdb.NewProxy(t, cluster.Addresses()...)
	place := way.Through(cluster.Nodes[0], cluster.Create(t)[0]) + synced
	p := start(t, app{
		Store: k.name, Place: place, Server: server.URL(), Run: "r", Rate: 200,
		Publishers: 8, Modes: []core.Mode{core.Off, core.Durable}, Lease: lease, Watched: true,
	})
	p.await(t, lineStarted)
	delivers := func(mark string) {
		t.Helper()
		seed(t, k, place, l, mark, 1)
		until(t, func() bool { return server.has(mark + "-0") }, "a message in the outbox is delivered")
		accepted := p.acceptedCount()
		until(t, func() bool { return p.acceptedCount() > accepted+50 || p.exited() }, "the app publishes")
	}
	delivers("before")
	cluster.Kill(t, cluster.Nodes[0])
	cluster.AwaitSize(t, 2)
	delivers("one killed")
	cluster.Start(t, cluster.Nodes[0])
	cluster.AwaitSize(t, 3)
	delivers("joined again")
	cluster.Isolate(t, cluster.Nodes[1])
	delivers("one cut off")
	if full() {
		cluster.Reconnect(t, cluster.Nodes[1])
		cluster.AwaitSize(t, 3)
		delivers("connected again")
		for i, node := range cluster.Nodes { // a rolling restart
			node.Stop(t)
			cluster.AwaitSize(t, 2)
			delivers(fmt.Sprint("stopped ", i))
			cluster.Start(t, node)
			cluster.AwaitSize(t, 3)
			delivers(fmt.Sprint("started ", i))
		}
		cluster.Isolate(t, cluster.Nodes[1])
	}
	cluster.Kill(t, cluster.Nodes[0])
	cluster.AwaitNoQuorum(t, cluster.Nodes[2])
	claims := p.claimCount()
	accepted := p.acceptedCount()
	until(t, func() bool { return p.acceptedCount() > accepted+100 || p.exited() }, "the server takes what the outbox does not")
	assert.Equal(t, claims, p.claimCount(), "there is nothing to claim from")
	cluster.Bootstrap(t, cluster.Nodes[2])
	delivers("quorum regained")
	p.stop(t)
	l.accept(p, false)
	way.Flip(cluster.Nodes[2].Address()) // the balancer has noticed by now
	drain(t, k, place, server, lease)
	l.arrive(server)
	look(t, k, place, l)
	l.report(t, "a node killed, one cut off, the quorum lost, %d not accepted", len(p.refused))
	assert.Empty(t, p.refused)
	assert.Empty(t, l.stored)
	assert.LessOrEqual(t, l.duplicates(), byForm(12, 6)*inFlight)
}

// TestPgBouncerRelays has four relays deliver through a pooler that has four
// connections to the database for all of them.
func TestPgBouncerRelays(t *testing.T) {
	t.Parallel()
	const relays = 4
	messages := byForm(100_000, 2000)
	k, server, l := postgres(), newOffice(t), newLedger()
	place := testdb.NewPgBouncer(t, k.create(t), relays) + "&default_query_exec_mode=exec"
	seed(t, k, place, l, "r", messages)
	running := startRelays(t, relays, app{Store: k.name, Place: place, Server: server.URL()})
	awaitAll(t, server, messages)
	for _, p := range running {
		p.stop(t)
	}
	l.arrive(server)
	look(t, k, place, l)
	l.report(t, "%d relays, PgBouncer with %d connections", relays, relays)
	assert.Empty(t, l.stored)
	assert.Zero(t, l.duplicates())
}
