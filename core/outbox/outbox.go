// Package outbox keeps the messages that are accepted but not yet delivered.
//
// A [Store] is a table of messages, each a [Record]. The client inserts a record
// when a message cannot be delivered at once; its relay, and the server's
// rescuer through the recovery list, claim records, post them and delete what
// the server took. Claiming is leasing: a claimed record is
// hidden from other claims until the lease ends, so several processes may
// share a store, and what a dead process held comes back by itself.
//
// Stores in this module: [github.com/postoffice-go/postoffice/core/outbox/sqlite]
// keeps a file of its own and survives crashes;
// [github.com/postoffice-go/postoffice/core/outbox/sqlstore] keeps a table in
// a database of the caller's, which several processes may share;
// [github.com/postoffice-go/postoffice/core/outbox/memory] is for tests.
// A store of your own passes the suite in
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

// Errors of a store. They are matched with [errors.Is].
var (
	// ErrFull means that the store has reached its bound and takes no more.
	ErrFull = errors.New("outbox is full")
	// ErrNeverFits means that the records of one insert exceed the bound of the
	// store by themselves, so that waiting for room is of no use. It wraps
	// ErrFull.
	ErrNeverFits = fmt.Errorf("%w: the bound is too small for the insert", ErrFull)
	// ErrClosed means that the store was closed.
	ErrClosed = errors.New("outbox is closed")
	// ErrInvalid means that the call's arguments cannot be carried out.
	ErrInvalid = errors.New("outbox: invalid argument")
)

// State tells whether a record is still to be delivered. The zero value is
// Pending, the state in which every record begins.
type State int

const (
	// Pending records are delivered when they are due. It is the default.
	Pending State = iota
	// Dead records were refused for good by the server. They are kept, and
	// not tried again, until a person retries or discards them.
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
	// ID is a UUIDv7 (RFC 9562) in its canonical text form, so that records
	// sort by the time they were made. It is never used for another record,
	// also not when this one has left the store: whoever deletes by an ID that
	// is out of date must not delete another message. Stores take any text of
	// up to 255 bytes, in UTF-8 and without NUL, that does not begin with U+0001.
	ID string
	// DedupKey is what the record holds while it is in the store: Insert leaves
	// out a record whose key another one holds. Stores take any text like that
	// of an ID; empty for none.
	DedupKey string
	// Topic is the topic to publish to, in UTF-8 and without NUL.
	Topic string
	// Payload is the JSON object to publish. Insert refuses as ErrInvalid what
	// does not begin and end with its braces; it does not parse the rest.
	Payload json.RawMessage
	// Attributes is a JSON object of strings with its keys in order, so that
	// records with equal attributes have equal bytes. Records may share them:
	// stores do not modify them. Insert checks it like the payload.
	Attributes json.RawMessage
	// DeliverAt is the time before which consumers must not get the message;
	// zero for as soon as possible. It does not delay the post to the
	// server, which holds scheduled messages itself. Stores keep at least
	// microseconds, of the years 1 to 9999; Insert refuses others as
	// ErrInvalid.
	DeliverAt time.Time
	// CreatedAt is when the record was inserted, by the store's clock.
	CreatedAt time.Time
	// DueAt is when a pending record may be claimed: the end of its backoff
	// or of its lease, by the store's clock. That of a dead one means nothing.
	DueAt time.Time
	// Attempts counts the claims, the current one included, and the attempts
	// before the record was inserted.
	Attempts int
	// LastError says why the last attempt failed, in words without payload
	// or credentials. Empty before the first failure.
	LastError string
	// State is Pending, the default, or Dead; any other is ErrInvalid.
	State State
	// LeaseToken fences the claim that holds the record: only the holder of
	// the token can reschedule it. Empty when no claim holds it. A record
	// whose lease has ended keeps its token until the next claim.
	LeaseToken string
}

// Size is what the record counts for in bounds: the bytes of its topic,
// payload and attributes.
func (r Record) Size() int64 {
	return int64(len(r.Topic) + len(r.Payload) + len(r.Attributes))
}

// Entry is a record as List returns it, with the sizes of what
// [Query.MaxPayload] may have cut. A record that is cut is no message any more:
// do not insert it again.
type Entry struct {
	Record
	// PayloadSize and AttributesSize are the bytes of the whole payload and of
	// the whole attributes.
	PayloadSize, AttributesSize int
}

// Size is what the whole record counts for in bounds, however much of it the
// entry has.
func (e Entry) Size() int64 {
	return int64(len(e.Topic) + e.PayloadSize + e.AttributesSize)
}

