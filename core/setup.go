package core

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/avast/retry-go/v4"

	"github.com/postoffice-go/postoffice/core/internal/wire"
)

// Figures of setup.
const (
	// setupParallel is how many topics or consumers are created at a time.
	setupParallel = 8
	// setupRetryDelay and setupRetryMax bound the pauses between the tries
	// in the background.
	setupRetryDelay = time.Second
	setupRetryMax   = time.Minute
	// ensureInterval is how often a topic that the server does not know is
	// created again.
	ensureInterval = 10 * time.Second
)

// SetupStatus says what became of a topic or consumer at setup.
type SetupStatus int

const (
	// SetupFailed means that it could not be created.
	SetupFailed SetupStatus = iota
	// SetupCreated means that the server has created it now.
	SetupCreated
	// SetupExists means that the server had it already. The server updates
	// nothing then: its settings may differ from the ones configured here.
	SetupExists
)

// String returns "failed", "created" or "exists".
func (s SetupStatus) String() string {
	switch s {
	case SetupCreated:
		return "created"
	case SetupExists:
		return "exists"
	default:
		return "failed"
	}
}

// SetupResult is the outcome for one topic or consumer.
type SetupResult struct {
	// Topic is the topic, or the one that the consumer consumes.
	Topic string
	// Target and Type are the consumer's, without credentials; empty for a
	// topic.
	Target string
	Type   ConsumerType
	// Status says what became of it.
	Status SetupStatus
	// Err is why it failed: a *ResponseError with the server's reason, or an
	// error of the network. Nil unless Status is SetupFailed.
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
	Topics    []SetupResult
	Consumers []SetupResult
}

// Failed returns the results that failed, topics first.
func (r SetupReport) Failed() []SetupResult {
	var failed []SetupResult
	for _, result := range slices.Concat(r.Topics, r.Consumers) {
		if result.Status == SetupFailed {
			failed = append(failed, result)
		}
	}
	return failed
}

// Err joins the errors of all that failed, each naming its topic or
// consumer. It is nil if nothing failed.
func (r SetupReport) Err() error {
	var errs []error
	for _, result := range r.Failed() {
		errs = append(errs, fmt.Errorf("%v: %w", result, result.Err))
	}
	return errors.Join(errs...)
}

// Setup creates the configured topics and then the configured consumers at
// the server. Each is tried though others fail; one that exists is fine. The
// error joins what failed. Each request takes at most Config.Timeout, and
// eight run at a time.
func (c *Client) Setup(ctx context.Context) (SetupReport, error) {
	if err := c.present(); err != nil {
		return SetupReport{}, err
	}
	report := SetupReport{Topics: c.setupTopics(ctx, c.cfg.topics), Consumers: c.setupConsumers(ctx, c.cfg.consumers)}
	return report, setupError(report)
}

// SetupTopics is Setup for the topics alone.
func (c *Client) SetupTopics(ctx context.Context) (SetupReport, error) {
	if err := c.present(); err != nil {
		return SetupReport{}, err
	}
	report := SetupReport{Topics: c.setupTopics(ctx, c.cfg.topics)}
	return report, setupError(report)
}

// SetupConsumers is Setup for the consumers alone.
func (c *Client) SetupConsumers(ctx context.Context) (SetupReport, error) {
	if err := c.present(); err != nil {
		return SetupReport{}, err
	}
	report := SetupReport{Consumers: c.setupConsumers(ctx, c.cfg.consumers)}
	return report, setupError(report)
}

// setupError returns what failed as an error of the package.
func setupError(report SetupReport) error {
	if err := report.Err(); err != nil {
		return fmt.Errorf("%ssetup: %w", prefix, err)
	}
	return nil
}

func (c *Client) setupTopics(ctx context.Context, topics []string) []SetupResult {
	return inParallel(topics, func(topic string) SetupResult {
		return c.create(ctx, wire.TopicsPath, SetupResult{Topic: topic}, wire.Topic{
			Name: topic, OriginHost: c.cfg.originHost, RecoveryEnabled: c.cfg.recoveryEnabled,
		})
	})
}

func (c *Client) setupConsumers(ctx context.Context, consumers []Consumer) []SetupResult {
	return inParallel(consumers, func(consumer Consumer) SetupResult {
		return c.create(ctx, wire.ConsumersPath, resultOf(consumer), wire.Consumer{
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
func (c *Client) create(ctx context.Context, path string, result SetupResult, resource any) SetupResult {
	err := unwrapFailure(c.transport.create(ctx, path, result.Topic, resource))
	response, _ := errors.AsType[*ResponseError](err)
	switch {
	case err == nil:
		result.Status = SetupCreated
		c.cfg.logger.Info("postoffice: created " + result.String())
	case response != nil && response.StatusCode == http.StatusConflict:
		result.Status = SetupExists
		c.cfg.logger.Info("postoffice: " + result.String() + " exists; the server has updated nothing, so its settings may differ")
	default:
		result.Err = err
		c.log.error("setup", result.String(), "cannot create "+result.String(), "error", err)
	}
	if c.cfg.observer.Setup != nil {
		c.cfg.observer.Setup(result)
	}
	c.outcomes.note(result)
	return result
}

// inParallel makes the result of every item, a few at a time, in order. It
// panics if the app's transport has.
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
		panic(reason) // in the goroutine of the caller
	}
	return results
}

// keepSettingUp tries what failed again until all of it is done or the
// context ends: a server may be down, and a consumer's topic may be created
// later by another app.
func (c *Client) keepSettingUp(ctx context.Context, report SetupReport) {
	var topics []string
	for _, result := range report.Topics {
		if result.Status == SetupFailed {
			topics = append(topics, result.Topic)
		}
	}
	var consumers []Consumer
	for i, result := range report.Consumers {
		if result.Status == SetupFailed {
			consumers = append(consumers, c.cfg.consumers[i])
		}
	}
	select {
	case <-ctx.Done():
		return
	case <-time.After(setupRetryDelay):
	}
	create := func() error {
		topics = stillFailed(topics, c.setupTopics(ctx, topics))
		consumers = stillFailed(consumers, c.setupConsumers(ctx, consumers))
		if left := len(topics) + len(consumers); left > 0 {
			return fmt.Errorf("%d topics and consumers are left to create", left)
		}
		return nil
	}
	err := retry.Do(func() error { return c.guard("setting up", create) },
		retry.Context(ctx), retry.Attempts(0), retry.LastErrorOnly(true),
		retry.DelayType(retry.FullJitterBackoffDelay), retry.Delay(setupRetryDelay), retry.MaxDelay(setupRetryMax),
	)
	if err == nil {
		c.cfg.logger.Info("postoffice: setup is complete")
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

// ensureTopic creates a topic that the server turned out not to know, if it
// is one of ours and was not tried a moment ago. It tells whether the server
// has the topic now.
func (c *Client) ensureTopic(ctx context.Context, topic string) bool {
	if !slices.Contains(c.cfg.topics, topic) || !c.ensured.allow(topic) {
		return false
	}
	return c.setupTopics(ctx, []string{topic})[0].Status != SetupFailed
}

// pacer admits each key once within ensureInterval.
type pacer struct {
	mu   sync.Mutex
	last map[string]time.Time
}

func (p *pacer) allow(key string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	if last, ok := p.last[key]; ok && now.Sub(last) < ensureInterval {
		return false
	}
	if p.last == nil {
		p.last = map[string]time.Time{}
	}
	p.last[key] = now
	return true
}
