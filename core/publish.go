package core

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"
)

// storeTimeout bounds how long storing messages in the outbox may take.
const storeTimeout = 5 * time.Second

// Receipt tells what became of accepted messages.
type Receipt struct {
	// IDs are the ids, in the outbox, of the messages that were stored, in
	// the order of their payloads; empty if all were delivered or queued. With
	// WithMessageID they are the ids of all messages. With WithDedupKey it is
	// the id of the message that holds the key.
	IDs []string
	// State is Delivered if all messages were delivered, otherwise the
	// state of those that were not. It is Unknown beside an error.
	State State
	// Jobs are the ids of the server's jobs for the messages that it has
	// taken: one for each message and HTTP consumer, and one for each chunk of
	// a bulk and Pub/Sub consumer, in no useful order. With State Delivered, an
	// empty list that is not nil means that nobody consumes the topic, and the
	// server has thrown the messages away; nil means that it did not tell.
	Jobs []int64
}

// Publish posts a message to a topic. The payload is anything that
// encoding/json turns into an object: a struct, a map with string keys, a
// json.RawMessage. It encodes as encoding/json has it: time.Time as RFC 3339
// text, time.Duration as a number of nanoseconds, []byte as base64 text,
// big.Int as a number, decimal types as their own MarshalJSON or MarshalText
// says. Integers survive exactly, and may have 5,000 digits; other numbers
// become double precision at the server, so exact decimals belong in strings. A
// payload's own key "attributes" does not reach HTTP consumers: the server
// puts the message's attributes there.
//
// Publish returns nil only when the server has answered 201 or, failing
// that, the message is committed in the outbox. A message that the server
// refuses for good is stored as dead. Without an outbox every failure is
// returned.
//
// The payload may not be a string, a []byte or nil, and nests at most 1000 deep.
// Payload, attributes and topic together have at most 7,000,000 bytes, and the
// topic at most 255 characters.
//
// The call takes no longer than Config.Timeout, which grows with the message by
// 2 s for each MB, plus up to 5 s to store the message. Where the server does
// not know a topic of Config.Topics, at most once in 10 s, the topic is created
// and the message sent once more, which may take as long each. The deadline of
// ctx shortens that; its cancellation does not end the call, so that a client
// that hangs up on a handler does not leave a message undecided between sent
// and lost. Only while the outbox is full
// does the call wait, for room in it, until ctx ends; the error is
// ErrOutboxFull then. A message that exceeds the bound of the outbox by itself
// is not waited for: the error is [outbox.ErrNeverFits].
//
// Errors: ErrInvalidMessage when the message can never be delivered,
// ErrClosed after Stop, ErrNotAccepted otherwise, wrapping the cause: a
// *ResponseError, an error of the network, or of the outbox.
func (c *Client) Publish(ctx context.Context, topic string, payload any, options ...PublishOption) (Receipt, error) {
	return c.publish(ctx, topic, payload, nil, options)
}

func (c *Client) publish(ctx context.Context, topic string, payload any, p *Publisher, options []PublishOption) (Receipt, error) {
	if err := c.callable(ctx); err != nil {
		return Receipt{}, err
	}
	if !c.cfg.observer.watchesCalls() {
		return c.publishOne(ctx, topic, payload, p, options)
	}
	return c.watch(ctx, PublishCall{Topic: topic, Messages: 1}, func(ctx context.Context) (Receipt, error) {
		return c.publishOne(ctx, topic, payload, p, options)
	})
}

func (c *Client) publishOne(ctx context.Context, topic string, payload any, p *Publisher, options []PublishOption) (Receipt, error) {
	if p.mode() == Memory && p.options.FlushOn == nil {
		return c.publishToMemory(ctx, topic, payload, p, options)
	}
	b, err := newBatch(topic, p.base(), options)
	if err != nil {
		return Receipt{}, err
	}
	if err := b.add("payload", payload); err != nil {
		return Receipt{}, err
	}
	return c.accept(ctx, b, p)
}

