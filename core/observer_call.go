package core

import (
	"context"
	"errors"
	"slices"
	"time"
)

// errPanicked is the outcome of what ended with a panic, for observers.
var errPanicked = errors.New("panic")

// maxOrigins bounds how many origins of messages a batch remembers.
const maxOrigins = 128

// watchedCall is a call that publishes, under the eyes of an Observer.
type watchedCall struct {
	client  *Client
	call    PublishCall
	ended   func(Receipt, error)
	receipt Receipt
	err     error
}

// watch makes a call, and tells the observer that it begins and how it ends,
// also when it panics.
func (c *Client) watch(ctx context.Context, call PublishCall, publish func(context.Context) (Receipt, error)) (Receipt, error) {
	w := &watchedCall{client: c, call: call, err: errPanicked}
	if c.cfg.observer.Publish != nil {
		ctx, w.ended = c.cfg.observer.Publish(ctx, call)
	}
	defer w.end()
	w.receipt, w.err = publish(ctx)
	return w.receipt, w.err
}

// end tells the observer the outcome of the call.
func (w *watchedCall) end() {
	if w.ended != nil {
		defer func() { w.ended(w.receipt, w.err) }() // also when the observer panics
	}
	if w.err == nil && w.call.Messages > 0 {
		emit(w.client.cfg.observer.Published, Event{Topic: w.call.Topic, Messages: w.call.Messages, State: w.receipt.State})
	}
}

// origin makes what the observer wants to know later of messages.
func (c *Client) origin(ctx context.Context) []any {
	if c.cfg.observer.Origin == nil {
		return nil
	}
	if origin := c.cfg.observer.Origin(ctx); origin != nil {
		return []any{origin}
	}
	return nil
}

// addOrigins adds the origins of a message to those of its batch.
func (b *batch) addOrigins(origins []any) {
	for _, origin := range origins {
		last := len(b.origins) - 1
		if len(b.origins) < maxOrigins && (last < 0 || b.origins[last] != origin) {
			b.origins = append(b.origins, origin)
		}
	}
}

// send tells the observer of a request with messages, and sends it.
func (t *transport) send(ctx context.Context, path string, call SendCall, body requestBody) (answer []byte, err error) {
	if t.observeSend == nil {
		return t.roundTrip(ctx, path, call.Topic, body)
	}
	ctx, end := t.observeSend(ctx, call)
	if end != nil {
		outcome := errPanicked
		defer func() { end(outcome) }()
		answer, err = t.roundTrip(ctx, path, call.Topic, body)
		outcome = unwrapFailure(err)
		return answer, err
	}
	return t.roundTrip(ctx, path, call.Topic, body)
}

// clock is the time, if the observer wants to know the age of messages.
func (c *Client) clock() time.Time {
	if c.cfg.observer.Delivered == nil {
		return time.Time{}
	}
	return time.Now()
}

// ageSince is how old messages are; zero if it is not known since when.
func ageSince(since time.Time) time.Duration {
	if since.IsZero() {
		return 0
	}
	return max(time.Since(since), 0)
}

// public is the class as observers know it.
func (c class) public() FailureClass {
	switch c {
	case misconfigured, unknownTopic:
		return FailureConfig
	case tooLarge, permanent:
		return FailurePermanent
	default:
		return FailureTransient
	}
}

// observeFailed tells the observer of messages that were sent in vain: those
// with the given indexes, each class of failure by itself. The dead are told
// of otherwise.
func (c *Client) observeFailed(event Event, errs []*failure, failed []int, dead func(*failure) bool) {
	if c.cfg.observer.Failed == nil {
		return
	}
	var events []Event
	for _, i := range failed {
		f := errs[i]
		if f.untried || dead(f) {
			continue
		}
		class := f.public()
		at := slices.IndexFunc(events, func(e Event) bool { return e.Class == class })
		if at < 0 {
			event.Class, event.Err = class, f.cause
			events, at = append(events, event), len(events)
		}
		events[at].Messages++
	}
	for _, event := range events {
		c.cfg.observer.Failed(event)
	}
}

// isPermanent tells of failures that make messages dead; never does not.
func isPermanent(f *failure) bool { return f.class == permanent }
func never(*failure) bool         { return false }

// observeSpilled tells the observer of messages that were stored unsent.
func (c *Client) observeSpilled(topic string, errs []*failure, failed []int) {
	if c.cfg.observer.Spilled == nil {
		return
	}
	event := Event{Topic: topic}
	for _, i := range failed {
		if f := errs[i]; f.untried && f.class != permanent {
			event.Messages++
			event.Err = f.cause
		}
	}
	if event.Messages > 0 {
		c.cfg.observer.Spilled(event)
	}
}
