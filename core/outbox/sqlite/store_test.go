package sqlite

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/outboxtest"
)

func TestMain(m *testing.M) {
	if path := os.Getenv(crashFile); path != "" {
		insertForEver(path)
	}
	goleak.VerifyTestMain(m)
}

// opened opens a store and closes it with the test.
func opened(t testing.TB, path string, options ...Option) *Store {
	t.Helper()
	store, err := Open(t.Context(), path, options...)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, store.Close()) })
	return store
}

// file returns the path of a file that is not there yet.
func file(t testing.TB) string {
	return filepath.Join(t.TempDir(), "outbox.db")
}

// message makes a record.
func message(t testing.TB) outbox.Record {
	t.Helper()
	id, err := uuid.NewV7()
	require.NoError(t, err)
	return outbox.Record{
		ID:         id.String(),
		Topic:      "orders",
		Payload:    json.RawMessage(`{"customer":"secret","amount":12}`),
		Attributes: json.RawMessage(`{"a":"1"}`),
	}
}

// messages makes n records.
func messages(t testing.TB, n int) []outbox.Record {
	t.Helper()
	records := make([]outbox.Record, n)
	for i := range records {
		records[i] = message(t)
	}
	return records
}

// stored returns the IDs in a store.
func stored(t testing.TB, store *Store) []string {
	t.Helper()
	records, err := store.List(context.Background(), outbox.Query{Limit: 1_000_000})
	require.NoError(t, err)
	ids := []string{}
	for _, record := range records {
		ids = append(ids, record.ID)
	}
	return ids
}

func TestStore(t *testing.T) {
	outboxtest.Run(t,
		func(t *testing.T) outbox.Store { return opened(t, file(t)) },
		outboxtest.InBubble(),
		outboxtest.Reopening(func(t *testing.T, store outbox.Store) outbox.Store {
			require.NoError(t, store.(*Store).Close())
			return opened(t, store.(*Store).path)
		}),
		outboxtest.Bounded(func(t *testing.T, maxRecords int, maxBytes int64) outbox.Store {
			return opened(t, file(t), WithMaxRecords(maxRecords), WithMaxBytes(maxBytes))
		}),
	)
}

func TestIDsAreAnyText(t *testing.T) {
	store := opened(t, file(t))
	ids := []string{"\x02", "\x02a", " ", "'; --", "A", "a", strings.Repeat("x", 255), "ż", "\U0010ffff"}
	for _, id := range ids {
		record := message(t)
		record.ID = id
		require.NoError(t, store.Insert(t.Context(), 0, record), "%q", id)
	}
	assert.Equal(t, ids, stored(t, store), "by ascending bytes")
	claimed, err := store.Claim(t.Context(), outbox.ClaimOptions{Limit: 100, Lease: time.Hour})
	require.NoError(t, err)
	for _, record := range claimed {
		assert.Contains(t, ids, record.ID)
		n, err := store.Reschedule(t.Context(), outbox.Change{ID: record.ID, LeaseToken: record.LeaseToken})
		require.NoError(t, err)
		assert.Equal(t, 1, n)
	}
	n, err := store.Delete(t.Context(), ids...)
	require.NoError(t, err)
	assert.Equal(t, len(ids), n)

	record := message(t)
	record.ID = strings.Repeat("x", 256)
	require.ErrorIs(t, store.Insert(t.Context(), 0, record), outbox.ErrInvalid)
}

func TestTiesByID(t *testing.T) {
	store := opened(t, file(t))
	records := messages(t, 3)
	require.NoError(t, store.Insert(t.Context(), 0, records[2], records[0], records[1]))
	for _, want := range records {
		claimed, err := store.Claim(t.Context(), outbox.ClaimOptions{Limit: 1, Lease: time.Hour})
		require.NoError(t, err)
		require.Len(t, claimed, 1)
		assert.Equal(t, want.ID, claimed[0].ID)
	}
}

