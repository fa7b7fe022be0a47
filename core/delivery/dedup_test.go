package delivery_test

import (
	"context"
	"database/sql"
	"net/http"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/delivery/sqldedup"
	"github.com/postoffice-go/postoffice/core/internal/testdb"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// databases are the databases that remember messages.
var databases = []struct {
	name    string
	dialect sqlstore.Dialect
	open    func(t *testing.T) (*sql.DB, error)
}{
	{"postgres", sqlstore.Postgres, func(t *testing.T) (*sql.DB, error) { return sql.Open("pgx", testdb.Postgres(t).Create(t)) }},
	{"mariadb", sqlstore.MySQL, func(t *testing.T) (*sql.DB, error) { return testdb.Open(testdb.MariaDB(t).Create(t)) }},
	{"sqlite", sqlstore.SQLite, func(t *testing.T) (*sql.DB, error) {
		return sql.Open("sqlite", "file:"+filepath.Join(t.TempDir(), "app.db")+"?_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)&_txlock=immediate")
	}},
}

// onDatabases runs a test with each, which has a table effects.
func onDatabases(t *testing.T, test func(t *testing.T, db *sql.DB, deduplicator delivery.Deduplicator)) {
	for _, database := range databases {
		t.Run(database.name, func(t *testing.T) {
			db, err := database.open(t)
			require.NoError(t, err)
			t.Cleanup(func() { assert.NoError(t, db.Close()) })
			db.SetMaxOpenConns(16)
			db.SetMaxIdleConns(16)
			require.NoError(t, sqldedup.Migrate(t.Context(), db, database.dialect))
			store, err := sqldedup.New(db, database.dialect)
			require.NoError(t, err)
			_, err = db.ExecContext(t.Context(), "CREATE TABLE effects (id INT)")
			require.NoError(t, err)
			test(t, db, store)
		})
	}
}

func effects(t *testing.T, db *sql.DB) (n int) {
	t.Helper()
	require.NoError(t, db.QueryRowContext(t.Context(), "SELECT COUNT(*) FROM effects").Scan(&n))
	return n
}

// copies posts a message many times at once, and counts the answers.
func copies(t *testing.T, url, body string) map[int]int {
	t.Helper()
	answers := map[int]int{}
	var mu sync.Mutex
	var all sync.WaitGroup
	ready := make(chan struct{})
	for i := range 100 {
		all.Go(func() {
			<-ready
			got, err := try(t.Context(), url, body, "message-id", strconv.Itoa(i))
			assert.NoError(t, err)
			mu.Lock()
			answers[got.status]++
			mu.Unlock()
		})
	}
	close(ready)
	all.Wait()
	return answers
}

// theOrder is an order with the id that the publisher has given it.
const theOrder = `{"id":7,"attributes":{"message_id":"0190163d-8694-739b-aea5-966c26f8ad91"}}`

// oneRuns checks that of many copies one is handled, while it is and
// afterwards. The effect is what the function does.
func oneRuns(t *testing.T, deduplicator delivery.Deduplicator, effect func(ctx context.Context, id int) error) {
	var runs atomic.Int32
	others := make(chan struct{}) // closed when the others have their answers
	url, reported := consumer(t, func(ctx context.Context, m delivery.Message[order]) error {
		runs.Add(1)
		<-others
		return effect(ctx, m.Payload.ID)
	}, delivery.WithDeduplication(deduplicator))
	first := make(chan int, 1)
	go func() {
		got, err := try(t.Context(), url, theOrder)
		assert.NoError(t, err)
		first <- got.status
	}()
	require.Eventually(t, func() bool { return runs.Load() == 1 }, patience, time.Millisecond)
	assert.Equal(t, map[int]int{409: 100}, copies(t, url, theOrder), "while it is handled")
	close(others)
	assert.Equal(t, 204, <-first)
	assert.Equal(t, map[int]int{204: 100}, copies(t, url, theOrder), "when it was handled")
	assert.Equal(t, int32(1), runs.Load())

	another := strings.Replace(theOrder, "0190", "0191", 1)
	answers := copies(t, url, another)
	assert.Equal(t, 100, answers[204]+answers[409], "all at once: %v", answers)
	assert.Equal(t, int32(2), runs.Load())
	assert.Empty(t, reported.take())
}

func TestOneOfManyCopiesRuns(t *testing.T) {
	t.Run("memory", func(t *testing.T) {
		count := 0 // not guarded: the race detector sees two at once
		oneRuns(t, newMemory(t, 0), func(context.Context, int) error {
			count++
			return nil
		})
		assert.Equal(t, 2, count)
	})
	onDatabases(t, func(t *testing.T, db *sql.DB, deduplicator delivery.Deduplicator) {
		oneRuns(t, deduplicator, func(ctx context.Context, _ int) error {
			_, err := db.ExecContext(ctx, "INSERT INTO effects (id) VALUES (1)")
			return err
		})
		assert.Equal(t, 2, effects(t, db))
	})
}

// within is what DoneTx is for: an effect and the memory of it in one
// transaction.
func within(ctx context.Context, db *sql.DB, before func(outbox.Tx) error) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	if _, err := tx.ExecContext(ctx, "INSERT INTO effects (id) VALUES (1)"); err != nil {
		return err
	}
	if before != nil {
		if err := before(tx); err != nil {
			return err
		}
	}
	if err := delivery.DoneTx(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

func TestOneEffectInATransaction(t *testing.T) {
	onDatabases(t, func(t *testing.T, db *sql.DB, deduplicator delivery.Deduplicator) {
		oneRuns(t, deduplicator, func(ctx context.Context, _ int) error { return within(ctx, db, nil) })
		assert.Equal(t, 2, effects(t, db))
	})
}

// TestOneEffectThoughLeasesEnd has leases so short that copies run beside
// each other: DoneTx lets one of them commit.
func TestOneEffectThoughLeasesEnd(t *testing.T) {
	onDatabases(t, func(t *testing.T, db *sql.DB, deduplicator delivery.Deduplicator) {
		var runs atomic.Int32
		url, _ := consumer(t, func(ctx context.Context, _ delivery.Message[order]) error {
			runs.Add(1)
			ctx = context.WithoutCancel(ctx) // goes on after the lease
			return within(ctx, db, nil)
		}, delivery.WithDeduplication(deduplicator), delivery.WithLease(time.Millisecond))
		require.Eventually(t, func() bool {
			return copies(t, url, theOrder)[204] == 100
		}, patience, time.Millisecond)
		assert.Equal(t, 1, effects(t, db), "of %d runs", runs.Load())
	})
}

// TestAnswerIsLost has a transaction commit and the function fail all the
// same: the retry finds that it was handled.
func TestAnswerIsLost(t *testing.T) {
	onDatabases(t, func(t *testing.T, db *sql.DB, deduplicator delivery.Deduplicator) {
		url, reported := consumer(t, func(ctx context.Context, _ delivery.Message[order]) error {
			assert.NoError(t, within(ctx, db, nil))
			return errBroken
		}, delivery.WithDeduplication(deduplicator))
		assert.Equal(t, 500, post(t, url, theOrder).status)
		assert.Len(t, reported.take(), 1)
		assert.Equal(t, 204, post(t, url, theOrder).status)
		assert.Equal(t, 1, effects(t, db))
	})
}

func TestFailuresRelease(t *testing.T) {
	for name, fail := range map[string]func() error{
		"Error": func() error { return errBroken },
		"Panic": func() error { panic("on purpose") },
		"Abort": func() error { panic(http.ErrAbortHandler) },
	} {
		t.Run(name, func(t *testing.T) {
			runs := 0
			url, _ := consumer(t, func(context.Context, delivery.Message[order]) error {
				if runs++; runs < 3 {
					return fail()
				}
				return nil
			}, delivery.WithDeduplication(newMemory(t, 0)))
			for range 2 {
				got, err := try(t.Context(), url, theOrder)
				assert.NotEqual(t, 204, got.status)
				assert.Equal(t, name == "Abort", err != nil)
			}
			assert.Equal(t, 204, post(t, url, theOrder).status)
			assert.Equal(t, 204, post(t, url, theOrder).status)
			assert.Equal(t, 3, runs)
		})
	}
}

func TestDiscardIsRemembered(t *testing.T) {
	runs := 0
	url, _ := consumer(t, func(context.Context, delivery.Message[order]) error {
		runs++
		return delivery.Discard(errBroken)
	}, delivery.WithDeduplication(newMemory(t, 0)))
	assert.Equal(t, 204, post(t, url, theOrder).status)
	assert.Equal(t, 204, post(t, url, theOrder).status)
	assert.Equal(t, 1, runs)
}

// TestCrash leaves a message begun, as a process does that dies: another
// takes it over when the lease ends.
func TestCrash(t *testing.T) {
	onDatabases(t, func(t *testing.T, _ *sql.DB, deduplicator delivery.Deduplicator) {
		crashed := crashing{deduplicator}
		handle := func(context.Context, delivery.Message[order]) error { return errBroken }
		url, reported := consumer(t, handle, delivery.WithScope("billing"), delivery.WithDeduplication(crashed), delivery.WithLease(200*time.Millisecond))
		assert.Equal(t, 500, post(t, url, theOrder).status)
		assert.Len(t, reported.take(), 2, "the failure, and that the message was not released")
		runs := 0
		url, _ = consumer(t, func(context.Context, delivery.Message[order]) error {
			runs++
			return nil
		}, delivery.WithScope("billing"), delivery.WithDeduplication(deduplicator))
		require.Eventually(t, func() bool {
			status := post(t, url, theOrder).status
			if status != 204 {
				require.Equal(t, 409, status)
			}
			return status == 204
		}, patience, 20*time.Millisecond)
		assert.Equal(t, 1, runs)
	})
}

// crashing never tells how it ended.
type crashing struct{ delivery.Deduplicator }

func (crashing) Done(context.Context, string, string, time.Duration) error { return errBroken }
func (crashing) Abort(context.Context, string, string) error               { return errBroken }

// TestDoneFails has the deduplicator fail after the success: the message is
// acknowledged, because a retry would do it again.
func TestDoneFails(t *testing.T) {
	url, reported := consumer(t, func(context.Context, delivery.Message[order]) error { return nil },
		delivery.WithDeduplication(crashing{newMemory(t, 0)}))
	assert.Equal(t, 204, post(t, url, theOrder).status)
	list := reported.take()
	require.Len(t, list, 1)
	assert.Equal(t, delivery.NotDeduplicated, list[0].Kind)
	assert.Equal(t, 204, list[0].Status)
	require.ErrorIs(t, list[0].Err, errBroken)
}

// unusable fails to begin.
type unusable struct{ delivery.Deduplicator }

func (unusable) Begin(context.Context, string, time.Duration) (delivery.State, string, error) {
	return 0, "", errBroken
}

func TestBeginFails(t *testing.T) {
	url, reported := consumer(t, func(context.Context, delivery.Message[order]) error {
		t.Error("the function was called")
		return nil
	}, delivery.WithDeduplication(unusable{}))
	got := post(t, url, theOrder)
	assert.Equal(t, 503, got.status)
	assert.NotContains(t, got.body, "secret")
	list := reported.take()
	require.Len(t, list, 1)
	assert.Equal(t, delivery.NotDeduplicated, list[0].Kind)
	require.ErrorIs(t, list[0].Err, errBroken)
}

// TestWhatIsACopy posts pairs of messages that are copies of each other, or
// are not.
func TestWhatIsACopy(t *testing.T) {
	type posted struct{ path, body, id, host string }
	first := posted{path: "/consume/orders", body: theOrder, id: "1", host: "billing:8080"}
	plain := first
	plain.body = message
	change := func(of posted, change func(*posted)) posted { change(&of); return of }
	for name, test := range map[string]struct {
		one, other posted
		copies     bool
	}{
		"Retry":             {first, first, true},
		"Recovered":         {first, change(first, func(p *posted) { p.id = "2" }), true},
		"OtherMessage":      {first, change(first, func(p *posted) { p.body = strings.Replace(theOrder, "0190", "0191", 1) }), false},
		"OtherConsumer":     {first, change(first, func(p *posted) { p.path = "/consume/other" }), false},
		"OtherQuery":        {first, change(first, func(p *posted) { p.path += "?x" }), false},
		"OtherHost":         {first, change(first, func(p *posted) { p.host = "other:8080" }), false},
		"PlainRetry":        {plain, plain, true},
		"PlainOther":        {plain, change(plain, func(p *posted) { p.id = "2" }), false},
		"PlainServerReset":  {plain, change(plain, func(p *posted) { p.body = `{"id":8,"attributes":{}}` }), false},
		"PlainIsNotTheSame": {plain, change(first, func(p *posted) { p.id = "1" }), false},
	} {
		for mode, options := range map[string][]delivery.Option{"": nil, "InAScope": {delivery.WithScope("billing")}} {
			t.Run(name+mode, func(t *testing.T) {
				runs := 0
				options := append([]delivery.Option{quiet(), delivery.WithDeduplication(newMemory(t, 0))}, options...)
				handler := delivery.Handler(func(context.Context, delivery.Message[order]) error {
					runs++
					return nil
				}, options...)
				mux := http.NewServeMux()
				mux.Handle("/consume/", http.StripPrefix("/consume", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					r.Host = r.Header.Get("X-Host")
					r.URL.Path = "/stripped"
					handler.ServeHTTP(w, r)
				})))
				url := serve(t, mux)
				for _, p := range []posted{test.one, test.other} {
					require.Equal(t, 204, post(t, url+p.path, p.body, "message-id", p.id, "X-Host", p.host).status)
				}
				sameConsumer := mode != "" && strings.Contains("OtherConsumer OtherQuery OtherHost", name)
				assert.Equal(t, test.copies || sameConsumer, runs == 1)
			})
		}
	}
}

