package otelpo

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"

	"github.com/postoffice-go/postoffice/core"
)

// Observer returns an Observer that makes metrics and traces of what a client
// does. It is for Config.Observer, of one client or of several;
// [core.JoinObservers] puts it together with others. Without options it uses
// OpenTelemetry's global providers. Instruments that cannot be made are
// reported to OpenTelemetry's error handler, and the others work.
func Observer(options ...Option) core.Observer {
	s := resolve(options)
	m := newMetrics(s.meter())
	t := &traces{tracer: s.tracer(), metrics: m}
	return core.Observer{
		Published: func(e core.Event) {
			m.count(m.published, e, label{topic: e.Topic, key: stateKey, value: e.State.String()})
		},
		Delivered: m.deliver,
		Stored:    func(e core.Event) { m.count(m.stored, e, label{topic: e.Topic}) },
		Spilled:   func(e core.Event) { m.count(m.spilled, e, label{topic: e.Topic}) },
		Failed:    m.fail,
		Dead: func(e core.Event) {
			m.count(m.dead, e, label{topic: e.Topic})
			m.fail(e)
		},
		NoConsumer: func(e core.Event) { m.count(m.noConsumer, e, label{topic: e.Topic}) },
		Discarded:  func(e core.Event) { m.count(m.discarded, e, label{topic: e.Topic}) },
		Listed: func(e core.Event) {
			m.lists.Add(context.Background(), 1, m.labels.of(label{}).add...)
			m.count(m.listed, e, label{topic: e.Topic})
		},
		Recovered: func(e core.Event) { m.count(m.recovered, e, label{topic: e.Topic}) },
		Breaker: func(state core.BreakerState) {
			m.breaker.Add(context.Background(), 1, m.labels.of(label{key: breakerKey, value: string(state)}).add...)
		},
		Setup:   m.setUp,
		Publish: t.publish,
		Origin:  origin,
		Send:    t.send,
	}
}

// report tells OpenTelemetry's error handler what went wrong.
func report(errs ...error) {
	if err := errors.Join(errs...); err != nil {
		otel.Handle(err)
	}
}
