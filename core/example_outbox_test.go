package core_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"

	_ "modernc.org/sqlite"

	"github.com/postoffice-go/postoffice/core"
	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/memory"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// A message that is delivered if, and only if, the order is committed.
func ExampleClient_PublishTx() {
	ctx := context.Background()
	server := exampleServer("orders")
	defer server.Close()
	directory, err := os.MkdirTemp("", "example-")
	if err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(directory) }()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(directory, "shop.db")+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		panic(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(ctx, "CREATE TABLE orders (id INTEGER PRIMARY KEY)"); err != nil {
		panic(err)
	}
	if err := sqlstore.Migrate(ctx, db, sqlstore.SQLite); err != nil {
		panic(err)
	}
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		panic(err)
	}
	client, err := core.NewClient(core.Config{URL: server.URL(), Outbox: store, Logger: quiet})
	if err != nil {
		panic(err)
	}
	if err := client.Start(ctx); err != nil {
		panic(err)
	}
	place := func(id int, paid bool) (err error) {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // of no effect after a commit
		if _, err := tx.ExecContext(ctx, "INSERT INTO orders (id) VALUES (?)", id); err != nil {
			return err
		}
		if _, err := client.PublishTx(ctx, tx, "orders", map[string]int{"id": id}); err != nil {
			return err
		}
		if !paid {
			return errors.New("not paid")
		}
		return tx.Commit()
	}
	fmt.Println(place(7, false))
	fmt.Println(place(8, true))
	if err := server.WaitForMessages(ctx, "orders", 1); err != nil {
		panic(err)
	}
	for _, message := range server.MessagesOf("orders") {
		fmt.Println(string(message.Payload))
	}
	if err := client.Stop(ctx); err != nil {
		panic(err)
	}
	// Output:
	// not paid
	// <nil>
	// {"id":8}
}

// What the server refuses waits for a person.
func ExampleClient_Outbox() {
	ctx := context.Background()
	server := exampleServer("orders")
	defer server.Close()
	client, err := core.NewClient(core.Config{URL: server.URL(), Outbox: memory.New(), Logger: quiet})
	if err != nil {
		panic(err)
	}
	defer func() { _ = client.Stop(ctx) }()
	server.FailNext(1, http.StatusBadRequest)
	receipt, err := client.Publish(ctx, "orders", order{ID: 7})
	if err != nil {
		panic(err)
	}
	dead := outbox.Dead
	list, err := client.Outbox().List(ctx, outbox.Query{State: &dead})
	if err != nil {
		panic(err)
	}
	fmt.Println(len(list), list[0].State, list[0].Topic, list[0].ID == receipt.IDs[0])
	n, err := client.Outbox().Discard(ctx, outbox.Selection{IDs: receipt.IDs})
	fmt.Println(n, err)
	// Output:
	// 1 dead orders true
	// 1 <nil>
}

// Consumers tell copies of a message by its id.
func ExampleWithMessageID() {
	ctx := context.Background()
	server := exampleServer("orders")
	defer server.Close()
	client, err := core.NewClient(core.Config{URL: server.URL(), Logger: quiet})
	if err != nil {
		panic(err)
	}
	defer func() { _ = client.Stop(ctx) }()
	receipt, err := client.Publish(ctx, "orders", order{ID: 7}, core.WithMessageID())
	if err != nil {
		panic(err)
	}
	fmt.Println(string(server.MessagesOf("orders")[0].Attributes) == `{"message_id":"`+receipt.IDs[0]+`"}`)
	// Output:
	// true
}
