package sqlstore

import (
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// damage is something wrong with the table, and what Check says of it.
type damage struct {
	statement string
	says      []string
}

var damages = map[Dialect][]damage{
	Postgres: {
		{`DROP TABLE TABLE`, []string{"table TABLENAME is missing"}},
		{`ALTER TABLE TABLE DROP COLUMN token`, []string{"column token is missing", "index TABLENAME_topic on (topic, due_at, id) where state <> 1 is missing"}},
		{`ALTER TABLE TABLE DROP COLUMN dedup_key`, []string{"column dedup_key is missing", "unique index TABLENAME_key on (dedup_key) where dedup_key is not null is missing"}},
		{`ALTER TABLE TABLE ALTER COLUMN dedup_key SET NOT NULL`, []string{"column dedup_key is NOT NULL"}},
		{`DROP INDEX "TABLENAME_key"; CREATE INDEX "TABLENAME_key" ON TABLE (dedup_key) WHERE dedup_key IS NOT NULL`, []string{"unique index TABLENAME_key"}},
		{`DROP INDEX "TABLENAME_topic"`, []string{"index TABLENAME_topic on (topic, due_at, id) where state <> 1 is missing"}},
		{`ALTER TABLE TABLE DROP COLUMN topic, DROP COLUMN size`, []string{"column topic is missing", "column size is missing"}},
		{`ALTER TABLE TABLE DROP COLUMN due_at`, []string{"column due_at is missing", "index TABLENAME_due on (due_at, id) where state <> 1 is missing",
			"index TABLENAME_topic on (topic, due_at, id) where state <> 1 is missing"}},
		{`ALTER TABLE TABLE ALTER COLUMN payload TYPE jsonb USING '{}'`, []string{"column payload is jsonb, not bytea"}},
		{`ALTER TABLE TABLE ALTER COLUMN due_at TYPE timestamptz USING now()`, []string{"column due_at is timestamp with time zone, not bigint"}},
		{`ALTER TABLE TABLE ALTER COLUMN created_at TYPE integer`, []string{"column created_at is integer, not bigint"}},
		{`ALTER TABLE TABLE ALTER COLUMN topic TYPE varchar(20)`, []string{"column topic is character varying(20), not text"}},
		{`ALTER TABLE TABLE ALTER COLUMN id TYPE text COLLATE "en-x-icu"`, []string{`column id has the collation pg_catalog."en-x-icu", not "C"`}},
		{`ALTER TABLE TABLE ADD COLUMN tenant text NOT NULL`, []string{"column tenant does not belong to the store and has no default"}},
		{`ALTER TABLE TABLE DROP CONSTRAINT "TABLENAME_pkey"`, []string{"the primary key on (id) is missing"}},
		{`DROP INDEX "TABLENAME_due"`, []string{"index TABLENAME_due on (due_at, id) where state <> 1 is missing"}},
		{`DROP INDEX "TABLENAME_dead"`, []string{"index TABLENAME_dead on (id) where state = 1 is missing"}},
		{`DROP INDEX "TABLENAME_due"; CREATE INDEX "TABLENAME_due" ON TABLE (due_at, id)`, []string{"index TABLENAME_due on (due_at, id) where state <> 1 is missing"}},
		{`DROP INDEX "TABLENAME_due"; CREATE INDEX "TABLENAME_due" ON TABLE (id, due_at) WHERE state <> 1`, []string{"index TABLENAME_due"}},
		{`UPDATE pg_index SET indisvalid = false WHERE indexrelid = '"TABLENAME_due"'::regclass`, []string{"index TABLENAME_due"}},
	},
	MySQL: {
		{`DROP TABLE TABLE`, []string{"table TABLENAME is missing"}},
		{`ALTER TABLE TABLE DROP COLUMN token`, []string{"column token is missing", "index TABLENAME_topic on (state, topic, due_at, id, size, created_at, token) is missing"}},
		{`ALTER TABLE TABLE DROP COLUMN dedup_key`, []string{"column dedup_key is missing", "unique index TABLENAME_key on (dedup_key) is missing"}},
		{`ALTER TABLE TABLE MODIFY dedup_key VARBINARY(255) NOT NULL DEFAULT ''`, []string{"column dedup_key is NOT NULL"}},
		{"ALTER TABLE TABLE DROP KEY `TABLENAME_key`, ADD KEY `TABLENAME_key` (dedup_key)", []string{"unique index TABLENAME_key"}},
		{"ALTER TABLE TABLE DROP KEY `TABLENAME_topic`", []string{"index TABLENAME_topic on (state, topic, due_at, id, size, created_at, token) is missing"}},
		{`ALTER TABLE TABLE MODIFY payload JSON NOT NULL`, []string{"column payload is longtext, not longblob"}},
		{`ALTER TABLE TABLE MODIFY payload BLOB NOT NULL`, []string{"column payload is blob, not longblob"}},
		{`ALTER TABLE TABLE MODIFY topic VARCHAR(100) NOT NULL`, []string{"column topic is varchar(100), not varbinary(1024)"}},
		{`ALTER TABLE TABLE MODIFY id VARBINARY(36) NOT NULL`, []string{"column id is varbinary(36), not varbinary(255)"}},
		{`ALTER TABLE TABLE MODIFY due_at DATETIME NOT NULL`, []string{"column due_at is datetime, not bigint"}},
		{`ALTER TABLE TABLE MODIFY attempts INT UNSIGNED NOT NULL`, []string{"column attempts is int(10) unsigned, not int"}},
		{`ALTER TABLE TABLE MODIFY last_error MEDIUMTEXT CHARACTER SET latin1 NOT NULL`, []string{"column last_error has the character set latin1, not utf8mb4"}},
		{`ALTER TABLE TABLE ADD COLUMN tenant INT NOT NULL`, []string{"column tenant does not belong to the store and has no default"}},
		{"ALTER TABLE TABLE DROP KEY `TABLENAME_topic`, ENGINE = MyISAM", []string{"its engine is MyISAM, not InnoDB", "index TABLENAME_topic"}},
		{`ALTER TABLE TABLE DROP PRIMARY KEY`, []string{"the primary key on (id) is missing"}},
		{"ALTER TABLE TABLE DROP KEY `TABLENAME_due`", []string{"index TABLENAME_due on (state, due_at, id) is missing"}},
		{"ALTER TABLE TABLE DROP KEY `TABLENAME_due`, ADD KEY `TABLENAME_due` (due_at, id)", []string{"index TABLENAME_due"}},
	},
	SQLite: {
		{`DROP TABLE TABLE`, []string{"table TABLENAME is missing"}},
		{`DROP INDEX "TABLENAME_topic"; ALTER TABLE TABLE DROP COLUMN token`, []string{"column token is missing", "index TABLENAME_topic on (topic, due_at, id, size, created_at, token) where state = 0 is missing"}},
		{`DROP INDEX "TABLENAME_key"; ALTER TABLE TABLE DROP COLUMN dedup_key`, []string{"column dedup_key is missing", "unique index TABLENAME_key on (dedup_key) where dedup_key is not null is missing"}},
		{`DROP INDEX "TABLENAME_key"; CREATE INDEX "TABLENAME_key" ON TABLE (dedup_key) WHERE dedup_key IS NOT NULL`, []string{"unique index TABLENAME_key"}},
		{`DROP TABLE TABLE; CREATE TABLE TABLE (id INTEGER PRIMARY KEY, payload TEXT)`,
			[]string{"column id is integer, not text", "column payload is text, not blob", "column due_at is missing", "the primary key on (id) is missing", "index TABLENAME_due"}},
		{`DROP TABLE TABLE; CREATE TABLE TABLE (id TEXT COLLATE NOCASE PRIMARY KEY, state DECIMAL, due_at REAL, size)`,
			[]string{"column state is numeric, not integer", "column due_at is real", "column size is blob", "the primary key on (id) is missing"}},
		{`DROP INDEX "TABLENAME_due"`, []string{"index TABLENAME_due on (due_at, id) where state = 0 is missing"}},
		{`DROP INDEX "TABLENAME_dead"`, []string{"index TABLENAME_dead on (id) where state = 1 is missing"}},
		{`DROP INDEX "TABLENAME_due"; CREATE INDEX "TABLENAME_due" ON TABLE (due_at, id) WHERE state = 1`, []string{"index TABLENAME_due"}},
		{`DROP INDEX "TABLENAME_due"; CREATE INDEX "another" ON TABLE (due_at, id) WHERE state = 0`, []string{"index TABLENAME_due"}},
	},
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	onEach(t, stands, func(t *testing.T, stand stand) {
		db := stand.open(t)
		for _, d := range damages[stand.dialect] {
			store := opened(t, db, stand.dialect)
			require.NoError(t, store.Check(t.Context()))
			names := strings.NewReplacer("TABLENAME", store.table.Name, "ALTER TABLE TABLE", "ALTER TABLE "+store.table.SQL(),
				"CREATE TABLE TABLE", "CREATE TABLE "+store.table.SQL(), "DROP TABLE TABLE", "DROP TABLE "+store.table.SQL(),
				"ON TABLE", "ON "+store.table.SQL())
			for part := range strings.SplitSeq(names.Replace(d.statement), "; ") {
				run(t, db, part)
			}
			err := store.Check(t.Context())
			require.ErrorIs(t, err, ErrSchema, d.statement)
			for _, part := range d.says {
				assert.ErrorContains(t, err, names.Replace(part), d.statement)
			}
			assert.Equal(t, len(d.says) > 1, strings.Contains(strings.TrimSuffix(err.Error(), "; "+remedy), "; "),
				"%s: it names nothing else: %v", d.statement, err)
			assert.ErrorContains(t, err, "sqlstore.Migrate")
			assert.ErrorContains(t, err, "schema/*.sql")
		}
	})
}

// TestCheckLetsBe shows what a table may have of its own.
func TestCheckLetsBe(t *testing.T) {
	own := map[Dialect][]string{
		Postgres: {
			`ADD COLUMN tenant text`, `ADD COLUMN region text NOT NULL DEFAULT ''`, `ADD COLUMN serial bigint GENERATED ALWAYS AS IDENTITY`,
			`ALTER COLUMN state TYPE integer`, `ALTER COLUMN topic TYPE varchar`, `ALTER COLUMN id TYPE varchar COLLATE "POSIX"`,
		},
		MySQL:  {`ADD COLUMN tenant INT`, `ADD COLUMN region INT NOT NULL DEFAULT 1`, `MODIFY state INT NOT NULL`},
		SQLite: {`ADD COLUMN tenant TEXT`, `ADD COLUMN region TEXT NOT NULL DEFAULT ''`},
	}
	onEach(t, stands, func(t *testing.T, stand stand) {
		store := opened(t, stand.open(t), stand.dialect)
		for _, change := range own[stand.dialect] {
			run(t, store.db.DB, "ALTER TABLE "+store.table.SQL()+" "+change)
			require.NoError(t, store.Check(t.Context()), change)
		}
		require.NoError(t, store.Insert(t.Context(), 0, message(t)))
		assert.Len(t, claimed(t, store, 10), 1)
	})
}

// TestCheckPrivileges shows that what the user may not do is found at the
// start, not when the first message is to be kept.
func TestCheckPrivileges(t *testing.T) {
	onEach(t, stands[:2], func(t *testing.T, stand stand) {
		db := stand.open(t)
		store := opened(t, db, stand.dialect)
		name := store.table.SQL()
		user := strings.ToLower(freshTable())
		if stand.dialect == Postgres {
			run(t, db, "CREATE ROLE "+user)
			t.Cleanup(func() { run(t, db, "DROP OWNED BY "+user, "DROP ROLE "+user) })
			db.SetMaxOpenConns(1)
			run(t, db, "GRANT SELECT, INSERT, UPDATE, DELETE ON "+name+" TO "+user, "SET ROLE "+user)
			require.NoError(t, store.Check(t.Context()), "these privileges are enough")
			require.NoError(t, store.Insert(t.Context(), 0, message(t)))
			require.Len(t, claimed(t, store, 1), 1)
			for _, privilege := range []string{"INSERT", "UPDATE", "DELETE"} {
				run(t, db, "RESET ROLE", "REVOKE "+privilege+" ON "+name+" FROM "+user, "SET ROLE "+user)
				require.ErrorContains(t, store.Check(t.Context()), "permission denied", privilege)
				run(t, db, "RESET ROLE", "GRANT "+privilege+" ON "+name+" TO "+user, "SET ROLE "+user)
			}
			run(t, db, "RESET ROLE")
			readOnly, err := New(postgresWith("pgx", "default_transaction_read_only", "on")(t), Postgres)
			require.NoError(t, err)
			require.ErrorContains(t, readOnly.Check(t.Context()), "read-only")
			return
		}
		run(t, db, "CREATE USER "+user+"@'127.0.0.1'", "CREATE USER "+user+"@localhost")
		t.Cleanup(func() { run(t, db, "DROP USER "+user+"@'127.0.0.1'", "DROP USER "+user+"@localhost") })
		for _, host := range []string{"'127.0.0.1'", "localhost"} {
			run(t, db, "GRANT SELECT, INSERT, UPDATE, DELETE ON "+name+" TO "+user+"@"+host)
		}
		limited, err := New(connectMySQLAs(t, db, user), MySQL, WithTable(store.table.Name))
		require.NoError(t, err)
		require.NoError(t, limited.Check(t.Context()), "these privileges are enough")
		require.NoError(t, limited.Insert(t.Context(), 0, message(t)))
		require.Len(t, claimed(t, limited, 1), 1)
		for _, host := range []string{"'127.0.0.1'", "localhost"} {
			run(t, db, "REVOKE DELETE ON "+name+" FROM "+user+"@"+host)
		}
		require.ErrorContains(t, limited.Check(t.Context()), "denied")
	})
}
