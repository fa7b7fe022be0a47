// Package sqlstore is the [outbox.Store] in a table of the caller's database,
// over database/sql with the caller's driver. Several processes may share the
// table, and records can be inserted in the caller's own transactions.
//
//	db, err := sql.Open("pgx", dsn)
//	…
//	store, err := sqlstore.New(db, sqlstore.Postgres)
//	…
//	client, err := core.NewClient(core.Config{Outbox: store})
//
// # Set-up
//
// The table comes with the user's own migrations, from the statements of
// [Schema] or the files of [Files], or from [Migrate] where the application
// calls it. Nothing else changes the schema. [Store.Check], which the client
// calls at its start, names what is missing. A table of an older release is
// brought up to date by the same Migrate, or by the statements of [SchemaFrom]:
// see below.
//
//   - PostgreSQL 12 or newer ([Postgres]): github.com/jackc/pgx/v5/stdlib, which
//     is faster, or github.com/lib/pq. With a pooler that gives each
//     transaction another connection, such as PgBouncer in transaction mode,
//     set what the driver needs there: default_query_exec_mode=exec of pgx, or
//     binary_parameters=yes of lib/pq.
//   - MySQL 8, MariaDB 10.6 or newer ([MySQL]): github.com/go-sql-driver/mysql,
//     with any of its options; parseTime, loc and charset do not matter. The binary log
//     must not have the format STATEMENT. The statements are those that both
//     databases have; the tests run on MariaDB.
//   - SQLite 3.35 or newer ([SQLite]): modernc.org/sqlite, or a driver that is
//     used like it, such as github.com/mattn/go-sqlite3, with which it is not
//     tested. Open the file in WAL mode, with a busy timeout, and with transactions
//     that begin as writers, for one that reads first may not wait for others:
//     "file:app.db?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)". A
//     database in memory is another one for each connection. For a file of the
//     outbox's own, package sqlite beside this one is simpler.
//
// The user of the connections needs SELECT, INSERT, UPDATE and DELETE on the
// table, and for [Migrate] the right to create and to change it.
//
// # Sessions
//
// Settings of the connections and the server can change what statements mean.
// [Store.Check] tries on the connections what the store does, and names the
// setting with which it does not work ([ErrSession]):
//
//   - PostgreSQL: default_transaction_read_only; a standby; row-level security
//     that hides from a statement what another has inserted; a client_encoding
//     that is neither UTF8 nor the database's.
//   - MySQL: autocommit = 0, completion_type = CHAIN, sql_safe_updates, a
//     sql_select_limit below 1000, EMPTY_STRING_IS_NULL in sql_mode, read-only
//     transactions, a binary log of the format STATEMENT.
//   - SQLite: PRAGMA query_only.
//
// A LastError may have any character. Where the database does not have it, it is
// written as an escape such as \u00e9.
//
// # Failover and clusters
//
// Where a server turns out to be read-only, a standby, starting, ending or without
// a quorum, or a connection breaks, the store closes the connection, and in the
// first case also the idle ones of the pool, which may lead to the same server. It
// runs its own call again: without a pause for as many connections as were open,
// then up to ten times with pauses of up to 0.1 s, as long as the context lasts.
// Each call may be repeated: a record is inserted once by its ID. [Store.Retries]
// counts what was run again.
//
// A transaction of the caller's is never repeated: InsertTx returns the error, the
// caller rolls back, and database/sql returns the connection to the pool. The next
// call of the store that meets it there closes it; sql.DB.SetConnMaxLifetime bounds
// how long a connection that only the caller uses is kept.
//
//   - PostgreSQL with a standby: what was inserted is there after a failover if the
//     standby is synchronous; if it is asynchronous, what it had not got is lost. An
//     insert whose context ends while it waits for the standby fails. With lib/pq the
//     Commit of a caller's transaction may succeed then, though the standby has not
//     got it: take one that returns after the end of its context as failed. A new
//     primary needs synchronous_standby_names only when it has a standby, for
//     commits wait for one that is not there. A query on a connection to the old
//     primary returns what was there before, until a call that changes something has
//     found out.
//   - PgBouncer keeps connections of its own to the old primary where their sockets
//     stay open. The store has it close those that it meets. Set server_login_retry
//     to 1: PgBouncer waits 15 s by default before it tries a server again that was
//     away.
//   - Galera: conflicts with other nodes at COMMIT are run again. Where a balancer
//     leads the connections of a process to different nodes, one may not have yet
//     what was committed on another, and a Delete that finds nothing has the
//     message delivered twice. Add wsrep_sync_wait=3 to the data source name, as in
//     "app@tcp(balancer:3306)/app?wsrep_sync_wait=3"; [Store.Warnings] tells where
//     it is missing. A node that has lost the others refuses statements or has
//     them wait for repl.causal_read_timeout, 30 s by default; set it to 2 s.
//
// # Promises
//
// When a method that changes something returns nil, the database has committed
// it, as durably as it is set to. When Insert returns an error, none of its
// records is kept, but for one case: if the connection fails or the context
// ends while the statement is under way, the server may still carry it out.
// Such an insert can be repeated, since an ID is stored once.
//
// No method holds a transaction or a connection after it has returned, and
// none needs two connections at once, so a pool of one is enough; Check uses a
// second one if it gets it within a second. The relay of a client uses at most
// one for claims and one for each outcome that it notes at the time; inserts use
// one each.
//
// All times are those of the database's clock, so the clocks of the processes
// need not agree, nor its time zone be set. SQLite's clock goes in
// milliseconds, the others in microseconds.
//
// Nothing that is undelivered is ever deleted by itself: dead records stay
// until a person retries or discards them, so the table grows as long as
// nobody looks. A delivered record is deleted at once.
//
// # Isolation
//
// Each method is right at any isolation level that the database has as its
// default. Claims on PostgreSQL are one statement; those on MySQL are a
// transaction of their own at READ COMMITTED, which takes only rows that are still
// due when it changes them, whatever SKIP LOCKED does; those on SQLite are one statement
// that takes what is still due. Claims by topic find the topics by queries of
// their own before that. Deadlocks, serialization failures, timeouts of
// locks and statements whose table was altered meanwhile are run again up to ten
// times; a locked SQLite file is waited for as long as the context lasts.
//
// An InsertTx that fails leaves the transaction to the caller, who rolls it
// back: PostgreSQL refuses every other statement in it.
//
// # Deduplication keys
//
// A unique index has each [outbox.Record.DedupKey] in the table once, whichever
// process inserts it. A record with a key costs a look-up beside its insert, and
// in an InsertTx needs a transaction with a method QueryContext, as a *sql.Tx
// and the transactions of libraries over database/sql have it, or one of [PgxTx].
// Until a transaction that has inserted a key commits, others that insert the
// same key wait for it. On MySQL, while an InsertTx waits so, other inserts may
// wait behind it; an Insert has nobody wait.
//
// # Bounds
//
// [WithMaxRecords] and [WithMaxBytes] are exact for one store. It counts the
// table at its first insert and then every ten seconds, less often if counting
// takes long, and in between it adds what it has inserted itself. Several
// stores on a table each know what the others did at their last count: the
// bound may be exceeded by what the others insert within those ten seconds,
// and a store that is full sees within about a second that others have
// deleted. What InsertTx inserts counts from the call on, whether the
// transaction commits or not, until the next count; what has not committed by
// then is not counted, so the bound may be exceeded by that too.
//
// # Performance
//
// Claim, Delete, Reschedule, Next and Insert cost the same whatever waits. They
// are one statement each, except for claims on MySQL and SQLite, claims by topic,
// and inserts of records with a key. A claim by topic searches the index by topic
// once for each topic that it passes, of which some hundred may be without due
// rows; on MySQL it reads up to 256 entries of the index for each instead. Stats and Count read an index, which takes as long as it
// counts many rows. List, Retry and Discard by topic go through the table in the
// order of IDs and pass the rows of other topics, unless they are for dead ones
// alone.
//
// Where MySQL's max_allowed_packet, or the maxAllowedPacket of its driver, is
// low, what one statement would carry is split. A record that is too large for a
// statement of its own is [outbox.ErrInvalid], and holds back no other.
//
// PostgreSQL keeps deleted rows until they are vacuumed, and claims walk over
// what they leave behind in the index. The schema has the table vacuumed often.
// A transaction that stays open for long, wherever in the database, keeps the
// rows that are deleted meanwhile from being removed: a claim then takes about
// one or two milliseconds more for each 5000 of them.
//
// # Other databases
//
// Databases that speak the protocol of PostgreSQL or MySQL, such as CockroachDB,
// YugabyteDB, TiDB and Dolt, are not tested; [Store.Warnings] names them. Those of
// PostgreSQL need: partial indexes, and such with INCLUDE;
// INSERT … ON CONFLICT (id) DO NOTHING, and the same without (id); FOR UPDATE SKIP LOCKED, inside a common table expression
// and a LATERAL subquery; recursive common table expressions; unnest WITH ORDINALITY;
// UPDATE … FROM and UPDATE … RETURNING in one; window functions; arrays of text
// that are cast from text; statement_timestamp, decode and convert_from; for
// Check the catalogs pg_attribute, pg_index, pg_class and pg_collation with
// to_regclass, format_type and pg_get_expr; for Migrate pg_advisory_xact_lock and
// pg_try_advisory_lock.
// The storage parameters of the schema (WITH …) may be left out. A key that
// begins with the time, such as a UUIDv7, and an index by due time make one
// range of a distributed table hot.
//
// # Versions of the schema
//
// A table has no version of its own: it is what it has. Each release brings, for
// those who have the table, a file of the statements that add what it needs more;
// [Migrate] runs it, and Check names what is missing. Columns that are added may
// be NULL, and statements name the columns they use, so older releases go on
// working beside newer ones. Columns and indexes of the user's own are left
// alone.
//
//   - Version 1 is that of the first releases.
//   - Version 2 adds the column dedup_key and two indexes: one by key, which is
//     unique, and one by topic. Topics have at most 1024 bytes from then on, in
//     PostgreSQL as before in MySQL, where the column must be VARBINARY(1024).
//
// A deployment that replaces one replica after the other begins with [Migrate]
// or the statements of [SchemaFrom], while replicas of the older release are at
// work: their Check still passes, and they insert, claim and deliver as before.
// Then the new replicas start, each of which works on the rows of all. One
// thing is exact only when the last old replica is gone: that a deduplication
// key is in the table once. Old replicas write the key as the id of the row,
// and new ones leave out what such a row holds, but an old one does not see
// what a new one holds. A key may have a row of each then; both are delivered,
// with the same message_id. Going back to an older release needs no change of
// the table.
//
// While Migrate upgrades a table, inserts stop for a second at most at a time,
// however many rows there are: see there.
//
// # Errors
//
// Errors carry the driver's own, for [errors.As], but neither the data source
// name nor payloads. If the context has ended, the error is the context's.
// [ErrSchema] means that the table does not fit, and [ErrSession] that the
// settings of the connections do not. When the cause of an error is
// gone, the store goes on working.
package sqlstore
