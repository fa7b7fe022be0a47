package otelpo

import (
	"context"
	"errors"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// storeTimeout bounds how long collecting metrics waits for an outbox or an inbox.
const storeTimeout = 5 * time.Second

// Gauges registers metrics of the messages that a client has in memory and in its
// outbox. Collecting them queries the outbox at most once in 30 s, or in the time of
// [WithOutboxInterval], for at most 5 s. While the outbox does not respond, its metrics
// are left out, and OpenTelemetry's error handler gets the reason. If several processes
// share an outbox, each reports all of it. The returned function unregisters the
// metrics: call it before the outbox is closed. Errors name a nil client or option, or
// come from the MeterProvider.
//
// The gauges of several clients with the same MeterProvider are added up or replace
// each other: give each client a MeterProvider of its own.
func Gauges(client *core.Client, options ...Option) (stop func() error, err error) {
	s, err := resolve(options)
	if client == nil {
		err = errors.Join(errors.New("otelpo: client is nil"), err)
	}
	if err != nil {
		return nil, err
	}
	meter := s.meter()
	var errs []error
	upDown := func(name, unit, description string) metric.Int64ObservableUpDownCounter {
		made, err := meter.Int64ObservableUpDownCounter(name, metric.WithUnit(unit), metric.WithDescription(description))
		errs = append(errs, err)
		return made
	}
	queued := upDown("postoffice.queue.messages", "{message}", "Messages in memory.")
	queuedBytes := upDown("postoffice.queue.bytes", "By", "Bytes of the payloads of messages in memory.")
	atRisk, err := meter.Float64ObservableGauge("postoffice.queue.at_risk.age", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest message that a crash would lose, because it is only in memory; 0 if there is none."))
	errs = append(errs, err)
	stored := upDown("postoffice.outbox.messages", "{message}", "Messages in the outbox.")
	storedBytes := upDown("postoffice.outbox.bytes", "By", "Bytes of the messages in the outbox.")
	// States are counts, like k8s.container.status.state. A gauge with the unit 1
	// would be a ratio, and have the suffix _ratio in Prometheus.
	breaker := upDown("postoffice.breaker.state", "{breaker}", "Circuit breakers in a state: 1 for the state of the client's, 0 for the others.")
	outboxBreaker := upDown("postoffice.outbox.breaker.state", "{breaker}", "Circuit breakers of outboxes in a state: 1 for the state of the client's, 0 for the others.")
	oldest, err := meter.Float64ObservableGauge("postoffice.outbox.oldest.age", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest message in the outbox that waits to be delivered; 0 if none does."))
	errs = append(errs, err)
	if err := errors.Join(errs...); err != nil {
		return nil, err
	}

	all := metric.WithAttributeSet(attribute.NewSet(system))
	with := func(key attribute.Key, value string) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(system, key.String(value)))
	}
	states := map[core.BreakerState]metric.MeasurementOption{}
	for _, state := range []core.BreakerState{core.BreakerClosed, core.BreakerHalfOpen, core.BreakerOpen} {
		states[state] = with(breakerKey, string(state))
	}
	pending, dead := with(outboxStateKey, "pending"), with(outboxStateKey, "dead")
	look := &storeLook{ask: client.Outbox().Stats, interval: s.interval}
	registration, err := meter.RegisterCallback(func(ctx context.Context, to metric.Observer) error {
		stats := client.Stats()
		to.ObserveInt64(queued, int64(stats.Queued), all)
		to.ObserveInt64(queuedBytes, int64(stats.QueuedBytes), all)
		to.ObserveFloat64(atRisk, stats.AtRiskFor.Seconds(), all)
		for state, option := range states {
			to.ObserveInt64(breaker, oneIf(state == stats.Breaker), option)
			if stats.OutboxBreaker != "" {
				to.ObserveInt64(outboxBreaker, oneIf(state == stats.OutboxBreaker), option)
			}
		}
		seen, ok := look.stats(ctx)
		if !ok {
			return nil // an error would keep the app's other metrics from being exported
		}
		to.ObserveInt64(stored, int64(seen.Pending), pending)
		to.ObserveInt64(stored, int64(seen.Dead), dead)
		to.ObserveInt64(storedBytes, seen.Bytes, all)
		to.ObserveFloat64(oldest, seen.Age.Seconds(), all)
		return nil
	}, queued, queuedBytes, atRisk, stored, storedBytes, breaker, outboxBreaker, oldest)
	if err != nil {
		return nil, err
	}
	return registration.Unregister, nil
}

// oneIf returns 1 for true and 0 for false.
func oneIf(is bool) int64 {
	if is {
		return 1
	}
	return 0
}

// storeLook caches the statistics of an outbox or an inbox.
type storeLook struct {
	ask      func(ctx context.Context) (outbox.Stats, error)
	interval time.Duration

	mu   sync.Mutex
	next time.Time // when to query the store again
	last outbox.Stats
	ok   bool // whether the last query succeeded
}

// stats returns the statistics, which may be as old as the interval; false if the
// store did not respond. A failure is cached as well, so that a failing store is not
// queried more often, and reported once to OpenTelemetry's error handler.
func (l *storeLook) stats(ctx context.Context) (outbox.Stats, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if time.Now().Before(l.next) {
		return l.last, l.ok
	}
	asking, cancel := context.WithTimeout(ctx, storeTimeout)
	defer cancel()
	stats, err := l.ask(asking)
	if err != nil && ctx.Err() != nil {
		return outbox.Stats{}, false // the caller gave up, which says nothing about the store
	}
	l.next = time.Now().Add(l.interval)
	l.ok = err == nil
	if !errors.Is(err, core.ErrNoOutbox) {
		report(err)
	}
	l.last = stats
	return l.last, l.ok
}
