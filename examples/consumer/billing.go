package main

import (
	"context"
	"database/sql"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/labstack/echo/v4"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/delivery/sqldedup"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
	"github.com/postoffice-go/postoffice/echopo"
)

// consumerPath is the path to which the server posts messages.
const consumerPath = "/consume/orders"

// billing books the orders that it consumes.
type billing struct {
	*service
	db       *sql.DB
	client   *core.Client
	shipping *shipping
	// booked is closed when an order is booked and the delivery answered.
	booked chan struct{}
	once   sync.Once
	visits chan *visit // deliveries, in the order of their answers
}

func startBilling(ctx context.Context, addr, serverURL, directory string) (*billing, error) {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, err
	}
	db, err := openLedger(ctx, directory)
	if err != nil {
		return nil, errors.Join(err, listener.Close())
	}
	b := &billing{db: db, booked: make(chan struct{}), visits: make(chan *visit, 100)}
	logger := slog.New(slog.DiscardHandler) // the program prints what happens
	if b.shipping, err = startShipping(ctx, directory, logger); err != nil {
		return nil, errors.Join(err, db.Close(), listener.Close())
	}
	app, err := b.app(ctx, serverURL, listener.Addr().String(), logger)
	if err != nil {
		return nil, errors.Join(err, b.shipping.stop(ctx), db.Close(), listener.Close())
	}
	b.service = serve(listener, app)
	return b, nil
}

// app registers the consumers with the server and creates their handlers. The server
// presents the user and password of the target, and the handlers require them.
func (b *billing) app(ctx context.Context, serverURL, addr string, logger *slog.Logger) (http.Handler, error) {
	orders := core.Consumer{Topic: topic, Target: "http://server:secret@" + addr + consumerPath}
	parcels := core.Consumer{Topic: topic, Target: "http://server:secret@" + addr + shippingPath}
	deduplicator, err := sqldedup.New(b.db, sqlstore.SQLite)
	if err != nil {
		return nil, err
	}
	client, err := core.NewClient(core.Config{
		URL:           serverURL,
		Consumers:     []core.Consumer{orders, parcels},
		Timeout:       5 * time.Second,
		SetupRequired: true,
		Logger:        logger,
	})
	if err != nil {
		return nil, err
	}
	b.client = client

	e := echo.New()
	e.Use(b.watch)
	err = echopo.Consume(e, consumerPath, delivery.Handler(b.book,
		delivery.WithConsumer(orders),
		delivery.WithDeduplication(deduplicator),
		delivery.WithContext(noteMessageID),
		delivery.WithLogger(logger)))
	if err == nil {
		var queued http.Handler
		if queued, err = b.shipping.handler(parcels, logger); err == nil {
			err = echopo.Consume(e, shippingPath, queued)
		}
	}
	if err == nil {
		err = client.Start(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, client.Stop(ctx))
	}
	return e, nil
}

// book books an order. The booking and the record of the message are one
// transaction, so an order is booked once, however often its message arrives.
func (b *billing) book(ctx context.Context, m delivery.Message[order]) error {
	tx, err := b.db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }() // no effect after Commit
	if err := insertBooking(ctx, tx, m.Attributes[core.MessageIDAttribute], m.Payload); err != nil {
		return err
	}
	if err := delivery.DoneTx(ctx, tx); err != nil {
		return err
	}
	if err := tx.Commit(); err != nil {
		return err
	}
	visitOf(ctx).booked = true
	return nil
}

// next waits for a delivery of the message. A server with messages of earlier runs
// may deliver those, too; next ignores them.
func (b *billing) next(ctx context.Context, messageID string) (*visit, error) {
	for {
		select {
		case v := <-b.visits:
			if v.messageID == messageID {
				return v, nil
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// stop ends billing: first the requests, then the client and shipping, and last the
// database.
func (b *billing) stop(ctx context.Context) error {
	ctx, cancel := stopping(ctx)
	defer cancel()
	return errors.Join(b.service.stop(ctx), b.client.Stop(ctx), b.shipping.stop(ctx), b.db.Close())
}
