package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/avast/retry-go/v4"

	"github.com/postoffice-go/postoffice/core/internal/office"
	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// Limits of setup.
const (
	// setupParallel is the number of topics or consumers created at the same
	// time.
	setupParallel = 8
	// setupRetryDelay and setupRetryMax bound the pauses between attempts in
	// the background.
	setupRetryDelay = time.Second
	setupRetryMax   = time.Minute
)

// SetupStatus is the outcome of setup for a topic or consumer.
type SetupStatus int

const (
	// SetupUnknown is the zero SetupStatus: nothing was tried.
	SetupUnknown SetupStatus = iota
	// SetupFailed means that the topic or consumer could not be created.
	SetupFailed
	// SetupCreated means that the server has created it.
	SetupCreated
	// SetupExists means that it existed already. The server does not update it,
	// so its settings may differ from the configured ones.
	SetupExists
)

// String returns "unknown", "failed", "created" or "exists".
func (s SetupStatus) String() string {
	switch s {
	case SetupFailed:
		return "failed"
	case SetupCreated:
		return "created"
	case SetupExists:
		return "exists"
	default:
		return "unknown"
	}
}

// SetupResult is the outcome for one topic or consumer.
type SetupResult struct {
	// Topic is the topic, or the topic of the consumer.
	Topic string
	// Target and Type identify the consumer, without credentials; empty for a
	// topic.
	Target string
	Type   ConsumerType
	// Status is the outcome.
	Status SetupStatus
	// Err is the reason of a failure: it wraps a *ResponseError with the
	// server's reason, or is a network error. If the topic of a consumer does
	// not exist yet, the text says so. Nil unless Status is SetupFailed.
	Err error
}

// String describes the topic or consumer, as in `topic "orders"`.
func (r SetupResult) String() string {
	if r.Target == "" {
		return fmt.Sprintf("topic %q", r.Topic)
	}
	return fmt.Sprintf("%s consumer %q of topic %q", r.Type, r.Target, r.Topic)
}

// SetupReport is the outcome of a setup, in the order of the Config.
type SetupReport struct {
	// Topics has one result for each topic.
	Topics []SetupResult
	// Consumers has one result for each consumer.
	Consumers []SetupResult
}

// Failed returns the failed results, topics first.
func (r SetupReport) Failed() []SetupResult {
	var failed []SetupResult
	for _, result := range slices.Concat(r.Topics, r.Consumers) {
		if result.Status == SetupFailed {
			failed = append(failed, result)
		}
	}
	return failed
}

// Err joins the errors of the failed results; each names its topic or consumer.
// It is nil if nothing failed.
func (r SetupReport) Err() error {
	var errs []error
	for _, result := range r.Failed() {
		errs = append(errs, fmt.Errorf("%v: %w", result, result.Err))
	}
	return errors.Join(errs...)
}

// Setup creates the configured topics and then the configured consumers on the
// server. It attempts each one, even if others fail; existing ones are not
// errors. The error joins all failures. Each request takes at most
// Config.Timeout, and up to eight run at the same time.
func (c *Client) Setup(ctx context.Context) (SetupReport, error) {
	if err := c.present(); err != nil {
		return SetupReport{}, err
	}
	report := SetupReport{Topics: c.setup.topics(ctx, c.cfg.topics), Consumers: c.setup.consumers(ctx, c.cfg.consumers)}
	return report, setupError(report)
}

// SetupTopics is like Setup for topics only.
func (c *Client) SetupTopics(ctx context.Context) (SetupReport, error) {
	if err := c.present(); err != nil {
		return SetupReport{}, err
	}
	report := SetupReport{Topics: c.setup.topics(ctx, c.cfg.topics)}
	return report, setupError(report)
}

// SetupConsumers is like Setup for consumers only.
func (c *Client) SetupConsumers(ctx context.Context) (SetupReport, error) {
	if err := c.present(); err != nil {
		return SetupReport{}, err
	}
	report := SetupReport{Consumers: c.setup.consumers(ctx, c.cfg.consumers)}
	return report, setupError(report)
}

// setupError returns the failures of a report as one error.
func setupError(report SetupReport) error {
	if err := report.Err(); err != nil {
		return fmt.Errorf("%ssetup: %w", prefix, err)
	}
	return nil
}

// setup creates topics and consumers on the server.
type setup struct {
	cfg    *settings
	office *office.Office
	events *events
	guard  guard
	// inBackground runs a function until the client is stopped.
	inBackground func(func(context.Context))
	outcomes     outcomes
	restoring    restoring
}

func (s *setup) topics(ctx context.Context, topics []string) []SetupResult {
	return inParallel(topics, func(topic string) SetupResult {
		return s.create(ctx, wire.TopicsPath, SetupResult{Topic: topic}, wire.Topic{
			Name: topic, OriginHost: s.cfg.originHost, RecoveryEnabled: s.cfg.recoveryEnabled,
		})
	})
}

