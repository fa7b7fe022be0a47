package sqlstore

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/uuid"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// message returns a record that tells itself apart.
func message(tb testing.TB) outbox.Record {
	tb.Helper()
	id, err := uuid.NewV7()
	require.NoError(tb, err)
	return outbox.Record{
		ID: id.String(), Topic: "orders",
		Payload: fmt.Appendf(nil, `{"id":%q}`, id), Attributes: []byte(`{"a":"1"}`),
	}
}

func messages(tb testing.TB, n int) []outbox.Record {
	tb.Helper()
	list := make([]outbox.Record, n)
	for i := range list {
		list[i] = message(tb)
	}
	return list
}

// stored lists every record.
func stored(tb testing.TB, store outbox.Store) []outbox.Record {
	tb.Helper()
	return list(tb, store, outbox.Query{Limit: 1_000_000})
}

// list lists the records that a query selects.
func list(tb testing.TB, store outbox.Store, query outbox.Query) []outbox.Record {
	tb.Helper()
	entries, err := store.List(tb.Context(), query)
	require.NoError(tb, err)
	records := make([]outbox.Record, len(entries))
	for i, entry := range entries {
		records[i] = entry.Record
	}
	return records
}

// claimed claims records for an hour.
func claimed(tb testing.TB, store outbox.Store, limit int) []outbox.Record {
	tb.Helper()
	records, err := store.Claim(tb.Context(), outbox.ClaimOptions{Limit: limit, Lease: time.Hour})
	require.NoError(tb, err)
	return records
}

func idsOf(records []outbox.Record) []string {
	ids := make([]string, len(records))
	for i, record := range records {
		ids[i] = record.ID
	}
	return ids
}
