package core

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/office"
	"github.com/postoffice-go/postoffice/core/internal/queue"
	"github.com/postoffice-go/postoffice/core/internal/relay"
	"github.com/postoffice-go/postoffice/core/internal/share"
	"github.com/postoffice-go/postoffice/core/internal/typednil"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// pipeline executes a call that publishes: it checks and encodes the messages,
// selects a route, posts, stores or queues them, and returns the receipt.
type pipeline struct {
	gate     *gate
	events   *events
	encoders *encoders
	office   *office.Office
	sender   *deliver.Sender
	sharer   *share.Sharer
	queue    *queue.Queue
	relay    *relay.Relay // nil without an outbox
	storage  *storage     // nil without an outbox
	units    units
	// bulkTimeout is how long a bulk call with an outbox may begin further
	// requests, from its first one.
	bulkTimeout time.Duration
	stopping    <-chan struct{}
	joins       atomic.Bool // WithTx was called
}

// call is a call that publishes.
type call struct {
	publisher *Publisher // nil if there is none
	topic     string
	payload   any
	payloads  []any // for bulk, instead of payload
	bulk      bool
	tx        outbox.Tx // the transaction to join
	inTx      bool
	options   []PublishOption
}

// publish makes a call and reports it to the observer, if there is one.
func (p *pipeline) publish(ctx context.Context, k call) (Receipt, error) {
	if !p.events.observer.watchesCalls() {
		return p.run(ctx, k)
	}
	return p.watched(ctx, k)
}

func (p *pipeline) watched(ctx context.Context, k call) (Receipt, error) {
	about := PublishCall{Topic: k.topic, Messages: 1, Bulk: k.bulk}
	if k.bulk {
		about.Messages = len(k.payloads)
	}
	return p.events.watch(ctx, about, func(ctx context.Context) (Receipt, error) { return p.run(ctx, k) })
}

func (p *pipeline) run(ctx context.Context, k call) (Receipt, error) {
	p.join(ctx, &k)
	if k.inTx {
		if err := p.checkTx(k.tx); err != nil {
			return Receipt{}, err
		}
	} else if !k.bulk && k.publisher.mode() == Memory && k.publisher.unit == nil {
		return p.enqueue(ctx, &k)
	}
	d, err := p.compose(&k)
	if err != nil {
		return Receipt{}, err
	}
	return p.accept(ctx, &k, &d)
}

// compose checks and encodes the messages of a call.
func (p *pipeline) compose(k *call) (draft, error) {
	encoder := p.encoders.get()
	defer p.encoders.put(encoder)
	d, err := encoder.begin(k)
	switch {
	case err != nil:
	case k.bulk:
		err = d.addAll(encoder, k.payloads)
	default:
		err = d.add(encoder, k.payload)
	}
	return d, err
}

// enqueue encodes a message directly into a batch of the queue, without an
// intermediate copy.
func (p *pipeline) enqueue(ctx context.Context, k *call) (Receipt, error) {
	encoder := p.encoders.get()
	defer p.encoders.put(encoder)
	d, err := encoder.begin(k)
	if err != nil {
		return Receipt{}, err
	}
	if d.DedupKey != "" || d.messageID && !encoder.PutsMetadataInPayload() {
		own := d // d stays on the stack
		if err := own.add(encoder, k.payload); err != nil {
			return Receipt{}, err
		}
		return p.accept(ctx, k, &own)
	}
	encoded, id, _, err := d.encode(encoder, k.payload)
	if err != nil {
		return Receipt{}, err
	}
	if problem := message.CheckSize(payloadField, d.Topic, encoded, d.Attributes); problem != nil {
		return Receipt{}, invalidMessage(problem)
	}
	if !p.spillsNow() {
		d.Origins = p.events.origin(ctx)
		if p.queue.Put(&d.Batch, encoded, id, encoder.turn) {
			receipt := Receipt{State: Queued}
			if id != "" {
				receipt.IDs = []string{id}
			}
			return receipt, nil
		}
		d.Origins = nil
	}
	own := d
	own.Messages = []message.Message{{ID: id, Payload: bytes.Clone(encoded)}}
	return p.accept(ctx, k, &own)
}

