-- Brings the outbox table of Postoffice for PostgreSQL from version 1 to 2.
-- Releases for version 1 go on working beside those for version 2.
--
-- Run each statement by itself, outside of a transaction, and not behind a
-- pooler that gives each transaction another connection. All can be run again
-- without effect. The first waits for every transaction that has used the
-- table, and inserts wait for it: bound that by lock_timeout, and try again.
-- The others stop nobody. One that is interrupted leaves an index behind that
-- is not valid: drop it, and run the statement again.

ALTER TABLE postoffice_outbox ADD COLUMN IF NOT EXISTS dedup_key text COLLATE "C";

CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS postoffice_outbox_key ON postoffice_outbox (dedup_key) WHERE dedup_key IS NOT NULL;

CREATE INDEX CONCURRENTLY IF NOT EXISTS postoffice_outbox_topic ON postoffice_outbox (topic, due_at, id) INCLUDE (size, created_at, token) WHERE state <> 1;