func TestNoIDToTellCopiesBy(t *testing.T) {
	url, reported := consumer(t, func(context.Context, delivery.Message[order]) error {
		t.Error("the function was called")
		return nil
	}, delivery.WithDeduplication(newMemory(t, 0)))
	assert.Equal(t, 400, post(t, url, message, "message-id", "").status)
	assert.Len(t, reported.take(), 1)
}

// TestSuccessAfterHangUp has the function succeed when the server has hung up:
// the retry must not run it again.
func TestSuccessAfterHangUp(t *testing.T) {
	onDatabases(t, func(t *testing.T, db *sql.DB, deduplicator delivery.Deduplicator) {
		begun := make(chan struct{})
		url, _ := consumer(t, func(ctx context.Context, _ delivery.Message[order]) error {
			close(begun)
			<-ctx.Done() // the server has hung up
			_, err := db.ExecContext(context.WithoutCancel(ctx), "INSERT INTO effects (id) VALUES (1)")
			return err
		}, delivery.WithDeduplication(deduplicator))
		ctx, hangUp := context.WithCancel(t.Context())
		go func() {
			<-begun
			hangUp()
		}()
		_, err := try(ctx, url, theOrder)
		require.ErrorIs(t, err, context.Canceled)
		require.Eventually(t, func() bool { return post(t, url, theOrder).status == 204 }, patience, 5*time.Millisecond)
		assert.Equal(t, 1, effects(t, db))
	})
}

