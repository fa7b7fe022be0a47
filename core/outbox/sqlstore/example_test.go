package sqlstore_test

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"os"
	"path/filepath"

	"github.com/jackc/pgx/v5"
	_ "modernc.org/sqlite" // or another driver of the application's

	"github.com/postoffice-go/postoffice/core/outbox"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// An order and the message about it are kept both or not at all.
func Example() {
	ctx := context.Background()
	directory, err := os.MkdirTemp("", "example")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = os.RemoveAll(directory) }()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(directory, "app.db")+"?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)")
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	if _, err := db.ExecContext(ctx, "CREATE TABLE orders (id INTEGER)"); err != nil {
		log.Fatal(err)
	}
	if err := sqlstore.Migrate(ctx, db, sqlstore.SQLite); err != nil {
		log.Fatal(err)
	}
	store, err := sqlstore.New(db, sqlstore.SQLite)
	if err != nil {
		log.Fatal(err)
	}
	defer func() { _ = store.Close() }()

	order := func(id int, paid bool) error {
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }() // no effect after Commit
		if _, err := tx.ExecContext(ctx, "INSERT INTO orders VALUES (?)", id); err != nil {
			return err
		}
		message := outbox.Record{
			ID:         fmt.Sprintf("0197a5d2-0000-7000-8000-%012d", id), // core makes a UUIDv7
			Topic:      "orders",
			Payload:    fmt.Appendf(nil, `{"order":%d}`, id),
			Attributes: []byte(`{}`),
		}
		if err := store.InsertTx(ctx, tx, message); err != nil {
			return err
		}
		if !paid {
			return fmt.Errorf("order %d is not paid", id)
		}
		return tx.Commit()
	}
	fmt.Println(order(1, true))
	fmt.Println(order(2, false))

	records, err := store.List(ctx, outbox.Query{})
	if err != nil {
		log.Fatal(err)
	}
	for _, record := range records {
		fmt.Println(record.Topic, string(record.Payload))
	}
	// Output:
	// <nil>
	// order 2 is not paid
	// orders {"order":1}
}

// The statements for a migration of the user's.
func ExampleSchema() {
	text, err := sqlstore.Schema(sqlstore.Postgres, "app.outbox")
	if err != nil {
		log.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join("migrations", "0007_outbox.sql"), []byte(text), 0o644); err != nil {
		log.Fatal(err)
	}
}

// A transaction of pgx itself, without database/sql.
func ExamplePgxTx() {
	insert := func(ctx context.Context, conn *pgx.Conn, store *sqlstore.Store, record outbox.Record) error {
		return pgx.BeginFunc(ctx, conn, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, "INSERT INTO orders VALUES ($1)", 1); err != nil {
				return err
			}
			return store.InsertTx(ctx, sqlstore.PgxTx(tx), record)
		})
	}
	_ = insert
}
