package sqlstore

import (
	"context"
	"database/sql"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/postoffice-go/postoffice/core/internal/sqltable"
	"github.com/postoffice-go/postoffice/core/outbox"
)

// version1 is a store of a release for version 1 of the schema, as far as it
// matters beside a later one: the schema files come from that release, and
// the statements are recorded from it.
type version1 struct {
	t  *testing.T
	db *sql.DB
	// rules has the dialect and the name of the table.
	rules *Store
}

// openVersion1 makes a table of version 1.
func openVersion1(t *testing.T, stand stand) *version1 {
	t.Helper()
	v := &version1{t: t, db: stand.open(t)}
	var err error
	v.rules, err = New(v.db, stand.dialect)
	require.NoError(t, err)
	text, err := os.ReadFile("testdata/version1/" + stand.dialect.String() + ".sql")
	require.NoError(t, err)
	run(t, v.db, sqltable.Statements(string(text))...)
	return v
}

// later returns a store of this release in the same table.
func (v *version1) later() *Store { return another(v.t, v.rules) }

// fill writes the clock and the lease into a recorded statement.
func (v *version1) fill(text string) string {
	return strings.NewReplacer("NOW", v.rules.dialect.now(), "LEASE", fmt.Sprint(time.Hour.Microseconds())).Replace(text)
}

// check does what Check did, by its rules: the columns and indexes of version 1,
// and statements that touch no row.
func (v *version1) check() {
	v.t.Helper()
	found, err := v.rules.describe(v.t.Context())
	require.NoError(v.t, err)
	indexes := v.rules.indexes()
	assert.Empty(v.t, v.rules.misfits(found, kinds[:12], indexes[:len(indexes)-2]))
	const columns = "id, state, due_at, token, attempts, created_at, deliver_at, topic, last_error, attributes, payload"
	run(v.t, v.db, "INSERT INTO postoffice_outbox ("+columns+", size) SELECT "+columns+", size FROM postoffice_outbox WHERE 1 = 0",
		"UPDATE postoffice_outbox SET due_at = due_at, token = token, attempts = attempts, state = state, last_error = last_error WHERE 1 = 0",
		"DELETE FROM postoffice_outbox WHERE 1 = 0")
}

// insert inserts a row and returns how many there are more. A key is the row's
// id.
func (v *version1) insert(ctx context.Context, id string) int {
	v.t.Helper()
	return v.insertIn(ctx, v.db, id)
}

func (v *version1) insertIn(ctx context.Context, db runner, id string) int {
	v.t.Helper()
	text := v.fill("INSERT INTO postoffice_outbox (id, state, due_at, token, attempts, created_at, deliver_at, size, topic, last_error, attributes, payload) " +
		"VALUES (?, ?, CASE WHEN CAST(? AS INTEGER) = 0 THEN NOW + CAST(? AS INTEGER) ELSE 0 END, ?, 0, NOW, CAST(? AS INTEGER), ?, ?, ?, ?, ?)")
	text = strings.ReplaceAll(text, "AS INTEGER) = 0", "AS "+v.rules.dialect.integer()+") = 0")
	if v.rules.dialect == MySQL {
		text = strings.ReplaceAll(text, "AS INTEGER)", "AS SIGNED)") + " ON DUPLICATE KEY UPDATE id = id"
	} else {
		text += " ON CONFLICT (id) DO NOTHING"
	}
	if v.rules.dialect == Postgres {
		text = numbered(strings.ReplaceAll(text, "AS INTEGER)", "AS bigint)"))
	}
	result, err := db.ExecContext(ctx, text, id, 0, 0, 0, "", nil, 10, "orders", "", []byte("{}"), []byte(`{"n":1}`))
	require.NoError(v.t, err)
	n, err := result.RowsAffected()
	require.NoError(v.t, err)
	return int(n)
}