// publishToMemory queues a message without a copy of its own: it is encoded
// into the batch.
func (c *Client) publishToMemory(ctx context.Context, topic string, payload any, p *Publisher, options []PublishOption) (Receipt, error) {
	encoder := payloadEncoders.Get().(*payloadEncoder)
	defer encoder.release()
	b := &encoder.lastPlain
	if topic == "" || topic != b.topic || len(options) > 0 || p.attributes != nil {
		made, err := newBatch(topic, p.base(), options)
		if err != nil {
			return Receipt{}, err
		}
		if made.identity != nil {
			if err := made.add("payload", payload); err != nil {
				return Receipt{}, err
			}
			return c.accept(ctx, made, p)
		}
		encoder.lastPlain.topic, b = topic, &made
	}
	encoded, err := encoder.encode("payload", payload)
	if err != nil {
		return Receipt{}, err
	}
	if err := b.checkSize("payload", encoded, b.attributes); err != nil {
		return Receipt{}, err
	}
	if !c.spillsNow() {
		b.origins = c.origin(ctx)
		put := c.batcher.put(b, encoded, encoder.turn)
		b.origins = nil // the next message has others
		if put {
			return Receipt{State: Queued}, nil
		}
	}
	with := *b
	with.payloads = [][]byte{bytes.Clone(encoded)}
	return c.accept(ctx, with, p)
}

// accept takes over checked messages in the publisher's mode.
func (c *Client) accept(ctx context.Context, b batch, p *Publisher) (Receipt, error) {
	if err := c.enter(); err != nil {
		return Receipt{}, err
	}
	defer c.leave()
	if len(b.payloads) == 0 {
		return Receipt{State: Delivered}, nil
	}
	if p.mode() != Off {
		b.origins = c.origin(ctx)
	}
	receipt, err := c.acceptBy(ctx, p, b)
	if err == nil && b.ids != nil && !b.deduplicated() {
		receipt.IDs = slices.Clone(b.ids) // the messages may wait in memory
	}
	return receipt, err
}

// acceptBy chooses how to take over messages.
func (c *Client) acceptBy(ctx context.Context, p *Publisher, b batch) (Receipt, error) {
	switch mode := p.mode(); {
	case b.deduplicated():
		return c.admit(ctx, b)
	case mode == Memory:
		return c.queue(ctx, b, p)
	case mode == Durable:
		return c.commit(ctx, b)
	default:
		return c.sendNow(ctx, b)
	}
}

// sendNow posts messages within the call.
func (c *Client) sendNow(ctx context.Context, b batch) (Receipt, error) {
	caller := ctx
	ctx, cancel := uncancelled(ctx)
	defer cancel()
	b.origins = nil // the context leads to them
	since := c.clock()
	if len(b.payloads) == 1 {
		jobs, err := c.sendOne(ctx, b)
		if err == nil {
			c.delivered(Event{Topic: b.topic, Messages: 1, Attempts: 1}, since, jobs)
			return Receipt{State: Delivered, Jobs: jobs}, nil
		}
		return c.keep(ctx, caller, b, []*failure{asFailure(err)}, nil)
	}
	d := &delivery{client: c, batch: b, givenUp: caller.Err, awaited: true, since: since, attempts: 1}
	if c.cfg.outbox != nil {
		d.deadline = time.Now().Add(c.cfg.bulkTimeout)
	}
	c.sendAll(ctx, d)
	return c.keep(ctx, caller, b, d.errs, d.jobs)
}

// PublishBulk posts many messages to a topic: each payload becomes a message
// of its own, all with the same attributes. They travel in requests of up to
// Config.BulkLimit payloads; the order within a request is kept by the
// server when it accepts it. Nothing is sent unless every payload is valid.
// No payloads are no messages, and no error: the state is Delivered.
//
// What the server does not accept is stored in the outbox as by Publish; one
// bad message does not hold back the others. With an outbox no request begins
// later than Config.BulkTimeout after the first, so that the call takes at most
// twice that, and 2 s for each MB of the last request: what could not be sent
// within it is stored. Without an outbox some messages may have been delivered
// when an error is returned: the Receipt then tells their Jobs, and the
// [*PartialError] which payloads were not.
func (c *Client) PublishBulk(ctx context.Context, topic string, payloads []any, options ...PublishOption) (Receipt, error) {
	return c.publishBulk(ctx, topic, payloads, nil, options)
}

func (c *Client) publishBulk(ctx context.Context, topic string, payloads []any, p *Publisher, options []PublishOption) (Receipt, error) {
	if err := c.callable(ctx); err != nil {
		return Receipt{}, err
	}
	if !c.cfg.observer.watchesCalls() {
		return c.publishMany(ctx, topic, payloads, p, options)
	}
	return c.watch(ctx, PublishCall{Topic: topic, Messages: len(payloads), Bulk: true}, func(ctx context.Context) (Receipt, error) {
		return c.publishMany(ctx, topic, payloads, p, options)
	})
}

