package pagetest

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
)

// Outbox is a store in a file that is removed with the test.
type Outbox struct {
	*sqlite.Store
	tb testing.TB
}

// NewOutbox returns an empty outbox.
func NewOutbox(tb testing.TB) Outbox {
	tb.Helper()
	store, err := sqlite.Open(tb.Context(), filepath.Join(tb.TempDir(), "outbox.db"))
	require.NoError(tb, err)
	tb.Cleanup(func() { assert.NoError(tb, store.Close()) })
	return Outbox{Store: store, tb: tb}
}

// ID is the id of a message by its number.
func ID(n int) string { return fmt.Sprintf("0197f0f2-6f4e-7c3b-9d57-%012x", n) }

// Record is a message of the topic orders by its number.
func Record(n int) outbox.Record {
	return outbox.Record{
		ID: ID(n), Topic: "orders", Payload: json.RawMessage(fmt.Sprintf(`{"order":%d,"secret":"hush"}`, n)),
		Attributes: json.RawMessage(`{"kind":"attributed"}`),
	}
}

// Dead makes a message dead.
func Dead(r *outbox.Record) {
	r.State, r.LastError = outbox.Dead, "server answered 400: payload is invalid"
}

// Add stores a message, changed by functions, and returns it.
func (o Outbox) Add(n int, topic string, change ...func(*outbox.Record)) outbox.Record {
	o.tb.Helper()
	record := Record(n)
	record.Topic = topic
	for _, change := range change {
		change(&record)
	}
	require.NoError(o.tb, o.Insert(o.tb.Context(), 0, record))
	return record
}

// AddStates stores a message of each state: 1 dead, 2 retrying, 3 held, 4 waiting.
func (o Outbox) AddStates() {
	o.tb.Helper()
	o.Add(1, "orders", Dead)
	o.Add(2, "orders")
	claim := func(lease time.Duration) outbox.Record {
		records, err := o.Claim(o.tb.Context(), outbox.ClaimOptions{Limit: 1, Lease: lease})
		require.NoError(o.tb, err)
		require.Len(o.tb, records, 1)
		return records[0]
	}
	record := claim(time.Minute)
	n, err := o.Reschedule(o.tb.Context(), outbox.Change{
		ID: record.ID, LeaseToken: record.LeaseToken, After: 4*time.Minute + 10*time.Second, LastError: "server answered 503: Service Unavailable",
	})
	require.NoError(o.tb, err)
	require.Equal(o.tb, 1, n)
	o.Add(3, "bills")
	claim(5 * time.Minute)
	o.Add(4, "bills")
}

// AddHostile stores a message with the hostile text in every field.
func (o Outbox) AddHostile(n int) {
	o.tb.Helper()
	text, err := json.Marshal(map[string]string{Hostile: Hostile})
	require.NoError(o.tb, err)
	// Without the escapes of encoding/json, as another program may send it.
	text = []byte(strings.NewReplacer(`\u003c`, "<", `\u003e`, ">").Replace(string(text)))
	o.Add(n, Hostile+"\r\n", func(r *outbox.Record) {
		Dead(r)
		r.ID, r.Payload, r.Attributes, r.LastError = Hostile+"\n", text, text, Hostile
	})
}

// Entries returns the messages.
func (o Outbox) Entries() []outbox.Entry {
	o.tb.Helper()
	entries, err := o.List(o.tb.Context(), outbox.Query{Limit: 1_000_000})
	require.NoError(o.tb, err)
	return entries
}

// IDs returns the ids of the messages.
func (o Outbox) IDs() []string {
	o.tb.Helper()
	var list []string
	for _, entry := range o.Entries() {
		list = append(list, entry.ID)
	}
	return list
}
