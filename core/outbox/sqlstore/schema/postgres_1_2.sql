-- Upgrades the outbox table of Postoffice for PostgreSQL from version 1 to 2.
-- Releases for version 1 keep working beside those for version 2.
--
-- Run each statement separately, outside a transaction, and not through a pooler
-- that assigns a connection to each transaction. Running them again has no
-- effect. The first waits for every transaction that has used the table, and
-- inserts wait behind it: bound the wait by lock_timeout, and try again. The
-- others block nobody. If one is interrupted, it leaves an invalid index: drop
-- the index, and run the statement again.

ALTER TABLE postoffice_outbox ADD COLUMN IF NOT EXISTS dedup_key text COLLATE "C";

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS postoffice_outbox_key ON postoffice_outbox (dedup_key) WHERE dedup_key IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS postoffice_outbox_topic ON postoffice_outbox (topic, due_at, id) INCLUDE (size, created_at, token) WHERE state <> 1;