// ClaimOptions says what to claim.
type ClaimOptions struct {
	// Limit is the most records to claim; it must be positive.
	Limit int
	// MaxBytes bounds the sum of the sizes of the claimed records: the claim
	// ends before the record that would exceed it. A single record may exceed
	// it. Zero means no bound.
	MaxBytes int64
	// Lease is how long the records stay hidden from other claims; it must
	// be positive.
	Lease time.Duration
	// SkipScheduled leaves out records whose DeliverAt is yet to come.
	SkipScheduled bool
	// PerTopic is the most records of one topic. Zero means no cap: the claim
	// goes by age alone, whatever the topics. With a cap it goes topic by topic,
	// in the order of AfterTopic, and returns the records in that order, those of
	// a topic together.
	PerTopic int
	// AfterTopic is the topic after which a claim with PerTopic begins. Topics
	// follow in the order of their bytes, or another fixed order of the store's
	// database. At the end the claim goes on with the first topic, so the one
	// named here comes last. Empty begins with the first topic.
	AfterTopic string
	// SkipTopics are topics that a claim with PerTopic takes nothing of.
	SkipTopics []string
}

// Change is the outcome of a claim that did not deliver, or, with Hold, has a
// claim go on.
type Change struct {
	// ID and LeaseToken name the record and the claim that holds it. An
	// empty LeaseToken names none.
	ID, LeaseToken string
	// After is how long to wait before the record is due again; below zero
	// counts as zero.
	After time.Duration
	// LastError replaces the record's LastError, unless it is empty.
	LastError string
	// Dead makes the record dead instead of due again.
	Dead bool
	// Untried takes back the attempt that the claim counted, for a record
	// that was claimed and then not posted.
	Untried bool
	// Hold renews the lease instead of giving the record back: LeaseToken goes
	// on to hold it until After has passed, also where the lease has ended and
	// no other claim has taken the record. It means nothing for one that
	// becomes dead.
	Hold bool
}

// Query selects records to list: those that all of its fields let through.
type Query struct {
	// IDs selects records one by one, as many as one likes; empty selects
	// all. Unknown IDs are no error. Limit holds for them too.
	IDs []string
	// DedupKey selects the record that holds a key: the one with that DedupKey
	// or, as Insert has it, that ID. Empty selects all.
	DedupKey string
	// State selects records of one state; nil selects all.
	State *State
	// Topic selects records of one topic; empty selects all.
	Topic string
	// After is the ID of the last record of the page before; empty for the
	// first page.
	After string
	// Limit is the most records to return; zero means 100.
	Limit int
	// MaxPayload is the most bytes to return of each payload, and as many of
	// the attributes, which may be as large: of longer ones the first bytes.
	// Those are no JSON, and may end within a character. Zero returns both
	// whole, and a number below zero neither of them: they are nil.
	MaxPayload int
}

// Selection names records to retry, discard or count, in one of three ways: by
// IDs, by Topic, or All. More than one of them is ErrInvalid. The zero Selection
// names none, so that nothing is discarded by mistake.
type Selection struct {
	// IDs names records one by one. Unknown IDs are no error; empty names none.
	IDs []string
	// Topic names all records of a topic; empty names none.
	Topic string
	// All names every record.
	All bool
	// State narrows the selection to records of one state; nil does not. Alone it
	// names none.
	State *State
}

// Stats counts what a store holds.
type Stats struct {
	// Pending and Dead count the records of each state.
	Pending, Dead int
	// Held counts the pending records whose lease has not ended.
	Held int
	// Bytes is the sum of the records' sizes.
	Bytes int64
	// Oldest is the CreatedAt of the oldest pending record, and Age the time since
	// then, by the store's clock; zero if none is pending.
	Oldest time.Time
	Age    time.Duration
}

