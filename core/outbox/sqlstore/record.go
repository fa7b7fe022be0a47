package sqlstore

import (
	"database/sql"
	"strings"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// columns are those of a record, in the order of scanRecord.
const columns = `id, state, due_at, token, attempts, created_at, deliver_at, topic, last_error, attributes, payload`

// scanRecord reads the columns of a record.
func scanRecord(scan func(...any) error) (outbox.Record, error) {
	var record outbox.Record
	var dueAt, createdAt int64
	var deliverAt sql.NullInt64
	err := scan(&record.ID, (*int)(&record.State), &dueAt, &record.LeaseToken, &record.Attempts, &createdAt,
		&deliverAt, &record.Topic, &record.LastError, (*[]byte)(&record.Attributes), (*[]byte)(&record.Payload))
	if record.State == outbox.Pending {
		record.DueAt = time.UnixMicro(dueAt).UTC()
	}
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

// micros is a duration in microseconds, rounded up. Below zero counts as zero.
func micros(d time.Duration) int64 {
	d = max(d, 0)
	n := int64(d / time.Microsecond)
	if d%time.Microsecond > 0 {
		n++
	}
	return n
}

// blob returns bytes that are not taken for NULL.
func blob(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// words makes a text fit for a column of text: some databases refuse NUL and
// what is not UTF-8.
func words(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
