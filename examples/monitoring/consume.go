package main

import (
	"context"
	"errors"
	"net/http"
	"sync/atomic"
	"time"

	sdkmetric "go.opentelemetry.io/otel/sdk/metric"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/otelpo"
	"github.com/postoffice-go/postoffice/core/outbox/sqlite"
	"github.com/postoffice-go/postoffice/nethttp"
)

// unknownItem is an item that the function of orders discards.
const unknownItem = "chimera"

// consumePath is the prefix of the paths to which the server posts messages,
// followed by the topic.
const consumePath = "/consume/"

// consumers returns the consumers of the app, at its own address. Parcels have none.
func consumers(host string) (ofOrders, ofVisits core.Consumer) {
	target := "http://server:secret@" + host + consumePath
	return core.Consumer{Topic: orders, Target: target + orders}, core.Consumer{Topic: visits, Target: target + visits}
}

// receiver handles the messages that the server delivers: orders with an inbox,
// visits at once.
type receiver struct {
	store              *sqlite.Store
	inbox              *delivery.Inbox
	stopGauges         func() error
	toOrders, toVisits http.Handler
}

// startReceiver starts the inbox, which is stored in a file.
func startReceiver(ctx context.Context, file, host string, meters *sdkmetric.MeterProvider, interval time.Duration) (r *receiver, err error) {
	observer := otelpo.DeliveryObserver(otelpo.WithMeterProvider(meters))
	ofOrders, ofVisits := consumers(host)
	seen, err := delivery.NewMemory(0)
	if err != nil {
		return nil, err
	}
	r = &receiver{stopGauges: func() error { return nil }}
	if r.toVisits, err = delivery.New(countVisit, delivery.WithConsumer(ofVisits), delivery.WithDeduplication(seen), delivery.WithObserver(observer)); err != nil {
		return nil, err
	}
	if r.store, err = sqlite.Open(ctx, file); err != nil {
		return nil, err
	}
	if r.inbox, err = delivery.NewInbox(r.store, delivery.InboxOptions{Observer: observer}); err != nil {
		return nil, errors.Join(err, r.store.Close())
	}
	if r.toOrders, err = delivery.NewQueued(r.inbox, shipping(), delivery.WithConsumer(ofOrders)); err != nil {
		return nil, errors.Join(err, r.store.Close())
	}
	if r.stopGauges, err = otelpo.InboxGauges(r.inbox, otelpo.WithMeterProvider(meters), otelpo.WithOutboxInterval(interval)); err != nil {
		return nil, errors.Join(err, r.store.Close())
	}
	if err := r.inbox.Start(ctx); err != nil {
		return nil, errors.Join(err, r.stopGauges(), r.store.Close())
	}
	return r, nil
}

// mount mounts the handlers at the paths of the consumers' targets.
func (r *receiver) mount(mux *http.ServeMux) error {
	return errors.Join(nethttp.Consume(mux, consumePath+orders, r.toOrders), nethttp.Consume(mux, consumePath+visits, r.toVisits))
}

// stop waits for the functions, and stops the gauges before it closes the file.
func (r *receiver) stop(ctx context.Context) error {
	return errors.Join(r.inbox.Stop(ctx), r.stopGauges(), r.store.Close())
}

// countVisit handles visits.
func countVisit(context.Context, delivery.Message[visit]) error { return nil }

// shipping returns the function that handles orders. Every tenth call fails, and the
// message is handled again later.
func shipping() func(context.Context, delivery.Message[order]) error {
	var calls atomic.Int64
	return func(_ context.Context, m delivery.Message[order]) error {
		switch {
		case m.Payload.Item == unknownItem:
			return delivery.Discard(errors.New("the item is unknown"))
		case calls.Add(1)%10 == 0:
			return errors.New("the warehouse does not answer")
		}
		return nil
	}
}
