package outbox

import (
	"bytes"
	"cmp"
	"fmt"
	"strings"
	"time"
	"unicode/utf8"
)

// MaxIDLength is the maximum length, in bytes, of an ID or a DedupKey.
const MaxIDLength = 255

// DefaultQueryLimit is the Limit of a Query whose Limit is zero.
const DefaultQueryLimit = 100

// ValidateRecords checks the records of an insert. It is for implementations of
// Store. The error is ErrInvalid and names the record and the field.
func ValidateRecords(records ...Record) error {
	for i, record := range records {
		var problem string
		switch {
		case record.ID == "":
			problem = "ID is empty"
		case len(record.ID) > MaxIDLength:
			problem = fmt.Sprintf("ID has %d bytes, more than %d", len(record.ID), MaxIDLength)
		case !isText(record.ID):
			problem = "ID is not UTF-8 without NUL"
		case record.ID[0] == '\x01':
			problem = "ID begins with U+0001, by which stores mark rows that are no records"
		case len(record.DedupKey) > MaxIDLength:
			problem = fmt.Sprintf("DedupKey has %d bytes, more than %d", len(record.DedupKey), MaxIDLength)
		case !isText(record.DedupKey):
			problem = "DedupKey is not UTF-8 without NUL"
		case record.Topic == "":
			problem = "Topic is empty"
		case !isText(record.Topic):
			problem = "Topic is not UTF-8 without NUL"
		case record.State != Pending && record.State != Dead:
			problem = fmt.Sprintf("State is %d, which is neither Pending nor Dead", int(record.State))
		case record.Attempts < 0:
			problem = fmt.Sprintf("Attempts is %d, below zero", record.Attempts)
		case !canBeKept(record.DeliverAt):
			problem = "DeliverAt is not within the years 1 to 9999"
		case !hasBraces(record.Payload):
			problem = "Payload is not a JSON object: it does not begin with { and end with }"
		case !hasBraces(record.Attributes):
			problem = "Attributes is not a JSON object: it does not begin with { and end with }"
		default:
			continue
		}
		return fmt.Errorf("%w: records[%d].%s", ErrInvalid, i, problem)
	}
	return nil
}

// canBeKept reports whether stores can keep a time, rounded up to the microsecond.
func canBeKept(t time.Time) bool {
	first, end := time.Time{}, time.Date(10000, 1, 1, 0, 0, 0, 0, time.UTC)
	return !t.Before(first) && t.Add(time.Microsecond-1).Before(end)
}

// hasBraces reports whether a text begins and ends like a JSON object. This cheap
// check finds missing and most truncated texts.
func hasBraces(text []byte) bool {
	text = bytes.TrimSpace(text)
	return len(text) >= 2 && text[0] == '{' && text[len(text)-1] == '}'
}

// isText reports whether a database can store a string as text.
func isText(s string) bool { return utf8.ValidString(s) && strings.IndexByte(s, 0) < 0 }

// Validate checks the options. It is for implementations of Store. The error is
// ErrInvalid and names the field.
func (o ClaimOptions) Validate() error {
	switch {
	case o.Limit <= 0:
		return fmt.Errorf("%w: ClaimOptions.Limit is %d, not positive", ErrInvalid, o.Limit)
	case o.Lease <= 0:
		return fmt.Errorf("%w: ClaimOptions.Lease is %s, not positive", ErrInvalid, o.Lease)
	case o.MaxBytes < 0:
		return fmt.Errorf("%w: ClaimOptions.MaxBytes is %d, below zero", ErrInvalid, o.MaxBytes)
	case o.PerTopic < 0:
		return fmt.Errorf("%w: ClaimOptions.PerTopic is %d, below zero", ErrInvalid, o.PerTopic)
	case o.PerTopic == 0 && o.AfterTopic != "":
		return fmt.Errorf("%w: ClaimOptions.AfterTopic needs PerTopic, which is zero", ErrInvalid)
	case o.PerTopic == 0 && len(o.SkipTopics) > 0:
		return fmt.Errorf("%w: ClaimOptions.SkipTopics needs PerTopic, which is zero", ErrInvalid)
	case !isText(o.AfterTopic):
		return fmt.Errorf("%w: ClaimOptions.AfterTopic is not UTF-8 without NUL", ErrInvalid)
	}
	for i, topic := range o.SkipTopics {
		if !isText(topic) {
			return fmt.Errorf("%w: ClaimOptions.SkipTopics[%d] is not UTF-8 without NUL", ErrInvalid, i)
		}
	}
	return nil
}

// Validate checks the query and fills in its default. It is for implementations of
// Store. The error is ErrInvalid and names the field.
func (q *Query) Validate() error {
	if err := validateNames("Query", q.IDs, q.Topic); err != nil {
		return err
	}
	switch {
	case !isText(q.DedupKey):
		return fmt.Errorf("%w: Query.DedupKey is not UTF-8 without NUL", ErrInvalid)
	case !isText(q.After):
		return fmt.Errorf("%w: Query.After is not UTF-8 without NUL", ErrInvalid)
	case q.Limit < 0:
		return fmt.Errorf("%w: Query.Limit is %d, below zero", ErrInvalid, q.Limit)
	}
	q.Limit = cmp.Or(q.Limit, DefaultQueryLimit)
	return nil
}

// Validate checks the selection. It is for implementations of Store. The error is
// ErrInvalid and names the field.
func (s Selection) Validate() error {
	switch {
	case len(s.IDs) > 0 && s.Topic != "":
		return fmt.Errorf("%w: Selection.Topic is set beside IDs: set only one of them", ErrInvalid)
	case len(s.IDs) > 0 && s.All:
		return fmt.Errorf("%w: Selection.All is set beside IDs: set only one of them", ErrInvalid)
	case s.Topic != "" && s.All:
		return fmt.Errorf("%w: Selection.All is set beside Topic: set only one of them", ErrInvalid)
	}
	return validateNames("Selection", s.IDs, s.Topic)
}

// validateNames checks that a database can search for the IDs and the topic. It
// accepts an ID that is empty or too long: no record has it.
func validateNames(what string, ids []string, topic string) error {
	for i, id := range ids {
		if !isText(id) {
			return fmt.Errorf("%w: %s.IDs[%d] is not UTF-8 without NUL", ErrInvalid, what, i)
		}
	}
	if !isText(topic) {
		return fmt.Errorf("%w: %s.Topic is not UTF-8 without NUL", ErrInvalid, what)
	}
	return nil
}
