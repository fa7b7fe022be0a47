//go:build unix

package faults

import (
	"context"
	"time"

	"github.com/postoffice-go/postoffice/core/outbox"
)

// shortLease is a store that leases records for less time than the client
// asks for, so that a test need not wait a minute for what a killed app held
// to come back. Requests take much less time than that.
type shortLease struct {
	outbox.Store
	lease time.Duration
}

// shorten shortens the leases of a store; zero leaves them as they are.
func shorten(store outbox.Store, lease time.Duration) outbox.Store {
	if lease == 0 {
		return store
	}
	short := shortLease{store, lease}
	if withTx, ok := store.(outbox.TxStore); ok {
		return shortLeaseTx{short, withTx}
	}
	return short
}

// shortLeaseTx is a shortLease that takes part in transactions.
type shortLeaseTx struct {
	shortLease
	withTx outbox.TxStore
}

func (s shortLeaseTx) InsertTx(ctx context.Context, tx outbox.Tx, records ...outbox.Record) error {
	return s.withTx.InsertTx(ctx, tx, records...)
}

func (s shortLeaseTx) HolderTx(ctx context.Context, tx outbox.Tx, dedupKey string) (string, bool, error) {
	return s.withTx.HolderTx(ctx, tx, dedupKey)
}

func (s shortLease) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	options.Lease = min(options.Lease, s.lease)
	return s.Store.Claim(ctx, options)
}

func (s shortLease) Insert(ctx context.Context, delay time.Duration, records ...outbox.Record) error {
	if len(records) > 0 && records[0].LeaseToken != "" {
		delay = min(delay, s.lease)
	}
	return s.Store.Insert(ctx, delay, records...)
}
