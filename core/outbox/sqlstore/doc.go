// Package sqlstore is the [outbox.Store] in a table of the caller's database, over
// database/sql with the caller's driver. Several processes can share the table, and
// records can be inserted in the caller's own transactions.
//
//	db, err := sql.Open("pgx", dsn)
//	…
//	store, err := sqlstore.New(db, sqlstore.Postgres)
//	…
//	client, err := core.NewClient(core.Config{Outbox: store})
//
// # Set-up
//
// Create the table with your own migrations, from the statements of [Schema] or the
// files of [Files], or by calling [Migrate]. The store never changes the schema by
// itself. [Store.Check], which the client calls on Start, names missing parts. To
// upgrade a table of an older release, call Migrate or run the statements of
// [SchemaFrom]: see "Versions of the schema" below.
//
//   - PostgreSQL 12 or newer ([Postgres]): github.com/jackc/pgx/v5/stdlib, which
//     is faster, or github.com/lib/pq. With a pooler that assigns a connection to
//     each transaction, such as PgBouncer in transaction mode, set what the driver
//     needs for it: default_query_exec_mode=exec of pgx, or binary_parameters=yes of
//     lib/pq.
//   - MySQL 8, MariaDB 10.6 or newer ([MySQL]): github.com/go-sql-driver/mysql,
//     with any of its options; parseTime, loc and charset do not matter. The format
//     of the binary log must not be STATEMENT. The statements are those that both
//     databases support; the tests run on MariaDB.
//   - SQLite 3.35 or newer ([SQLite]): modernc.org/sqlite. Compatible drivers such
//     as github.com/mattn/go-sqlite3 are not tested. Open the file in WAL mode, with
//     a busy timeout and with immediate transactions, because a transaction that
//     reads before it writes may fail instead of waiting for others:
//     "file:app.db?_txlock=immediate&_pragma=journal_mode(WAL)&_pragma=busy_timeout(5000)".
//     [Store.Warnings] reports if WAL mode or the timeout is missing. An in-memory
//     database is a different one for each connection. For a separate outbox file,
//     the package core/outbox/sqlite is simpler.
//
// The database user needs SELECT, INSERT, UPDATE and DELETE on the table, and for
// [Migrate] the right to create and alter it.
//
// # Sessions
//
// Settings of the connections and the server can change the meaning of statements.
// [Store.Check] tries the operations of the store and names the setting that keeps
// it from working ([ErrSession]):
//
//   - PostgreSQL: default_transaction_read_only; a standby; row-level security
//     that hides inserted rows from other statements; a client_encoding
//     that is neither UTF8 nor the database's.
//   - MySQL: autocommit = 0, completion_type = CHAIN, sql_safe_updates, a
//     sql_select_limit below 1000, EMPTY_STRING_IS_NULL in sql_mode, read-only
//     transactions, a binary log of the format STATEMENT.
//   - SQLite: PRAGMA query_only.
//
// A LastError may contain any character. Characters that the database does not
// support are stored as escapes such as \u00e9.
//
// # Failover and clusters
//
// The store closes a connection that is broken, or whose server is read-only, a
// standby, starting, shutting down or without a quorum. If the server is the reason,
// it also closes the idle connections of the pool, which may lead to the same server.
// Then it repeats the call: without a pause for as many connections as were open, then
// up to ten times with pauses of up to 0.1 s, until the context ends. Every call can be
// repeated, because a record is inserted once by its ID. [Store.Retries] counts
// repeated attempts.
//
// The store never repeats a transaction of the caller: InsertTx returns the error,
// the caller rolls back, and database/sql returns the connection to the pool. The
// next call of the store that gets this connection closes it.
// sql.DB.SetConnMaxLifetime bounds how long a connection is kept that only the
// caller uses.
//
//   - PostgreSQL with a standby: inserted records survive a failover if the standby is
//     synchronous. If it is asynchronous, changes that it has not received are lost. An
//     insert whose context ends while it waits for the standby fails. With lib/pq, the
//     Commit of a caller's transaction may then succeed although the standby has not
//     received it: treat a Commit that returns after the end of its context as failed.
//     Do not set synchronous_standby_names on a new primary before it has a standby:
//     commits would wait for it. A query on a connection to the old primary returns
//     old data until a call that changes something detects the failover.
//   - PgBouncer keeps connections to the old primary while their sockets stay open. The
//     store makes PgBouncer close the ones that it gets. Set server_login_retry to 1:
//     by default, PgBouncer waits 15 s before it tries an unavailable server again.
//   - Galera: the store repeats calls that conflict with other nodes at COMMIT. If a load
//     balancer leads the connections of a process to different nodes, a node may not
//     have received what was committed on another one. A Delete that finds nothing for
//     this reason leads to a duplicate delivery. Add wsrep_sync_wait=3 to the data source
//     name, as in "app@tcp(balancer:3306)/app?wsrep_sync_wait=3"; [Store.Warnings]
//     reports if it is missing. A node that has lost the others rejects statements or
//     blocks them for repl.causal_read_timeout, 30 s by default; set it to 2 s.
//
// # Promises
//
// When a method that changes something returns nil, the database has committed the
// change, as durably as it is configured to. When Insert returns an error, none of
// its records is stored, with one exception: if the connection fails or the context
// ends while the statement runs, the server may still execute it. Repeat the insert
// then; an ID is stored once.
//
// No method holds a transaction or a connection after it has returned, and none
// needs two connections at once, so a pool of one connection is enough; Check uses a
// second one if it gets it within a second. The relay of a client uses at most one
// connection for claims and one for each outcome that it is storing; inserts use one
// each.
//
// All times are those of the database's clock, so neither the clocks of the
// processes need to agree nor does the database's time zone matter. SQLite's clock
// has a resolution of milliseconds, the others of microseconds.
//
// The store deletes an undelivered record only on request: dead records stay until
// an operator retries or discards them, and the table grows until then. A delivered
// record is deleted at once.
//
// # Isolation
//
// Every method is correct at any default isolation level of the database. A claim on
// PostgreSQL is one statement. On MySQL it is a separate transaction at READ
// COMMITTED, which takes only rows that are still due when it changes them, even if
// SKIP LOCKED has no effect. On SQLite it is one statement that takes rows that are
// still due. Claims by topic first find the topics by separate queries. Deadlocks,
// serialization failures, lock timeouts, and statements that fail because the table
// was altered are repeated up to ten times. If an SQLite file is locked, calls wait
// until the context ends.
//
// After a failed InsertTx the caller must roll the transaction back: PostgreSQL
// rejects all other statements in it.
//
// # Deduplication keys
//
// A unique index keeps each [outbox.Record.DedupKey] in the table once, whichever
// process inserts it. A record with a key costs an additional lookup. An InsertTx of
// such a record needs a transaction with a method QueryContext, such as a *sql.Tx or
// the transaction of a library over database/sql, or one of [PgxTx]. Until a
// transaction that has inserted a key commits, other inserts of the same key wait
// for it. While an InsertTx waits on MySQL, other inserts may wait behind it; an
// Insert does not make others wait.
//
// # Bounds
//
// [WithMaxRecords] and [WithMaxBytes] are exact for one store. It counts the table
// at its first insert and then every ten seconds, or less often if counting takes
// long, and adds its own inserts in between. If several stores share a table, each
// knows the inserts of the others as of its last count: the bound may be exceeded by
// what the others insert within those ten seconds, and a full store notices within
// about a second that others have deleted records. Records of InsertTx count from
// the call on until the next count, whether the transaction commits or not. If it
// has not committed by then, the next count misses them, so the bound may be
// exceeded by them too.
//
// # Performance
//
// The cost of Claim, Delete, Reschedule, Next and Insert does not depend on the
// number of waiting records. Each is one statement, except for claims on MySQL and
// SQLite, claims by topic, and inserts of records with a key. A claim by topic
// searches the index by topic once for each topic that it visits, including up to
// some hundreds without due rows; on MySQL it reads up to 256 entries of the index
// for each of them instead. Stats and Count read an index, in time proportional to
// the rows they count. List, Retry and Discard by topic walk through the table by ID
// and skip the rows of other topics, unless they select dead records only.
//
// If MySQL's max_allowed_packet, or the maxAllowedPacket of its driver, is low, the
// store splits statements. A record that is too large for a statement is
// [outbox.ErrInvalid] and does not hold back others.
//
// PostgreSQL keeps deleted rows until they are vacuumed, and claims have to skip
// their index entries. The schema makes autovacuum run often on the table. A
// transaction that stays open for long, anywhere in the database, prevents the
// removal of rows that are deleted in the meantime: a claim then takes about one or
// two milliseconds longer for each 5000 of them.
//
// # Other databases
//
// Databases that speak the protocol of PostgreSQL or MySQL, such as CockroachDB,
// YugabyteDB, TiDB and Dolt, are not tested; [Store.Warnings] names them. A database
// with the protocol of PostgreSQL needs: partial indexes, also with INCLUDE; INSERT
// … ON CONFLICT (id) DO NOTHING, and the same without (id); FOR UPDATE SKIP LOCKED,
// also inside a common table expression and a LATERAL subquery; recursive common
// table expressions; unnest WITH ORDINALITY; UPDATE … FROM and UPDATE … RETURNING in
// one statement; window functions; text arrays that are cast from text;
// statement_timestamp, decode and convert_from; for Check the catalogs pg_attribute,
// pg_index, pg_class and pg_collation with to_regclass, format_type and pg_get_expr;
// for Migrate pg_advisory_xact_lock and pg_try_advisory_lock. The storage parameters
// of the schema (WITH …) can be left out. A key that begins with the time, such as a
// UUIDv7, and an index by due time create a hot range in a distributed table.
//
// # Versions of the schema
//
// The table stores no version number: its columns and indexes determine its version.
// Each release that changes the schema ships a file with the statements that upgrade
// an existing table. [Migrate] runs it, and Check names missing parts. Added
// columns may be NULL, and statements name the columns they use, so older releases
// keep working beside newer ones. Columns and indexes that you add yourself are left
// alone.
//
//   - Version 1 is the schema of the first releases.
//   - Version 2 adds the column dedup_key and two indexes: a unique one by key, and one
//     by topic. It limits topics to 1024 bytes on PostgreSQL. On MySQL, the limit is the
//     same as before, and the column must be VARBINARY(1024).
//
// A rolling deployment begins with [Migrate] or the statements of [SchemaFrom] while
// replicas of the older release are running: their Check still passes, and they
// insert, claim and deliver as before. Then start the new replicas; every replica
// works on the rows of all. Deduplication is exact only after the last old replica
// has stopped: old replicas write the key as the row's id, and new ones leave out
// records whose key such a row holds, but an old replica does not see the keys of
// new ones. A key may then have one row of each; both are delivered, with the same
// message_id. Going back to an older release needs no change of the table.
//
// While Migrate upgrades a table, inserts stop for at most a second at a time,
// however many rows there are: see [Migrate].
//
// # Errors
//
// Errors wrap the driver's error, for [errors.As], and contain neither the data
// source name nor payloads. If the context has ended, the error is the context's.
// [ErrSchema] means that the table does not fit, and [ErrSession] that the settings
// of the connections do not. Once the cause of an error is resolved, the store works
// again.
package sqlstore
