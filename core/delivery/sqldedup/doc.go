// Package sqldedup is a deduplicator for package delivery: it remembers handled
// messages in a table of the caller's database, over database/sql with the caller's
// driver: PostgreSQL, MySQL, MariaDB or SQLite. All instances of an app share it.
//
//	err := sqldedup.Migrate(ctx, db, sqlstore.Postgres) // or run schema/postgres.sql
//	...
//	deduplicator, err := sqldedup.New(db, sqlstore.Postgres)
//	...
//	handler := delivery.Handler(handle, delivery.WithDeduplication(deduplicator))
//
// # Exactly one effect
//
// A function whose effect is in the same database can mark the message as handled in
// its own transaction. The effect then happens once, whatever fails:
//
//	func(ctx context.Context, m delivery.Message[Order]) error {
//		tx, err := db.BeginTx(ctx, nil)
//		if err != nil {
//			return err
//		}
//		defer tx.Rollback()
//		if _, err := tx.ExecContext(ctx, "INSERT INTO bills ..."); err != nil {
//			return err
//		}
//		if err := delivery.DoneTx(ctx, tx); err != nil {
//			return err
//		}
//		return tx.Commit()
//	}
//
// [sqlstore.PgxTx] converts a transaction of pgx for DoneTx. Any isolation level
// works.
//
// # Versions
//
// With [delivery.WithLatest], the same table holds the latest version of each key.
//
// # Cost
//
// A message costs two statements, one before and one after it is handled, each a
// separate transaction, and a row of about 150 bytes until its time has ended. A
// message with a version ([delivery.WithLatest]) costs two additional queries and
// one additional statement, and a key has two rows. Rows whose time has ended are
// removed gradually as messages arrive; [Store.Prune] removes them all. Times are
// measured by the database's clock.
//
// On SQLite open the database with a busy timeout and, for more than one connection,
// in WAL mode; calls wait for a locked database until their context ends.
package sqldedup
