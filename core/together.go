package core

import (
	"bytes"
	"context"
	"fmt"
	"slices"

	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// acceptTogether accepts the messages of a unit of work, and uses or releases
// their capacity in memory. It returns the batches that were not accepted.
func (p *pipeline) acceptTogether(ctx context.Context, mode Mode, held []message.Batch) (Receipt, []message.Batch, error) {
	var receipt Receipt
	var err error
	rest := held
	switch mode {
	case Durable:
		receipt, err = p.commitTogether(ctx, held)
	case Memory:
		receipt, err = p.queueTogether(ctx, held)
	default:
		receipt, rest, err = p.postTogether(ctx, held)
	}
	if err != nil {
		return Receipt{Jobs: receipt.Jobs}, rest, err
	}
	for i := range held {
		emit(p.events.observer.Published, Event{Topic: held[i].Topic, Messages: len(held[i].Messages), State: receipt.State})
	}
	return receipt, nil, nil
}

// drop releases the capacity of messages of a unit of work and reports them as
// discarded.
func (p *pipeline) drop(held []message.Batch, cause error) {
	p.release(held)
	p.discarded(held, cause)
}

// release releases the capacity of messages of a unit of work.
func (p *pipeline) release(held []message.Batch) {
	for i := range held {
		p.queue.ReleaseSafe(&held[i])
	}
}

// discarded reports messages of a unit of work that are not accepted. The cause
// is nil if Options.FlushOn decided so.
func (p *pipeline) discarded(held []message.Batch, cause error) {
	for i := range held {
		if cause != nil {
			p.events.log.ErrorMessages("not accepted", held[i].Topic, len(held[i].Messages),
				"messages of a unit of work were not accepted and are discarded", "topic", held[i].Topic, "error", cause)
		}
		emit(p.events.observer.Discarded, Event{Topic: held[i].Topic, Messages: len(held[i].Messages), Err: cause})
	}
}

// commitTogether stores all messages in one commit. If the outbox fails, it
// posts a single message instead; posting several could succeed in part.
func (p *pipeline) commitTogether(ctx context.Context, held []message.Batch) (Receipt, error) {
	err := p.commit(ctx, true, held...)
	if err == nil {
		var ids []string
		for i := range held {
			ids = append(ids, held[i].IDs()...)
		}
		return Receipt{State: Stored, IDs: ids}, nil
	}
	if len(held) > 1 || len(held[0].Messages) > 1 || held[0].DedupKey != "" {
		p.removeLater(err, held...)
		return Receipt{}, fmt.Errorf("%w: %w", ErrNotAccepted, ofOutbox(err))
	}
	return p.insteadOfCommit(ctx, &held[0], err)
}

// queueTogether queues the messages. It first stores the messages with a
// deduplication key, because that can fail.
func (p *pipeline) queueTogether(ctx context.Context, held []message.Batch) (Receipt, error) {
	keyed, rest := splitKeyed(held)
	unused := held
	defer func() { p.release(unused) }() // also if the outbox panics
	ids, err := p.admitTogether(ctx, keyed)
	if err != nil {
		return Receipt{}, err
	}
	unused = keyed
	for i := range rest {
		p.queue.Expose(&rest[i])
		p.queue.Add(&rest[i], false)
	}
	return Receipt{State: Queued, IDs: ids}, nil
}

// postTogether groups messages that can share a request and posts them. It
// stores the messages that the server does not accept in one commit. It begins
// by storing the messages with a deduplication key: if that fails, none is
// accepted.
func (p *pipeline) postTogether(ctx context.Context, held []message.Batch) (Receipt, []message.Batch, error) {
	p.release(held)
	keyed, rest := splitKeyed(held)
	ids, err := p.admitTogether(ctx, keyed)
	if err != nil {
		return Receipt{}, held, err
	}
	receipt := Receipt{State: Delivered, IDs: ids}
	posting, cancel := uncancelled(ctx)
	defer cancel()
	var failed []undelivered
	for _, b := range grouped(rest) {
		jobs, outcome := p.attempt(posting, ctx, &b)
		if outcome == nil {
			receipt.Jobs = append(receipt.Jobs, jobs...)
			continue
		}
		receipt.Jobs = append(receipt.Jobs, outcome.Jobs...)
		if left := undeliveredOf(&b, outcome); len(left.failures) > 0 {
			failed = append(failed, left)
		}
	}
	if len(failed) > 0 {
		if err := p.storeAll(posting, ctx, 0, failed); err != nil {
			left := make([]message.Batch, len(failed))
			for i := range failed {
				left[i] = failed[i].batch
			}
			return receipt, left, fmt.Errorf("%w: %w", ErrNotAccepted, err)
		}
		for i := range failed {
			receipt.IDs = append(receipt.IDs, failed[i].batch.IDs()...)
		}
	}
	if len(receipt.IDs) > 0 {
		receipt.State = Stored
	}
	return receipt, nil, nil
}

// admitTogether stores messages with deduplication keys in one commit, to be
// posted from the outbox. It returns the IDs of the messages that have the
// keys.
func (p *pipeline) admitTogether(ctx context.Context, keyed []message.Batch) ([]string, error) {
	if len(keyed) == 0 {
		return nil, nil
	}
	var records []outbox.Record
	for i := range keyed {
		more, err := recordsOf(&keyed[i], 0, nil)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", ErrNotAccepted, err)
		}
		records = append(records, more...)
	}
	if err := p.storage.insert(ctx, ctx, 0, records...); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNotAccepted, ofOutbox(err))
	}
	p.relay.Wake()
	ids := make([]string, len(records))
	for i := range records {
		ids[i] = p.storage.holder(ctx, records[i])
	}
	return ids, nil
}

// splitKeyed separates the batches with a deduplication key from the others.
func splitKeyed(held []message.Batch) (keyed, rest []message.Batch) {
	for i := range held {
		if held[i].DedupKey != "" {
			keyed = append(keyed, held[i])
		} else {
			rest = append(rest, held[i])
		}
	}
	return keyed, rest
}

// grouped joins the batches that can share a request, in the order of their
// first messages.
func grouped(held []message.Batch) []message.Batch {
	if len(held) == 1 {
		return held
	}
	var groups []message.Batch
next:
	for i := range held {
		for j := range groups {
			if joins(&groups[j], &held[i]) {
				groups[j].Messages = append(groups[j].Messages, held[i].Messages...)
				groups[j].AddOrigins(held[i].Origins)
				continue next
			}
		}
		group := held[i]
		group.Messages = slices.Clip(group.Messages) // appending must not change held
		groups = append(groups, group)
	}
	return groups
}

// joins reports whether the messages of two batches can share a request.
func joins(a, b *message.Batch) bool {
	return a.Topic == b.Topic && a.DeliverAt.Equal(b.DeliverAt) && a.Shares() && b.Shares() && bytes.Equal(a.Attributes, b.Attributes)
}
