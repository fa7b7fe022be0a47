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

// settleTime bounds the calls of a deduplicator after the function has returned. The
// server may have hung up by then.
const settleTime = 5 * time.Second

// Errors of deduplication. Match them with [errors.Is].
var (
	// ErrLeaseLost means that the lease of a message has ended and another copy has
	// been begun, or may have been.
	ErrLeaseLost = errors.New("delivery: the lease of the message is lost")
	// ErrNoTransactions means that DoneTx was called without a deduplicator or an
	// inbox that supports transactions.
	ErrNoTransactions = errors.New("delivery: no deduplicator or inbox that supports transactions")
)

// State is the state of a message in a deduplicator.
type State int

const (
	// Begun means that the caller must handle the message.
	Begun State = iota + 1
	// Running means that another caller is handling the message.
	Running
	// Handled means that the message was handled before.
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

// Deduplicator remembers messages by their keys, which are any text. Its methods are
// safe for concurrent use. Test your own implementation with the suite in
// [github.com/postoffice-go/postoffice/core/delivery/deduptest].
type Deduplicator interface {
	// Begin claims a message to handle it. Among concurrent calls with a key, one
	// gets Begun, and a token for its claim. The others get Running, or Handled once
	// the message is done. The key is free again when the claim is aborted, when its
	// lease ends, or when the message is done and no longer kept.
	Begin(ctx context.Context, key string, lease time.Duration) (state State, token string, err error)

	// Done remembers for the time keep that a message was handled. It returns
	// ErrLeaseLost if another call has begun the message since, or if that is no
	// longer known; otherwise a lease that has ended is no error. Done may be
	// repeated.
	Done(ctx context.Context, key, token string, keep time.Duration) error

	// Abort releases a message that was not handled. It has no effect on a message
	// that is done, or that another call has begun since.
	Abort(ctx context.Context, key, token string) error
}

// LatestDeduplicator is a deduplicator that remembers the latest version of each
// key, for [WithLatest]. Keys of BeginLatest are separate from those of Begin. Test
// your own implementation with RunLatest of deduptest.
type LatestDeduplicator interface {
	Deduplicator

	// BeginLatest claims a version of a key to handle it. It returns Handled if that
	// version of the key or a newer one is done and still kept. Otherwise, among
	// concurrent calls with the key, whatever their versions, one gets Begun and the
	// others Running, as with Begin.
	//
	// Done and Abort take the key and the token as for Begin. Done replaces the
	// remembered version with the one that was begun. Abort, and the end of the
	// lease, leave the remembered version unchanged.
	BeginLatest(ctx context.Context, key string, version int64, lease time.Duration) (state State, token string, err error)
}

// TxDeduplicator is a deduplicator whose table is in the caller's database.
type TxDeduplicator interface {
	Deduplicator

	// DoneTx does what Done does as part of a transaction: the message is done if
	// and only if it commits. After an error, roll the transaction back.
	DoneTx(ctx context.Context, tx outbox.Tx, key, token string, keep time.Duration) error
}

// DoneTx marks the message as handled in the function's own transaction, in the
// database of the deduplicator or of the inbox. The effect of the message and the
// record of it are committed together or not at all: the effect happens exactly
// once, even if the lease ends, the process dies or the answer is lost. Call it with
// the context that the function got, or one derived from it, at any point in the
// transaction; the end is best, because other copies wait for the transaction.
//
// After an error, roll the transaction back: [ErrLeaseLost] means that another copy,
// or with [WithLatest] another version, has been begun, [ErrNoTransactions] that the
// handler has no deduplicator or inbox for it.
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
		return fmt.Errorf("%w: the deduplicator is %T", ErrNoTransactions, c.deduplicator)
	}
	err := deduplicator.DoneTx(ctx, tx, c.key, c.token, c.keep)
	if err == nil {
		c.inTx.Store(true)
	}
	return err
}

// done and abort end a claim, even if the server has hung up.
func (c *claim) done(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	err := c.deduplicator.Done(ctx, c.key, c.token, c.keep)
	if c.inTx.Load() && errors.Is(err, ErrLeaseLost) {
		return nil // done by the transaction; a newer version was begun since
	}
	return err
}

func (c *claim) abort(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
	defer cancel()
	return c.deduplicator.Abort(ctx, c.key, c.token)
}

// begin claims a message. errNoID means that the message has no id.
func (s *settings) begin(ctx context.Context, r *http.Request, e *envelope) (State, *claim, error) {
	claimed := &claim{deduplicator: s.deduplicator, keep: s.keep}
	var state State
	var err error
	if e.latestKey != "" {
		claimed.key = s.scopeOf(r) + " latest " + e.latestKey
		latest := s.deduplicator.(LatestDeduplicator) //nolint:forcetypeassert // checked by New
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

var errNoID = errors.New("the message has no id by which copies can be recognized")

// scopeOf returns the consumer of a request.
func (s *settings) scopeOf(r *http.Request) string {
	switch {
	case s.scope != "":
		return s.scope
	case r.RequestURI != "": // as sent, whatever a router has stripped
		return r.Host + r.RequestURI
	default:
		return r.Host + r.URL.EscapedPath()
	}
}

// keyOf returns the key of a message: the consumer, and what all copies of the
// message have in common; false for a message without any id.
//
// Ids of the server are numbers that restart at one with a new database, so the body
// is part of the key: another message must never be mistaken for a handled one.
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
