package core

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"github.com/postoffice-go/postoffice/core/internal/deliver"
	"github.com/postoffice-go/postoffice/core/internal/loglimit"
	"github.com/postoffice-go/postoffice/core/internal/office"
)

// errPanicked is the outcome that observers receive for a call that panicked.
var errPanicked = errors.New("panic")

// errAged is the reason for storing messages that have not failed.
var errAged = errors.New("not delivered within half of Batching.MaxAge")

// events reports the outcomes of messages to the log, the observer and the
// throughput counters.
type events struct {
	log        *loglimit.Logger
	observer   Observer
	throughput throughput
}

// watch runs a call and reports its begin and end to the observer, even if it
// panics.
func (e *events) watch(ctx context.Context, call PublishCall, publish func(context.Context) (Receipt, error)) (receipt Receipt, err error) {
	outcome, failed := Receipt{}, errPanicked
	var ended func(Receipt, error)
	if e.observer.Publish != nil {
		ctx, ended = e.observer.Publish(ctx, call)
	}
	defer func() {
		if ended != nil {
			defer func() { ended(outcome, failed) }() // also when the observer panics
		}
		if failed == nil && call.Messages > 0 && outcome.State != Held {
			emit(e.observer.Published, Event{Topic: call.Topic, Messages: call.Messages, State: outcome.State})
		}
	}()
	receipt, err = publish(ctx)
	outcome, failed = receipt, err
	return receipt, err
}

// origin returns the origin of messages that are sent after their call.
func (e *events) origin(ctx context.Context) []any {
	if e.observer.Origin == nil {
		return nil
	}
	origin := e.observer.Origin(ctx)
	switch {
	case origin == nil:
		return nil
	case !reflect.ValueOf(origin).Comparable():
		e.log.Error("origin", "", "Observer.Origin returned a value that is not comparable", "type", fmt.Sprintf("%T", origin))
		return nil
	}
	return []any{origin}
}

// send adapts [Observer.Send] for the office; it is nil if Send is nil.
func (e *events) send() func(ctx context.Context, topic string, messages int, origins []any) (context.Context, func(error)) {
	if e.observer.Send == nil {
		return nil
	}
	return func(ctx context.Context, topic string, messages int, origins []any) (context.Context, func(error)) {
		return e.observer.Send(ctx, SendCall{Topic: topic, Messages: messages, Origins: origins})
	}
}

// clock returns the current time if the observer needs the age of messages,
// otherwise the zero time.
func (e *events) clock() time.Time {
	if e.observer.Delivered == nil {
		return time.Time{}
	}
	return time.Now()
}

// delivered reports messages that the server has accepted.
func (e *events) delivered(d deliver.Delivered) {
	e.throughput.add(d.Messages, 0, 0)
	if e.observer.Delivered != nil {
		event := Event{Topic: d.Topic, Messages: d.Messages, FromOutbox: d.FromOutbox, Attempts: d.Attempts}
		if !d.Since.IsZero() {
			event.Age = max(time.Since(d.Since), 0)
		}
		e.observer.Delivered(event)
	}
	if d.Jobs != nil && len(d.Jobs) == 0 {
		e.log.WarnMessages("no consumer", d.Topic, d.Messages, "topic has no consumer: the server discarded its messages", "topic", d.Topic)
		emit(e.observer.NoConsumer, Event{Topic: d.Topic, Messages: d.Messages, FromOutbox: d.FromOutbox})
	}
}

// failedStored reports messages that failed and stay in the outbox for a retry.
func (e *events) failedStored(topic string, failures []*office.Failure, fromOutbox bool) {
	n := len(failures)
	e.log.Warn("relay", topic, "messages in the outbox could not be delivered; the relay will retry them",
		"topic", topic, "messages", n, "error", failures[n-1].Cause)
	e.failed(topic, failures, fromOutbox)
}

// failed reports messages that were sent and failed but are not dead: one event
// for each class of failure.
func (e *events) failed(topic string, failures []*office.Failure, fromOutbox bool) {
	if e.observer.Failed == nil {
		return
	}
	var list []Event
	for _, f := range failures {
		if f.Untried {
			continue
		}
		class := classOf(f)
		at := slices.IndexFunc(list, func(e Event) bool { return e.Class == class })
		if at < 0 {
			at = len(list)
			list = append(list, Event{Topic: topic, FromOutbox: fromOutbox, Class: class, Err: f.Cause})
		}
		list[at].Messages++
	}
	for _, event := range list {
		e.observer.Failed(event)
	}
}