// claim claims all that is due, for an hour, and returns the ids.
func (v *version1) claim() []string {
	v.t.Helper()
	const columns = "id, state, due_at, token, attempts, created_at, deliver_at, topic, last_error, attributes, payload"
	var ids []string
	collect := func(query string) {
		require.NoError(v.t, each(v.t.Context(), v.db, v.fill(query), nil, func(scan func(...any) error) error {
			var id string
			var rest [10]sql.RawBytes
			err := scan(&id, &rest[0], &rest[1], &rest[2], &rest[3], &rest[4], &rest[5], &rest[6], &rest[7], &rest[8], &rest[9])
			ids = append(ids, id)
			return err
		}))
	}
	switch v.rules.dialect {
	case Postgres:
		collect(`WITH due AS (
	SELECT id, due_at, size FROM "postoffice_outbox" WHERE state <> 1 AND due_at <= NOW ORDER BY due_at, id LIMIT 1000 FOR UPDATE SKIP LOCKED
), fitting AS (
	SELECT id, due_at AS was_due FROM (
		SELECT id, due_at, sum(size) OVER (ORDER BY due_at, id) AS bytes, row_number() OVER (ORDER BY due_at, id) AS place FROM due
	) AS counted WHERE place = 1 OR bytes <= 9223372036854775807
), claimed AS (
	UPDATE "postoffice_outbox" SET due_at = NOW + LEASE, token = 'token', attempts = attempts + 1
	WHERE id = ANY (ARRAY(SELECT id FROM fitting)) RETURNING ` + columns + `
)
SELECT ` + columns + ` FROM claimed JOIN fitting USING (id) ORDER BY was_due, id`)
	case MySQL:
		run(v.t, v.db, v.fill("UPDATE postoffice_outbox SET due_at = NOW + LEASE, token = 'token', attempts = attempts + 1 WHERE state = 0 AND due_at <= NOW"))
		collect("SELECT " + columns + " FROM `postoffice_outbox` WHERE token = 'token'")
	default:
		collect(`UPDATE "postoffice_outbox" SET due_at = NOW + LEASE, token = 'token', attempts = attempts + 1
WHERE +state = 0 AND +due_at <= NOW RETURNING ` + columns)
	}
	return ids
}

func (v *version1) delete(id string) {
	v.t.Helper()
	run(v.t, v.db, "DELETE FROM postoffice_outbox WHERE id IN ('"+id+"')")
}

// keyed returns a record with a key.
func keyed(tb testing.TB, key string) outbox.Record {
	tb.Helper()
	record := message(tb)
	record.DedupKey = key
	return record
}

// holdersOf returns the IDs of who holds a key.
func holdersOf(tb testing.TB, store *Store, key string) []string {
	tb.Helper()
	return idsOf(list(tb, store, outbox.Query{DedupKey: key, MaxPayload: -1}))
}

// TestBesideVersion1 has releases for both versions at work on one table, as
// during a deployment that replaces one replica after the other.
func TestBesideVersion1(t *testing.T) {
	onEach(t, append(stands, variants...), func(t *testing.T, stand stand) {
		old := openVersion1(t, stand)
		old.check()
		ctx := t.Context()
		old.insert(ctx, "waiting")
		store := old.later()
		err := store.Check(ctx)
		require.ErrorIs(t, err, ErrSchema)
		for _, part := range []string{"column dedup_key is missing", "unique index postoffice_outbox_key", "index postoffice_outbox_topic", "sqlstore.Migrate", "sqlstore.SchemaFrom"} {
			require.ErrorContains(t, err, part)
		}
		require.ErrorIs(t, store.Insert(ctx, 0, message(t)), ErrSchema)

		require.NoError(t, Migrate(ctx, old.db, stand.dialect))
		require.NoError(t, store.Check(ctx))
		old.check()
		old.insert(ctx, "later")
		assert.Len(t, stored(t, store), 2)

		// The later release leaves out what the earlier one has, also in a
		// transaction.
		require.NoError(t, store.Insert(ctx, 0, keyed(t, "waiting"), keyed(t, "later")))
		tx, err := old.db.BeginTx(ctx, nil)
		require.NoError(t, err)
		require.NoError(t, store.InsertTx(ctx, tx, keyed(t, "waiting")))
		holder, ok, err := store.HolderTx(ctx, tx, "waiting")
		require.NoError(t, err)
		assert.True(t, ok)
		assert.Equal(t, "waiting", holder)
		require.NoError(t, tx.Commit())
		assert.Len(t, stored(t, store), 2)
		assert.Equal(t, []string{"later"}, holdersOf(t, store, "later"))

		// Each claims and deletes what the other has inserted.
		assert.ElementsMatch(t, []string{"waiting", "later"}, idsOf(claimed(t, store, 10)))
		n, err := store.Delete(ctx, "waiting", "later")
		require.NoError(t, err)
		assert.Equal(t, 2, n)
		mine := keyed(t, "waiting")
		require.NoError(t, store.Insert(ctx, 0, mine, keyed(t, "waiting")))
		assert.Equal(t, []string{mine.ID}, holdersOf(t, store, "waiting"))
		assert.Equal(t, []string{mine.ID}, old.claim())

		// The earlier release knows nothing of the column: until it is gone, a key
		// may have two rows, one of each. Both are messages like any other.
		old.insert(ctx, "waiting")
		assert.ElementsMatch(t, []string{mine.ID, "waiting"}, holdersOf(t, store, "waiting"))
		old.delete(mine.ID)
		assert.Equal(t, []string{"waiting"}, idsOf(claimed(t, store, 10)))
		require.NoError(t, store.Insert(ctx, 0, keyed(t, "waiting")))
		assert.Len(t, stored(t, store), 1)
		old.delete("waiting")

		// Once it is gone, a key has one.
		var group sync.WaitGroup
		for range 8 {
			record := keyed(t, "waiting")
			group.Go(func() { assert.NoError(t, store.Insert(ctx, 0, record)) })
		}
		group.Wait()
		assert.Len(t, stored(t, store), 1)
	})
}

