-- The outbox table of Postoffice for PostgreSQL, version 2, for a database that
-- has none. postgres_1_2.sql brings a table of version 1 to it.
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
	-- Rows come and go all the time, and what they leave behind in the index
	-- for claims is walked over until it is vacuumed. So that is done after as
	-- many changes however many rows wait. A fillfactor would be of no use:
	-- claims change an indexed column.
	autovacuum_vacuum_threshold = 1000, autovacuum_vacuum_scale_factor = 0.02,
	autovacuum_analyze_threshold = 1000, autovacuum_analyze_scale_factor = 0.02
);

-- What Claim and Next walk along. A planner that has no statistics expects
-- "state <> 1" to let most rows through, and so takes this index for its order.
CREATE INDEX IF NOT EXISTS postoffice_outbox_due ON postoffice_outbox (due_at, id) WHERE state <> 1;

-- Costs nothing while no row is dead.
CREATE INDEX IF NOT EXISTS postoffice_outbox_dead ON postoffice_outbox (id) WHERE state = 1;

-- Holds rows with a key only. Rows that releases for version 1 insert have none:
-- their id is the key.
CREATE UNIQUE INDEX IF NOT EXISTS postoffice_outbox_key ON postoffice_outbox (dedup_key) WHERE dedup_key IS NOT NULL;

-- What claims by topic walk along, and what counts pending rows, all or those of
-- a topic, without reading the table.
CREATE INDEX IF NOT EXISTS postoffice_outbox_topic ON postoffice_outbox (topic, due_at, id) INCLUDE (size, created_at, token) WHERE state <> 1;
