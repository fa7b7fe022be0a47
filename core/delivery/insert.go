package delivery

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/relay"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// Limits of inserts.
const (
	// insertsTogether is how many calls of the store are in progress at a time,
	// unless it is an outbox.CommitSharer. Further messages wait for the next call,
	// which they share.
	insertsTogether = 2
	// maxInsert and maxInsertBytes bound the messages of a call.
	maxInsert      = 256
	maxInsertBytes = 2 << 20
)

// inserts are the messages that are being stored. Requests that arrive while calls
// of the store are in progress share the next call, and so its commit. The zero
// value is ready for use.
type inserts struct {
	// alone means that the store shares commits by itself.
	alone bool

	mu      sync.Mutex
	running int
	waiting []*insert
}

// insert is a message that is being stored.
type insert struct {
	record outbox.Record
	// held means that the relay gets the message without a claim.
	held bool
	// inserted and err are the outcome; done is closed when they are set.
	inserted bool
	err      error
	done     chan struct{}
	// lead makes the request store the messages of others with its own.
	lead chan []*insert
}

// insert stores a message, unless a copy exists, and passes it on for handling.
func (b *Inbox) insert(ctx context.Context, record outbox.Record) (inserted bool, err error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	i := &insert{record: record, done: make(chan struct{}), lead: make(chan []*insert, 1)}
	if b.inserts.begin(i) {
		b.insertGroup(ctx, []*insert{i})
		return i.inserted, i.err
	}
	select {
	case <-i.done:
	case group := <-i.lead:
		b.insertGroup(ctx, group)
	case <-ctx.Done():
		if b.inserts.leave(i) {
			return false, ctx.Err()
		}
		select { // a call of the store includes the message, or this request must begin one
		case <-i.done:
		case group := <-i.lead:
			b.insertGroup(ctx, group)
		}
	}
	return i.inserted, i.err
}

// begin reports whether a message may be stored now. Otherwise the message waits.
func (s *inserts) begin(i *insert) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.alone || s.running < insertsTogether {
		s.running++
		return true
	}
	s.waiting = append(s.waiting, i)
	return false
}

// leave removes a waiting message and reports whether it was still waiting.
func (s *inserts) leave(i *insert) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for n, other := range s.waiting {
		if other == i {
			s.waiting = append(s.waiting[:n:n], s.waiting[n+1:]...)
			return true
		}
	}
	return false
}

// next ends a call of the store and lets the first waiting message begin another.
func (s *inserts) next() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.waiting) == 0 {
		s.running--
		return
	}
	n, bytes := 0, int64(0)
	for n < min(len(s.waiting), maxInsert) {
		if bytes += s.waiting[n].record.Size(); n > 0 && bytes > maxInsertBytes {
			break
		}
		n++
	}
	group := s.waiting[:n:n]
	s.waiting = s.waiting[n:]
	group[0].lead <- group
}

// insertGroup stores messages. They do not depend on the request that does it.
func (b *Inbox) insertGroup(ctx context.Context, group []*insert) {
	defer b.inserts.next()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), relay.StoreTimeout)
	defer cancel()
	var held, others []*insert
	for _, i := range group {
		if i.held = b.relay.Reserve(i.record.Topic, i.record.Size()); i.held {
			i.record.LeaseToken, i.record.Attempts = b.token, 1
			held = append(held, i)
		} else {
			others = append(others, i)
		}
	}
	b.insertAlike(ctx, held)
	b.insertAlike(ctx, others)
}

// insertAlike stores messages that are either all held or all not held, in one step.
// If that fails, it stores them one by one, because one of them may be the reason.
func (b *Inbox) insertAlike(ctx context.Context, group []*insert) {
	if len(group) == 0 {
		return
	}
	err := b.insertStep(ctx, group)
	if alone := err != nil && len(group) > 1 && ctx.Err() == nil && !errors.Is(err, outbox.ErrClosed); alone {
		for _, i := range group {
			_ = b.insertStep(ctx, []*insert{i})
		}
	}
	for _, i := range group {
		if i.held && !i.inserted {
			b.relay.Forgo(i.record.Topic, i.record.Size())
		}
		close(i.done)
	}
}

// insertStep stores messages in one step and hands held ones to the relay.
func (b *Inbox) insertStep(ctx context.Context, group []*insert) error {
	delay, leased := time.Duration(0), time.Now()
	if group[0].held {
		delay = b.relay.Lease()
	}
	records := make([]outbox.Record, len(group))
	for n, i := range group {
		records[n] = i.record
	}
	var inserted []bool
	err := b.guard("storing messages", func() (err error) {
		inserted, err = b.store.InsertNew(ctx, delay, records...)
		if err == nil && len(inserted) != len(records) {
			err = fmt.Errorf("delivery: InsertNew of %T returned %d results for %d records", b.store, len(inserted), len(records))
		}
		return err
	})
	var handed []outbox.Record
	for n, i := range group {
		i.err, i.inserted = err, err == nil && inserted[n]
		if i.held && i.inserted {
			records[n].CreatedAt = leased
			handed = append(handed, records[n])
		}
	}
	if handed != nil {
		b.relay.Hand(ctx, leased, handed...)
	} else if !group[0].held && err == nil {
		b.relay.Wake()
	}
	return err
}