// accept accepts checked messages, in the transaction or in the mode of the
// request.
func (p *pipeline) accept(ctx context.Context, k *call, d *draft) (Receipt, error) {
	if err := p.gate.enter(); err != nil {
		return Receipt{}, err
	}
	defer p.gate.leave()
	if len(d.Messages) == 0 {
		return Receipt{State: Delivered}, nil
	}
	if k.inTx {
		return p.insertTx(ctx, k.tx, d)
	}
	if d.DedupKey != "" && p.storage == nil {
		return Receipt{}, invalid(fieldError("WithDedupKey", "requires Config.Outbox, which stores one message per key"))
	}
	unit, mode := k.publisher.work(), k.publisher.mode()
	if mode != Off || unit != nil {
		d.Origins = p.events.origin(ctx)
	}
	held, err := false, error(nil)
	if unit != nil {
		held, err = unit.hold(ctx, &d.Batch)
	}
	receipt := Receipt{State: Held}
	switch {
	case err != nil:
		return Receipt{}, err
	case !held:
		receipt, err = p.route(ctx, mode, d)
	}
	if err == nil && d.messageID && d.DedupKey == "" {
		receipt.IDs = d.IDs() // the messages may still be in memory
	}
	return receipt, err
}

// route accepts messages in the way that their mode and options require.
func (p *pipeline) route(ctx context.Context, mode Mode, d *draft) (Receipt, error) {
	switch {
	case d.DedupKey != "":
		return p.admit(ctx, d)
	case mode == Memory:
		return p.inMemory(ctx, &d.Batch)
	case mode == Durable:
		return p.durably(ctx, &d.Batch)
	default:
		return p.now(ctx, &d.Batch)
	}
}

// now posts messages within the call, alone or in a request that concurrent
// calls share.
func (p *pipeline) now(ctx context.Context, b *message.Batch) (Receipt, error) {
	b.Origins = nil // the context of the call carries the origin
	posting, cancel := uncancelled(ctx)
	defer cancel()
	jobs, failed := p.attempt(posting, ctx, b)
	if failed == nil {
		return Receipt{State: Delivered, Jobs: jobs}, nil
	}
	return p.keep(posting, ctx, b, 0, failed)
}

// attempt posts messages once. The outcome is nil if all were delivered.
func (p *pipeline) attempt(ctx, caller context.Context, b *message.Batch) ([]int64, *deliver.Outcome) {
	turn := p.sharer.Join(ctx, b)
	if turn.Outcome != nil {
		return nil, turn.Outcome
	}
	return p.post(ctx, caller, b, turn)
}

// post posts messages in the calling goroutine. The outcome is nil if all were
// delivered.
func (p *pipeline) post(ctx, caller context.Context, b *message.Batch, turn share.Turn) ([]int64, *deliver.Outcome) {
	defer turn.End()
	if !turn.Until.IsZero() {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, turn.Until)
		defer cancel()
	}
	since := p.events.clock()
	if len(b.Messages) > 1 {
		return nil, p.sendAll(ctx, caller, *b, since)
	}
	jobs, f := p.sender.One(ctx, b)
	if f != nil {
		return nil, deliver.All(1, f)
	}
	p.events.delivered(deliver.Delivered{Topic: b.Topic, Messages: 1, Attempts: 1, Since: since, Jobs: jobs})
	return jobs, nil
}

// sendAll sends several messages.
func (p *pipeline) sendAll(ctx, caller context.Context, b message.Batch, since time.Time) *deliver.Outcome {
	job := deliver.Job{Batch: &b, GivenUp: caller.Err, Awaited: true, Delivered: func(indexes []int, jobs []int64) {
		p.events.delivered(deliver.Delivered{Topic: b.Topic, Messages: len(indexes), Attempts: 1, Since: since, Jobs: jobs})
	}}
	if p.storage != nil {
		job.Deadline = time.Now().Add(p.bulkTimeout)
	}
	return p.sender.Deliver(ctx, job)
}

