package sqltable

import (
	"context"
	"database/sql"
	"fmt"
	"io/fs"
	"regexp"
	"strings"
)

// DDL returns the schema file of the table's dialect, with the table name written in
// the file replaced by that of this table.
func (t Table) DDL(files fs.FS, written string) (string, error) {
	return t.DDLOf(files, t.Dialect.String()+".sql", written)
}

// DDLOf is DDL for a file with another name, such as an upgrade from one version to
// the next.
func (t Table) DDLOf(files fs.FS, name, written string) (string, error) {
	file, err := fs.ReadFile(files, name)
	if err != nil {
		return "", err
	}
	text := strings.ReplaceAll(string(file), Table{Dialect: t.Dialect, Name: written}.WhereMySQL(), t.WhereMySQL())
	text = strings.ReplaceAll(text, "index_name = '"+written, "index_name = '"+t.Name)
	names := regexp.MustCompile(`\b(CREATE TABLE IF NOT EXISTS |ALTER TABLE |ON |INDEX IF NOT EXISTS |INDEX CONCURRENTLY IF NOT EXISTS |KEY )` + written + `(\w*)`)
	return names.ReplaceAllStringFunc(text, func(found string) string {
		parts := names.FindStringSubmatch(found)
		before, name := parts[1], t.Name+parts[2]
		// An index is in the schema of its table. SQLite needs the schema before the
		// index's name, the others before the table's.
		qualified := strings.Contains(before, "TABLE ") || before == "ON "
		if t.Dialect == SQLite {
			qualified = before != "ON "
		}
		if qualified {
			return before + t.Qualified(name)
		}
		return before + t.Quote(name)
	}), nil
}

// Statements splits a schema file.
func Statements(text string) []string { return statements(text) }

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

// execer is a *sql.DB or *sql.Tx.
type execer interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// Create runs the statements of a schema file. On PostgreSQL, db must be a
// transaction: Create first takes an advisory lock that lasts until its end, because
// concurrent creations of the same table fail.
func (t Table) Create(ctx context.Context, db execer, lock int64, text string) error {
	list := statements(text)
	if t.Dialect == Postgres {
		list = append([]string{fmt.Sprintf("SELECT pg_advisory_xact_lock(%d)", lock)}, list...)
	}
	for _, statement := range list {
		if _, err := db.ExecContext(ctx, statement); err != nil {
			return err
		}
	}
	return nil
}
