package delivery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// settleTime bounds what is told to a deduplicator when the function has
// ended. The server may have hung up by then.
const settleTime = 5 * time.Second

// Errors of deduplication. They are matched with [errors.Is].
var (
	// ErrLeaseLost means that the lease of a message has ended, and that
	// another copy has taken over, or may.
	ErrLeaseLost = errors.New("delivery: the lease of the message is lost")
	// ErrNoTransactions means that DoneTx was called without a deduplicator or an
	// inbox that can take part in transactions.
	ErrNoTransactions = errors.New("delivery: no deduplicator or inbox that takes part in transactions")
)

// State is what a deduplicator knows of a message.
type State int

const (
	// Begun messages are the caller's to handle.
	Begun State = iota + 1
	// Running messages are being handled by somebody else.
	Running
	// Handled messages were handled before.
	Handled
)

// String returns "begun", "running" or "handled".
func (s State) String() string {
	switch s {
	case Begun:
		return "begun"
	case Running:
		return "running"
	case Handled:
		return "handled"
	default:
		return fmt.Sprintf("State(%d)", int(s))
	}
}

// Deduplicator remembers messages by their keys, which are any text. Its
// methods are safe for concurrent use. Implementations of your own pass the
// suite in
// [github.com/postoffice-go/postoffice/core/delivery/deduptest].
type Deduplicator interface {
	// Begin asks for a message to handle. Of any number of calls with a key,
	// one gets Begun, with a token that names its claim, until that claim is
	// aborted, or its lease has ended, or it is done and no longer kept; the
	// others get Running or, once it is done, Handled.
	Begin(ctx context.Context, key string, lease time.Duration) (state State, token string, err error)

	// Done remembers that a message was handled, for the given time.
	// ErrLeaseLost if another call has begun the message since, or if it is
	// not known any more whether one has; a lease that has ended is otherwise
	// no error. Done may be repeated.
	Done(ctx context.Context, key, token string, keep time.Duration) error

	// Abort gives a message back that was not handled. It has no effect on a
	// message that is done, or that another call has begun since.
	Abort(ctx context.Context, key, token string) error
}

// LatestDeduplicator is a deduplicator that remembers the latest version of each
// key, for [WithLatest]. Keys of BeginLatest are apart from those of Begin: the
// same text names something else. Implementations of your own pass the suite of
// LatestDeduplicator in deduptest.
type LatestDeduplicator interface {
	Deduplicator

	// BeginLatest asks for a version of a key to handle. It returns Handled if
	// that version of the key or a newer one is done and still kept. Otherwise,
	// of any number of calls with the key, whatever their versions, one gets
	// Begun and the others Running, as with Begin.
	//
	// Done and Abort take the key and the token as for Begin. Done remembers the
	// version that was begun instead of the one before. Abort, and the end of
	// the lease, leave the version that was remembered as it was.
	BeginLatest(ctx context.Context, key string, version int64, lease time.Duration) (state State, token string, err error)
}

// TxDeduplicator is a deduplicator in a database of the caller's.
type TxDeduplicator interface {
	Deduplicator

	// DoneTx is Done as part of a transaction: the message is done if and
	// only if it commits. After an error the transaction is to be rolled
	// back.
	DoneTx(ctx context.Context, tx outbox.Tx, key, token string, keep time.Duration) error
}

// DoneTx remembers that the message was handled as part of the function's own
// transaction, in the database of the deduplicator or of the inbox, so that the effect of the
// message and the memory of it are committed together or not at all: the
// effect happens exactly once, even if the lease ends, the process dies or
// the answer is lost. It is called with the context that the function got, or
// one made of it, at any place in the transaction; the end is best, because
// copies that come meanwhile wait for the transaction.
//
// After an error the transaction must be rolled back: [ErrLeaseLost] means
// that another copy, or with [WithLatest] another version, has taken over,
// [ErrNoTransactions] that the handler has no deduplicator or inbox for it.
func DoneTx(ctx context.Context, tx outbox.Tx) error {
	claimed, _ := ctx.Value(claimKey{}).(interface {
		doneTx(ctx context.Context, tx outbox.Tx) error
	})
	if claimed == nil {
		return ErrNoTransactions
	}
	return claimed.doneTx(ctx, tx)
}

// claim is a message that this process has begun.
type claim struct {
	deduplicator Deduplicator
	key, token   string
	keep         time.Duration
	inTx         atomic.Bool // DoneTx has succeeded
}

type claimKey struct{}

func (c *claim) doneTx(ctx context.Context, tx outbox.Tx) error {
	deduplicator, ok := c.deduplicator.(TxDeduplicator)
	if !ok {
		return fmt.Errorf("%w: it is %T", ErrNoTransactions, c.deduplicator)
	}
	err := deduplicator.DoneTx(ctx, tx, c.key, c.token, c.keep)
	if err == nil {
		c.inTx.Store(true)
	}
	return err
}

// done and abort end a claim, also when the server has hung up.
func (c *claim) done(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	err := c.deduplicator.Done(ctx, c.key, c.token, c.keep)
	if c.inTx.Load() && errors.Is(err, ErrLeaseLost) {
		return nil // it was done with the transaction, and a newer version has begun since
	}
	return err
}

func (c *claim) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	return c.deduplicator.Abort(ctx, c.key, c.token)
}

// begin asks the deduplicator for a message. errNoID means that nothing tells
// the message from others.
func (s *settings) begin(ctx context.Context, r *http.Request, e *envelope) (State, *claim, error) {
	claimed := &claim{deduplicator: s.deduplicator, keep: s.keep}
	var state State
	var err error
	if e.latestKey != "" {
		claimed.key = s.scopeOf(r) + " latest " + e.latestKey
		latest := s.deduplicator.(LatestDeduplicator) //nolint:forcetypeassert // New has checked it
		state, claimed.token, err = latest.BeginLatest(ctx, claimed.key, e.version, s.lease)
		return state, claimed, err
	}
	key, ok := s.keyOf(r, e)
	if !ok {
		return 0, nil, errNoID
	}
	claimed.key = key
	state, claimed.token, err = s.deduplicator.Begin(ctx, key, s.lease)
	return state, claimed, err
}

var errNoID = errors.New("the message has no id to tell copies by")

// scopeOf names the consumer of a request.
func (s *settings) scopeOf(r *http.Request) string {
	switch {
	case s.scope != "":
		return s.scope
	case r.RequestURI != "": // as it was sent, whatever a router has stripped
		return r.Host + r.RequestURI
	default:
		return r.Host + r.URL.EscapedPath()
	}
}

// keyOf makes the key of a message: the consumer, and what all copies of the
// message have in common. It is false for a message without any id.
//
// Ids of the server are numbers that begin at one again with a new database,
// so the body is part of the key: another message must never be taken for
// one that was handled.
func (s *settings) keyOf(r *http.Request, e *envelope) (string, bool) {
	scope := s.scopeOf(r)
	if id := e.attributes[core.MessageIDAttribute]; id != "" {
		return scope + " message " + id, true
	}
	if e.id == "" {
		return "", false
	}
	digest := sha256.Sum256(e.body)
	return scope + " job " + e.id + " " + hex.EncodeToString(digest[:]), true
}
