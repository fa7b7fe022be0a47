//go:build unix

package faults

import (
	"database/sql"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// TestInboxKilled kills an app with SIGKILL while the fake server delivers to its
// inbox and workers handle the messages, again and again on the same store. What the
// app has acknowledged is handled, and with DoneTx each message has one effect.
func TestInboxKilled(t *testing.T) {
	t.Parallel()
	eachStore(t, nil, func(t *testing.T, k kind) {
		const lease, each = time.Second, 100
		times := byForm(200, 6)
		place, listen := k.create(t), freeAddress()
		var db *sql.DB
		if k.openDatabase != nil {
			db = k.database(t, place)
			t.Cleanup(func() { assert.NoError(t, db.Close()) })
			_, err := db.ExecContext(t.Context(), "CREATE TABLE effects (id VARCHAR(100))")
			require.NoError(t, err)
		}
		server := listenServer(t, listen)
		client, err := core.NewClient(core.Config{URL: server.URL()})
		require.NoError(t, err)
		handled, published := map[string]int{}, 0
		note := func(p *process) {
			p.kill()
			for id, n := range p.handled {
				handled[id] += n
			}
		}
		receiver := app{Store: k.name, Place: place, Listen: listen, Lease: lease}
		for range times {
			p := start(t, receiver)
			p.await(t, lineStarted)
			payloads := make([]any, each)
			for i := range payloads {
				payloads[i] = newPayload(fmt.Sprint("m", published+i))
			}
			published += each
			_, err := client.PublishBulk(t.Context(), topic, payloads)
			require.NoError(t, err)
			advanced := make(chan struct{})
			go func() {
				defer close(advanced)
				server.Advance(20 * time.Second) // what has failed before is delivered again
			}()
			enough := rand.IntN(each)
			until(t, func() bool { return p.handledCount() >= enough || p.exited() }, "%d are handled", enough)
			note(p)
			<-advanced
		}
		p := start(t, receiver)
		p.await(t, lineStarted)
		until(t, func() bool {
			server.Advance(time.Minute)
			return len(acknowledged(server)) == published
		}, "all are acknowledged")
		until(t, func() bool {
			p.mu.Lock()
			defer p.mu.Unlock()
			missing := 0
			for n := range published {
				id := fmt.Sprint("m", n)
				if handled[id]+p.handled[id] == 0 && !hasEffect(t, db, id) {
					missing++
				}
			}
			return missing == 0
		}, "all are handled")
		note(p)

		twice := 0
		for _, n := range handled {
			twice += n - 1
		}
		if db != nil {
			var rows, different int
			require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*), count(DISTINCT id) FROM effects").Scan(&rows, &different))
			assert.Equal(t, published, different, "each has its effect")
			assert.Equal(t, published, rows, "once")
		}
		assert.LessOrEqual(t, twice, (times+1)*inHand, "only what was in hand is handled again")
		t.Logf("RESULT %s: killed %d times: delivered %d, handled %d, duplicates %d", t.Name(), times, published, len(handled), twice)
	})
}

// inHand is how many messages an inbox with the default options has handled at most
// and not removed yet: those that its workers have, and those that wait to be
// removed together.
const inHand = 16 + 128

// listenServer starts a fake server with the topic and a consumer at an address. It
// is closed when the test ends.
func listenServer(t *testing.T, address string) *postofficetest.Server {
	t.Helper()
	server := listen(t, freeAddress)
	t.Cleanup(server.Close)
	require.NoError(t, server.AddTopic(postofficetest.Topic{Name: topic}))
	_, err := server.AddConsumer(postofficetest.Consumer{Topic: topic, Target: "http://" + address + "/consume"})
	require.NoError(t, err)
	return server
}

// acknowledged returns the jobs that the app has acknowledged.
func acknowledged(server *postofficetest.Server) map[int64]bool {
	jobs := map[int64]bool{}
	for _, delivery := range server.Deliveries() {
		if delivery.Acknowledged() {
			jobs[delivery.JobID] = true
		}
	}
	return jobs
}

// hasEffect reports whether a message has had its effect: the app was perhaps killed
// before it could say so.
func hasEffect(t *testing.T, db *sql.DB, id string) bool {
	t.Helper()
	if db == nil {
		return false
	}
	var n int
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT count(*) FROM effects WHERE id = '"+id+"'").Scan(&n))
	return n > 0
}
