-- Upgrades the outbox table of Postoffice for MySQL 8 and MariaDB 10.6 or newer
-- from version 1 to 2. Releases for version 1 keep working beside those for
-- version 2.
--
-- Run all statements on one connection. Running them again has no effect. Each
-- change waits at its beginning and its end for the transactions that use the
-- table, and inserts wait behind it: bound the wait by lock_wait_timeout, and run
-- all statements again after an error.

SET @postoffice = (SELECT IF(COUNT(*) > 0, 'DO 0',
	'ALTER TABLE postoffice_outbox ADD COLUMN dedup_key VARBINARY(255), ALGORITHM=INSTANT')
	FROM information_schema.columns WHERE table_schema = DATABASE() AND table_name = 'postoffice_outbox' AND column_name = 'dedup_key');
PREPARE postoffice FROM @postoffice;
EXECUTE postoffice;

SET @postoffice = (SELECT IF(COUNT(*) > 0, 'DO 0',
	'ALTER TABLE postoffice_outbox ADD UNIQUE KEY postoffice_outbox_key (dedup_key), ALGORITHM=INPLACE, LOCK=NONE')
	FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'postoffice_outbox' AND index_name = 'postoffice_outbox_key');
PREPARE postoffice FROM @postoffice;
EXECUTE postoffice;

SET @postoffice = (SELECT IF(COUNT(*) > 0, 'DO 0',
	'ALTER TABLE postoffice_outbox ADD KEY postoffice_outbox_topic (state, topic, due_at, id, size, created_at, token), ALGORITHM=INPLACE, LOCK=NONE')
	FROM information_schema.statistics WHERE table_schema = DATABASE() AND table_name = 'postoffice_outbox' AND index_name = 'postoffice_outbox_topic');
PREPARE postoffice FROM @postoffice;
EXECUTE postoffice;
DEALLOCATE PREPARE postoffice;
