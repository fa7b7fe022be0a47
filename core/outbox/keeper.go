package outbox

import (
	"context"
	"fmt"
	"time"
)

// Keeper is a store that remembers the keys of records after they have left it, so
// that a late copy is left out. All stores of this module are keepers.
//
// A remembered key is not a record: List, Stats and the bounds ignore it, and Retry
// and Discard do not find it.
type Keeper interface {
	Store

	// InsertNew inserts like Insert and reports for each record whether it was
	// inserted or left out. The report may be wrong if records with the same key are
	// inserted concurrently, or if the store has repeated an insert whose outcome
	// was unknown.
	InsertNew(ctx context.Context, delay time.Duration, records ...Record) ([]bool, error)

	// Finish removes records, regardless of who holds them, and remembers the
	// DedupKey of each for the time keep, atomically. Insert leaves out a record
	// whose key is remembered. A record without a key leaves nothing behind. Finish
	// returns how many records it removed; unknown IDs are no error. keep must be
	// positive, and IDs have at most [MaxFinishedID] bytes.
	Finish(ctx context.Context, keep time.Duration, ids ...string) (int, error)

	// Forget removes at most limit keys whose time has ended and returns how many it
	// removed. A key stays in effect until it is removed. limit must be positive.
	Forget(ctx context.Context, limit int) (int, error)
}

// CommitSharer is a keeper that combines the commits of concurrent inserts by
// itself. For other stores, an inbox inserts the messages of concurrent requests
// together.
type CommitSharer interface {
	Keeper

	// SharesCommits reports whether inserts share commits.
	SharesCommits() bool
}

// TxKeeper is a keeper whose table is in the caller's database.
type TxKeeper interface {
	Keeper
	TxStore

	// FinishTx does what Finish does as part of a transaction: if the transaction
	// commits, the records are gone and their keys remembered. It returns 0 if
	// another transaction has finished or deleted them, and waits for one that is
	// about to. After an error, roll the transaction back.
	FinishTx(ctx context.Context, tx Tx, keep time.Duration, ids ...string) (int, error)
}

// MaxFinishedID is the maximum length, in bytes, of the ID of a finished record.
const MaxFinishedID = 250

// ValidateFinish checks the arguments of Finish. It is for implementations of
// Keeper. The error is ErrInvalid and names the argument.
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

// ValidateForget checks the argument of Forget. It is for implementations of Keeper.
// The error is ErrInvalid and names the argument.
func ValidateForget(limit int) error {
	if limit <= 0 {
		return fmt.Errorf("%w: limit is %d, not positive", ErrInvalid, limit)
	}
	return nil
}
