package delivery_test

import (
	"bytes"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"

	"github.com/postoffice-go/postoffice/core/delivery"
	"github.com/postoffice-go/postoffice/core/delivery/sqldedup"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// deliver posts a message as the server does, and returns the status.
func deliver(handler http.Handler, id, body string) int {
	request := httptest.NewRequest(http.MethodPost, "/consume/orders", strings.NewReader(body))
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("message-id", id)
	response := httptest.NewRecorder()
	handler.ServeHTTP(response, request)
	return response.Code
}

func ExampleHandler() {
	type Order struct {
		ID    int    `json:"id"`
		Price string `json:"price"`
	}
	handler := delivery.Handler(func(_ context.Context, m delivery.Message[Order]) error {
		fmt.Println(m.Topic, m.ID, m.Payload, m.Attributes)
		return nil
	}, delivery.WithTopic("orders"))

	fmt.Println(deliver(handler, "9114", `{"id":7,"price":"0.10","attributes":{"region":"north"}}`))
	// Output:
	// orders 9114 {7 0.10} map[region:north]
	// 204
}

// An order of a country that is not served will never succeed, a database
// that fails will be back.
func ExampleDiscard() {
	type Order struct{ Country string }
	handler := delivery.Handler(func(_ context.Context, m delivery.Message[Order]) error {
		switch m.Payload.Country {
		case "es":
			return nil
		case "pt":
			return errors.New("the database is down")
		default:
			return delivery.Discard(errors.New("country is not served"))
		}
	},
		delivery.WithLogger(slog.New(slog.DiscardHandler)), // not in the example's output
		delivery.WithOnError(func(_ context.Context, p delivery.Problem) { fmt.Println(p.Kind, p.Err) }))

	for _, country := range []string{"es", "pt", "xx"} {
		fmt.Println(deliver(handler, "9114", `{"country":"`+country+`","attributes":{}}`))
	}
	// Output:
	// 204
	// message not handled the database is down
	// 500
	// message discarded discarded: country is not served
	// 204
}

// Messages that cannot be decoded are put aside, where a person looks at
// them.
func ExampleWithUndecodable() {
	type Order struct{ ID int }
	var aside bytes.Buffer // a table, for instance
	handler := delivery.Handler(func(context.Context, delivery.Message[Order]) error { return nil },
		delivery.WithLogger(slog.New(slog.DiscardHandler)), // not in the example's output
		delivery.WithUndecodable(func(_ context.Context, m delivery.Undecodable) error {
			_, err := fmt.Fprintf(&aside, "%s: %s: %s\n", m.ID, m.Err, m.Body)
			return err // nil acknowledges the message
		}))

	fmt.Println(deliver(handler, "9114", `{"id":"seven","attributes":{}}`))
	fmt.Print(aside.String())
	// Output:
	// 204
	// 9114: delivery: payload.ID is string, which does not fit int: {"id":"seven","attributes":{}}
}

// A message that a newer one has overtaken is acknowledged and skipped.
func ExampleWithLatest() {
	memory, err := delivery.NewMemory(0)
	if err != nil {
		log.Fatal(err)
	}
	type Customer struct {
		ID       string
		Revision int64
		Email    string
	}
	handler := delivery.Handler(func(_ context.Context, m delivery.Message[Customer]) error {
		fmt.Println("saved", m.Payload.Email)
		return nil
	}, delivery.WithDeduplication(memory), delivery.WithLatest(
		func(m delivery.Message[Customer]) string { return m.Payload.ID },
		func(m delivery.Message[Customer]) int64 { return m.Payload.Revision },
	))
	fmt.Println(deliver(handler, "9115", `{"id":"ann","revision":2,"email":"new@example.org","attributes":{}}`))
	fmt.Println(deliver(handler, "9114", `{"id":"ann","revision":1,"email":"old@example.org","attributes":{}}`))
	// Output:
	// saved new@example.org
	// 204
	// 204
}

// The effect of a message and the memory of it are one transaction, so the
// effect happens once, however often the message comes.
func ExampleDoneTx() {
	directory, err := os.MkdirTemp("", "billing")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(directory) }()
	db, err := sql.Open("sqlite", filepath.Join(directory, "app.db"))
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	ctx := context.Background()
	if err := sqldedup.Migrate(ctx, db, sqlstore.SQLite); err != nil {
		log.Fatal(err)
	}
	if _, err := db.ExecContext(ctx, "CREATE TABLE bills (order_id INTEGER)"); err != nil {
		log.Fatal(err)
	}
	deduplicator, err := sqldedup.New(db, sqlstore.SQLite)
	if err != nil {
		log.Fatal(err)
	}

	type Order struct{ ID int }
	handler := delivery.Handler(func(ctx context.Context, m delivery.Message[Order]) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // no effect after Commit
		if _, err := tx.ExecContext(ctx, "INSERT INTO bills (order_id) VALUES (?)", m.Payload.ID); err != nil {
			return err
		}
		if err := delivery.DoneTx(ctx, tx); err != nil {
			return err
		}
		return tx.Commit()
	}, delivery.WithDeduplication(deduplicator))

	for _, id := range []string{"9114", "9250"} { // the second came by recovery
		fmt.Println(deliver(handler, id, `{"id":7,"attributes":{"message_id":"0190163d-8694-739b-aea5-966c26f8ad91"}}`))
	}
	var bills int
	if err := db.QueryRowContext(ctx, "SELECT COUNT(*) FROM bills").Scan(&bills); err != nil {
		log.Fatal(err)
	}
	fmt.Println("bills:", bills)
	// Output:
	// 204
	// 204
	// bills: 1
}
