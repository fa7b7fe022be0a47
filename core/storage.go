package core

import (
	"context"
	"time"

	"github.com/google/uuid"

	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/office"
	"github.com/postoffice-go/postoffice/core/internal/queue"
	"github.com/postoffice-go/postoffice/core/internal/relay"
	"github.com/postoffice-go/postoffice/core/internal/storeguard"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// storage stores messages in the outbox. Calls wait in its waitlist for
// capacity.
type storage struct {
	store *storeguard.Store
	// tx is the outbox if it can join transactions of callers; otherwise nil.
	tx       outbox.TxStore
	waitlist waitlist
	// token is the lease token of messages that are stored and posted from
	// memory.
	token string
	// stopping ends the waits.
	stopping <-chan struct{}
	// forced returns an error when the client is forced to stop and would lose
	// messages that it does not store now.
	forced func() error
}

func newStorage(store *storeguard.Store, stopping <-chan struct{}, forced func() error) *storage {
	tx, _ := store.Store.(outbox.TxStore)
	return &storage{store: store, tx: tx, token: uuid.NewString(), stopping: stopping, forced: forced}
}

// insert stores records in the outbox. While the outbox is full, it waits for
// capacity until patience ends or the client is stopped.
func (s *storage) insert(ctx, patience context.Context, delay time.Duration, records ...outbox.Record) error {
	ask := func() error { return s.insertNow(ctx, relay.StoreTimeout, delay, records) }
	needed := loadOfRecords(records)
	if patience.Err() != nil || !s.waitlist.blocks(needed) {
		if err := ask(); patience.Err() != nil || !waitsForCapacity(err) {
			return err
		}
	}
	w := s.waitlist.join(needed)
	defer w.leave()
	return w.wait(patience, s.stopping, ask)
}

// insertNow stores records within a timeout. It bypasses the circuit breaker
// when the client is forced to stop, because no retry follows.
func (s *storage) insertNow(ctx context.Context, timeout, delay time.Duration, records []outbox.Record) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), timeout)
	defer cancel()
	if s.forced() != nil {
		return s.store.Store.Insert(ctx, delay, records...)
	}
	return s.store.Insert(ctx, delay, records...)
}

// hold stores batches of the queue, leased with the queue's token.
func (s *storage) hold(ctx context.Context, lease time.Duration, batches []queue.Held) error {
	var all []outbox.Record
	for _, batch := range batches {
		records, err := s.held(batch)
		if err != nil {
			return err
		}
		all = append(all, records...)
	}
	return s.insertNow(ctx, relay.StoreTimeout, lease, all)
}

// held returns the records of a batch of the queue, leased with the queue's
// token.
func (s *storage) held(batch queue.Held) ([]outbox.Record, error) {
	records, err := recordsOf(batch.Batch, batch.Attempts, nil)
	for i := range records {
		records[i].LeaseToken = s.token
		if batch.Failures != nil {
			records[i].LastError = batch.Failures[i].Error()
		}
	}
	return records, err
}

// noPatience returns an ended context, for callers that do not wait for
// capacity.
func noPatience() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}

// holderTimeout bounds the query for the holder of a deduplication key.
const holderTimeout = time.Second

// holder returns the id of the record in the outbox that has the key of a
// record that was just inserted: another record, or the inserted one. It
// returns the id of the inserted one if the query fails or the record was
// delivered in between.
func (s *storage) holder(ctx context.Context, record outbox.Record) string {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), holderTimeout)
	defer cancel()
	query := outbox.Query{DedupKey: record.DedupKey, Limit: 1, MaxPayload: -1}
	if holders, err := s.store.List(ctx, query); err == nil && len(holders) > 0 {
		return holders[0].ID
	}
	return record.ID
}

// recordsOf converts messages to records of the outbox. tried is the number of
// earlier attempts, and failures, if there are any, are the results of the last
// one. It assigns missing IDs.
func recordsOf(b *message.Batch, tried int, failures []*office.Failure) ([]outbox.Record, error) {
	if err := b.GiveIDs(); err != nil {
		return nil, err
	}
	records := make([]outbox.Record, len(b.Messages))
	for i := range b.Messages {
		record := outbox.Record{
			ID: b.Messages[i].ID, DedupKey: b.DedupKey, Topic: b.Topic,
			Payload: b.Messages[i].Payload, Attributes: b.AttributesOf(i), DeliverAt: b.DeliverAt, Attempts: tried,
		}
		if failures != nil {
			f := failures[i]
			record.LastError = f.Error()
			if !f.Untried {
				record.Attempts++
			}
			if f.Class == office.Permanent {
				record.State = outbox.Dead
			}
		}
		records[i] = record
	}
	return records, nil
}
