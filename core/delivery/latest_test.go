package delivery_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/delivery"
)

// customer is a payload that is changed again and again.
type customer struct {
	ID       string `json:"id"`
	Revision int64  `json:"revision"`
}

// latest tells customers by their id and revision.
func latest() delivery.Option {
	return delivery.WithLatest(
		func(m delivery.Message[customer]) string { return m.Payload.ID },
		func(m delivery.Message[customer]) int64 { return m.Payload.Revision },
	)
}

// customers serves a handler of customers with a deduplicator.
func customers(t *testing.T, deduplicator delivery.Deduplicator, handle func(context.Context, delivery.Message[customer]) error, options ...delivery.Option) (url string, reported *problems) {
	t.Helper()
	reported = &problems{}
	options = append([]delivery.Option{quiet(), delivery.WithOnError(reported.add), delivery.WithDeduplication(deduplicator), latest()}, options...)
	return serve(t, delivery.Handler(handle, options...)) + "/consume/customers", reported
}

// revision is the body of a customer's revision.
func revision(id string, n int64) string {
	return fmt.Sprintf(`{"id":%q,"revision":%d,"attributes":{"message_id":"%s-%d"}}`, id, n, id, n)
}

func TestLatest(t *testing.T) {
	var handled []string
	var failure error
	url, reported := customers(t, newMemory(t, 0), func(_ context.Context, m delivery.Message[customer]) error {
		handled = append(handled, fmt.Sprint(m.Payload.ID, m.Payload.Revision))
		return failure
	})
	expect := func(id string, n int64, status int, want ...string) {
		t.Helper()
		require.Equal(t, status, post(t, url, revision(id, n)).status)
		require.Equal(t, want, handled)
		handled = nil
	}
	expect("a", 2, 204, "a2")
	expect("a", 1, 204) // overtaken
	expect("a", 2, 204) // a copy
	expect("b", 1, 204, "b1")
	expect("a", 9007199254740993, 204, "a9007199254740993")
	expect("a", 9007199254740992, 204)
	require.Empty(t, reported.take())

	failure = errors.New("no")
	expect("b", 3, 500, "b3")
	failure = nil
	expect("b", 1, 204) // what was remembered still counts
	expect("b", 2, 204, "b2")
	expect("b", 3, 204, "b3")
	failure = delivery.Discard(errors.New("never"))
	expect("b", 4, 204, "b4")
	expect("b", 3, 204)

	failure = nil
	expect("", 1, 204, "1") // no key: copies are told by the message_id
	expect("", 1, 204)
	expect("", 0, 204, "0")
}

// TestLatestOneAtATime has messages of a key come while one is handled.
func TestLatestOneAtATime(t *testing.T) {
	started, end := make(chan struct{}), make(chan struct{})
	var handled atomic.Int64
	url, reported := customers(t, newMemory(t, 0), func(_ context.Context, m delivery.Message[customer]) error {
		handled.Add(1)
		if m.Payload.Revision == 2 {
			started <- struct{}{}
			<-end
		}
		return nil
	})
	require.Equal(t, 204, post(t, url, revision("a", 1)).status)
	ended := make(chan int, 1)
	go func() {
		got, err := try(context.WithoutCancel(t.Context()), url, revision("a", 2))
		assert.NoError(t, err)
		ended <- got.status
	}()
	await(t, started, "the second revision")
	for n, status := range map[int64]int{1: 204, 2: 409, 3: 409} {
		assert.Equal(t, status, post(t, url, revision("a", n)).status, "revision %d", n)
	}
	assert.Contains(t, post(t, url, revision("a", 3)).body, "of the same key")
	require.Equal(t, 204, post(t, url, revision("b", 1)).status, "another key does not wait")
	close(end)
	assert.Equal(t, 204, <-ended)
	assert.Equal(t, 204, post(t, url, revision("a", 3)).status)
	assert.Equal(t, int64(4), handled.Load())
	assert.Empty(t, reported.take())
}

// TestLatestScopes has two consumers share what they remember.
func TestLatestScopes(t *testing.T) {
	memory := newMemory(t, 0)
	handled := map[string]int{}
	for _, scope := range []string{"one", "two", "one"} {
		url, _ := customers(t, memory, func(context.Context, delivery.Message[customer]) error {
			handled[scope]++
			return nil
		}, delivery.WithScope(scope))
		require.Equal(t, 204, post(t, url, revision("a", 1)).status)
	}
	assert.Equal(t, map[string]int{"one": 1, "two": 1}, handled)
}