func (c *Client) publishMany(ctx context.Context, topic string, payloads []any, p *Publisher, options []PublishOption) (Receipt, error) {
	b, err := newBatch(topic, p.base(), options)
	if err != nil {
		return Receipt{}, err
	}
	if b.deduplicated() {
		return Receipt{}, invalid(fieldError("WithDedupKey", "names one message, and PublishBulk makes many; use Publish for each"))
	}
	b.payloads = make([][]byte, 0, len(payloads))
	for i, payload := range payloads {
		if err := b.add(fmt.Sprintf("payload[%d]", i), payload); err != nil {
			return Receipt{}, err
		}
	}
	return c.accept(ctx, b, p)
}

// PartialError tells which payloads of a PublishBulk were not accepted. It
// wraps the reasons.
type PartialError struct {
	// Indexes are the positions, in the call's payloads, of those that were
	// neither delivered nor stored.
	Indexes []int
	// Err is why.
	Err error
}

// Error tells how many payloads were not accepted, and why.
func (e *PartialError) Error() string {
	return fmt.Sprintf("%d payloads: %v", len(e.Indexes), e.Err)
}

// Unwrap returns the reasons.
func (e *PartialError) Unwrap() error { return e.Err }

// uncancelled makes a context with the values and the deadline of ctx that
// is not cancelled with it.
func uncancelled(ctx context.Context) (context.Context, context.CancelFunc) {
	free := context.WithoutCancel(ctx)
	if deadline, ok := ctx.Deadline(); ok {
		return context.WithDeadline(free, deadline)
	}
	return free, func() {}
}

// sendOne posts a batch of one message. A topic of ours that the server does
// not know is created, and the message sent again.
func (c *Client) sendOne(ctx context.Context, b batch) ([]int64, error) {
	jobs, err := c.transport.postMessage(ctx, b, 0)
	if err != nil && asFailure(err).class == unknownTopic && c.ensureTopic(ctx, b.topic) {
		jobs, err = c.transport.postMessage(ctx, b, 0)
	}
	if err != nil {
		f := asFailure(err)
		f.ofOne()
		c.transport.breaker.blame(f)
		return nil, f
	}
	return jobs, nil
}

// sendAll sends a delivery, creating the topic as sendOne does. What was
// delivered or failed otherwise before the topic was unknown is not sent again.
func (c *Client) sendAll(ctx context.Context, d *delivery) {
	d.errs = make([]*failure, len(d.batch.payloads))
	all := make([]int, len(d.batch.payloads))
	for i := range all {
		all[i] = i
	}
	d.fail(all, errUnsent)
	d.send(ctx, all)
	if d.halt == nil || d.halt.class != unknownTopic || !c.ensureTopic(ctx, d.batch.topic) {
		return
	}
	rest := slices.DeleteFunc(all, func(i int) bool { return d.errs[i] == nil || d.errs[i].class != unknownTopic })
	d.fail(rest, errUnsent)
	d.halt = nil
	d.send(ctx, rest)
}

// keep stores what was not delivered and makes the receipt. While the outbox
// is full it waits for room until the context patience ends.
func (c *Client) keep(ctx, patience context.Context, b batch, errs []*failure, jobs []int64) (Receipt, error) {
	receipt := Receipt{Jobs: jobs}
	failed := failedIndexes(errs)
	if len(failed) == 0 {
		receipt.State = Delivered
		return receipt, nil
	}
	cause := causeOf(errs, failed)
	if c.cfg.outbox == nil {
		c.observeFailed(Event{Topic: b.topic}, errs, failed, never)
		return receipt, c.notAccepted(errs, failed, cause)
	}
	records, err := b.failedRecords(failed, errs)
	if err == nil {
		err = c.insert(ctx, patience, firstPause(errs, failed), records...)
	}
	if err != nil {
		c.observeFailed(Event{Topic: b.topic}, errs, failed, never)
		return receipt, c.notAccepted(errs, failed, errors.Join(cause, ofOutbox(err)))
	}
	c.observeFailed(Event{Topic: b.topic}, errs, failed, isPermanent)
	c.stored(b.topic, errs, failed)
	c.observeSpilled(b.topic, errs, failed)
	receipt.State = Stored
	receipt.IDs = ids(records)
	return receipt, nil
}

