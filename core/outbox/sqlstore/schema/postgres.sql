-- The outbox table of Postoffice for PostgreSQL, version 2, for a database that
-- has none. postgres_1_2.sql upgrades a table of version 1.
--
-- Times are microseconds since 1970 by the database's clock. state is 0 for
-- pending and 1 for dead; a dead row's due_at is 0. While a claim holds a row,
-- token is the claim's and due_at is the end of its lease.

CREATE TABLE IF NOT EXISTS postoffice_outbox (
	id         text COLLATE "C" NOT NULL PRIMARY KEY,
	state      smallint NOT NULL,
	due_at     bigint   NOT NULL,
	token      text     NOT NULL,
	attempts   integer  NOT NULL,
	created_at bigint   NOT NULL,
	deliver_at bigint,
	size       bigint   NOT NULL,
	topic      text     NOT NULL,
	last_error text     NOT NULL,
	attributes bytea    NOT NULL,
	payload    bytea    NOT NULL,
	dedup_key  text COLLATE "C"
) WITH (
	-- Rows come and go all the time, and claims have to skip their index entries
	-- until these are vacuumed. So vacuum depends on the number of changes more
	-- than on the number of rows. A fillfactor would be of no use: claims change
	-- an indexed column.
	autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.02,
	autovacuum_analyze_threshold = 1000, autovacuum_analyze_scale_factor = 0.02
);

-- For Claim and Next. A planner without statistics expects most rows to match
-- "state <> 1", and so uses this index for its order.
CREATE INDEX IF NOT EXISTS postoffice_outbox_due ON postoffice_outbox (due_at, id) WHERE state <> 1;

-- Costs nothing while no row is dead.
CREATE INDEX IF NOT EXISTS postoffice_outbox_dead ON postoffice_outbox (id) WHERE state = 1;

-- Contains only rows with a key. Rows of releases for version 1 have none: their
-- id is the key.
CREATE UNIQUE INDEX IF NOT EXISTS postoffice_outbox_key ON postoffice_outbox (dedup_key) WHERE dedup_key IS NOT NULL;

-- For claims by topic, and for counting all pending rows or those of a topic
-- without reading the table.
CREATE INDEX IF NOT EXISTS postoffice_outbox_topic ON postoffice_outbox (topic, due_at, id) INCLUDE (size, created_at, token) WHERE state <> 1;
