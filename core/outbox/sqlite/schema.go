package sqlite

import (
	"context"
	"database/sql"
	"fmt"
)

// applicationID marks the file as an outbox in its header, for file(1): "POOB".
const applicationID = 0x504f4f42

// migrations upgrade a file from the version of their index to the next. Released
// migrations never change; new ones are appended.
//
// Times are microseconds since 1970. While a claim holds a record, due_at is the end
// of its lease. The token is empty if no claim holds the record.
//
// The indexes: outbox_due is for Claim and Next, with deliver_at so that scheduled
// records are skipped without reading them; outbox_held has only held records,
// outbox_dead only dead ones; outbox_created finds the oldest record. The last two
// contain sizes, so that counting all records on open reads no payloads. outbox_key
// has only records with a key; those of version 1 have the key as their id.
// outbox_topic_due is for claims by topic.
var migrations = []string{`
CREATE TABLE outbox (
	seq        INTEGER PRIMARY KEY,
	id         TEXT    NOT NULL,
	state      INTEGER NOT NULL,
	due_at     INTEGER NOT NULL,
	token      TEXT    NOT NULL,
	attempts   INTEGER NOT NULL,
	created_at INTEGER NOT NULL,
	deliver_at INTEGER,
	size       INTEGER NOT NULL,
	topic      TEXT    NOT NULL,
	last_error TEXT    NOT NULL,
	attributes BLOB    NOT NULL,
	payload    BLOB    NOT NULL
) STRICT;
CREATE UNIQUE INDEX outbox_id ON outbox (id);
CREATE INDEX outbox_due     ON outbox (due_at, id, deliver_at) WHERE state = 0;
CREATE INDEX outbox_held    ON outbox (due_at, token) WHERE state = 0 AND token <> '';
CREATE INDEX outbox_created ON outbox (created_at, size) WHERE state = 0;
CREATE INDEX outbox_dead    ON outbox (id, size) WHERE state = 1;
CREATE INDEX outbox_topic   ON outbox (topic, id, state);
`, `
ALTER TABLE outbox ADD COLUMN dedup_key TEXT;
CREATE UNIQUE INDEX outbox_key ON outbox (dedup_key) WHERE dedup_key IS NOT NULL;
`, `
CREATE INDEX outbox_topic_due ON outbox (topic, due_at, id, deliver_at) WHERE state = 0;
`}

// migrate creates the schema in a new file or upgrades an older one.
func migrate(ctx context.Context, conn *sql.Conn) error {
	var application, version, objects int
	for query, into := range map[string]*int{
		"PRAGMA application_id":              &application,
		"PRAGMA user_version":                &version,
		"SELECT count(*) FROM sqlite_schema": &objects,
	} {
		if err := conn.QueryRowContext(ctx, query).Scan(into); err != nil {
			return err
		}
	}
	empty := application == 0 && version == 0 && objects == 0
	switch {
	case !empty && application != applicationID:
		return fmt.Errorf("%w: it is an SQLite database of another application", ErrForeign)
	case version > len(migrations):
		return fmt.Errorf("%w: it has version %d, this release supports versions up to %d", ErrNewer, version, len(migrations))
	case version < 0 || version == 0 && !empty:
		return fmt.Errorf("%w: it has version %d", ErrForeign, version)
	case version == len(migrations):
		return nil
	}
	if _, err := conn.ExecContext(ctx, "BEGIN IMMEDIATE"); err != nil {
		return err
	}
	for _, step := range migrations[version:] {
		if _, err := conn.ExecContext(ctx, step); err != nil {
			return err
		}
	}
	mark := fmt.Sprintf("PRAGMA application_id = %d; PRAGMA user_version = %d", applicationID, len(migrations))
	if _, err := conn.ExecContext(ctx, mark); err != nil {
		return err
	}
	_, err := conn.ExecContext(ctx, "COMMIT")
	return err
}
