-- The outbox table of Postoffice for SQLite, version 2, for a database that has
-- none. sqlite_1_2.sql upgrades a table of version 1.
--
-- Times are microseconds since 1970 by SQLite's clock. state is 0 for pending
-- and 1 for dead; a dead row's due_at is 0. While a claim holds a row, token is
-- the claim's and due_at is the end of its lease.

CREATE TABLE IF NOT EXISTS postoffice_outbox (
	id         TEXT    NOT NULL PRIMARY KEY,
	state      INTEGER NOT NULL,
	due_at     INTEGER NOT NULL,
	token      TEXT    NOT NULL,
	attempts   INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	deliver_at INTEGER,
	size       INTEGER NOT NULL,
	topic      TEXT    NOT NULL,
	last_error TEXT    NOT NULL,
	attributes BLOB    NOT NULL,
	payload    BLOB    NOT NULL,
	dedup_key  TEXT
);

-- For Claim and Next.
CREATE INDEX IF NOT EXISTS postoffice_outbox_due ON postoffice_outbox (due_at, id) WHERE state = 0;

-- Costs nothing while no row is dead.
CREATE INDEX IF NOT EXISTS postoffice_outbox_dead ON postoffice_outbox (id) WHERE state = 1;

-- Contains only rows with a key. Rows of releases for version 1 have none: their
-- id is the key.
CREATE UNIQUE INDEX IF NOT EXISTS postoffice_outbox_key ON postoffice_outbox (dedup_key) WHERE dedup_key IS NOT NULL;

-- For claims by topic, and for counting all pending rows or those of a topic
-- without reading the table.
CREATE INDEX IF NOT EXISTS postoffice_outbox_topic ON postoffice_outbox (topic, due_at, id, size, created_at, token) WHERE state = 0;
