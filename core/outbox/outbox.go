// Package outbox stores messages that were accepted and are not delivered yet.
//
// A [Store] is a table of messages, each of them a [Record]. The client inserts a
// record when it cannot deliver a message at once. Records are claimed by the
// client's relay, and by the server's rescuer through the recovery list; after
// delivery they are deleted. A claim is a lease: it hides a record from other claims
// until the lease ends. Several processes can therefore share a store, and the
// records of a process that crashed are claimed again without any intervention.
//
// Stores in this module:
//
//   - [github.com/postoffice-go/postoffice/core/outbox/sqlite] keeps records in a file
//     of its own and survives crashes.
//   - [github.com/postoffice-go/postoffice/core/outbox/sqlstore] keeps records in a table
//     of the caller's database, which several processes can share.
//   - [github.com/postoffice-go/postoffice/core/outbox/memory] is for tests.
//
// Test your own store with the suite in
// [github.com/postoffice-go/postoffice/core/outbox/outboxtest].
package outbox

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Errors of a store. Match them with [errors.Is].
var (
	// ErrFull means that the store has reached its bound and accepts no more
	// records.
	ErrFull = errors.New("outbox is full")
	// ErrNeverFits means that the records of one insert exceed the bound of the
	// store even when it is empty, so that waiting for capacity is of no use. It
	// wraps ErrFull.
	ErrNeverFits = fmt.Errorf("%w: the bound is too small for the insert", ErrFull)
	// ErrClosed means that the store is closed.
	ErrClosed = errors.New("outbox is closed")
	// ErrInvalid means that the arguments of the call are invalid.
	ErrInvalid = errors.New("outbox: invalid argument")
)

// State says whether a record still has to be delivered. The zero value is Pending,
// the initial state of a record.
type State int

const (
	// Pending records are delivered when they are due. It is the default.
	Pending State = iota
	// Dead records were permanently refused by the server. They are kept, and not
	// tried again, until an operator retries or discards them.
	Dead
)

// String returns "pending" or "dead".
func (s State) String() string {
	if s == Dead {
		return "dead"
	}
	return "pending"
}

// Record is one message in a store.
type Record struct {
	// ID is a UUIDv7 (RFC 9562) in canonical text form, so that records sort by the
	// time they were created. An ID is never used for another record, even after
	// this record has left the store: a delete with an outdated ID must not remove
	// another message. Stores accept any UTF-8 text of up to 255 bytes without NUL
	// that does not begin with U+0001.
	ID string
	// DedupKey is the deduplication key that the record holds while it is in the
	// store: Insert leaves out a record whose key is held by another record. The
	// same limits apply as for ID. Empty means none.
	DedupKey string
	// Topic is the topic to publish to, in UTF-8 and without NUL.
	Topic string
	// Payload is the JSON object to publish. Insert returns ErrInvalid if it does
	// not begin with { and end with }; it does not parse the rest.
	Payload json.RawMessage
	// Attributes is a JSON object of strings with sorted keys, so that records with
	// equal attributes have equal bytes. Records may share the bytes, and stores do
	// not modify them. Insert checks it like the payload.
	Attributes json.RawMessage
	// DeliverAt is the earliest time at which consumers may get the message; zero
	// means as soon as possible. It does not delay the post to the server, which
	// holds scheduled messages itself. Stores keep at least microseconds. Insert
	// returns ErrInvalid for times outside the years 1 to 9999.
	DeliverAt time.Time
	// CreatedAt is when the record was inserted, by the store's clock.
	CreatedAt time.Time
	// DueAt is when a pending record may be claimed, by the store's clock: the end
	// of its backoff or lease. It is meaningless for a dead record.
	DueAt time.Time
	// Attempts counts the claims, including the current one, and the attempts made
	// before the record was inserted.
	Attempts int
	// LastError says why the last attempt failed, without payload or credentials. It
	// is empty before the first failure.
	LastError string
	// State is Pending, the default, or Dead. Insert returns ErrInvalid for other
	// values.
	State State
	// LeaseToken identifies the claim that holds the record: rescheduling needs the
	// token. It is empty if no claim holds the record. A record whose lease has
	// ended keeps its token until the next claim.
	LeaseToken string
}

// Size returns the bytes that count towards bounds: those of topic, payload and
// attributes.
func (r Record) Size() int64 {
	return int64(len(r.Topic) + len(r.Payload) + len(r.Attributes))
}

// Entry is a record as returned by List, with the sizes before truncation by
// [Query.MaxPayload]. Do not insert a truncated record again: it is not a complete
// message.
type Entry struct {
	Record
	// PayloadSize and AttributesSize are the full sizes of payload and attributes in
	// bytes.
	PayloadSize, AttributesSize int
}

