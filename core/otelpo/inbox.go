package otelpo

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"

	"github.com/postoffice-go/postoffice/core/delivery"
)

// InboxGauges registers metrics of the messages in an inbox. Collecting them queries
// its store at most once in 30 s, or in the time of [WithOutboxInterval], for at most
// 5 s. While the store does not respond, the metrics are left out, and OpenTelemetry's
// error handler gets the reason. If several processes share an inbox, each reports all
// of it. The returned function unregisters the metrics: call it before the store is
// closed. Errors name a nil inbox or option, or come from the MeterProvider.
//
// The gauges of several inboxes with the same MeterProvider replace each other: give
// each a MeterProvider of its own.
func InboxGauges(inbox *delivery.Inbox, options ...Option) (stop func() error, err error) {
	s, err := resolve(options)
	if inbox == nil {
		err = errors.Join(errors.New("otelpo: inbox is nil"), err)
	}
	if err != nil {
		return nil, err
	}
	meter := s.meter()
	stored, err := meter.Int64ObservableUpDownCounter("postoffice.inbox.messages", metric.WithUnit("{message}"),
		metric.WithDescription("Messages in the inbox."))
	errs := []error{err}
	bytes, err := meter.Int64ObservableUpDownCounter("postoffice.inbox.bytes", metric.WithUnit("By"),
		metric.WithDescription("Bytes of the messages in the inbox."))
	errs = append(errs, err)
	oldest, err := meter.Float64ObservableGauge("postoffice.inbox.oldest.age", metric.WithUnit("s"),
		metric.WithDescription("Age of the oldest message in the inbox that waits to be handled; 0 if none does."))
	if err := errors.Join(append(errs, err)...); err != nil {
		return nil, err
	}
	with := func(attributes ...attribute.KeyValue) metric.MeasurementOption {
		return metric.WithAttributeSet(attribute.NewSet(append(attributes, system)...))
	}
	all, pending, dead := with(), with(inboxStateKey.String("pending")), with(inboxStateKey.String("dead"))
	look := &storeLook{ask: inbox.Stats, interval: s.interval}
	registration, err := meter.RegisterCallback(func(ctx context.Context, to metric.Observer) error {
		seen, ok := look.stats(ctx)
		if !ok {
			return nil // an error would keep the app's other metrics from being exported
		}
		to.ObserveInt64(stored, int64(seen.Pending), pending)
		to.ObserveInt64(stored, int64(seen.Dead), dead)
		to.ObserveInt64(bytes, seen.Bytes, all)
		to.ObserveFloat64(oldest, seen.Age.Seconds(), all)
		return nil
	}, stored, bytes, oldest)
	if err != nil {
		return nil, err
	}
	return registration.Unregister, nil
}
