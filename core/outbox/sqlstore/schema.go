package sqlstore

import (
	"context"
	"database/sql"
	"embed"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

//go:embed schema/*.sql
var files embed.FS

// Files returns the schema files: postgres.sql, mysql.sql and sqlite.sql, for
// a table of the name [DefaultTable]. They can be run again without effect.
func Files() fs.FS {
	directory, err := fs.Sub(files, "schema")
	if err != nil {
		panic(err) // the name is a constant
	}
	return directory
}

// Schema returns the statements that create the table and its indexes, for a
// migration of the user's. An empty name means [DefaultTable]. They can be run
// again without effect.
//
// The error is [outbox.ErrInvalid] and names the argument.
func Schema(dialect Dialect, name string) (string, error) {
	if err := dialect.validate(); err != nil {
		return "", err
	}
	if name == "" {
		name = DefaultTable
	}
	t, err := parseTable(dialect, name)
	if err != nil {
		return "", err
	}
	return t.schemaText()
}

// names are where a schema file names the table and its indexes.
var names = regexp.MustCompile(`\b(CREATE TABLE IF NOT EXISTS |ON |INDEX IF NOT EXISTS |KEY )` + DefaultTable + `(\w*)`)

// schemaText is the schema file with the names of this table.
func (t table) schemaText() (string, error) {
	file, err := files.ReadFile("schema/" + t.dialect.String() + ".sql")
	if err != nil {
		return "", err
	}
	return names.ReplaceAllStringFunc(string(file), func(found string) string {
		parts := names.FindStringSubmatch(found)
		before, name := parts[1], t.name+parts[2]
		// An index lives where its table is. SQLite wants to be told so at
		// the index, the others at the table.
		qualified := before == "CREATE TABLE IF NOT EXISTS " || before == "ON "
		if t.dialect == SQLite {
			qualified = before != "ON "
		}
		if qualified {
			return before + t.qualified(name)
		}
		return before + t.quote(name)
	}), nil
}

// statements splits a schema file.
func statements(text string) []string {
	var list []string
	for statement := range strings.SplitSeq(text, ";\n") {
		var lines []string
		for line := range strings.Lines(statement) {
			if !strings.HasPrefix(strings.TrimSpace(line), "--") && strings.TrimSpace(line) != "" {
				lines = append(lines, line)
			}
		}
		if len(lines) > 0 {
			list = append(list, strings.Join(lines, ""))
		}
	}
	return list
}

// lockKey is the advisory lock of migrations on PostgreSQL, "postoffi".
const lockKey = 0x706f73746f666669

// Migrate creates the table and its indexes where they are missing, and then
// checks them like [Store.Check]. It changes nothing that is there already.
// Several processes may run it at the same time. Of the options it needs only
// [WithTable].
//
// It needs the right to create tables, which the store itself does not.
func Migrate(ctx context.Context, db *sql.DB, dialect Dialect, options ...Option) error {
	s, err := New(db, dialect, options...)
	if err != nil {
		return err
	}
	text, err := s.table.schemaText()
	if err != nil {
		return err
	}
	err = s.do(ctx, "migrate", func() error {
		if dialect == Postgres {
			return s.transact(ctx, func(tx *sql.Tx) error {
				lock := fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", int64(lockKey))
				if _, err := tx.ExecContext(ctx, lock); err != nil {
					return err
				}
				return execute(ctx, tx, text)
			})
		}
		// MySQL has one statement, which is atomic; those of SQLite have no
		// effect when they are repeated.
		return execute(ctx, db, text)
	})
	if err != nil {
		return err
	}
	return s.Check(ctx)
}

// execute runs the statements of a schema file.
func execute(ctx context.Context, db runner, text string) error {
	for _, statement := range statements(text) {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
