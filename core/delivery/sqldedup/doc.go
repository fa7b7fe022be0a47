// Package sqldedup remembers the messages that consumers have handled in a
// table of the caller's database, over database/sql with the caller's driver:
// PostgreSQL, MySQL, MariaDB or SQLite. All instances of an app share it.
//
//	err := sqldedup.Migrate(ctx, db, sqlstore.Postgres) // or run schema/postgres.sql
//	...
//	deduplicator, err := sqldedup.New(db, sqlstore.Postgres)
//	...
//	handler := delivery.Handler(handle, delivery.WithDeduplication(deduplicator))
//
// # Exactly one effect
//
// A function whose effect is in the same database makes the memory a part of
// its transaction, and the effect happens once, whatever fails:
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
// Of pgx transactions [sqlstore.PgxTx] makes what DoneTx takes. Any level of
// isolation will do.
//
// # Versions
//
// With [delivery.WithLatest] the latest version of each key is remembered in the
// same table.
//
// # Cost
//
// A message costs two statements, one before and one after it is handled,
// each a transaction of its own, and a row of some 150 bytes until its time
// has passed. A message with a version ([delivery.WithLatest]) costs two queries
// and a statement more, and a key has two rows. Rows whose time has passed are removed by and by as messages
// come; [Store.Prune] removes them all. Times are by the database's clock.
//
// On SQLite open the database with a busy timeout and, for more than one
// connection, in WAL mode; calls wait for a locked database as long as their
// context lasts.
package sqldedup
