-- The messages that consumers of Postoffice have handled, for PostgreSQL, version 1.
--
-- id is the SHA-256 of the message's key in hexadecimal. done is 0 while the
-- message is being handled, and ends_at the end of the lease; 1 when it was
-- handled, and ends_at the time at which it is forgotten. Times are
-- microseconds since 1970 by the database's clock.
--
-- A key with versions (delivery.WithLatest) has two rows: one for the version
-- that is being handled, like that of a message, and one that is done, whose
-- token is the latest version that was handled, as a decimal number.

CREATE TABLE IF NOT EXISTS postoffice_handled (
	id      varchar(64) NOT NULL PRIMARY KEY,
	token   varchar(64) NOT NULL,
	done    smallint    NOT NULL,
	ends_at bigint      NOT NULL
);

-- For Prune.
CREATE INDEX IF NOT EXISTS postoffice_handled_ends ON postoffice_handled (ends_at);
