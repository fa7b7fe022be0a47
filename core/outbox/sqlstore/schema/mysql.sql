-- The outbox table of Postoffice for MySQL 8 and MariaDB 10.6 or newer,
-- version 2, for a database that has none. mysql_1_2.sql upgrades a table of
-- version 1.
--
-- Times are microseconds since 1970 by the database's clock. state is 0 for
-- pending and 1 for dead; a dead row's due_at is 0. While a claim holds a row,
-- token is the claim's and due_at is the end of its lease.
--
-- Names are binary strings: they compare byte by byte in any collation and keep
-- trailing spaces. CONVERT(topic USING utf8mb4) shows them in a
-- client that prints binary strings in hexadecimal.

CREATE TABLE IF NOT EXISTS postoffice_outbox (
	id         VARBINARY(255)  NOT NULL,
	state      TINYINT         NOT NULL,
	due_at     BIGINT          NOT NULL,
	token      VARBINARY(255)  NOT NULL,
	attempts   INT             NOT NULL,
	created_at BIGINT          NOT NULL,
	deliver_at BIGINT,
	size       BIGINT          NOT NULL,
	topic      VARBINARY(1024) NOT NULL,
	last_error MEDIUMTEXT CHARACTER SET utf8mb4 NOT NULL,
	attributes LONGBLOB        NOT NULL,
	payload    LONGBLOB        NOT NULL,
	dedup_key  VARBINARY(255),
	PRIMARY KEY (id),
	-- For Claim and Next, and for List of dead rows.
	KEY postoffice_outbox_due (state, due_at, id),
	-- Rows of releases for version 1 have no key: their id is the key.
	UNIQUE KEY postoffice_outbox_key (dedup_key),
	-- For claims by topic, and for counting all rows or those of a topic without
	-- reading the table.
	KEY postoffice_outbox_topic (state, topic, due_at, id, size, created_at, token)
) ENGINE = InnoDB;
