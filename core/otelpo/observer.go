package otelpo

import (
	"context"
	"errors"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/trace/noop"

	"github.com/postoffice-go/postoffice/core"
)

// Observer returns an Observer that records metrics and traces of a client. Set it as
// Config.Observer of one or several clients; [core.JoinObservers] joins it with others.
// Without options it uses OpenTelemetry's global providers. OpenTelemetry's error
// handler gets options that are nil or have a bad value, and instruments that cannot be
// created; the others work.
func Observer(options ...Option) core.Observer {
	s, err := resolve(options)
	report(err)
	m := newMetrics(s.meter())
	t := &traces{tracer: s.tracer(), metrics: m}
	if _, off := s.tracers.(noop.TracerProvider); off {
		t.tracer = nil
	}
	return core.Observer{
		Published: m.publish,
		Delivered: m.deliver,
		Stored:    m.countByTopic(m.stored),
		Spilled:   m.countByTopic(m.spilled),
		Failed:    m.fail,
		Dead: func(e core.Event) {
			m.count(m.dead, e, m.topic(e.Topic).label(alone))
			m.fail(e)
		},
		NoConsumer: m.countByTopic(m.noConsumer),
		Discarded:  m.countByTopic(m.discarded),
		Listed: func(e core.Event) {
			m.lists.Add(context.Background(), 1, m.topic("").label(alone).add...)
			m.count(m.listed, e, m.topic(e.Topic).label(alone))
		},
		Recovered: m.countByTopic(m.recovered),
		Breaker: func(state core.BreakerState) {
			m.breaker.Add(context.Background(), 1, newLabelled(label{key: breakerKey, value: string(state)}).add...)
		},
		Setup:   m.setUp,
		Publish: t.publish,
		Origin:  origin,
		Send:    t.send,
	}
}

// report passes errors to OpenTelemetry's error handler.
func report(errs ...error) {
	if err := errors.Join(errs...); err != nil {
		otel.Handle(err)
	}
}
