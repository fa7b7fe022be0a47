package outbox

import (
	"context"
	"fmt"
	"time"
)

// Keeper is a store that remembers the keys of records which have left it, so that
// a copy that comes late is left out. All stores of this module are keepers.
//
// A remembered key is no record: it is not listed or counted, neither in Stats nor
// in bounds, and Retry and Discard do not find it.
type Keeper interface {
	Store

	// InsertNew is Insert, and tells of each record whether it was inserted or left
	// out. That may be wrong where records with the same key are inserted at the
	// same time, and where the store has repeated an insert of unknown outcome.
	InsertNew(ctx context.Context, delay time.Duration, records ...Record) ([]bool, error)

	// Finish removes records, whoever holds them, and remembers the DedupKey of
	// each for a time, in one step: Insert leaves out a record whose key is
	// remembered. A record without a key leaves nothing. Finish returns how many
	// records there were; unknown IDs are no error. keep must be positive, and IDs
	// have at most [MaxFinishedID] bytes.
	Finish(ctx context.Context, keep time.Duration, ids ...string) (int, error)

	// Forget removes keys that were remembered long enough, at most so many, and
	// returns how many. A key may hold until it is removed. limit must be
	// positive.
	Forget(ctx context.Context, limit int) (int, error)
}

// CommitSharer is a keeper whose concurrent inserts share commits by themselves.
// Where a store is none, an inbox inserts the messages of concurrent requests
// together.
type CommitSharer interface {
	Keeper

	// SharesCommits reports whether inserts share commits.
	SharesCommits() bool
}

// TxKeeper is a keeper that lives in a database of the caller's.
type TxKeeper interface {
	Keeper
	TxStore

	// FinishTx is Finish as part of a transaction: the records are gone, and their
	// keys remembered, if and only if it commits. It returns 0 if another
	// transaction has finished or deleted them, and waits for one that is about
	// to. After an error the transaction is to be rolled back.
	FinishTx(ctx context.Context, tx Tx, keep time.Duration, ids ...string) (int, error)
}

// MaxFinishedID is how many bytes the ID of a record may have that is finished.
const MaxFinishedID = 250

// ValidateFinish says what is wrong with the arguments of Finish, for stores. The
// error is ErrInvalid and names the argument.
func ValidateFinish(keep time.Duration, ids ...string) error {
	if keep <= 0 {
		return fmt.Errorf("%w: keep is %s, not positive", ErrInvalid, keep)
	}
	for i, id := range ids {
		if len(id) > MaxFinishedID {
			return fmt.Errorf("%w: ids[%d] has %d bytes, more than %d", ErrInvalid, i, len(id), MaxFinishedID)
		}
	}
	return nil
}

// ValidateForget says what is wrong with the argument of Forget, for stores. The
// error is ErrInvalid and names it.
func ValidateForget(limit int) error {
	if limit <= 0 {
		return fmt.Errorf("%w: limit is %d, not positive", ErrInvalid, limit)
	}
	return nil
}
