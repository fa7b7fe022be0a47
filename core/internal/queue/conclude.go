package queue

import (
	"cmp"
	"errors"
	"slices"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/message"
	"github.com/postoffice-go/postoffice/core/internal/office"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// conclude processes the results of a post: it settles rows in the outbox and
// stores failed messages.
func (q *Queue) conclude(e *entry, outcome *deliver.Outcome) {
	failed := outcome.Failed()
	if !e.held && e.unsure && len(failed) > 0 && q.insertHeld(e) == nil {
		// The insert succeeded, so rows that a failed commit may have stored
		// exist now.
		q.mu.Lock()
		q.holds(e, time.Now())
		q.mu.Unlock()
	}
	again, pause := (*entry)(nil), time.Duration(0)
	switch {
	case e.held:
		q.config.Outbox.Settle(q.config.Force, &e.batch, e.attempts+1, outcome)
	case e.unsure:
		delivered := e.batch.Pick(outcome.Delivered())
		q.config.Outbox.Remove(q.config.Force, delivered.IDs())
		again, pause = q.again(e, outcome, failed)
	default:
		again, pause = q.keep(e, outcome, failed)
	}
	q.finish(e, again, pause, q.spares(e, failed))
}

// keep stores messages that were not delivered. It returns the messages that
// cannot be stored as a batch to retry, with the pause before the retry.
func (q *Queue) keep(e *entry, outcome *deliver.Outcome, failed []int) (again *entry, pause time.Duration) {
	if len(failed) == 0 {
		return nil, 0
	}
	if q.config.Outbox == nil {
		var transient []*office.Failure
		for _, i := range failed {
			if f := outcome.Failures[i]; f.Class != office.Permanent {
				transient = append(transient, f)
			}
		}
		q.config.Tell.Failed(e.key.topic, transient)
		return q.again(e, outcome, failed)
	}
	left, err := q.store(e, outcome, failed)
	if err != nil {
		q.config.Log.Error("keep", e.key.topic, "messages can be neither delivered nor stored; they stay in memory",
			"topic", e.key.topic, "messages", len(left), "error", err)
	}
	return q.again(e, outcome, left)
}

// store commits failed messages and returns the indexes of messages that could
// not be stored. A message that exceeds the bound of the outbox by itself does
// not keep the others from being stored.
func (q *Queue) store(e *entry, outcome *deliver.Outcome, failed []int) (left []int, err error) {
	some := &deliver.Outcome{Failures: make([]*office.Failure, len(outcome.Failures))}
	for _, i := range failed {
		some.Failures[i] = outcome.Failures[i]
	}
	err = q.config.Outbox.Store(q.config.Force, &e.batch, e.attempts, some)
	switch {
	case err == nil:
		return nil, nil
	case !errors.Is(err, outbox.ErrNeverFits) || len(failed) == 1:
		return failed, err
	}
	half := len(failed) / 2
	first, firstErr := q.store(e, outcome, failed[:half])
	second, secondErr := q.store(e, outcome, failed[half:])
	return append(slices.Clone(first), second...), cmp.Or(firstErr, secondErr)
}

// again returns a batch of the messages to post again and a random pause before
// the retry. Without an outbox, messages that the server refuses permanently
// are dropped.
func (q *Queue) again(e *entry, outcome *deliver.Outcome, failed []int) (again *entry, pause time.Duration) {
	again = &entry{
		key:        e.key,
		batch:      message.Batch{Topic: e.batch.Topic, Attributes: e.batch.Attributes, DeliverAt: e.batch.DeliverAt, Origins: e.batch.Origins},
		opened:     e.opened,
		attempts:   e.attempts,
		settlement: e.settlement,
		ready:      true,
		unsure:     e.unsure,
		neverFits:  e.neverFits,
	}
	refused := 0
	var cause error
	for _, i := range untriedFirst(failed, outcome.Failures) {
		f := outcome.Failures[i]
		if f.Class == office.Permanent && q.config.Outbox == nil {
			refused++
			cause = f.Cause
			continue
		}
		if !f.Untried {
			again.attempts = e.attempts + 1
		}
		again.batch.Messages = append(again.batch.Messages, e.batch.Messages[i])
		again.failures = append(again.failures, f)
		again.messages++
		again.bytes += len(e.batch.Messages[i].Payload)
		pause = max(pause, f.RetryAfter)
	}
	if refused > 0 {
		q.config.Tell.Refused(e.key.topic, refused, cause)
	}
	if again.messages == 0 {
		return nil, 0
	}
	return again, max(pause, min(deliver.Backoff(again.attempts), retryMax))
}

// untriedFirst puts messages that were not sent before messages that failed,
// because a message that fails every time must not block the others.
func untriedFirst(failed []int, failures []*office.Failure) []int {
	var untried, tried []int
	for _, i := range failed {
		if failures[i].Untried {
			untried = append(untried, i)
		} else {
			tried = append(tried, i)
		}
	}
	return append(untried, tried...)
}

// untried returns the outcome of a batch that is not posted again. Its failures
// are already stored in its rows and reported, so the outcome does not repeat
// them.
func untried(failures []*office.Failure) *deliver.Outcome {
	outcome := &deliver.Outcome{Failures: make([]*office.Failure, len(failures))}
	for i, f := range failures {
		known := *f
		known.Untried = f.Class != office.Permanent
		outcome.Failures[i] = &known
	}
	return outcome
}

// finish releases a batch, except for the part that is posted again after a
// pause. The spare collector, if any, is reused.
func (q *Queue) finish(e, again *entry, pause time.Duration, spare *office.Collector) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if spare != nil && len(q.spare) < 2*q.config.InFlight {
		q.spare = append(q.spare, spare)
	}
	delete(q.unfinished, e)
	q.stopAging(e)
	e.batch, e.collector, e.body = message.Batch{}, nil, nil // shard.order may still refer to the entry
	if e.held {
		q.safe.remove(e.messages, e.bytes)
	}
	messages, bytes := e.messages, e.bytes
	if again != nil && q.config.Force.Err() != nil {
		// The client is forced to stop, so the messages are lost.
		q.lost += again.messages
		e.lost += again.messages
		q.config.Log.ErrorMessages("lost", e.key.topic, again.messages,
			"messages are lost: the client was stopped before they were delivered or stored", "topic", e.key.topic)
		again = nil
	}
	if again != nil {
		messages -= again.messages
		bytes -= again.bytes
		q.unfinished[again] = struct{}{}
		again.age = q.aging.PushFront(again)
		q.ager.expect()
		q.retries[again] = time.AfterFunc(pause, func() {
			q.mu.Lock()
			defer q.mu.Unlock()
			q.retry(again)
		})
	}
	q.release(messages, bytes)
	if again == nil {
		e.settle()
	}
	if q.closing && len(q.unfinished) == 0 {
		q.work.Broadcast()
		q.ager.wakeUp()
	}
}

// retry makes a batch ready after its pause.
func (q *Queue) retry(e *entry) {
	if _, waits := q.retries[e]; !waits {
		return
	}
	delete(q.retries, e)
	q.ready = append(q.ready, e)
	q.work.Signal()
}