// uncancelled returns a context with the values and the deadline of ctx, but
// without its cancellation.
func uncancelled(ctx context.Context) (context.Context, context.CancelFunc) {
	free := context.WithoutCancel(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(free, deadline)
	}
	return free, func() {}
}

// keep stores the messages that were not delivered, after the given number of
// earlier attempts, and returns the receipt. While the outbox is full it waits
// for capacity until the context patience ends.
func (p *pipeline) keep(ctx, patience context.Context, b *message.Batch, tried int, outcome *deliver.Outcome) (Receipt, error) {
	receipt := Receipt{Jobs: outcome.Jobs}
	failed := outcome.Failed()
	if len(failed) == 0 {
		receipt.State = Delivered
		return receipt, nil
	}
	if p.storage == nil {
		failures := pick(outcome.Failures, failed)
		p.events.failed(b.Topic, failures, false)
		return receipt, notAccepted(len(b.Messages), failed, causeOf(failures))
	}
	err := b.GiveIDs() // a repeated attempt to store them uses the same ids
	left := undeliveredOf(b, outcome)
	if err == nil {
		err = p.storeAll(ctx, patience, tried, []undelivered{left})
	}
	if err != nil {
		return receipt, notAccepted(len(b.Messages), failed, err)
	}
	receipt.State = Stored
	receipt.IDs = left.batch.IDs()
	return receipt, nil
}

// undelivered holds messages that were not delivered, and their failures.
type undelivered struct {
	batch    message.Batch
	failures []*office.Failure
}

func undeliveredOf(b *message.Batch, outcome *deliver.Outcome) undelivered {
	failed := outcome.Failed()
	return undelivered{batch: b.Pick(failed), failures: pick(outcome.Failures, failed)}
}

// storeAll stores messages that were not delivered in one commit, and reports
// them.
func (p *pipeline) storeAll(ctx, patience context.Context, tried int, rest []undelivered) error {
	var records []outbox.Record
	var failures []*office.Failure
	for i := range rest {
		failures = append(failures, rest[i].failures...)
		more, err := recordsOf(&rest[i].batch, tried, rest[i].failures)
		if err != nil {
			return err
		}
		records = append(records, more...)
	}
	if err := p.storage.insert(ctx, patience, deliver.FirstBackoff(failures), records...); err != nil {
		for i := range rest {
			p.events.failed(rest[i].batch.Topic, rest[i].failures, false)
		}
		return errors.Join(causeOf(failures), ofOutbox(err))
	}
	for i := range rest {
		if p.events.stored(rest[i].batch.Topic, rest[i].failures) {
			p.relay.Wake()
		}
	}
	return nil
}

// store is keep for the queue, which does not wait for capacity.
func (p *pipeline) store(ctx context.Context, b *message.Batch, tried int, outcome *deliver.Outcome) error {
	_, err := p.keep(ctx, noPatience(), b, tried, outcome)
	return err
}

// notAccepted returns the error for payloads that were neither delivered nor
// stored.
func notAccepted(payloads int, failed []int, cause error) error {
	if payloads == 1 {
		return fmt.Errorf("%w: %w", ErrNotAccepted, cause)
	}
	return fmt.Errorf("%w: %w", ErrNotAccepted, &PartialError{Indexes: failed, Err: cause})
}

// inMemory queues messages. If the server fails, it stores them instead.
func (p *pipeline) inMemory(ctx context.Context, b *message.Batch) (Receipt, error) {
	if p.spillsNow() && !p.storage.waitlist.blocks(loadOf(b)) {
		receipt, err := p.spill(ctx, b, ErrBreakerOpen)
		if err == nil || errors.Is(err, outbox.ErrNeverFits) {
			return receipt, err
		}
	} // if the outbox cannot store them, they wait in memory
	if reserved, _ := p.queue.Reserve(b); !reserved {
		if receipt, err := p.wait(ctx, b); err != nil || receipt.State == Stored {
			return receipt, err
		}
	}
	p.queue.Add(b, false)
	return Receipt{State: Queued}, nil
}