// withinTx runs a function's effect, an id in a table, in a transaction with
// DoneTx.
func withinTx(ctx context.Context, db *sql.DB, id int64) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO effects (id) VALUES (%d)", id)); err != nil {
		return err
	}
	if err := delivery.DoneTx(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// TestLatestInTheTransaction has an older revision end after a newer one has
// taken over: its effect is rolled back.
func TestLatestInTheTransaction(t *testing.T) {
	onDatabases(t, func(t *testing.T, db *sql.DB, deduplicator delivery.Deduplicator) {
		started, end := make(chan struct{}), make(chan struct{})
		url, reported := customers(t, deduplicator, func(ctx context.Context, m delivery.Message[customer]) error {
			if m.Payload.Revision == 5 {
				started <- struct{}{}
				<-end
			}
			return withinTx(context.WithoutCancel(ctx), db, m.Payload.Revision)
		}, delivery.WithLease(50*time.Millisecond))
		require.Equal(t, 204, post(t, url, revision("a", 4)).status)
		ended := make(chan int, 1)
		go func() {
			got, err := try(context.WithoutCancel(t.Context()), url, revision("a", 5))
			assert.NoError(t, err)
			ended <- got.status
		}()
		await(t, started, "the older revision")
		require.Eventually(t, func() bool { return post(t, url, revision("a", 6)).status == 204 }, patience, 5*time.Millisecond)
		close(end)
		require.Equal(t, 500, <-ended)
		list := reported.take()
		require.Len(t, list, 1)
		require.ErrorIs(t, list[0].Err, delivery.ErrLeaseLost)
		require.Equal(t, 204, post(t, url, revision("a", 5)).status, "it was overtaken")
		assert.Equal(t, 2, effects(t, db), "revisions 4 and 6")
		assert.Empty(t, reported.take())
	})
}

// TestLatestAfterTheCommit has a newer revision come between the commit and the
// end of the function, which is no problem.
func TestLatestAfterTheCommit(t *testing.T) {
	onDatabases(t, func(t *testing.T, db *sql.DB, deduplicator delivery.Deduplicator) {
		var url string
		url, reported := customers(t, deduplicator, func(ctx context.Context, m delivery.Message[customer]) error {
			if err := withinTx(ctx, db, m.Payload.Revision); err != nil {
				return err
			}
			if m.Payload.Revision == 5 {
				assert.Equal(t, 204, post(t, url, revision("a", 6)).status)
			}
			return nil
		})
		require.Equal(t, 204, post(t, url, revision("a", 5)).status)
		for n := range int64(7) {
			require.Equal(t, 204, post(t, url, revision("a", n)).status)
		}
		assert.Equal(t, 2, effects(t, db))
		assert.Empty(t, reported.take())
	})
}

// TestLatestPanics shows that a panic of the functions ends nothing.
func TestLatestPanics(t *testing.T) {
	var reported problems
	url := serve(t, delivery.Handler(func(context.Context, delivery.Message[customer]) error { return nil },
		quiet(), delivery.WithOnError(reported.add), delivery.WithDeduplication(newMemory(t, 0)),
		delivery.WithLatest(func(m delivery.Message[customer]) string { return m.Payload.ID }, func(delivery.Message[customer]) int64 { panic("no version") }),
	))
	require.Equal(t, 500, post(t, url, revision("a", 1)).status)
	list := reported.take()
	require.Len(t, list, 1)
	assert.Equal(t, delivery.Panicked, list[0].Kind)
	require.Equal(t, 204, post(t, url, revision("", 1)).status, "version is not called without a key")
}

// plainDeduplicator has no versions.
type plainDeduplicator struct{ delivery.Deduplicator }

func TestInvalidLatest(t *testing.T) {
	handle := func(context.Context, delivery.Message[customer]) error { return nil }
	key := func(delivery.Message[customer]) string { return "" }
	version := func(delivery.Message[customer]) int64 { return 0 }
	memory := delivery.WithDeduplication(newMemory(t, 0))
	for want, options := range map[string][]delivery.Option{
		"WithLatest: key is nil":                                       {memory, delivery.WithLatest(nil, version)},
		"WithLatest: version is nil":                                   {memory, delivery.WithLatest(key, nil)},
		"WithLatest: it needs WithDeduplication":                       {latest()},
		"WithLatest: the deduplicator delivery_test.plainDeduplicator": {latest(), delivery.WithDeduplication(plainDeduplicator{newMemory(t, 0)})},
		"WithLatest: its functions do not take the handler's messages, which are delivery.Message[": {memory, delivery.WithLatest(
			func(delivery.Message[order]) string { return "" }, func(delivery.Message[order]) int64 { return 0 })},
	} {
		_, err := delivery.New(handle, options...)
		require.ErrorContains(t, err, want)
	}
}
