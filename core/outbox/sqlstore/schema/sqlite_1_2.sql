-- Upgrades the outbox table of Postoffice for SQLite from version 1 to 2.
-- Releases for version 1 keep working beside those for version 2.
--
-- SQLite cannot add a column "if not exists": if the first statement is run
-- again, it fails with "duplicate column name" and changes nothing. Building an
-- index blocks all other writes to the file, for some seconds per million rows.

ALTER TABLE postoffice_outbox ADD COLUMN dedup_key TEXT;

CREATE UNIQUE INDEX IF NOT EXISTS postoffice_outbox_key ON postoffice_outbox (dedup_key) WHERE dedup_key IS NOT NULL;

CREATE INDEX IF NOT EXISTS postoffice_outbox_topic ON postoffice_outbox (topic, due_at, id, size, created_at, token) WHERE state = 0;