// TestSchemaFrom runs the statements as a migration of the user's would.
func TestSchemaFrom(t *testing.T) {
	onEach(t, stands, func(t *testing.T, stand stand) {
		old := openVersion1(t, stand)
		old.insert(t.Context(), "waiting")
		text, err := SchemaFrom(stand.dialect, "", 1)
		require.NoError(t, err)
		conn, err := old.db.Conn(t.Context())
		require.NoError(t, err)
		defer func() { require.NoError(t, conn.Close()) }()
		for i, statement := range append(sqltable.Statements(text), sqltable.Statements(text)...) {
			_, err := conn.ExecContext(t.Context(), statement)
			if stand.dialect == SQLite && i == 3 {
				require.ErrorContains(t, err, "duplicate column name")
				continue
			}
			require.NoError(t, err, "again without effect: %s", statement)
		}
		require.NoError(t, old.later().Check(t.Context()))
		old.check()
		assert.Len(t, stored(t, old.later()), 1)

		none, err := SchemaFrom(stand.dialect, "", SchemaVersion)
		require.NoError(t, err)
		assert.Empty(t, none)
		for _, version := range []int{-1, 0, SchemaVersion + 1} {
			_, err := SchemaFrom(stand.dialect, "", version)
			require.ErrorIs(t, err, outbox.ErrInvalid)
		}
		_, err = SchemaFrom(stand.dialect, "a b", 1)
		require.ErrorIs(t, err, outbox.ErrInvalid)
		_, err = SchemaFrom(0, "", 1)
		require.ErrorIs(t, err, outbox.ErrInvalid)
	})
}

// TestSchemaFromNames shows that a table of another name is changed, and no
// other.
func TestSchemaFromNames(t *testing.T) {
	for dialect, want := range map[Dialect][]string{
		Postgres: {
			`ALTER TABLE "app"."box" ADD COLUMN IF NOT EXISTS dedup_key`,
			`INDEX CONCURRENTLY IF NOT EXISTS "box_key" ON "app"."box" (dedup_key)`,
			`INDEX CONCURRENTLY IF NOT EXISTS "box_topic" ON "app"."box" (topic, `,
		},
		MySQL: {
			"'ALTER TABLE `app`.`box` ADD COLUMN dedup_key", "ADD UNIQUE KEY `box_key` (dedup_key)", "ADD KEY `box_topic` (state, ",
			"table_schema = 'app' AND table_name = 'box' AND column_name", "table_name = 'box' AND index_name = 'box_key'", "index_name = 'box_topic'",
		},
		SQLite: {
			`ALTER TABLE "app"."box" ADD COLUMN dedup_key`,
			`INDEX IF NOT EXISTS "app"."box_key" ON "box" (dedup_key)`, `INDEX IF NOT EXISTS "app"."box_topic" ON "box" (topic, `,
		},
	} {
		text, err := SchemaFrom(dialect, "app.box", 1)
		require.NoError(t, err)
		for _, part := range want {
			assert.Contains(t, text, part)
		}
		assert.NotContains(t, text, DefaultTable)
	}
}

func TestMigrateFromVersion1Concurrently(t *testing.T) {
	onEach(t, append(stands, variants[2], variants[5]), func(t *testing.T, stand stand) {
		old := openVersion1(t, stand)
		old.insert(t.Context(), "waiting")
		errs := make([]error, 6)
		var group sync.WaitGroup
		for i := range errs {
			group.Go(func() { errs[i] = Migrate(t.Context(), old.db, stand.dialect) })
		}
		group.Wait()
		for _, err := range errs {
			require.NoError(t, err)
		}
		assert.Len(t, stored(t, old.later()), 1)
	})
}

// TestMigrateFromVersion1OfAnotherName shows that Migrate finds the table that the
// store uses.
func TestMigrateFromVersion1OfAnotherName(t *testing.T) {
	onEach(t, stands, func(t *testing.T, stand stand) {
		old := openVersion1(t, stand)
		rename := "ALTER TABLE postoffice_outbox RENAME TO box"
		run(t, old.db, rename)
		switch stand.dialect {
		case MySQL:
			run(t, old.db, "ALTER TABLE box RENAME KEY postoffice_outbox_due TO box_due")
		case Postgres:
			run(t, old.db, "ALTER INDEX postoffice_outbox_due RENAME TO box_due", "ALTER INDEX postoffice_outbox_dead RENAME TO box_dead")
		default:
			run(t, old.db, "DROP INDEX postoffice_outbox_due", "DROP INDEX postoffice_outbox_dead")
		}
		require.NoError(t, Migrate(t.Context(), old.db, stand.dialect, WithTable("box")))
		store, err := New(old.db, stand.dialect, WithTable("box"))
		require.NoError(t, err)
		require.NoError(t, store.Insert(t.Context(), 0, keyed(t, "key")))
	})
}