func TestDeliverAtIsNeverEarlier(t *testing.T) {
	store := opened(t, file(t))
	record := message(t)
	record.DeliverAt = time.Unix(1_700_000_000, 123_456_001)
	require.NoError(t, store.Insert(t.Context(), 0, record))
	records, err := store.List(t.Context(), outbox.Query{})
	require.NoError(t, err)
	assert.Equal(t, time.Microsecond-1, records[0].DeliverAt.Sub(record.DeliverAt), "rounded up to microseconds")
}

func TestDeadRecordIsHeldByNobody(t *testing.T) {
	store := opened(t, file(t))
	record := message(t)
	record.State, record.LeaseToken = outbox.Dead, "holder"
	require.NoError(t, store.Insert(t.Context(), time.Hour, record))
	records, err := store.List(t.Context(), outbox.Query{})
	require.NoError(t, err)
	assert.Empty(t, records[0].LeaseToken)
}

func TestBoundBelowWhatIsThere(t *testing.T) {
	path := file(t)
	store := opened(t, path)
	records := messages(t, 3)
	require.NoError(t, store.Insert(t.Context(), 0, records...))
	require.NoError(t, store.Close())
	store = opened(t, path, WithMaxRecords(2))
	require.NoError(t, store.Insert(t.Context(), 0, records...), "all of them are there")
	require.ErrorIs(t, store.Insert(t.Context(), 0, message(t)), outbox.ErrFull)
	_, err := store.Delete(t.Context(), records[0].ID, records[1].ID)
	require.NoError(t, err)
	require.NoError(t, store.Insert(t.Context(), 0, message(t)))
}

// TestCountsMatchTheTable opens a file anew, which counts, after changes of
// every kind, which are counted one by one.
func TestCountsMatchTheTable(t *testing.T) {
	path := file(t)
	store := opened(t, path)
	ctx := t.Context()
	require.NoError(t, store.Insert(ctx, 0, messages(t, 50)...))
	claimed, err := store.Claim(ctx, outbox.ClaimOptions{Limit: 30, Lease: time.Hour})
	require.NoError(t, err)
	var ids []string
	for i, record := range claimed {
		ids = append(ids, record.ID)
		_, err := store.Reschedule(ctx, outbox.Change{ID: record.ID, LeaseToken: record.LeaseToken, Dead: i%2 == 0, After: time.Hour})
		require.NoError(t, err)
	}
	_, err = store.Retry(ctx, outbox.Selection{IDs: ids[:5]})
	require.NoError(t, err)
	_, err = store.Delete(ctx, ids[3:12]...)
	require.NoError(t, err)
	dead := outbox.Dead
	_, err = store.Discard(ctx, outbox.Selection{IDs: ids[10:20], State: &dead})
	require.NoError(t, err)
	before, err := store.Stats(ctx)
	require.NoError(t, err)
	assert.Positive(t, before.Dead)
	require.NoError(t, store.Close())
	after, err := opened(t, path).Stats(ctx)
	require.NoError(t, err)
	before.Age, after.Age = 0, 0 // which grows
	assert.Equal(t, before, after)
}

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "outbox")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = os.RemoveAll(dir) }()
	path := filepath.Join(dir, "outbox.db")

	store, err := Open(ctx, path, WithMaxRecords(100_000))
	if err != nil {
		fmt.Println(err)
		return
	}
	record := outbox.Record{
		ID:         "019a2b3c-4d5e-7f60-8172-839405162738",
		Topic:      "orders",
		Payload:    json.RawMessage(`{"id":1}`),
		Attributes: json.RawMessage(`{}`),
	}
	if err := store.Insert(ctx, 0, record); err != nil {
		fmt.Println(err)
		return
	}
	if err := store.Close(); err != nil {
		fmt.Println(err)
		return
	}

	// Another day, another process.
	if store, err = Open(ctx, path); err != nil {
		fmt.Println(err)
		return
	}
	defer func() { _ = store.Close() }()
	claimed, err := store.Claim(ctx, outbox.ClaimOptions{Limit: 10, Lease: time.Minute})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(claimed[0].Topic, string(claimed[0].Payload))
	// Output: orders {"id":1}
}
