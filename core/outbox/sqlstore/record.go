package sqlstore

import (
	"database/sql"
	"math"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// columns are the columns of a record, in the order of scanRecord.
const (
	plainColumns = `id, dedup_key, state, due_at, token, attempts, created_at, deliver_at, topic, last_error`
	columns      = plainColumns + `, attributes, payload`
)

// scanRecord reads the columns of a record, and additional ones after them.
func scanRecord(scan func(...any) error, more ...any) (outbox.Record, error) {
	var record outbox.Record
	var dueAt, createdAt int64
	var deliverAt sql.NullInt64
	var key sql.NullString
	err := scan(append([]any{&record.ID, &key, (*int)(&record.State), &dueAt, &record.LeaseToken, &record.Attempts, &createdAt,
		&deliverAt, &record.Topic, &record.LastError, (*[]byte)(&record.Attributes), (*[]byte)(&record.Payload)}, more...)...)
	record.DedupKey = key.String
	if record.State == outbox.Pending {
		record.DueAt = time.UnixMicro(dueAt).UTC()
	}
	// Some connections convert text.
	record.LastError = strings.ToValidUTF8(record.LastError, "\uFFFD")
	record.CreatedAt = time.UnixMicro(createdAt).UTC()
	if deliverAt.Valid {
		record.DeliverAt = time.UnixMicro(deliverAt.Int64).UTC()
	}
	return record, err
}

// scanRecords reads all records of a query.
func scanRecords(records *[]outbox.Record) func(scan func(...any) error) error {
	return func(scan func(...any) error) error {
		record, err := scanRecord(scan)
		*records = append(*records, record)
		return err
	}
}

// listColumns returns the columns of an entry, with at most limit bytes of payload
// and attributes, in the order of scanListed.
func (v *values) listColumns(limit int) string {
	switch {
	case limit == 0 || limit > math.MaxInt32: // more than a column holds
		return columns + ", " + v.dialect.length("attributes") + ", " + v.dialect.length("payload")
	case limit < 0:
		payload := v.dialect.length("payload")
		if v.dialect == MySQL {
			// InnoDB would read a large column to return its length.
			payload = "size - LENGTH(topic) - LENGTH(attributes)"
		}
		return plainColumns + ", NULL, NULL, " + v.dialect.length("attributes") + ", " + payload
	default:
		return plainColumns + ", " + v.beginning("attributes", limit) + ", " + v.beginning("payload", limit) + ", " +
			v.dialect.length("attributes") + ", " + v.dialect.length("payload")
	}
}

// scanListed reads all entries of a query for listColumns.
func scanListed(entries *[]outbox.Entry) func(scan func(...any) error) error {
	return func(scan func(...any) error) error {
		var entry outbox.Entry
		var err error
		entry.Record, err = scanRecord(scan, &entry.AttributesSize, &entry.PayloadSize)
		*entries = append(*entries, entry)
		return err
	}
}

// latest bounds the time until a record is due.
const latest = 100 * 365 * 24 * time.Hour

// micros returns a duration in microseconds, rounded up. Negative durations count as
// zero, and durations above a hundred years as a hundred years.
func micros(d time.Duration) int64 {
	d = min(max(d, 0), latest)
	n := int64(d / time.Microsecond)
	if d%time.Microsecond > 0 {
		n++
	}
	return n
}

// blob returns bytes that are never NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}