// wait waits for capacity in memory or in the outbox, whichever comes first. It
// reserves capacity in memory, or stores the messages in the outbox.
func (p *pipeline) wait(ctx context.Context, b *message.Batch) (Receipt, error) {
	var w *waiter
	defer func() {
		if w != nil {
			w.leave()
		}
	}()
	needed := loadOf(b)
	full := queue.ErrFull
	spills := p.storage != nil
	for {
		reserved, capacity := p.queue.Reserve(b)
		if reserved {
			return Receipt{}, nil
		}
		if spills && p.queue.IsFull(b) {
			if w != nil && w.mayAsk() || w == nil && !p.storage.waitlist.blocks(needed) {
				receipt, err := p.spill(ctx, b, queue.ErrFull)
				if !errors.Is(err, ErrOutboxFull) {
					return receipt, err
				}
				spills = waitsForCapacity(err)
			}
			if w == nil && spills {
				w = p.storage.waitlist.join(needed)
				full = errors.Join(queue.ErrFull, ErrOutboxFull)
			}
		}
		turn, again := w.next()
		select {
		case <-capacity:
		case <-again:
		case <-turn:
		case <-ctx.Done():
			return Receipt{}, fmt.Errorf("%w: %w", ErrNotAccepted, errors.Join(full, context.Cause(ctx)))
		case <-p.stopping:
			return Receipt{}, ErrClosed
		}
	}
}

// spillsNow reports whether messages go to the outbox because the server fails.
func (p *pipeline) spillsNow() bool { return p.storage != nil && p.office.IsOpen() }

// spill stores messages that were not sent. It does not wait for capacity.
func (p *pipeline) spill(ctx context.Context, b *message.Batch, cause error) (Receipt, error) {
	f := &office.Failure{Class: office.Transient, Cause: cause, Untried: true}
	return p.keep(ctx, noPatience(), b, 0, deliver.All(len(b.Messages), f))
}

// durably stores messages and queues them to be posted from memory.
func (p *pipeline) durably(ctx context.Context, b *message.Batch) (Receipt, error) {
	if p.storage == nil {
		p.events.log.Warn("durable", "", "AfterResponse is Durable, but there is no outbox: messages are posted within the call")
		return p.now(ctx, b)
	}
	err := p.commit(ctx, p.queue.ReserveSafe(b), *b)
	if err == nil {
		return Receipt{State: Stored, IDs: b.IDs()}, nil
	}
	return p.insteadOfCommit(ctx, b, err)
}

// insteadOfCommit posts messages that the outbox cannot store, because the
// server may accept them.
func (p *pipeline) insteadOfCommit(ctx context.Context, b *message.Batch, failed error) (Receipt, error) {
	receipt, err := p.now(ctx, b)
	if receipt.State != Stored {
		p.removeLater(failed, *b)
	}
	if err != nil {
		return receipt, fmt.Errorf("%w; %w", err, ofOutbox(failed))
	}
	return receipt, nil
}

// removeLater removes messages that were not meant to stay in the outbox, but
// may be there because storing them ran out of time. It leaves messages with a
// deduplication key, because another call may rely on them.
func (p *pipeline) removeLater(failed error, batches ...message.Batch) {
	if !errors.Is(failed, context.DeadlineExceeded) {
		return
	}
	for i := range batches {
		if batches[i].DedupKey == "" {
			p.relay.RemoveLater(batches[i].IDs())
		}
	}
}