// classOf returns the public class of a failure.
func classOf(f *office.Failure) FailureClass {
	switch f.Class {
	case office.Misconfigured, office.UnknownTopic:
		return FailureConfig
	case office.TooLarge, office.Permanent:
		return FailurePermanent
	default:
		return FailureTransient
	}
}

// dead reports messages in the outbox that became dead.
func (e *events) dead(topic string, messages int, cause error, fromOutbox bool) {
	e.log.ErrorMessages("dead", topic, messages, "server refuses messages permanently: they stay in the outbox as dead", "topic", topic, "error", cause)
	e.buried(Event{Topic: topic, Messages: messages, FromOutbox: fromOutbox, Err: cause})
}

// refused reports messages that the server refuses permanently and that are
// lost, because there is no outbox.
func (e *events) refused(topic string, messages int, cause error) {
	e.log.ErrorMessages("dead", topic, messages, "server refuses messages permanently: they are lost, because there is no outbox", "topic", topic, "error", cause)
	e.buried(Event{Topic: topic, Messages: messages, Err: cause})
}

func (e *events) buried(event Event) {
	event.Class = FailurePermanent
	e.throughput.add(0, 0, event.Messages)
	emit(e.observer.Dead, event)
}

// stored reports messages that failed and were committed to the outbox. They
// are dead if the server refuses them permanently, otherwise pending. It
// reports whether any are pending.
func (e *events) stored(topic string, failures []*office.Failure) (waiting bool) {
	var dead, rest, alive []*office.Failure
	spilled := Event{Topic: topic}
	for _, f := range failures {
		if f.Class == office.Permanent {
			dead = append(dead, f)
			continue
		}
		rest = append(rest, f)
		if f.Untried {
			spilled.Messages++
			spilled.Err = f.Cause
		} else {
			alive = append(alive, f)
		}
	}
	e.failed(topic, alive, false)
	if len(dead) > 0 {
		e.dead(topic, len(dead), causeOf(dead), false)
	}
	if len(rest) == 0 {
		return false
	}
	cause := causeOf(rest)
	e.log.WarnMessages("stored", topic, len(rest), "messages could not be delivered: they are stored in the outbox", "topic", topic, "error", cause)
	e.wait(topic, len(rest), cause)
	if spilled.Messages > 0 {
		emit(e.observer.Spilled, spilled)
	}
	return true
}

// aged reports messages that were committed because the server is slow.
func (e *events) aged(topic string, messages int) {
	e.log.WarnMessages("aged", topic, messages, "server is slow: messages are stored in the outbox until it accepts them", "topic", topic)
	e.wait(topic, messages, errAged)
}

func (e *events) wait(topic string, messages int, cause error) {
	e.throughput.add(0, messages, 0)
	emit(e.observer.Stored, Event{Topic: topic, Messages: messages, Err: cause})
}

// outboxBreaker reports a state change of the circuit breaker of the outbox.
func (e *events) outboxBreaker(state BreakerState) {
	switch state {
	case BreakerOpen:
		e.log.Warn("outbox breaker", "open", "outbox does not respond: Durable messages are posted within the call, and refused if the server does not accept them")
	case BreakerClosed:
		e.log.Info("outbox breaker", "closed", "outbox responds again")
	}
	if e.observer.OutboxBreaker != nil {
		e.observer.OutboxBreaker(state)
	}
}

// breaker reports a state change of the circuit breaker.
func (e *events) breaker(state BreakerState, hasOutbox bool) {
	switch state {
	case BreakerOpen:
		fate := "messages go straight to the outbox"
		if !hasOutbox {
			fate = "there is no outbox, so messages are refused or wait in memory"
		}
		e.log.Warn("breaker", "open", "circuit breaker opened: the server is failing; "+fate)
	case BreakerClosed:
		e.log.Info("breaker", "closed", "circuit breaker closed: the server is back")
	}
	if e.observer.Breaker != nil {
		e.observer.Breaker(state)
	}
}