// firstPause draws the pause before failed messages are tried from the
// outbox: at least what the server asked for.
func firstPause(errs []*failure, failed []int) time.Duration {
	pause := backoff(1)
	for _, i := range failed {
		pause = max(pause, errs[i].retryAfter)
	}
	return pause
}

// notAccepted makes the error for payloads that were neither delivered nor
// stored.
func (c *Client) notAccepted(errs []*failure, failed []int, cause error) error {
	if len(errs) == 1 {
		return fmt.Errorf("%w: %w", ErrNotAccepted, cause)
	}
	return fmt.Errorf("%w: %w", ErrNotAccepted, &PartialError{Indexes: failed, Err: cause})
}

// failedIndexes returns the positions of what was not delivered.
func failedIndexes(errs []*failure) []int {
	var failed []int
	for i, err := range errs {
		if err != nil {
			failed = append(failed, i)
		}
	}
	return failed
}

// deliveredIndexes returns the positions of what was delivered.
func deliveredIndexes(errs []*failure) []int {
	var delivered []int
	for i, err := range errs {
		if err == nil {
			delivered = append(delivered, i)
		}
	}
	return delivered
}

// causeOf joins the different reasons of what failed.
func causeOf(errs []*failure, failed []int) error {
	var causes []error
	var texts []string
	for _, i := range failed {
		if text := errs[i].Error(); !slices.Contains(texts, text) {
			texts = append(texts, text)
			causes = append(causes, errs[i].cause)
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

// maxCauses bounds how many reasons one error tells.
const maxCauses = 5

// delivered notes that the server has taken messages.
func (c *Client) delivered(event Event, since time.Time, jobs []int64) {
	topic, messages := event.Topic, event.Messages
	c.throughput.add(messages, 0, 0)
	if c.cfg.observer.Delivered != nil {
		event.Age = ageSince(since)
		c.cfg.observer.Delivered(event)
	}
	if jobs != nil && len(jobs) == 0 {
		c.log.warn("no consumer", topic, "topic has no consumer: the server has thrown the message away", "topic", topic, "messages", messages)
		emit(c.cfg.observer.NoConsumer, Event{Topic: topic, Messages: messages, FromOutbox: event.FromOutbox})
	}
}

// buried notes that messages in the outbox became dead.
func (c *Client) buried(event Event) {
	c.log.error("dead", event.Topic, "server refuses messages for good: they are kept in the outbox as dead",
		"topic", event.Topic, "messages", event.Messages, "error", event.Err)
	c.throughput.add(0, 0, event.Messages)
	emit(c.cfg.observer.Dead, event)
}

// stored notes that messages which failed were committed to the outbox: those
// that the server refuses for good as dead.
func (c *Client) stored(topic string, errs []*failure, failed []int) {
	var dead, rest []int
	for _, i := range failed {
		if isPermanent(errs[i]) {
			dead = append(dead, i)
		} else {
			rest = append(rest, i)
		}
	}
	if len(dead) > 0 {
		c.buried(Event{Topic: topic, Messages: len(dead), Err: causeOf(errs, dead), Class: FailurePermanent})
	}
	if waiting := len(rest); waiting > 0 {
		cause := causeOf(errs, rest)
		c.log.warn("stored", topic, "messages could not be delivered: they are stored in the outbox", "topic", topic, "messages", waiting, "error", cause)
		c.throughput.add(0, waiting, 0)
		emit(c.cfg.observer.Stored, Event{Topic: topic, Messages: waiting, Err: cause})
		c.relay.wake()
	}
}

// Health asks the server how it is. It returns nil when the server says that
// it is well, ErrUnhealthy when it says that it is not, an error
// that wraps a *ResponseError for any other answer, and one that wraps the
// network's error for none. It takes no longer than
// Config.Timeout.
//
// It is for dashboards and for deployments that wait for the server, not for
// the probes of an orchestrator: those are served by [Client.Ready], for an
// app with an outbox does its work while the server is down. That the server
// says it is well means that it answers; it does not look at its own database
// to say so.
func (c *Client) Health(ctx context.Context) error {
	if err := c.present(); err != nil {
		return err
	}
	return c.transport.health(ctx)
}