// TestMigrateGoesOn shows that an upgrade continues where it was interrupted.
func TestMigrateGoesOn(t *testing.T) {
	interrupted := map[Dialect][][]string{
		Postgres: {
			{`ALTER TABLE postoffice_outbox ADD COLUMN dedup_key text COLLATE "C"`},
			{
				`ALTER TABLE postoffice_outbox ADD COLUMN dedup_key text COLLATE "C"`,
				`CREATE UNIQUE INDEX postoffice_outbox_key ON postoffice_outbox (dedup_key) WHERE dedup_key IS NOT NULL`,
				// As CREATE INDEX CONCURRENTLY leaves an index behind.
				`UPDATE pg_index SET indisvalid = false WHERE indexrelid = 'postoffice_outbox_key'::regclass`,
			},
		},
		MySQL:  {{`ALTER TABLE postoffice_outbox ADD COLUMN dedup_key VARBINARY(255)`}, {`ALTER TABLE postoffice_outbox ADD COLUMN dedup_key VARBINARY(255), ADD UNIQUE KEY postoffice_outbox_key (dedup_key)`}},
		SQLite: {{`ALTER TABLE postoffice_outbox ADD COLUMN dedup_key TEXT`}},
	}
	onEach(t, stands, func(t *testing.T, stand stand) {
		for _, done := range interrupted[stand.dialect] {
			old := openVersion1(t, stand)
			run(t, old.db, done...)
			require.ErrorIs(t, old.later().Check(t.Context()), ErrSchema)
			old.check()
			require.NoError(t, Migrate(t.Context(), old.db, stand.dialect))
			old.check()
		}
	})
}

// TestMigrateStopsNoInserts has a transaction open on the table while it is
// upgraded. Each change has to wait for it; an insert that comes after the
// change does not.
func TestMigrateStopsNoInserts(t *testing.T) {
	waiting := map[Dialect]string{
		Postgres: `SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'
			AND (query LIKE 'ALTER TABLE%' OR query LIKE 'CREATE % INDEX CONCURRENTLY%')`,
		MySQL: `SELECT count(*) FROM information_schema.processlist WHERE state = 'Waiting for table metadata lock' AND info LIKE '%ALTER TABLE%' AND id <> connection_id()`,
	}
	column := map[Dialect]string{Postgres: `dedup_key text COLLATE "C"`, MySQL: "dedup_key VARBINARY(255)"}
	onEach(t, stands[:2], func(t *testing.T, stand stand) {
		for _, change := range []string{"column", "indexes"} {
			old := openVersion1(t, stand)
			if change == "indexes" {
				run(t, old.db, "ALTER TABLE postoffice_outbox ADD COLUMN "+column[stand.dialect])
			}
			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute) // a test that hangs fails
			defer cancel()
			tx, err := old.db.BeginTx(ctx, nil)
			require.NoError(t, err)
			old.insertIn(ctx, tx, "in a transaction")

			migrated := make(chan error, 1)
			go func() { migrated <- Migrate(ctx, old.db, stand.dialect) }()
			for n := 0; n == 0; {
				_, err := first(ctx, old.db, waiting[stand.dialect], nil, &n)
				require.NoError(t, err)
			}
			for i := range 3 {
				assert.Equal(t, 1, old.insert(ctx, fmt.Sprintf("%s %d", change, i)))
			}
			select {
			case err := <-migrated:
				require.Fail(t, "Migrate has ended before the transaction", err)
			default:
			}
			require.NoError(t, tx.Commit())
			require.NoError(t, <-migrated)
			assert.Len(t, stored(t, old.later()), 4)
		}
	})
}

// TestMigrateEndsWithItsContext shows that it does not wait for ever.
func TestMigrateEndsWithItsContext(t *testing.T) {
	onEach(t, stands[:2], func(t *testing.T, stand stand) {
		old := openVersion1(t, stand)
		tx, err := old.db.BeginTx(t.Context(), nil)
		require.NoError(t, err)
		defer func() { require.NoError(t, tx.Rollback()) }()
		old.insertIn(t.Context(), tx, "in a transaction")
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.ErrorIs(t, Migrate(ctx, old.db, stand.dialect), context.DeadlineExceeded)
	})
}