// commit stores batches in one commit. If capacity in memory is reserved for
// them and the server works, they are then posted from memory: the queue holds
// the lease of the rows, which keeps the relay from posting them, too.
// Otherwise, and after an error or a panic of the outbox, commit releases the
// capacity.
func (p *pipeline) commit(ctx context.Context, reserved bool, batches ...message.Batch) error {
	queued := false
	defer func() {
		if reserved && !queued {
			p.release(batches)
		}
	}()
	fails := p.office.IsOpen()
	keyed := slices.ContainsFunc(batches, func(b message.Batch) bool { return b.DedupKey != "" })
	delay, patience := time.Duration(0), p.storage.store.Patience()
	leased := reserved && !fails && !keyed // only the outbox knows whether a key is in use
	switch {
	case leased:
		delay = p.relay.Lease()
	case !keyed:
		delay = deliver.Backoff(1)
	}
	if fails {
		patience = relay.StoreTimeout // the server cannot accept them instead
	}
	var records []outbox.Record
	for i := range batches {
		more, err := p.recordsToCommit(&batches[i], leased)
		if err != nil {
			return err
		}
		records = append(records, more...)
	}
	if err := p.storage.insertNow(ctx, patience, delay, records); err != nil {
		return err
	}
	if !leased {
		p.relay.Wake()
		return nil
	}
	queued = true
	for i := range batches {
		p.queue.Add(&batches[i], true)
	}
	return nil
}

// recordsToCommit returns the records of a batch for commit.
func (p *pipeline) recordsToCommit(b *message.Batch, leased bool) ([]outbox.Record, error) {
	if !leased {
		return recordsOf(b, 0, nil)
	}
	if err := b.GiveIDs(); err != nil {
		return nil, err
	}
	return p.storage.held(queue.Held{Batch: b, Attempts: 1}) // the attempt from memory
}

// admit stores a message with a deduplication key, to be posted from the
// outbox: only the outbox knows whether the key is in use.
func (p *pipeline) admit(ctx context.Context, d *draft) (Receipt, error) {
	ids, err := p.admitTogether(ctx, []message.Batch{d.Batch})
	if err != nil {
		return Receipt{}, err
	}
	return Receipt{State: Stored, IDs: ids}, nil
}

// checkTx checks the transaction of a call.
func (p *pipeline) checkTx(tx outbox.Tx) error {
	if p.storage == nil || p.storage.tx == nil {
		return ErrNoTransactions
	}
	if typednil.Is(tx) {
		return invalid(fieldError("tx", "is nil"))
	}
	return nil
}

// insertTx stores messages as part of a transaction. After an error the
// transaction must be rolled back.
func (p *pipeline) insertTx(ctx context.Context, tx outbox.Tx, d *draft) (Receipt, error) {
	store := p.storage.tx
	records, err := recordsOf(&d.Batch, 0, nil)
	if err == nil {
		err = store.InsertTx(ctx, tx, records...)
	}
	stored := d.IDs()
	if err == nil && d.DedupKey != "" {
		// The query runs in the transaction, because a pool of one connection
		// has no other connection.
		holder, ok, holderErr := store.HolderTx(ctx, tx, d.DedupKey)
		if err = holderErr; ok {
			stored = []string{holder}
		}
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrNotAccepted, ofOutbox(err))
	}
	p.relay.Expect()
	return Receipt{State: Stored, IDs: stored}, nil
}

// pick returns the items with the given indexes.
func pick[T any](items []T, indexes []int) []T {
	picked := make([]T, len(indexes))
	for i, index := range indexes {
		picked[i] = items[index]
	}
	return picked
}

// maxCauses is the maximum number of reasons that one error contains.
const maxCauses = 5

// causeOf joins the distinct reasons of failures.
func causeOf(failures []*office.Failure) error {
	var causes []error
	var texts []string
	for _, f := range failures {
		if text := f.Error(); !slices.Contains(texts, text) {
			texts = append(texts, text)
			causes = append(causes, f.Cause)
		}
		if len(causes) == maxCauses {
			break
		}
	}
	if len(causes) == 1 {
		return causes[0]
	}
	return errors.Join(causes...)
}
