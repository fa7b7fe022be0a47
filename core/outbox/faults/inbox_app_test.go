//go:build unix

package faults

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"time"

	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// receive is the main function of an app that receives: it has an inbox, and serves
// its handler at an address. It runs until it is killed or the context ends.
//
// The handler says which message it has handled. Where the store is in a database
// for callers, its effect is a row of the table effects, in one transaction with the
// removal of the message.
func (a app) receive(ctx context.Context, store outbox.Store) error {
	inbox, err := delivery.NewInbox(keeperFor(store, a.Lease), delivery.InboxOptions{
		Timeout: 2 * time.Second, MinBackoff: 20 * time.Millisecond, MaxBackoff: 100 * time.Millisecond, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return err
	}
	effect := func(context.Context, string) error { return nil }
	if open := kinds[a.Store].openDatabase; open != nil {
		db, err := open(a.Place)
		if err != nil {
			return err
		}
		defer func() { _ = db.Close() }()
		effect = func(ctx context.Context, id string) error { return effectOnce(ctx, db, id) }
	}
	handler := delivery.Queued(inbox, func(ctx context.Context, m delivery.Message[payload]) error {
		time.Sleep(rand.N(5 * time.Millisecond))
		if rand.IntN(20) == 0 {
			return errors.New("it fails now and then")
		}
		if err := effect(ctx, m.Payload.ID); err != nil {
			return err
		}
		say(lineHandled, m.Payload.ID)
		return nil
	}, delivery.WithTopic(topic), delivery.WithLogger(slog.New(slog.DiscardHandler)))
	if err := inbox.Start(ctx); err != nil {
		return err
	}
	listener, err := net.Listen("tcp", a.Listen)
	for deadline := time.Now().Add(patience / 2); err != nil && time.Now().Before(deadline); {
		time.Sleep(10 * time.Millisecond) // something else has the port for a moment
		listener, err = net.Listen("tcp", a.Listen)
	}
	if err != nil {
		return err
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: patience}
	go func() { _ = server.Serve(listener) }()
	say(lineStarted)
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin)
		os.Exit(3) // the test has gone
	}()
	<-ctx.Done()
	return nil
}

// effectOnce writes a row and removes the message in one transaction.
func effectOnce(ctx context.Context, db *sql.DB, id string) error {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // nothing after a commit
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("INSERT INTO effects (id) VALUES ('%s')", id)); err != nil {
		return err
	}
	if err := delivery.DoneTx(ctx, tx); err != nil {
		return err
	}
	return tx.Commit()
}

// shortKeeper is a shortLease for an inbox, of what it claims and of what it inserts, and shortTxKeeper one that takes part in
// transactions.
type (
	shortKeeper struct {
		outbox.Keeper
		lease time.Duration
	}
	shortTxKeeper struct {
		outbox.TxKeeper
		lease time.Duration
	}
)

func keeperFor(store outbox.Store, lease time.Duration) outbox.Keeper {
	if withTx, ok := store.(outbox.TxKeeper); ok {
		return shortTxKeeper{withTx, lease}
	}
	return shortKeeper{store.(outbox.Keeper), lease}
}

func (s shortKeeper) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	options.Lease = min(options.Lease, s.lease)
	return s.Keeper.Claim(ctx, options)
}

func (s shortKeeper) InsertNew(ctx context.Context, delay time.Duration, records ...outbox.Record) ([]bool, error) {
	return s.Keeper.InsertNew(ctx, min(delay, s.lease), records...)
}

func (s shortTxKeeper) InsertNew(ctx context.Context, delay time.Duration, records ...outbox.Record) ([]bool, error) {
	return s.TxKeeper.InsertNew(ctx, min(delay, s.lease), records...)
}

func (s shortTxKeeper) Claim(ctx context.Context, options outbox.ClaimOptions) ([]outbox.Record, error) {
	options.Lease = min(options.Lease, s.lease)
	return s.TxKeeper.Claim(ctx, options)
}
