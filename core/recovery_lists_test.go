package core_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// rescued is an app in a bubble whose relay runs, as the server's rescuer sees
// it.
type rescued struct {
	*testing.T
	handler http.Handler
	store   outbox.Store
	server  *postofficetest.Server
}

// inRescue runs a test with an app and its outbox.
func inRescue(t *testing.T, store outbox.Store, test func(r rescued)) {
	t.Helper()
	inBubble(t, func(t *testing.T, server *postofficetest.Server, config core.Config) {
		config.Outbox, config.AllowOpenRecovery = store, true
		client := startTestClient(t, config)
		synctest.Wait()
		test(rescued{t, client.RecoveryHandler(), store, server})
	})
}

// list asks for the list and returns its ids.
func (r rescued) list(query string) []string {
	r.Helper()
	return listedBy(r.T, r.handler, query)
}

func listedBy(t *testing.T, handler http.Handler, query string) []string {
	t.Helper()
	answer := ask(handler, "GET", core.DefaultRecoveryPath+query)
	require.Equal(t, http.StatusOK, answer.Code)
	var items []struct{ ID string }
	require.NoError(t, json.Unmarshal(answer.Body.Bytes(), &items))
	ids := make([]string, len(items))
	for i, item := range items {
		ids[i] = item.ID
	}
	return ids
}

// take tells that the server has taken a message.
func (r rescued) take(id string) {
	r.Helper()
	require.Equal(r, http.StatusNoContent, ask(r.handler, "DELETE", core.DefaultRecoveryPath+id+"/").Code)
}

// posted returns how many messages the relay has posted by now.
func (r rescued) posted() int {
	synctest.Wait()
	return len(r.server.MessagesOf("orders"))
}

// TestRelayTakesOverFromARunThatDied has the server die right after the list,
// and in the middle of it: the relay delivers the rest a minute later.
func TestRelayTakesOverFromARunThatDied(t *testing.T) {
	t.Run("after the list", func(t *testing.T) {
		inRescue(t, memory.New(), func(r rescued) {
			insert(r.T, r.store, "orders", 20)
			require.Len(r, r.list(""), 20)
			time.Sleep(time.Minute - time.Millisecond)
			assert.Zero(r, r.posted())
			time.Sleep(relayPoll)
			assert.Equal(r, 20, r.posted())
			assert.Empty(r, records(r.T, r.store))
		})
	})
	t.Run("after a DELETE", func(t *testing.T) {
		inRescue(t, memory.New(), func(r rescued) {
			insert(r.T, r.store, "orders", 20)
			ids := r.list("")
			time.Sleep(40 * time.Second)
			r.take(ids[0])
			time.Sleep(time.Minute - time.Millisecond)
			assert.Zero(r, r.posted())
			time.Sleep(relayPoll)
			assert.Equal(r, 19, r.posted())
			assert.Empty(r, records(r.T, r.store))
		})
	})
}

// renewals counts how often leases are renewed.
type renewals struct {
	outbox.Store
	calls, fail atomic.Int64
}

func (s *renewals) Reschedule(ctx context.Context, changes ...outbox.Change) (int, error) {
	for _, change := range changes {
		if change.Hold {
			if s.calls.Add(1); s.fail.Add(-1) >= 0 {
				return 0, errors.New("the outbox is away")
			}
			break
		}
	}
	return s.Store.Reschedule(ctx, changes...)
}

// TestSlowRunIsLeftAlone has a run of the rescuer take five minutes, with
// others beside it every 30 s: nothing is listed again, nor posted by the
// relay, and the outbox is written to for that now and then only.
func TestSlowRunIsLeftAlone(t *testing.T) {
	store := &renewals{Store: memory.New()}
	inRescue(t, store, func(r rescued) {
		insert(r.T, r.store, "orders", 100)
		ids := r.list("")
		require.Len(r, ids, 100)
		for i, id := range ids {
			if i%10 == 5 {
				assert.Empty(r, r.list(""))
			}
			time.Sleep(3 * time.Second)
			r.take(id)
		}
		assert.Zero(r, r.posted())
		assert.Empty(r, records(r.T, r.store))
		assert.LessOrEqual(r, store.calls.Load(), int64(300/15))
	})
}

