package core

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// Mode says when the messages of a request are posted.
type Mode int

// Modes of a request's publisher.
const (
	// Off posts each message within the call that publishes it.
	Off Mode = iota
	// Durable commits each message to the outbox within the call, which
	// returns Stored, and posts it afterwards, together with those of other
	// requests. Calls at the same time share a commit. It needs an outbox;
	// without one, messages are posted as with Off, and the log warns. While
	// the outbox cannot store it, a message is posted within the call, too.
	Durable
	// Memory queues each message within the call, which returns Queued after
	// about a microsecond, and posts it afterwards, together with those of
	// other requests.
	//
	// It is the only way to publish that can lose accepted messages: those
	// that wait in memory, usually for the 20 ms of Batching.Delay and the
	// time of a post, are gone when the process crashes. Stop and Flush see
	// to them when it ends in order. While the server fails, and when
	// memory's bounds are reached, messages are stored in the outbox. Without
	// an outbox, or while it cannot be used, they are tried again until they
	// are delivered, or the client is stopped; without one what the server refuses for good is only logged and
	// reported to Observer.Dead.
	Memory
)

// String returns "off", "durable" or "memory".
func (m Mode) String() string {
	switch m {
	case Durable:
		return "durable"
	case Memory:
		return "memory"
	default:
		return "off"
	}
}

// Outcome is how the handler of a request ended.
type Outcome struct {
	// Status is the status of the answer.
	Status int
	// Panicked tells that the handler did not return; Status is zero then.
	Panicked bool
}

// Succeeded tells whether the handler returned with a status below 500. It
// serves as Options.FlushOn.
func Succeeded(outcome Outcome) bool { return !outcome.Panicked && outcome.Status < 500 }

// queue keeps messages in memory to be posted soon. Where that is not
// possible they are stored.
func (c *Client) queue(ctx context.Context, b batch, p *Publisher) (Receipt, error) {
	if c.spillsNow() && !p.holds() && !c.full.Load() {
		receipt, err := c.spill(ctx, b, ErrBreakerOpen)
		if !errors.Is(err, ErrOutboxFull) {
			return receipt, err
		}
	}
	bytes := sizeOf(b)
	gated := false // this call is the one that asks a full outbox for room
	defer func() {
		if gated {
			<-c.fullGate
		}
	}()
	for {
		room, ok := c.batcher.reserve(len(b.payloads), bytes)
		if ok {
			break
		}
		if p.holds() {
			// It is not stored, for it could not be dropped then. Nor does it
			// wait, perhaps for the end of its own request.
			return Receipt{}, fmt.Errorf("%w: %w", ErrNotAccepted, errBufferFull)
		}
		// Room in memory and room in the outbox are waited for together.
		full := errBufferFull
		var gate chan<- struct{}
		var again <-chan time.Time
		if c.cfg.outbox != nil {
			if gated || !c.full.Load() {
				receipt, err := c.spill(ctx, b, errBufferFull)
				if !errors.Is(err, ErrOutboxFull) {
					return receipt, err
				}
			}
			full = errors.Join(errBufferFull, ErrOutboxFull)
			if gated {
				again = time.After(fullPoll)
			} else {
				gate = c.fullGate
			}
		}
		select {
		case <-room:
		case <-again:
		case gate <- struct{}{}:
			gated = true
		case <-ctx.Done():
			return Receipt{}, fmt.Errorf("%w: %w", ErrNotAccepted, errors.Join(full, context.Cause(ctx)))
		case <-c.stopping.Done():
			return Receipt{}, ErrClosed
		}
	}
	if !p.hold(b) {
		c.batcher.add(b, nil)
	}
	return Receipt{State: Queued}, nil
}

// spillsNow tells whether messages go to the outbox because the server fails.
func (c *Client) spillsNow() bool {
	return c.cfg.outbox != nil && c.transport.breaker.isOpen()
}

// spill stores messages that were not sent. It does not wait for room.
func (c *Client) spill(ctx context.Context, b batch, cause error) (Receipt, error) {
	f := &failure{class: transient, cause: cause, untried: true}
	errs := make([]*failure, len(b.payloads))
	for i := range errs {
		errs[i] = f
	}
	return c.keep(ctx, noPatience(), b, errs, nil)
}

// commit stores messages, and has them posted from memory. Their rows are
// held meanwhile, so that the relay does not post them too.
func (c *Client) commit(ctx context.Context, b batch) (Receipt, error) {
	if c.cfg.outbox == nil {
		c.log.warn("durable", "", "AfterResponse is Durable, but there is no outbox: messages are posted within the call")
		return c.sendNow(ctx, b)
	}
	records, err := b.records()
	if err != nil {
		return Receipt{}, fmt.Errorf("%w: %w", ErrNotAccepted, err)
	}
	bytes := sizeOf(b)
	_, fits := c.batcher.reserve(len(records), bytes)
	held := fits && !c.transport.breaker.isOpen()
	delay := backoff(1)
	if held {
		delay = c.relay.lease()
		for i := range records {
			records[i].LeaseToken = c.batcher.token
		}
	}
	err = c.insertNow(ctx, delay, records)
	if fits && (err != nil || !held) {
		c.batcher.release(len(records), bytes)
	}
	if err != nil {
		// The server may take what the outbox does not.
		receipt, sendErr := c.sendNow(ctx, b)
		if sendErr != nil {
			return receipt, fmt.Errorf("%w; outbox: %w", sendErr, err)
		}
		return receipt, nil
	}
	stored := ids(records)
	if held {
		c.batcher.add(b, stored)
	} else {
		c.relay.wake()
	}
	return Receipt{State: Stored, IDs: stored}, nil
}