// Size returns the bytes that the complete record counts towards bounds, however
// much of it is in the entry.
func (e Entry) Size() int64 {
	return int64(len(e.Topic) + e.PayloadSize + e.AttributesSize)
}

// ClaimOptions are the arguments of a claim.
type ClaimOptions struct {
	// Limit is the maximum number of records to claim. It must be positive.
	Limit int
	// MaxBytes bounds the sum of the sizes of the claimed records: the claim ends
	// before the record that would exceed it. A single record may exceed it. Zero
	// means no bound.
	MaxBytes int64
	// Lease is how long the records stay hidden from other claims. It must be
	// positive.
	Lease time.Duration
	// SkipScheduled leaves out records whose DeliverAt is in the future.
	SkipScheduled bool
	// PerTopic is the maximum number of records of each topic. Zero means no
	// maximum: the claim takes the longest due records, whatever their topics. With
	// PerTopic, the claim visits topics in the order described at AfterTopic and
	// returns the records of a topic together.
	PerTopic int
	// AfterTopic is the topic after which a claim with PerTopic begins. Topics are
	// ordered by their bytes, or in another fixed order of the store's database.
	// After the last topic the claim continues with the first one, so AfterTopic
	// itself is visited last. Empty begins with the first topic.
	AfterTopic string
	// SkipTopics are the topics that a claim with PerTopic leaves out.
	SkipTopics []string
}

// Change says what becomes of a claimed record that was not delivered.
type Change struct {
	// ID and LeaseToken identify the record and the claim that holds it. A change
	// with an empty LeaseToken has no effect.
	ID, LeaseToken string
	// After is how long to wait until the record is due again; a negative value
	// counts as zero.
	After time.Duration
	// LastError replaces the record's LastError unless it is empty.
	LastError string
	// Dead makes the record dead instead of due again.
	Dead bool
	// Untried takes back the attempt that the claim counted, for a record that was
	// claimed and not posted.
	Untried bool
	// Hold renews the lease instead of giving the record back: LeaseToken holds it
	// until After has passed, also if the lease has ended and no other claim has
	// taken the record. It has no effect on a record that becomes dead.
	Hold bool
}

// Query selects records to list. A record must match all fields that are set.
type Query struct {
	// IDs selects records by ID, in any number; empty selects all. Unknown IDs are
	// no error. Limit applies to them too.
	IDs []string
	// DedupKey selects the record that holds a key: as its DedupKey or, as described
	// at Insert, as its ID. Empty selects all.
	DedupKey string
	// State selects records of one state; nil selects all.
	State *State
	// Topic selects records of one topic; empty selects all.
	Topic string
	// After is the ID of the last record of the previous page; empty for the first
	// page.
	After string
	// Limit is the maximum number of records to return; zero means 100.
	Limit int
	// MaxPayload truncates each payload, and each attributes object, to this many
	// bytes. A truncated text is not valid JSON and may end within a character. Zero
	// returns both complete. A negative number returns neither: they are nil.
	MaxPayload int
}

// Selection selects records to retry, discard or count in one of three ways: by IDs,
// by Topic, or All. More than one of them is ErrInvalid. The zero Selection selects
// nothing, so that nothing is discarded by mistake.
type Selection struct {
	// IDs selects records by ID. Unknown IDs are no error; empty selects none.
	IDs []string
	// Topic selects all records of a topic; empty selects none.
	Topic string
	// All selects every record.
	All bool
	// State restricts the selection to records of one state; nil does not. It
	// selects nothing by itself.
	State *State
}

// Stats are the counts of a store.
type Stats struct {
	// Pending and Dead count the records of each state.
	Pending, Dead int
	// Held counts the pending records whose lease has not ended.
	Held int
	// Bytes is the sum of the records' sizes.
	Bytes int64
	// Oldest is the CreatedAt of the oldest pending record, and Age the time since
	// then, by the store's clock. Both are zero if no record is pending.
	Oldest time.Time
	Age    time.Duration
}

