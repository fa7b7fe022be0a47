package otelpo

import (
	"cmp"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	semconv "go.opentelemetry.io/otel/semconv/v1.30.0"
	"go.opentelemetry.io/otel/trace"

	"github.com/postoffice-go/postoffice/core/internal/typednil"
)

// scope is the name of the instrumentation.
const scope = "github.com/postoffice-go/postoffice/core/otelpo"

// DefaultOutboxInterval is the default of [WithOutboxInterval].
const DefaultOutboxInterval = 30 * time.Second

// Option changes what [Observer], [DeliveryObserver] and the gauges use.
type Option func(*settings) error

type settings struct {
	meters   metric.MeterProvider
	tracers  trace.TracerProvider
	interval time.Duration
}

// WithMeterProvider sets the MeterProvider. The default is the global one; the one of
// package metric/noop turns metrics off.
func WithMeterProvider(provider metric.MeterProvider) Option {
	return func(s *settings) error {
		s.meters = provider
		return nil
	}
}

// WithTracerProvider sets the TracerProvider. The default is the global one; the one
// of package trace/noop turns traces off. Gauges ignore it.
func WithTracerProvider(provider trace.TracerProvider) Option {
	return func(s *settings) error {
		s.tracers = provider
		return nil
	}
}

// WithOutboxInterval sets how long [Gauges] and [InboxGauges] cache the statistics of
// the outbox or the inbox. Zero means the default, 30 s; a negative duration is an
// error. Observers ignore it.
func WithOutboxInterval(d time.Duration) Option {
	return func(s *settings) error {
		if d < 0 {
			return fmt.Errorf("WithOutboxInterval of %v, below zero", d)
		}
		s.interval = d
		return nil
	}
}

// resolve applies options to the defaults. The error names options that are nil or
// have a bad value; for these the defaults apply.
func resolve(options []Option) (settings, error) {
	var s settings
	var errs []error
	for i, option := range options {
		if option == nil {
			errs = append(errs, fmt.Errorf("otelpo: options[%d] is nil", i))
			continue
		}
		if err := option(&s); err != nil {
			errs = append(errs, fmt.Errorf("otelpo: %w", err))
		}
	}
	s.interval = cmp.Or(s.interval, DefaultOutboxInterval)
	if typednil.Is(s.meters) {
		s.meters = otel.GetMeterProvider()
	}
	if typednil.Is(s.tracers) {
		s.tracers = otel.GetTracerProvider()
	}
	return s, errors.Join(errs...)
}

func (s settings) meter() metric.Meter {
	return s.meters.Meter(scope, metric.WithSchemaURL(semconv.SchemaURL))
}

func (s settings) tracer() trace.Tracer {
	return s.tracers.Tracer(scope, trace.WithSchemaURL(semconv.SchemaURL))
}