func TestContextEndsWithTheLease(t *testing.T) {
	for name, test := range map[string]struct {
		options []delivery.Option
		want    time.Duration
	}{
		"Default":       {nil, delivery.DefaultLease},
		"Lease":         {[]delivery.Option{delivery.WithLease(time.Hour)}, time.Hour},
		"Timeout":       {[]delivery.Option{delivery.WithTimeout(20 * time.Second)}, 20 * time.Second},
		"LongerTimeout": {[]delivery.Option{delivery.WithTimeout(time.Hour)}, delivery.DefaultLease},
	} {
		t.Run(name, func(t *testing.T) {
			remaining := make(chan time.Duration, 1)
			url, _ := consumer(t, func(ctx context.Context, _ delivery.Message[order]) error {
				deadline, _ := ctx.Deadline()
				remaining <- time.Until(deadline)
				return nil
			}, append(test.options, delivery.WithDeduplication(newMemory(t, 0)))...)
			require.Equal(t, 204, post(t, url, theOrder).status)
			assert.InDelta(t, test.want, <-remaining, float64(10*time.Second))
		})
	}
}

func TestDoneTxWithoutADatabase(t *testing.T) {
	require.ErrorIs(t, delivery.DoneTx(t.Context(), nil), delivery.ErrNoTransactions)
	got := make(chan error, 1)
	url, _ := consumer(t, func(ctx context.Context, _ delivery.Message[order]) error {
		got <- delivery.DoneTx(ctx, nil)
		return nil
	}, delivery.WithDeduplication(newMemory(t, 0)))
	require.Equal(t, 204, post(t, url, theOrder).status)
	err := <-got
	require.ErrorIs(t, err, delivery.ErrNoTransactions)
	require.ErrorContains(t, err, "Memory")
	require.NotErrorIs(t, err, delivery.ErrLeaseLost)
}
