// Command transactional shows how an order and the message about it are stored
// together or not at all.
//
//	go run ./examples/transactional
//	go run ./examples/transactional -postgres 'postgres://user:password@127.0.0.1/shop'
//
// Without a flag it needs nothing but Go: the database is an SQLite file that is
// deleted at the end. With -postgres it uses that database, creates the tables
// orders and postoffice_outbox if they are missing, and leaves them there. The
// Postoffice server is a fake one in the process, unless POSTOFFICE_URL is set,
// which also requires POSTOFFICE_ORIGIN_HOST.
package main

import (
	"context"
	"database/sql"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"time"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
	"github.com/postoffice-go/postoffice/core/postofficetest"
)

// patience is the timeout of the whole program.
const patience = time.Minute

func main() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "transactional:", err)
		os.Exit(1) //nolint:gocritic // there is nothing left to cancel
	}
}

// order is a row of the table orders, and the message about it.
type order struct {
	Number int    `json:"number"`
	Item   string `json:"item"`
}

// errSoldOut means that an order cannot be placed.
var errSoldOut = errors.New("sold out")

// placeOrder stores an order and publishes it in one transaction: whatever fails,
// the message is delivered if and only if the order was stored.
func placeOrder(ctx context.Context, db *database, client *core.Client, o order) (err error) {
	tx, err := db.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, tx.Rollback())
		}
	}()
	if _, err := tx.ExecContext(ctx, db.insertOrder, o.Number, o.Item); err != nil {
		return err
	}
	if _, err := client.PublishTx(ctx, tx, "orders", o); err != nil {
		return err
	}
	// A later failure undoes both.
	if o.Item == "unicorn" {
		return errSoldOut
	}
	return tx.Commit()
}

// run places two orders and returns nil only if exactly the message of the committed
// one arrived.
func run(ctx context.Context, args []string, out io.Writer) (err error) {
	say := func(format string, args ...any) { _, _ = fmt.Fprintf(out, format+"\n", args...) }
	flags := flag.NewFlagSet("transactional", flag.ContinueOnError)
	flags.SetOutput(out)
	postgres := flags.String("postgres", "", "`URL` of a PostgreSQL database (default an SQLite file that is deleted at the end)")
	if err := flags.Parse(args); err != nil {
		return err
	}

	db, err := openDatabase(ctx, *postgres)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.close()) }()
	say("The database is %s.", db.dialect)
	// In your app, create this table with your own migrations from the files of
	// sqlstore.Schema.
	if err := sqlstore.Migrate(ctx, db.DB, db.dialect); err != nil {
		return err
	}
	store, err := sqlstore.New(db.DB, db.dialect)
	if err != nil {
		return err
	}

	config, err := core.SettingsFromEnv()
	if err != nil {
		return err
	}
	var fake *postofficetest.Server
	if config.URL == "" {
		if fake, err = postofficetest.Listen("127.0.0.1:0", postofficetest.WithRealTime()); err != nil {
			return err
		}
		defer fake.Close()
		config.URL, config.OriginHost = fake.URL(), "http://fake:secret@127.0.0.1:8080"
		say("The fake server gets a pubsub consumer, so that it keeps the messages.")
		config.Consumers = []core.Consumer{{Topic: "orders", Target: "orders", Type: core.PubSub}}
	}
	if !slices.Contains(config.Topics, "orders") {
		config.Topics = append(config.Topics, "orders")
	}
	config.Outbox = store
	delivered := make(chan core.Event, 100)
	config.Observer.Delivered = func(event core.Event) { delivered <- event }
	client, err := core.NewClient(config)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, client.Stop(ctx)) }()
	if err := client.Start(ctx); err != nil {
		return err
	}

	first := db.nextOrder
	if err := placeOrder(ctx, db, client, order{first, "unicorn"}); !errors.Is(err, errSoldOut) {
		return fmt.Errorf("order %d was to be rolled back: %w", first, err)
	}
	say("Order %d, a unicorn: sold out, rolled back.", first)
	if err := placeOrder(ctx, db, client, order{first + 1, "teapot"}); err != nil {
		return err
	}
	say("Order %d, a teapot: committed.", first+1)
	select {
	case <-delivered:
	case <-ctx.Done():
		return fmt.Errorf("the message of order %d was not delivered: %w", first+1, ctx.Err())
	}
	say("Its message was delivered.")

	stored, err := db.orders(ctx, first)
	if err != nil {
		return err
	}
	if fake == nil {
		say("Orders stored: %v.", stored)
		return nil
	}
	messages := fake.MessagesOf("orders")
	say("Orders stored: %v. Messages that arrived: %d.", stored, len(messages))
	if len(stored) != 1 || len(messages) != 1 {
		return errors.New("there should be one of each")
	}
	return nil
}

// orders returns the stored order numbers from a number on.
func (db *database) orders(ctx context.Context, from int) (numbers []int, err error) {
	rows, err := db.QueryContext(ctx, db.selectOrders, from)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var number int
		if err := rows.Scan(&number); err != nil {
			return nil, err
		}
		numbers = append(numbers, number)
	}
	return numbers, rows.Err()
}

// database is the database of the example.
type database struct {
	*sql.DB
	dialect                   sqlstore.Dialect
	insertOrder, selectOrders string
	nextOrder                 int
	close                     func() error
}
