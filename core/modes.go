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
	// It is the only mode that can lose accepted messages: a crash of the
	// process loses those that are in memory alone. With an outbox a message
	// is there alone for at most Batching.MaxAge, 250 ms; usually the server
	// has it after the 20 ms of Batching.Delay and the time of a post. While
	// the outbox cannot be used, and without one, messages stay in memory and
	// are tried again until they are delivered or the client is stopped.
	// [Client.Stats] tells how many are at risk and for how long. Flush and
	// Stop lose nothing that the server or the outbox takes.
	//
	// While the server fails, and when the bounds of the memory are reached,
	// messages are stored in the outbox within the call. Without an outbox, a
	// message that the server refuses for good is only logged and reported to
	// Observer.Dead.
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
	if c.spillsNow() && !p.holds() && !c.room.blocks(loadOf(b)) {
		receipt, err := c.spill(ctx, b, ErrBreakerOpen)
		if !errors.Is(err, ErrOutboxFull) {
			return receipt, err
		}
	}
	if p.holds() {
		return c.hold(b, p)
	}
	if reserved, _ := c.batcher.reserve(b); !reserved {
		if receipt, err := c.queueLater(ctx, b); err != nil || receipt.State == Stored {
			return receipt, err
		}
	}
	c.batcher.add(b, nil)
	return Receipt{State: Queued}, nil
}

// hold keeps messages for the end of their request. They are not stored where
// memory is full, for they could not be dropped then, nor do they wait, perhaps
// for the end of their own request.
func (c *Client) hold(b batch, p *Publisher) (Receipt, error) {
	if !c.batcher.reserveSafe(b) {
		return Receipt{}, fmt.Errorf("%w: %w", ErrNotAccepted, errBufferFull)
	}
	if !p.hold(b) { // it has ended just now
		c.batcher.expose(b)
		c.batcher.add(b, nil)
	}
	return Receipt{State: Queued}, nil
}

// queueLater waits for room in memory, which it reserves, and for room in the
// outbox, where it stores the messages, whichever comes first.
func (c *Client) queueLater(ctx context.Context, b batch) (Receipt, error) {
	var w *waiter
	defer func() {
		if w != nil {
			w.leave()
		}
	}()
	needed := loadOf(b)
	full := errBufferFull
	spills := c.cfg.outbox != nil
	for {
		reserved, room := c.batcher.reserve(b)
		if reserved {
			return Receipt{}, nil
		}
		var turn <-chan struct{}
		var again <-chan time.Time
		if spills && c.batcher.isFull(b) {
			if w != nil && w.mayAsk() || w == nil && !c.room.blocks(needed) {
				receipt, err := c.spill(ctx, b, errBufferFull)
				if !errors.Is(err, ErrOutboxFull) {
					return receipt, err
				}
				spills = waitsForRoom(err)
			}
			if w == nil && spills {
				w = c.room.join(needed)
				full = errors.Join(errBufferFull, ErrOutboxFull)
			}
		}
		if w != nil {
			select {
			case <-w.turn:
				again = time.After(fullPoll)
			default:
				turn = w.turn
			}
		}
		select {
		case <-room:
		case <-again:
		case <-turn:
		case <-ctx.Done():
			return Receipt{}, fmt.Errorf("%w: %w", ErrNotAccepted, errors.Join(full, context.Cause(ctx)))
		case <-c.stopping.Done():
			return Receipt{}, ErrClosed
		}
	}
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
	fits := c.batcher.reserveSafe(b)
	held := fits && !c.transport.breaker.isOpen()
	delay := backoff(1)
	if held {
		delay = c.relay.lease()
		for i := range records {
			records[i].LeaseToken = c.batcher.token
			records[i].Attempts = 1 // by which it is posted from memory
		}
	}
	err = c.insertNow(ctx, delay, records)
	if fits && (err != nil || !held) {
		c.batcher.releaseSafe(b)
	}
	if err != nil {
		// The server may take what the outbox does not.
		receipt, sendErr := c.sendNow(ctx, b)
		if sendErr != nil {
			return receipt, fmt.Errorf("%w; %w", sendErr, ofOutbox(err))
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