func (s *setup) consumers(ctx context.Context, consumers []Consumer) []SetupResult {
	return inParallel(consumers, func(consumer Consumer) SetupResult {
		return s.create(ctx, wire.ConsumersPath, resultOf(consumer), wire.Consumer{
			Topic:          consumer.Topic,
			Target:         consumer.Target,
			Type:           string(consumer.Type),
			Active:         !consumer.Paused,
			FromNow:        consumer.FromNow,
			SecondsTimeout: unlessZero(int64(consumer.Timeout / time.Second)),
			SecondsRetry:   unlessZero(int64(consumer.Retry / time.Second)),
			ChunkSize:      unlessZero(int64(consumer.ChunkSize)),
		})
	})
}

func unlessZero(n int64) *int64 {
	if n == 0 {
		return nil
	}
	return &n
}

// create posts one topic or consumer, and logs the outcome.
func (s *setup) create(ctx context.Context, path string, result SetupResult, resource any) SetupResult {
	f := s.office.Create(ctx, path, result.Topic, resource)
	switch {
	case f == nil:
		result.Status = SetupCreated
		s.events.log.Always(slog.LevelInfo, "created "+result.String())
	case f.Status == http.StatusConflict:
		result.Status = SetupExists
		s.events.log.Always(slog.LevelInfo, result.String()+" already exists; the server did not update it, so its settings may differ")
	default:
		result.Status, result.Err = SetupFailed, f.Cause
		if path == wire.ConsumersPath && f.Class == office.UnknownTopic {
			result.Err = s.withoutTopic(result.Topic, f.Cause)
		}
		s.events.log.Error("setup", result.String(), "cannot create "+result.String(), "error", result.Err)
	}
	if s.events.observer.Setup != nil {
		s.events.observer.Setup(result)
	}
	s.outcomes.note(result)
	return result
}

// withoutTopic explains the error of a consumer whose topic the server does not
// have: it answers only that the topic is invalid.
func (s *setup) withoutTopic(topic string, err error) error {
	if slices.Contains(s.cfg.topics, topic) {
		return fmt.Errorf("the topic does not exist yet: %w", err)
	}
	return fmt.Errorf("the topic does not exist yet (its publisher creates it, or list it in Topics): %w", err)
}

// inParallel calls work for every item, a few at a time, and returns the
// results in order. A panic of work, such as one of the app's transport,
// reaches the caller.
func inParallel[T any](items []T, work func(T) SetupResult) []SetupResult {
	if len(items) == 0 {
		return nil
	}
	results := make([]SetupResult, len(items))
	panics := make([]any, len(items))
	next := make(chan int)
	var workers sync.WaitGroup
	for range min(setupParallel, len(items)) {
		workers.Go(func() {
			for i := range next {
				func() {
					defer func() { panics[i] = recover() }()
					results[i] = work(items[i])
				}()
			}
		})
	}
	for i := range items {
		next <- i
	}
	close(next)
	workers.Wait()
	if reason := cmp.Or(panics...); reason != nil {
		panic(reason) // in the caller's goroutine
	}
	return results
}

// failures returns the topics and consumers that a setup could not create.
func (s *setup) failures(report SetupReport) (topics []string, consumers []Consumer) {
	for _, result := range report.Topics {
		if result.Status == SetupFailed {
			topics = append(topics, result.Topic)
		}
	}
	return topics, stillFailed(s.cfg.consumers, report.Consumers)
}

// keepTrying retries topics and consumers until all succeed or the context ends:
// the server may be down, and another app may create a consumer's topic later.
func (s *setup) keepTrying(ctx context.Context, topics []string, consumers []Consumer) {
	select {
	case <-ctx.Done():
		return
	case <-time.After(setupRetryDelay):
	}
	create := func() error {
		topics = stillFailed(topics, s.topics(ctx, topics))
		consumers = stillFailed(consumers, s.consumers(ctx, consumers))
		if left := len(topics) + len(consumers); left > 0 {
			return fmt.Errorf("%d topics and consumers are not created yet", left)
		}
		return nil
	}
	err := retry.Do(func() error { return s.guard.call("setting up", create) },
		retry.Context(ctx), retry.Attempts(0), retry.LastErrorOnly(true),
		retry.DelayType(retry.FullJitterBackoffDelay), retry.Delay(setupRetryDelay), retry.MaxDelay(setupRetryMax),
	)
	if err == nil {
		s.events.log.Always(slog.LevelInfo, "setup is complete")
	}
}

// stillFailed returns the items whose result is a failure.
func stillFailed[T any](items []T, results []SetupResult) []T {
	var failed []T
	for i, result := range results {
		if result.Status == SetupFailed {
			failed = append(failed, items[i])
		}
	}
	return failed
}