// Store keeps records. Its methods are safe for concurrent use. Times are those of
// the store's clock: callers pass durations, so that the clocks of several processes
// need not agree.
//
// If Insert returns an error, none of the records is stored, with one exception:
// they may be stored if, during the commit, the connection to a database server
// fails or the context ends. Repeat the insert then; records that are in the store
// already are left unchanged. If the context has ended before a method begins, it
// returns the context's error; a store may finish what it has begun. If a method
// returns a count together with an error, the count says how many records it changed
// before the error.
type Store interface {
	// Check reports whether the store can be used; the error names a missing part.
	// It may take its time and try every operation, as long as it changes no record
	// and leaves nothing behind. The client calls it on Start. A store whose Check
	// does more than read should also be a [Prober].
	Check(ctx context.Context) error

	// Insert stores all records or none, durably if the store is durable. They are
	// due after delay; a negative delay counts as zero. CreatedAt and DueAt of the
	// records are ignored. A record may be Dead from the start. A pending record
	// with a LeaseToken is held by that token until it is due.
	//
	// Insert leaves a record unchanged whose ID is in the store already, even if the
	// store is full, so that an insert of unknown outcome can be repeated. It leaves
	// out a record with a DedupKey if the key is held by a record in the store or by
	// an earlier record of the same call: one that has the same DedupKey, or that
	// has the key as its ID, as all records with a key once had. The error is
	// ErrFull when the store's bound is reached, and ErrNeverFits when the new
	// records exceed it by themselves.
	Insert(ctx context.Context, delay time.Duration, records ...Record) error

	// Claim leases due pending records, the longest due first and then by ID, and
	// counts an attempt for each. It returns no records and no error if none is due.
	// With options.PerTopic it visits one topic after the other, up to that many
	// records of each, until Limit or MaxBytes is reached. After hundreds of topics
	// without due records, such a claim may visit the others in a different order,
	// and may end once it has claimed something; later claims visit the rest.
	// Concurrent claims never return the same record. A claimed record is due again
	// when the lease ends, so records that keep failing do not come before those
	// that have waited longer.
	Claim(ctx context.Context, options ClaimOptions) ([]Record, error)

	// Delete removes records, regardless of who holds them, and returns how many it
	// removed. Unknown IDs are no error.
	Delete(ctx context.Context, ids ...string) (int, error)

	// Reschedule gives claimed records back or renews their leases, and returns how
	// many it changed. It skips a change whose token no longer holds the record,
	// because another claim has it.
	Reschedule(ctx context.Context, changes ...Change) (int, error)

	// Next returns how long it takes until the first pending record is due, zero if
	// one is due now; false if there is no pending record.
	Next(ctx context.Context) (time.Duration, bool, error)

	// Stats counts the records.
	Stats(ctx context.Context) (Stats, error)

	// List returns records by ascending ID. A database store does not fetch what
	// MaxPayload truncates.
	List(ctx context.Context, query Query) ([]Entry, error)

	// Count returns how many records Retry or Discard would change now. It may have
	// to read all records.
	Count(ctx context.Context, selection Selection) (int, error)

	// Retry makes the selected records pending and due now, regardless of who holds
	// them, and returns how many it changed. Their attempts and last error are kept.
	Retry(ctx context.Context, selection Selection) (int, error)

	// Discard deletes the selected records without delivering them and returns how
	// many it deleted.
	Discard(ctx context.Context, selection Selection) (int, error)
}

// Warner is a store that may work although its setup deserves the attention of an
// operator.
type Warner interface {
	// Warnings returns one sentence for each warning. The client calls it after a
	// successful Check on Start and logs the sentences.
	Warnings(ctx context.Context) []string
}

// Prober is a store with a check that is cheap enough to run every second.
type Prober interface {
	// Probe reports whether the store can be used, like Check, but writes nothing.
	// The client's readiness check calls it instead of Check.
	Probe(ctx context.Context) error
}

// Failing is a store that can fail permanently while it is open, for example because
// its file was removed. The app then cannot store messages in the outbox until it is
// restarted, and the client's Ready reports that. A store that wraps another one
// should pass Failed on.
type Failing interface {
	Store

	// Failed returns why the store has failed permanently, or nil. It answers from
	// memory, without blocking.
	Failed() error
}

// Tx is a transaction of the caller, such as a *sql.Tx. The store never calls Commit
// or Rollback: they distinguish a transaction from a connection or a pool, on which
// a statement would take effect at once. Records with a DedupKey also need a
// transaction that can be queried: the stores document by which method.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	Commit() error
	Rollback() error
}

// TxStore is a store whose table is in the caller's database and that can insert
// records in a transaction there.
type TxStore interface {
	Store

	// InsertTx inserts records, due at once, as part of a transaction: they are in
	// the store if and only if it commits. A record whose ID or DedupKey is in the
	// store already is left out as by Insert. After an error, roll the transaction
	// back. The error is ErrFull when the store's bound is reached, possibly also
	// for records that are in the store already.
	InsertTx(ctx context.Context, tx Tx, records ...Record) error

	// HolderTx returns the ID of the record that holds a DedupKey, as seen by the
	// transaction; false if there is none.
	HolderTx(ctx context.Context, tx Tx, dedupKey string) (id string, ok bool, err error)
}
