package sqlite

import "strings"

// The statements. 16725225600000000 is keptDue. INDEXED BY makes a statement fail
// that could not use its index, so that none becomes slow unnoticed.
const (
	insertRecord = `INSERT INTO outbox
(id, state, due_at, token, attempts, created_at, deliver_at, size, topic, last_error, attributes, payload, dedup_key)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`

	// insertKeyed also searches for a record whose ID is the key, which the index of
	// keys does not cover.
	insertKeyed = `INSERT INTO outbox
(id, state, due_at, token, attempts, created_at, deliver_at, size, topic, last_error, attributes, payload, dedup_key)
SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13 WHERE NOT EXISTS (SELECT 1 FROM outbox WHERE id = ?13) ON CONFLICT DO NOTHING`

	plainColumns = `seq, id, dedup_key, state, due_at, token, attempts, created_at, deliver_at, topic, last_error`
	columns      = plainColumns + `, attributes, payload`
	// SQLite knows the length of a BLOB without reading it.
	lengths = `, length(attributes), length(payload)`

	selectDue = `SELECT ` + columns + ` FROM outbox INDEXED BY outbox_due
WHERE state = 0 AND due_at <= ? ORDER BY due_at, id LIMIT ?`
	selectDueUnscheduled = `SELECT ` + columns + ` FROM outbox INDEXED BY outbox_due
WHERE state = 0 AND due_at <= ? AND (deliver_at IS NULL OR deliver_at <= ?) ORDER BY due_at, id LIMIT ?`
	selectDueOfTopic = `SELECT ` + columns + ` FROM outbox INDEXED BY outbox_topic_due
WHERE state = 0 AND topic = ?1 AND due_at <= ?2 ORDER BY due_at, id LIMIT ?3`
	selectDueOfTopicUnscheduled = `SELECT ` + columns + ` FROM outbox INDEXED BY outbox_topic_due
WHERE state = 0 AND topic = ?1 AND due_at <= ?2 AND (deliver_at IS NULL OR deliver_at <= ?4) ORDER BY due_at, id LIMIT ?3`

	// selectTopics finds the topics of pending records after ?1, and up to ?2 unless
	// it is empty, and whether the first record of each is due. It searches the
	// index once for each topic.
	selectTopics = `WITH RECURSIVE found (topic, n) AS (
	SELECT (SELECT topic FROM outbox INDEXED BY outbox_topic_due WHERE state = 0 AND topic > ?1 ORDER BY topic LIMIT 1), 1
	UNION ALL
	SELECT (SELECT topic FROM outbox INDEXED BY outbox_topic_due WHERE state = 0 AND topic > found.topic ORDER BY topic LIMIT 1), n + 1
	FROM found WHERE topic IS NOT NULL AND n < ?3 AND (?2 = '' OR topic < ?2)
)
SELECT topic, (SELECT due_at FROM outbox INDEXED BY outbox_topic_due WHERE state = 0 AND topic = found.topic ORDER BY due_at LIMIT 1) <= ?4
FROM found WHERE topic IS NOT NULL AND (?2 = '' OR topic <= ?2)`

	// selectOldestTopics finds the topics of the ?2 longest due records, and the
	// number of these records for each topic.
	selectOldestTopics = `SELECT topic, count(*) FROM (
	SELECT topic FROM outbox INDEXED BY outbox_due WHERE state = 0 AND due_at <= ?1 ORDER BY due_at, id LIMIT ?2
) GROUP BY topic ORDER BY topic <= ?3, topic`
	leaseRecord = `UPDATE outbox SET due_at = ?, token = ?, attempts = attempts + 1 WHERE seq = ?`

	selectNext = `SELECT due_at FROM outbox INDEXED BY outbox_due WHERE state = 0 AND due_at < 16725225600000000 ORDER BY due_at LIMIT 1`

	// An empty token matches no claim.
	rescheduleRecord = `UPDATE outbox SET token = CASE ? WHEN 1 THEN token ELSE '' END, due_at = ?, attempts = max(attempts - ?, 0),
last_error = CASE ? WHEN '' THEN last_error ELSE ? END, state = ?
WHERE id = ? AND token = ? AND token <> '' AND state = 0 RETURNING size`

	deleteRecord  = `DELETE FROM outbox WHERE id = ? RETURNING state, size`
	discardRecord = `DELETE FROM outbox WHERE seq = ?`
	retryRecord   = `UPDATE outbox SET state = 0, due_at = ?, token = '' WHERE seq = ?`

	selectByID = `SELECT seq, id, state, size FROM outbox WHERE id = ?`
	// selectHolder finds the record that holds a key.
	selectHolder = `SELECT id FROM outbox WHERE dedup_key = ?1 UNION ALL SELECT id FROM outbox WHERE id = ?1`
	selectLast   = `SELECT coalesce(max(seq), 0) FROM outbox`

	// countTopic counts the next records of a topic by ascending ID, and those of
	// them in a state; a negative state means any.
	countTopic = `SELECT count(*), coalesce(max(id), ''), coalesce(sum(?1 < 0 OR state = ?1), 0) FROM
(SELECT id, state FROM outbox INDEXED BY outbox_topic WHERE topic = ?2 AND id > ?3 ORDER BY id LIMIT ?4)`

	countPending = `SELECT count(*), coalesce(sum(size), 0) FROM outbox INDEXED BY outbox_created WHERE state = 0 AND created_at < 16725225600000000`
	countDead    = `SELECT count(*), coalesce(sum(size), 0) FROM outbox INDEXED BY outbox_dead WHERE state = 1`
	countHeld    = `SELECT count(*) FROM outbox INDEXED BY outbox_held WHERE state = 0 AND token <> '' AND due_at > ?`
	selectOldest = `SELECT created_at FROM outbox INDEXED BY outbox_created WHERE state = 0 AND created_at < 16725225600000000 ORDER BY created_at LIMIT 1`
)

// deleteMany is how many records one deleteRecords deletes. It is more than one
// because a statement costs as much as a deletion.
const deleteMany = 100

var deleteRecords = `DELETE FROM outbox WHERE id IN (?` + strings.Repeat(", ?", deleteMany-1) + `) RETURNING state, size`