// TestRenewalIsTriedAgain shows that a run is left alone though the outbox was
// away when a lease was to be renewed.
func TestRenewalIsTriedAgain(t *testing.T) {
	store := &renewals{Store: memory.New()}
	store.fail.Store(2)
	inRescue(t, store, func(r rescued) {
		insert(r.T, r.store, "orders", 20)
		for _, id := range r.list("") {
			time.Sleep(10 * time.Second)
			r.take(id)
		}
		assert.Zero(r, r.posted())
		assert.Empty(r, records(r.T, r.store))
	})
}

// TestListsOfEarlierRunsEnd shows that a DELETE renews the lease of its own list
// only, and that not more than so many lists are remembered.
func TestListsOfEarlierRunsEnd(t *testing.T) {
	inRescue(t, memory.New(), func(r rescued) {
		insert(r.T, r.store, "orders", 2*(recoveryLists+1))
		var lists [][]string
		for range recoveryLists + 1 {
			lists = append(lists, r.list("?limit=2"))
		}
		time.Sleep(30 * time.Second)
		r.take(lists[0][0]) // forgotten
		r.take(lists[1][0])
		time.Sleep(45 * time.Second)
		assert.Equal(r, 2*(recoveryLists+1)-3, r.posted())
		kept := records(r.T, r.store)
		require.Len(r, kept, 1)
		assert.Equal(r, lists[1][1], kept[0].ID)
	})
}

// TestReplicaThatListedRenews shows what the documentation says of several
// replicas: each takes any DELETE, and the one that has given out the list
// renews the lease at the ones that it sees.
func TestReplicaThatListedRenews(t *testing.T) {
	store := memory.New()
	inRescue(t, store, func(r rescued) {
		other := newTestClient(r.T, core.Config{URL: testServer, Outbox: store, AllowOpenRecovery: true}).RecoveryHandler()
		insert(r.T, r.store, "orders", 10)
		for i, id := range r.list("") {
			time.Sleep(10 * time.Second)
			if i%2 == 1 {
				r.take(id)
				continue
			}
			require.Equal(r, http.StatusNoContent, ask(other, "DELETE", core.DefaultRecoveryPath+id+"/").Code)
			assert.Empty(r, listedBy(r.T, other, ""))
		}
		assert.Zero(r, r.posted())
		assert.Empty(r, records(r.T, r.store))
	})
}

// TestRecoveryRotates has messages that the server never takes, such as those
// of an unknown topic, before one that it does. No list has one again within a
// minute, and the others get their turn.
func TestRecoveryRotates(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var poison []outbox.Record
		for i := range 250 {
			record := stored(fmt.Sprintf("%s%03d", someID[:33], i))
			poison = append(poison, record)
		}
		handler, store := recoveryOf(t, core.Config{OriginHost: "http://app.test", AllowOpenRecovery: true}, poison...)
		time.Sleep(time.Second)
		healthy := map[string]bool{}
		for i := range 10 {
			record := stored(fmt.Sprintf("%s9%03d", otherID[:32], i))
			healthy[record.ID] = true
			require.NoError(t, store.Insert(t.Context(), 0, record))
		}
		last, seen := map[string]time.Time{}, map[string]int{}
		for range 20 { // runs of the rescuer: ten minutes
			for _, id := range listedBy(t, handler, "") {
				if before, again := last[id]; again {
					assert.GreaterOrEqual(t, time.Since(before), time.Minute, id)
				}
				last[id] = time.Now()
				seen[id]++
				if healthy[id] {
					assert.Equal(t, http.StatusNoContent, ask(handler, "DELETE", core.DefaultRecoveryPath+id+"/").Code)
				}
			}
			time.Sleep(30 * time.Second)
		}
		assert.Len(t, seen, 260, "what the server never takes does not hide what waits behind it")
		for id, times := range seen {
			switch {
			case healthy[id]:
				assert.Equal(t, 1, times, id)
			default:
				assert.GreaterOrEqual(t, times, 5, "%s gets its turn", id)
			}
		}
		assert.Len(t, records(t, store), 250)
	})
}