// Store keeps records. Its methods are safe for concurrent use. Times are
// the store's own: callers pass durations, so that the clocks of several
// processes need not agree.
//
// An error of Insert means that none of the records is kept, with one exception:
// when the connection to a database server fails, or the context ends, during the
// commit, they may have been kept. Repeat the insert then: records that are there
// already are left as they are. A method that has not begun when the context ends
// returns the context's error; a store may finish what it has begun. Methods that return a
// count beside an error have changed so many records before it.
type Store interface {
	// Check reports whether the store can be used, naming what is missing. It
	// may take its time and try what the store does, as long as no record
	// is changed and nothing of it remains: the client calls it at its start.
	// A store whose Check does more than look is also a [Prober].
	Check(ctx context.Context) error

	// Insert stores all records or none, durably where the store is durable.
	// They are due after delay; below zero counts as zero. CreatedAt and DueAt
	// of the records are not read. A record may be Dead from the start. A
	// pending one with a LeaseToken is held by it until due.
	//
	// A record whose ID is in the store already is left as it is, also when
	// the store is full, so that an insert of unknown outcome can be
	// repeated. A record with a DedupKey is left out in the same way if one
	// that is in the store, or comes before it in the call, holds the key: it
	// has the same DedupKey, or the key for its ID, as all records with a key
	// once had. ErrFull when the store's bound is reached, ErrNeverFits when
	// the records that are not there yet exceed it by themselves.
	Insert(ctx context.Context, delay time.Duration, records ...Record) error

	// Claim leases due pending records, the longest due first and then by ID,
	// counting an attempt of each. It returns none, and no error, when none is due.
	// With options.PerTopic it does so for one topic after the other, at most so
	// many records of each, until Limit or MaxBytes is reached. After hundreds of
	// topics without due records such a claim may visit the others in another
	// order, and may end when it has claimed something; later claims visit the
	// rest. Concurrent claims never return the same record. A claimed record is
	// due again when the lease ends, so records that fail again and again
	// do not come before those that have waited longer.
	Claim(ctx context.Context, options ClaimOptions) ([]Record, error)

	// Delete removes records, whoever holds them, and returns how many
	// there were. Unknown IDs are no error.
	Delete(ctx context.Context, ids ...string) (int, error)

	// Reschedule gives claimed records back, or renews their leases, and
	// returns how many it changed.
	// A change whose token does not hold the record any more is passed over:
	// another claim has it.
	Reschedule(ctx context.Context, changes ...Change) (int, error)

	// Next returns how long it takes until the first pending record is due,
	// zero if one is due now; false if there is no pending record.
	Next(ctx context.Context) (time.Duration, bool, error)

	// Stats counts the records.
	Stats(ctx context.Context) (Stats, error)

	// List returns records by ascending ID. What the query's MaxPayload cuts
	// off is not fetched from a database.
	List(ctx context.Context, query Query) ([]Entry, error)

	// Count returns how many records Retry or Discard would find now. It may
	// have to go through all records.
	Count(ctx context.Context, selection Selection) (int, error)

	// Retry makes the selected records pending and due now, whoever holds
	// them, and returns how many there were. What they have counted and
	// their last error are kept.
	Retry(ctx context.Context, selection Selection) (int, error)

	// Discard deletes the selected records without delivering them and
	// returns how many there were.
	Discard(ctx context.Context, selection Selection) (int, error)
}

// Warner is a store that can work and be set up in a way that an operator should
// know of.
type Warner interface {
	// Warnings returns what is to be said of a store on which Check has found no
	// fault, a sentence each. The client logs them at its start.
	Warnings(ctx context.Context) []string
}

// Prober is a store with a check that is cheap enough to be made every second.
type Prober interface {
	// Probe reports whether the store can be used, like Check, but only looks:
	// it writes nothing. The client's readiness check calls it instead of
	// Check.
	Probe(ctx context.Context) error
}

// Failing is a store that can fail for as long as it is open, whatever becomes
// of the cause, such as one whose file was removed under it. The app can then
// take no messages into the outbox until it starts anew, and the client's Ready
// says so. A store that wraps another passes Failed on.
type Failing interface {
	Store

	// Failed returns why the store has failed for good; nil if it has not. It
	// answers from memory, at once.
	Failed() error
}

// Tx is a transaction of the caller's, such as a *sql.Tx. Commit and Rollback
// are never called: they tell a transaction from a connection or a pool, on
// which a statement would take effect at once. Records with a DedupKey need a
// transaction that can be asked as well: the stores say by which method.
type Tx interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	Commit() error
	Rollback() error
}

// TxStore is a store that lives in a database of the caller's, and can insert
// records in a transaction there.
type TxStore interface {
	Store

	// InsertTx inserts records, due at once, as part of a transaction: they
	// are in the store if and only if it commits. A record whose ID or
	// DedupKey is in the store already is left out as by Insert. After an error
	// the transaction is to be rolled back. ErrFull when the store's bound is
	// reached, perhaps also for records that are in the store already.
	InsertTx(ctx context.Context, tx Tx, records ...Record) error

	// HolderTx returns the ID of the record that holds a DedupKey, as the
	// transaction sees it; false if there is none.
	HolderTx(ctx context.Context, tx Tx, dedupKey string) (id string, ok bool, err error)
}
