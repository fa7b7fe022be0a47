package main

import (
	"context"
	"database/sql"
	"errors"
	"path/filepath"

	_ "modernc.org/sqlite" // the driver "sqlite"

	"github.com/postoffice-go/postoffice/core/delivery/sqldedup"
	"github.com/postoffice-go/postoffice/core/outbox/sqlstore"
)

// openLedger opens billing's database with the booked orders and the handled
// messages. In your app, create these tables with your own migrations, the second
// one with sqldedup.Schema.
func openLedger(ctx context.Context, directory string) (*sql.DB, error) {
	// Transactions take the lock when they begin, and wait for it, so that none
	// fails because another has changed the file.
	options := "?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)"
	db, err := sql.Open("sqlite", "file:"+filepath.ToSlash(filepath.Join(directory, "billing.db"))+options)
	if err != nil {
		return nil, err
	}
	if err := sqldedup.Migrate(ctx, db, sqlstore.SQLite); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	const table = "CREATE TABLE bookings (message_id TEXT NOT NULL, number INTEGER NOT NULL, item TEXT NOT NULL)"
	if _, err := db.ExecContext(ctx, table); err != nil {
		return nil, errors.Join(err, db.Close())
	}
	return db, nil
}

func insertBooking(ctx context.Context, tx *sql.Tx, messageID string, o order) error {
	_, err := tx.ExecContext(ctx, "INSERT INTO bookings (message_id, number, item) VALUES (?, ?, ?)", messageID, o.Number, o.Item)
	return err
}

// countBookings counts the orders that a message has booked.
func countBookings(ctx context.Context, db *sql.DB, messageID string) (count int, err error) {
	err = db.QueryRowContext(ctx, "SELECT COUNT(*) FROM bookings WHERE message_id = ?", messageID).Scan(&count)
	return count, err
}
