package sqlite

import "strings"

// The statements. INDEXED BY makes one fail that could not use its index, so
// that none can become slow unnoticed.
const (
	insertRecord = `INSERT INTO outbox
(id, state, due_at, token, attempts, created_at, deliver_at, size, topic, last_error, attributes, payload, dedup_key)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`

	plainColumns = `seq, id, dedup_key, state, due_at, token, attempts, created_at, deliver_at, topic, last_error`
	columns      = plainColumns + `, attributes, payload`
	// SQLite knows the length of a BLOB without reading it.
	lengths = `, length(attributes), length(payload)`

	selectDue = `SELECT ` + columns + ` FROM outbox INDEXED BY outbox_due
WHERE state = 0 AND due_at <= ? ORDER BY due_at, id LIMIT ?`
	selectDueUnscheduled = `SELECT ` + columns + ` FROM outbox INDEXED BY outbox_due
WHERE state = 0 AND due_at <= ? AND (deliver_at IS NULL OR deliver_at <= ?) ORDER BY due_at, id LIMIT ?`
	leaseRecord = `UPDATE outbox SET due_at = ?, token = ?, attempts = attempts + 1 WHERE seq = ?`

	selectNext = `SELECT due_at FROM outbox INDEXED BY outbox_due WHERE state = 0 ORDER BY due_at LIMIT 1`

	// An empty token matches no claim.
	rescheduleRecord = `UPDATE outbox SET token = CASE ? WHEN 1 THEN token ELSE '' END, due_at = ?, attempts = max(attempts - ?, 0),
last_error = CASE ? WHEN '' THEN last_error ELSE ? END, state = ?
WHERE id = ? AND token = ? AND token <> '' AND state = 0 RETURNING size`

	deleteRecord  = `DELETE FROM outbox WHERE id = ? RETURNING state, size`
	discardRecord = `DELETE FROM outbox WHERE seq = ?`
	retryRecord   = `UPDATE outbox SET state = 0, due_at = ?, token = '' WHERE seq = ?`

	selectByID = `SELECT seq, id, state, size, topic FROM outbox WHERE id = ?`
	// selectHolder finds the record that holds a key.
	selectHolder = `SELECT id FROM outbox WHERE dedup_key = ?1 UNION ALL SELECT id FROM outbox WHERE id = ?1`
	selectLast   = `SELECT coalesce(max(seq), 0) FROM outbox`

	// countTopic counts some records of a topic by ascending ID, and those among
	// them of a state; below zero means any.
	countTopic = `SELECT count(*), coalesce(max(id), ''), coalesce(sum(?1 < 0 OR state = ?1), 0) FROM
(SELECT id, state FROM outbox INDEXED BY outbox_topic WHERE topic = ?2 AND id > ?3 ORDER BY id LIMIT ?4)`

	countPending = `SELECT count(*), coalesce(sum(size), 0) FROM outbox INDEXED BY outbox_created WHERE state = 0`
	countDead    = `SELECT count(*), coalesce(sum(size), 0) FROM outbox INDEXED BY outbox_dead WHERE state = 1`
	countHeld    = `SELECT count(*) FROM outbox INDEXED BY outbox_held WHERE state = 0 AND token <> '' AND due_at > ?`
	selectOldest = `SELECT created_at FROM outbox INDEXED BY outbox_created WHERE state = 0 ORDER BY created_at LIMIT 1`
)

// deleteMany is how many records one deleteRecords deletes: many, because a
// statement costs as much as a deletion.
const deleteMany = 100

var deleteRecords = `DELETE FROM outbox WHERE id IN (?` + strings.Repeat(", ?", deleteMany-1) + `) RETURNING state, size`
