package delivery

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/office"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// handle calls the function for a claimed message and returns the outcome.
func (b *Inbox) handle(force context.Context, record outbox.Record) (failure *office.Failure, settled bool) {
	h := b.handlers.find(record.Topic)
	if h == nil {
		b.log.Warn("inbox", record.Topic, "the inbox has messages without a handler in this process; they are left to other processes", "name", record.Topic)
		return &office.Failure{Untried: true, Cause: errNoHandler}, false
	}
	b.running.Add(1)
	defer b.running.Add(-1)
	begun := time.Now()
	c := &queuedClaim{inbox: b, id: record.ID}
	timedOut, id, err := b.work(force, h, record, c)
	b.options.Observer.Handled(Event{
		Topic: h.topic, Name: h.name, Attempts: record.Attempts, Age: max(begun.Sub(record.CreatedAt), 0),
		Duration: time.Since(begun),
	}.ended(err, timedOut))
	switch {
	case err == nil:
		return nil, c.done.Load()
	case c.lost.Load() && errors.Is(err, ErrLeaseLost):
		return nil, true // the message is gone
	}
	failure = &office.Failure{Class: office.Transient, Cause: errors.New(wordsOf(err)), TimedOut: timedOut}
	switch {
	case force.Err() != nil:
		failure.Interrupted = true
	case kindOf(err) == Discarded, b.options.MaxAttempts > 0 && record.Attempts >= b.options.MaxAttempts:
		failure.Class = office.Permanent
	}
	h.report(force, Problem{Kind: kindOf(err), Topic: h.topic, ID: id, Attempts: record.Attempts, Err: err})
	return failure, false
}

var errNoHandler = errors.New("no handler in this process")

// work calls the function for a message.
func (b *Inbox) work(force context.Context, h *endpoint, record outbox.Record, c *queuedClaim) (timedOut bool, id string, err error) {
	within := b.options.Timeout
	if h.timeout > 0 {
		within = h.timeout
	}
	ctx, cancel := context.WithTimeout(context.WithValue(force, claimKey{}, c), within)
	defer cancel()
	e, err := stored(record)
	if err != nil {
		return false, "", err
	}
	end := func(error) {}
	err = guardedCall(func() error {
		call, err := h.decode(e)
		if err != nil {
			return err
		}
		extended, err := h.extend(ctx, e)
		if err != nil {
			return err
		}
		var handling context.Context
		handling, end = b.options.Observer.Handle(extended,
			HandleCall{Topic: h.topic, Name: h.name, Attempts: record.Attempts, ID: e.id, Attributes: e.attributes})
		return call(handling)
	})
	end(err)
	return err != nil && errors.Is(ctx.Err(), context.DeadlineExceeded), e.id, err
}

// guardedCall calls a function of the app and converts a panic to an error.
func guardedCall(call func() error) (err error) {
	defer func() {
		if value := recover(); value != nil {
			err = &PanicError{Value: value, Stack: debug.Stack()}
		}
	}()
	return call()
}

// dead reports messages that have become dead.
func (b *Inbox) dead(name string, messages int, cause error, _ bool) {
	event := Event{Topic: name, Name: name, Err: cause}
	if h := b.handlers.find(name); h != nil {
		event.Topic = h.topic
	}
	b.log.ErrorMessages("dead", name, messages, "messages of the inbox are dead: they stay there until an operator retries or discards them",
		"name", name, "error", cause)
	for range messages {
		b.options.Observer.Dead(event)
	}
}

// maxWords is the maximum length of a stored error in bytes.
const maxWords = 1000

// wordsOf returns the text of an error to store. The value of a panic may contain
// anything, so only the text of a runtime error is stored.
func wordsOf(err error) string {
	text := err.Error()
	if panicked, ok := errors.AsType[*PanicError](err); ok {
		text = fmt.Sprintf("panic of type %T; the log has its stack", panicked.Value)
		if fault, ok := panicked.Value.(runtime.Error); ok {
			text = "panic: " + fault.Error() + "; the log has its stack"
		}
	}
	if len(text) > maxWords {
		text = text[:maxWords] + "…"
	}
	return strings.ReplaceAll(strings.ToValidUTF8(text, "\uFFFD"), "\x00", "\uFFFD")
}

// queuedClaim is a message of an inbox while its function runs.
type queuedClaim struct {
	inbox *Inbox
	id    string
	// done means that a transaction of the function removes the message, and lost
	// that the message was already gone.
	done, lost atomic.Bool
}

// doneTx makes the removal of the message part of a transaction.
func (c *queuedClaim) doneTx(ctx context.Context, tx outbox.Tx) error {
	store, ok := c.inbox.store.(outbox.TxKeeper)
	if !ok {
		return fmt.Errorf("%w: the store of the inbox is %T", ErrNoTransactions, c.inbox.store)
	}
	n, err := store.FinishTx(ctx, tx, c.inbox.options.Keep, c.id)
	switch {
	case err != nil:
		return err
	case n == 0:
		c.lost.Store(true)
		return ErrLeaseLost
	}
	c.done.Store(true)
	return nil
}
